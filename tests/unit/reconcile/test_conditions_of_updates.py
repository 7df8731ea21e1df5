"""What a user reads while replicas of an older revision are there, and of an update that fails or is held back."""

from dataclasses import replace

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Instance, Phase
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.skypilot import JobState
from deepseek_operator.facts.world import World
from deepseek_operator.reconcile.conditions import Report, conditions
from deepseek_operator.reconcile.decide import Decision
from deepseek_operator.reconcile.endpoint import Reachability
from deepseek_operator.reconcile.replica.view import Finding, Replica, View
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.condition_table import ONE_OLD, Case, after, check, condition, with_a_failed_teardown


def failing_update() -> World:
    """An older replica serves, and the engine of its successor has ended."""
    world = b.serving(b.deployment(), b.older(b.deployment()))
    new = b.name(world.deployment, 1)
    coming = Instance(name=str(new), revision=new.revision, ledger=b.ledger(starting_since=b.ago(60)))
    status = world.deployment.status
    status = status.model_copy(update={"instances": (*status.instances, coming)})
    ended = b.up(new, job=b.job(JobState.ENDED, log_tail="ValueError: no such flag"))
    return replace(
        world,
        deployment=world.deployment.model_copy(update={"status": status}),
        replicas={**world.replicas, new: ended},
        probes={**world.probes, **b.silent(Address(b.host(1), b.PORT))},
    )


FAILING_UPDATE = failing_update()

CASES = [
    Case(
        "one too many is still there",
        b.serving(b.deployment(), b.name(b.deployment()), b.name(b.deployment(), 1)),
        "Reconciling",
        ("True", "RollingOut"),
        "1 of 1 replicas run the current spec; others that come or go: 1",
    ),
    Case(
        "of two that do not serve, the one of the current spec speaks for all",
        b.world(
            b.remembering(b.deployment(), {b.older(b.deployment()): b.ledger(teardown_at=b.ago(9))}),
            b.facts(b.older(b.deployment()), skypilot=b.seen(b.row(b.older(b.deployment())))),
            b.facts(b.name(b.deployment()), skypilot=b.seen(b.request(b.name(b.deployment()), state="PENDING"))),
        ),
        "Ready",
        ("False", "Queued"),
    ),
    Case(
        "an older replica serves and is counted as ready, not as updated; its successor comes",
        ONE_OLD,
        "Reconciling",
        ("True", "RollingOut"),
        "1 of 2 replicas run the current spec; others that come or go: 2",
    ),
    Case(
        "an update whose replica fails says so although the older one serves",
        FAILING_UPDATE,
        "Reconciling",
        ("True", "EngineExited"),
        f"0 of 1 replicas run the current spec; {b.name(b.deployment(), 1)}: the engine ended (FAILED): ValueError",
    ),
    Case(
        "and the condition Ready names it, which is all that many look at",
        FAILING_UPDATE,
        "Ready",
        ("True", "Ready"),
        "the model answers; the update fails: EngineExited, see Reconciling",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.says for case in CASES])
def test_a_condition(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    "world",
    [
        replace(
            FAILING_UPDATE,
            skypilot=b.AWAY,
            replicas={name: replace(known, skypilot=b.AWAY) for name, known in FAILING_UPDATE.replicas.items()},
        ),
        with_a_failed_teardown(b.serving(b.deployment()), b.name(b.deployment(), 1)),
    ],
    ids=["SkyPilot cannot be asked about the new replica", "a replica of the current spec too many does not go"],
)
def test_an_update_is_not_said_to_fail_where_no_new_replica_is_known_to(world: World) -> None:
    assert condition(after(world)) == ("True", "Ready", "the model answers")


@pytest.mark.parametrize(
    ("says", "current", "phase", "reason", "before", "told"),
    [
        ("it has failed", True, Phase.FAILED, Reason.ENGINE_EXITED, "", "EngineExited"),
        ("it is silent", True, Phase.STARTING, Reason.ENGINE_UNRESPONSIVE, "", "EngineUnresponsive"),
        ("it is launched again", True, Phase.LAUNCHING, Reason.LAUNCHING, "NoCapacity", "NoCapacity"),
        ("an older one fails", False, Phase.FAILED, Reason.ENGINE_EXITED, "", None),
        ("it failed before it came up", True, Phase.READY, Reason.READY, "NoCapacity", None),
    ],
)
def test_an_update_fails_where_a_replica_of_it_that_does_not_serve_has_failed(
    says: str, current: bool, phase: Phase, reason: Reason, before: str, told: str | None
) -> None:
    world = b.serving(b.deployment(), b.older(b.deployment()))
    old, new = b.older(b.deployment()), b.name(b.deployment(), 1)
    kept = b.ledger(failure_reason=before)
    replicas = (
        Replica(old, False, View(b.NOW, b.up(old)), Finding(Phase.READY, Reason.READY, "", b.ledger())),
        Replica(new, current, View(b.NOW, b.up(new), kept), Finding(phase, reason, "words", kept)),
    )
    report = Report(world, b.planned(world.deployment), Decision(replicas=replicas), Reachability(True))
    words = next(one.message for one in conditions(report) if one.type == "Ready")
    assert words == "the model answers" + (f"; the update fails: {told}, see Reconciling" if told else ""), says


def test_what_keeps_others_from_being_launched_does_not_concern_one_that_serves() -> None:
    world = replace(b.serving(b.deployment()), namespace_terminating=True)
    assert b.step(world)[0].blocked is not None
    assert condition(after(world)) == ("True", "Ready", "the model answers")
    assert condition(after(world), "Reconciling") == ("False", "Ready", "nothing is left to do")


def test_what_the_limit_of_cost_holds_back_is_told_while_everything_that_is_wanted_serves() -> None:
    of = b.rented_deployment("aws", resources={"maxHourlyCost": "1"})
    old = b.older(of)
    of = b.remembering(of, {old: b.ledger(infra="aws", address="54.0.0.1:8000", ready_since=b.ago(9))})
    known = b.facts(old, skypilot=b.seen(b.row(old, cloud="AWS")), job=b.job(JobState.ACTIVE))
    at = Address("54.0.0.1", 8000)
    world = b.world(
        of, known, secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED, endpoints=(b.endpoints(at),),
        probes=b.answering(b.SERVICE, at),
    )  # fmt: skip
    assert condition(after(world))[:2] == ("True", "Ready")
    assert condition(after(world), "Reconciling")[:2] == ("True", "MaxHourlyCostReached")
    assert condition(after(world), "Stalled")[:2] == ("False", "Planned"), "it passes once something else is given back"
