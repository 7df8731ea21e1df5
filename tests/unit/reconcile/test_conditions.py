"""What a user reads: conditions, costs, times and Events, each as a table of small worlds."""

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Condition, DeepSeekDeploymentStatus, Instance, Ledger, Phase
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address, Known, Probe
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.facts.skypilot import JobState, Outcome, RequestKind
from deepseek_operator.facts.world import ReplicaFacts, World
from deepseek_operator.planning import Planned, Refused
from deepseek_operator.reconcile.conditions import Report, conditions
from deepseek_operator.reconcile.decide import Decision
from deepseek_operator.reconcile.endpoint import Reachability
from deepseek_operator.reconcile.events import EventNote, notes
from tests.unit.reconcile import builders as b

AT = Address(b.host(), b.PORT)
TWO = b.deployment(replicas=2)
FIRST, SECOND = b.name(TWO, 0), b.name(TWO, 1)
NO_PLAN = Refused(Reason.DOES_NOT_FIT, "needs 654 GiB; 8xL4 offer 162 GiB")


def condition(status: DeepSeekDeploymentStatus, kind: str = "Ready") -> tuple[str, str, str]:
    found = next(one for one in status.conditions if one.type == kind)
    return found.status, str(found.reason), found.message


def after(world: World, plan: Planned | Refused | None = None) -> DeepSeekDeploymentStatus:
    return b.step(world, plan)[1]


def fed_back(world: World, status: DeepSeekDeploymentStatus, *, seconds: float = 0) -> World:
    deployment = world.deployment.model_copy(update={"status": status})
    return replace(world, deployment=deployment, now=world.now + timedelta(seconds=seconds))


@dataclass(frozen=True)
class Case:
    says: str
    world: World
    kind: str
    expected: tuple[str, str]
    words: str = ""
    plan: Any = None


def dead(world: World, address: Address = AT) -> World:
    return replace(world, probes={**world.probes, **b.silent(address)})


def stuck(of: DeepSeekDeployment, name: ClusterName | None = None) -> DeepSeekDeployment:
    """The deployment as it remembers that the teardown of one replica was asked for."""
    return b.remembering(of, {name or b.name(of): b.ledger(teardown_at=b.ago(60), unpublished_since=b.ago(90))})


def failed_teardown(of: DeepSeekDeployment, name: ClusterName | None = None) -> ReplicaFacts:
    """A replica that SkyPilot could not tear down."""
    which = name or b.name(of)
    return b.facts(which, skypilot=b.seen(b.row(which)), outcome=b.failed_teardown())


def with_a_failed_teardown(world: World, name: ClusterName | None = None) -> World:
    """The world with a replica besides, of an older revision unless it is named, which SkyPilot could not tear down."""
    of, name = world.deployment, name or b.older(world.deployment)
    one = stuck(of, name).status.instances
    status = of.status.model_copy(update={"instances": (*of.status.instances, *one)})
    known = {**world.replicas, name: failed_teardown(of, name)}
    return replace(world, deployment=of.model_copy(update={"status": status}), replicas=known)


BOTH = b.serving(TWO, FIRST, SECOND)
ONE_OLD = b.serving(TWO, b.older(TWO, 0), SECOND)
LAUNCHING = b.world(b.deployment(), b.facts(b.name(b.deployment()), skypilot=b.seen(b.request(b.name(b.deployment())))))
TERMINATING = b.facts(FIRST, skypilot=b.seen(b.row(FIRST), b.request(FIRST, "down")))
SUSPENDED = b.deployment(suspend=True)
GONE = b.deployment(deleting=True)
FINAL = b.deployment(resources={"accelerators": [], "cpus": "1+", "memory": "2+", "retryUntilUp": False})
STALLED = b.world(b.remembering(FINAL, {b.name(FINAL): b.ledger()}), b.facts(b.name(FINAL), outcome=b.failed_launch()))


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
    Case("one replica needs no counting", b.serving(b.deployment()), "Ready", ("True", "Ready"), "the model answers"),
    Case("several replicas are counted", BOTH, "Ready", ("True", "Ready"), "2 of 2 replicas answer"),
    Case(
        "the worst replica speaks for all, by name",
        dead(BOTH),
        "Ready",
        ("False", "EngineUnresponsive"),
        f"1 of 2 replicas answer; {FIRST}: ",
    ),
    Case("suspended with nothing left", b.world(SUSPENDED), "Ready", ("False", "Suspended"), "nothing is rented"),
    Case(
        "suspended and still tearing down",
        b.world(SUSPENDED, replace(TERMINATING, name=b.name(SUSPENDED))),
        "Ready",
        ("False", "Suspended"),
        "all nodes are being torn down",
    ),
    Case(
        "suspended and tearing down is under way",
        b.world(SUSPENDED, replace(TERMINATING, name=b.name(SUSPENDED))),
        "Reconciling",
        ("True", "Terminating"),
    ),
    Case("suspended with nothing left is settled", b.world(SUSPENDED), "Reconciling", ("False", "Suspended")),
    Case(
        "no replicas wanted",
        b.world(b.deployment(replicas=0)),
        "Ready",
        ("False", "ScaledToZero"),
        "spec.replicas is 0",
    ),
    Case("no replicas wanted is settled", b.world(b.deployment(replicas=0)), "Reconciling", ("False", "ScaledToZero")),
    Case(
        "a deleted object says what holds it",
        b.world(b.deployment(deleting=True), replace(TERMINATING, name=b.name(b.deployment()))),
        "Ready",
        ("False", "Terminating"),
        "SkyPilot tears its nodes down",
    ),
    Case(
        "a deleted object of which nobody can say what is left",
        b.world(b.deployment(deleting=True), skypilot=b.AWAY),
        "Ready",
        ("False", "Terminating"),
        "its nodes are being torn down",
    ),
    Case(
        "suspended, and a teardown fails",
        b.world(stuck(SUSPENDED), failed_teardown(SUSPENDED)),
        "Ready",
        ("False", "TeardownFailed"),
        f"spec.suspend is true; {b.name(SUSPENDED)}: SkyPilot could not tear",
    ),
    Case(
        "no replicas wanted, and a teardown fails",
        b.world(stuck(b.deployment(replicas=0)), failed_teardown(b.deployment(replicas=0))),
        "Ready",
        ("False", "TeardownFailed"),
        f"spec.replicas is 0; {b.name(b.deployment())}: SkyPilot could not tear",
    ),
    Case(
        "everything that is wanted serves, and the teardown of one too many fails",
        with_a_failed_teardown(b.serving(b.deployment())),
        "Reconciling",
        ("True", "TeardownFailed"),
        f"{b.older(b.deployment())}: SkyPilot could not tear",
    ),
    Case(
        "of several that a deleted object still has, the one whose teardown fails speaks for all",
        with_a_failed_teardown(b.world(GONE, replace(TERMINATING, name=b.name(GONE)))),
        "Ready",
        ("False", "TeardownFailed"),
        "AuthFailure",
    ),
    Case(
        "no replicas wanted and one is still there",
        b.world(b.deployment(replicas=0), replace(TERMINATING, name=b.name(b.deployment()))),
        "Reconciling",
        ("True", "Terminating"),
    ),
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
    Case("a failure that is final leaves nothing to do", STALLED, "Reconciling", ("False", "Planned"), "see Stalled"),
    Case("a launch is under way", LAUNCHING, "Reconciling", ("True", "Launching")),
    Case("everything serves", b.serving(b.deployment()), "Reconciling", ("False", "Ready"), "nothing is left to do"),
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
    Case("a plan that fails stalls", b.serving(b.deployment()), "Stalled", ("True", "DoesNotFit"), "654 GiB", NO_PLAN),
    Case(
        "a deleted object does not stall for its plan",
        b.world(b.deployment(deleting=True), replace(TERMINATING, name=b.name(b.deployment()))),
        "Stalled",
        ("False", "Planned"),
        "",
        NO_PLAN,
    ),
    Case(
        "a stalled object does not reconcile",
        b.world(b.deployment()),
        "Reconciling",
        ("False", "DoesNotFit"),
        "",
        NO_PLAN,
    ),
    Case("a plan that fails", b.world(b.deployment()), "Planned", ("False", "DoesNotFit"), "654 GiB", NO_PLAN),
    Case("a plan that holds gives its reason", b.world(b.deployment()), "Planned", ("True", "Planned"), "/models/tiny"),
    Case(
        "a failed launch without retries is final",
        STALLED,
        "Stalled",
        ("True", "Unschedulable"),
        "(not retried because resources.retryUntilUp is false: set it to true, or change the spec)",
    ),
    Case(
        "a failed launch that is final says so where everybody looks",
        STALLED,
        "Ready",
        ("False", "Unschedulable"),
        "(not retried because resources.retryUntilUp is false",
    ),
    Case("nothing needs help", b.serving(b.deployment()), "Stalled", ("False", "Planned"), "without your help"),
    Case("nothing answers", LAUNCHING, "EndpointPublished", ("False", "NoReadyReplicas"), "no replica answers"),
    Case(
        "the Service does not answer",
        replace(b.serving(b.deployment()), probes={AT: b.answering(AT)[AT], **b.silent(b.SERVICE)}),
        "EndpointPublished",
        ("False", "EndpointUnreachable"),
        "connection refused",
    ),
    Case("the Service answers", b.serving(b.deployment()), "EndpointPublished", ("True", "EndpointPublished")),
    Case(
        "a Service of someone else is in the way",
        b.world(b.deployment(), service=None, service_conflict=True),
        "EndpointPublished",
        ("False", "ServiceConflict"),
        "Service r1",
    ),
    Case(
        "a failure says when it is tried again",
        b.world(
            b.remembering(b.deployment(), {b.name(b.deployment()): b.ledger()}),
            b.facts(b.name(b.deployment()), outcome=b.failed_launch()),
        ),
        "Ready",
        ("False", "Unschedulable"),
        "0/1 nodes are available (next attempt at 2026-11-24T12:00:10Z)",
    ),
]


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


@pytest.mark.parametrize("case", CASES, ids=[case.says for case in CASES])
def test_a_condition(case: Case) -> None:
    status, reason, message = condition(after(case.world, case.plan), case.kind)
    assert (status, reason) == case.expected
    assert case.words in message


class TestFailuresInARow:
    OF = b.deployment()
    NAME = b.name(OF)

    def says(self, facts: ReplicaFacts, **fields: Any) -> str:
        world = b.world(b.remembering(self.OF, {self.NAME: b.ledger(**fields)}), facts, probes=b.silent(AT))
        return condition(after(world))[2]

    def waiting(self, **fields: Any) -> dict[str, Any]:
        return {"counted": "x", "teardown_at": b.ago(9), "failure_reason": "NoCapacity", **fields}

    def test_one_that_waits_says_how_many_there_were_and_when_it_is_launched_again(self) -> None:
        said = self.says(b.facts(self.NAME), **self.waiting(attempts=3, failure_message="full", retry_after=b.ago(-60)))
        assert said == "full (failed 3 times in a row; next attempt at 2026-11-24T12:01:00Z)"

    def test_what_holds_the_launch_back_is_no_failure(self) -> None:
        kept = b.ledger(**self.waiting(attempts=1, retry_after=b.ago(-60)))
        world = b.world(b.remembering(self.OF, {self.NAME: kept}), b.facts(self.NAME))
        said = condition(after(replace(world, namespace_terminating=True)))[2]
        assert said == "namespace serving is being deleted; nothing is launched in it"

    def test_a_time_that_has_come_is_not_told_while_the_nodes_are_torn_down(self) -> None:
        down = b.facts(self.NAME, skypilot=b.seen(b.row(self.NAME), b.request(self.NAME, "down")))
        fields = self.waiting(failure_message="its nodes are gone", retry_after=b.ago(5))
        assert self.says(down, attempts=1, **fields) == "its nodes are gone"
        assert self.says(down, attempts=2, **fields) == "its nodes are gone (failed 2 times in a row)"

    @pytest.mark.parametrize(
        ("attempts", "words", "expected"),
        [
            (1, "full", "(failed before: NoCapacity: full)"),
            (4, "full\nlast lines", "(failed 4 times in a row before: NoCapacity: full)"),
            (2, "", "(failed 2 times in a row before: NoCapacity)"),
        ],
    )
    def test_one_that_is_launched_again_says_what_went_wrong_before(
        self, attempts: int, words: str, expected: str
    ) -> None:
        launching = b.facts(self.NAME, skypilot=b.seen(b.request(self.NAME)))
        fields = {"counted": "x", "failure_reason": "NoCapacity", "failure_message": words, "attempts": attempts}
        assert self.says(launching, **fields) == f"SkyPilot is looking for nodes {expected}"

    def test_the_log_of_an_engine_stays_at_the_end(self) -> None:
        ended = b.up(self.NAME, job=b.job(JobState.ENDED, log_tail="ValueError: no such model"))
        first, *log = self.says(ended).splitlines()
        assert first == "the engine ended (FAILED): ValueError: no such model (next attempt at 2026-11-24T12:00:10Z)"
        assert log[-1] == "ValueError: no such model"


def test_a_plan_without_arithmetic_gives_its_verdict() -> None:
    known = b.planned(b.deployment())
    plan = replace(known, reason="")
    assert condition(after(b.world(b.deployment()), plan), "Planned")[2] == f"verdict {plan.verdict}"


def test_one_replica_is_neither_counted_nor_named() -> None:
    assert condition(after(LAUNCHING)) == ("False", "Launching", "SkyPilot is looking for nodes")


def test_a_replica_that_is_missing_is_about_to_be_launched() -> None:
    found = conditions(Report(b.world(b.deployment()), b.planned(b.deployment()), Decision(), Reachability(False)))
    assert (found[0].reason, found[0].message) == ("Planning", "replicas are about to be launched")


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


@pytest.mark.parametrize(
    ("seconds", "reason", "looks"),
    [(9, "PublishingEndpoint", 5.0), (10, "EndpointUnreachable", None), (3600, "EndpointUnreachable", None)],
)
def test_a_service_that_does_not_answer_says_how_and_soon_that_it_wants_help(
    seconds: int, reason: str, looks: float | None
) -> None:
    silent = {b.SERVICE: Probe(False, b.ago(seconds), "refused")}
    world = replace(b.serving(b.deployment()), probes={AT: b.answering(AT)[AT], **silent})
    decision, status = b.step(world)
    words = f"the Service does not answer {'yet ' if looks else ''}at {b.SERVICE}{'' if looks else ': refused'}"
    assert condition(status) == ("False", reason, words)
    assert condition(status, "EndpointPublished") == ("False", "EndpointUnreachable", words)
    assert decision.next_look_s == looks, "nothing else wakes it when the time is over"


def test_a_service_that_has_just_answered_is_not_looked_at_again() -> None:
    answers = {b.SERVICE: Probe(True, b.ago(1))}
    world = replace(b.serving(b.deployment()), probes={AT: b.answering(AT)[AT], **answers})
    assert b.step(world)[0].next_look_s is None


class TestTimes:
    def test_since_and_transition_times_stay_while_nothing_changes(self) -> None:
        first = after(dead(BOTH))
        later = after(fed_back(dead(BOTH), first, seconds=30))
        assert [one.since for one in later.instances] == [one.since for one in first.instances]
        assert [c.last_transition_time for c in later.conditions] == [c.last_transition_time for c in first.conditions]

    def test_they_move_with_what_changes_and_only_with_that(self) -> None:
        first = after(BOTH)
        later = after(fed_back(dead(BOTH), first, seconds=30))
        assert later.instances[0].since == "2026-11-24T12:00:30Z"
        assert later.instances[1].since == first.instances[1].since
        times = {c.type: c.last_transition_time for c in later.conditions}
        assert times["Ready"] == times["Reconciling"] == "2026-11-24T12:00:30Z"
        assert times["Planned"] == "2026-11-24T12:00:00Z"

    def test_another_reason_of_the_same_phase_is_news(self) -> None:
        world = dead(b.serving(b.deployment()))
        first = after(world)
        assert first.instances[0].reason == "EngineUnresponsive"
        ended = b.up(b.name(b.deployment()), job=b.job(JobState.ENDED))
        later = after(fed_back(replace(world, replicas={ended.name: ended}), first, seconds=7))
        assert (later.instances[0].reason, later.instances[0].since) == ("EngineExited", "2026-11-24T12:00:07Z")


class TestNumbers:
    def test_one_that_is_silent_is_not_ready_and_an_older_one_is_not_updated(self) -> None:
        status = after(dead(ONE_OLD, Address(b.host(1), b.PORT)))
        assert (status.replicas, status.ready_replicas, status.updated_replicas) == (3, 1, 2)

    def test_nodes_of_the_cluster_cost_nothing(self) -> None:
        status = after(BOTH)
        assert [one.hourly_cost for one in status.instances] == ["0.00", "0.00"]
        assert status.cost is not None
        assert status.cost.hourly == "0.00"

    def test_rented_nodes_cost_what_the_plan_says_and_older_ones_what_they_did(self) -> None:
        of = b.deployment(
            model={"name": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"},
            engine={"name": "VLLM"},
            resources={"accelerators": ["L4:1"], "infra": ["aws"]},
            endpoint={"apiKeySecretRef": {"name": "key", "key": "token"}},
        )
        plan = b.planned(of)
        assert plan.hourly_cost is not None
        new, old = b.name(of), b.older(of, 1)
        ledgers = {
            new: b.ledger(infra="aws"),
            old: b.ledger(infra="aws", ready_since=b.ago(9), address="54.0.0.1:8000"),
        }
        of = b.remembering(of, ledgers)
        instances = tuple(one.model_copy(update={"hourly_cost": "9.00"}) for one in of.status.instances)
        of = of.model_copy(update={"status": of.status.model_copy(update={"instances": instances})})
        rented = {"cloud": "AWS", "region": "us-east-1", "accelerators": "L4:1"}
        facts = [
            b.facts(name, skypilot=b.seen(b.row(name, **rented)), job=b.job(JobState.ACTIVE)) for name in (new, old)
        ]
        world = b.world(of, *facts, probes=b.answering(Address("54.0.0.1", 8000)))
        costs = {one.name: one.hourly_cost for one in after(world).instances}
        assert costs == {str(new): str(plan.hourly_cost), str(old): "9.00"}
        total = after(world).cost
        assert total is not None
        assert Decimal(total.hourly or 0) == plan.hourly_cost + 9

    def test_where_it_runs_is_kept_while_skypilot_does_not_show_it(self) -> None:
        shown = b.up(FIRST)
        row = b.row(FIRST, region="us-east-1", accelerators="L4:1")
        world = replace(
            BOTH, replicas={**BOTH.replicas, FIRST: replace(shown, skypilot=b.seen(row), last_seen=b.seen(row).value)}
        )
        first = after(world)
        assert (first.instances[0].region, first.instances[0].accelerators) == ("us-east-1", "L4:1")
        hidden = replace(
            world, replicas={**BOTH.replicas, FIRST: b.facts(FIRST, skypilot=b.AWAY, pods=(b.pod(FIRST),))}
        )
        later = after(fed_back(hidden, first))
        assert (later.instances[0].region, later.instances[0].accelerators) == ("us-east-1", "L4:1")

    def test_a_replica_that_answers_waits_for_no_retry(self) -> None:
        of = b.remembering(
            b.deployment(), {b.name(b.deployment()): b.ledger(ready_since=b.ago(9), retry_after=b.ago(99))}
        )
        assert after(replace(b.serving(b.deployment()), deployment=of)).instances[0].retry_after is None


def instance(name: ClusterName, phase: Phase, reason: Reason, message: str = "words", **ledger: Any) -> Instance:
    kept = Ledger(**ledger)
    return Instance(
        name=str(name), revision=name.revision, phase=phase, reason=str(reason), message=message, ledger=kept
    )


def status_of(*instances: Instance, **kinds: tuple[str, Reason]) -> DeepSeekDeploymentStatus:
    found = tuple(
        Condition(
            type=kind, status=status, reason=str(reason), message=f"{kind} words",
            observed_generation=1, last_transition_time="2026-11-24T12:00:00Z",
        )
        for kind, (status, reason) in kinds.items()
    )  # fmt: skip
    return DeepSeekDeploymentStatus(instances=instances, conditions=found)


EMPTY = status_of()
LAUNCH = status_of(instance(FIRST, Phase.LAUNCHING, Reason.LAUNCHING))
FAILED = status_of(instance(FIRST, Phase.FAILED, Reason.NO_CAPACITY, counted="request/1"))
FAILED_AGAIN = status_of(instance(FIRST, Phase.FAILED, Reason.NO_CAPACITY, counted="request/2"))
SERVES = status_of(instance(FIRST, Phase.READY, Reason.READY), Ready=("True", Reason.READY))
SILENT = status_of(
    instance(FIRST, Phase.STARTING, Reason.ENGINE_UNRESPONSIVE), Ready=("False", Reason.ENGINE_UNRESPONSIVE)
)


@pytest.mark.parametrize(
    ("before", "after_", "expected"),
    [
        (EMPTY, status_of(instance(FIRST, Phase.PENDING, Reason.STARTING)), []),
        (EMPTY, LAUNCH, [("Normal", "Launching")]),
        (LAUNCH, LAUNCH, []),
        (LAUNCH, status_of(instance(FIRST, Phase.LAUNCHING, Reason.LAUNCHING, "other words")), []),
        (LAUNCH, FAILED, [("Warning", "NoCapacity")]),
        (FAILED, FAILED, []),
        (FAILED, FAILED_AGAIN, [("Warning", "NoCapacity")]),
        (FAILED, status_of(instance(FIRST, Phase.STARTING, Reason.STARTING)), []),
        (LAUNCH, SERVES, [("Normal", "Ready")]),
        (FAILED, SERVES, [("Normal", "Ready"), ("Normal", "Ready")]),
        (SERVES, SILENT, [("Warning", "EngineUnresponsive")]),
        (SERVES, EMPTY, [("Normal", "TornDown")]),
        (EMPTY, status_of(Stalled=("True", Reason.DOES_NOT_FIT)), [("Warning", "DoesNotFit")]),
        (EMPTY, status_of(Stalled=("False", Reason.PLANNED)), []),
        (EMPTY, status_of(Ready=("False", Reason.PLANNING)), []),
        (EMPTY, status_of(Ready=("True", Reason.READY), Stalled=("False", Reason.PLANNED)), [("Normal", "Ready")]),
        (
            EMPTY,
            status_of(Ready=("False", Reason.DOES_NOT_FIT), Stalled=("True", Reason.DOES_NOT_FIT)),
            [("Warning", "DoesNotFit")],
        ),
        (
            status_of(Stalled=("True", Reason.DOES_NOT_FIT)),
            status_of(Stalled=("True", Reason.INVALID_SPEC)),
            [("Warning", "InvalidSpec")],
        ),
    ],
)
def test_events_tell_what_has_happened(
    before: DeepSeekDeploymentStatus, after_: DeepSeekDeploymentStatus, expected: list[tuple[str, str]]
) -> None:
    assert [(note.type, note.reason) for note in notes(before, after_)] == expected


def test_an_event_names_the_replica() -> None:
    assert notes(EMPTY, LAUNCH) == (EventNote("Normal", "Launching", f"{FIRST}: words"),)


@pytest.mark.parametrize("length", [4096, 4097, 20_000])
def test_a_message_that_is_too_long_for_a_condition_is_cut(length: int) -> None:
    """One flag of 2,048 characters that is given twice is enough."""
    status = after(b.world(b.deployment()), Refused(Reason.INVALID_SPEC, "x" * length))
    _, reason, message = condition(status)
    assert reason == "InvalidSpec"
    assert message == "x" * 4096 if length == 4096 else "x" * 4095 + "…"


def test_a_teardown_that_succeeded_is_no_failure_of_the_launch_before() -> None:
    done = Known(Outcome("req-3", RequestKind.DOWN, b.NOW), b.NOW)
    of = b.remembering(b.deployment(), {b.name(b.deployment()): b.ledger(teardown_at=b.ago(9))})
    assert after(b.world(of, b.facts(b.name(of), outcome=done))).instances[0].reason == "Launching"
