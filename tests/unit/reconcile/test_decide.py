"""The whole decision: finalizer before launch, Secrets before launch, nothing touched that serves."""

from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.api.status import Phase
from deepseek_operator.facts.base import Address, Failure, Known
from deepseek_operator.facts.world import NOT_ASKED, QuestionKind
from deepseek_operator.reconcile.actions import AddFinalizer, Launch, PublishEndpoints, TearDown, UnpublishEndpoints
from deepseek_operator.reconcile.decide import Decision, decide
from deepseek_operator.reconcile.replica.view import Finding, Replica, View
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.decisions import AT, actions, conditions, decided, message, settled

LED = PublishEndpoints("r1-8000", (AT,), ("http",))


def found(*, phase: Phase = Phase.READY, current: bool = True) -> Replica:
    """A replica of which a pass has found this."""
    name = b.name(b.deployment())
    return Replica(name, current, View(b.NOW, b.up(name)), Finding(phase, Reason.READY, "", b.ledger()))


def test_nothing_is_launched_before_the_finalizer_is_there() -> None:
    decision, _ = b.step(b.world(b.deployment(held=False)))
    assert (decision.finalizer, decision.actions) == (AddFinalizer(), ())


def test_what_was_only_planned_is_no_launch_that_got_lost() -> None:
    _, first = b.step(b.world(b.deployment(held=False)))
    assert conditions(first)["Ready"] == ("False", "Planning")
    of = b.deployment(status=first)
    _, second = b.step(b.world(of, b.facts(b.name(of))))
    assert (second.instances[0].reason, second.instances[0].attempts) == ("Launching", 0)


def test_a_serving_deployment_is_ready_and_settled() -> None:
    world = settled(b.serving(b.deployment()))
    decision, status = b.step(world)
    assert conditions(status) == {
        "Ready": ("True", "Ready"),
        "Reconciling": ("False", "Ready"),
        "Stalled": ("False", "Planned"),
        "Planned": ("True", "Planned"),
        "EndpointPublished": ("True", "EndpointPublished"),
    }
    assert (decision.publish, decision.actions, decision.asks, decision.next_look_s) == ((), (), (), None)
    assert status == world.deployment.status


@pytest.mark.parametrize(
    ("says", "decision", "goes_on"),
    [
        ("nothing", Decision(), False),
        ("another engine", Decision(replicas=(found(),), publish=(LED,)), False),
        ("a proxy", Decision(replicas=(found(),), publish=(LED,), proxied=True), True),
        ("a replica that goes", Decision(replicas=(found(phase=Phase.TERMINATING),), publish=(LED,)), True),
        ("an older replica", Decision(replicas=(found(current=False),), publish=(LED,)), True),
        ("a way that is taken away", Decision(publish=(LED, UnpublishEndpoints("r1-9000"))), True),
    ],
)
def test_more_follows_once_the_service_leads_elsewhere(says: str, decision: Decision, goes_on: bool) -> None:
    assert decision.goes_on is goes_on, says


def test_a_decision_asked_for_twice_is_the_same() -> None:
    for world in (b.serving(b.deployment()), b.world(b.deployment()), b.world(b.deployment(deleting=True))):
        assert decide(world, b.planned(b.deployment())) == decide(world, b.planned(b.deployment()))


def test_a_restarted_operator_takes_nothing_away_before_it_has_asked() -> None:
    """Neither SkyPilot nor any engine was asked since the start; what the Service leads to still serves."""
    world = settled(b.serving(b.deployment(replicas=2), b.name(b.deployment(), 0), b.name(b.deployment(), 1)))
    unknown = {name: replace(known, skypilot=NOT_ASKED) for name, known in world.replicas.items()}
    decision, status = b.step(replace(world, probes={}, skypilot=NOT_ASKED, replicas=unknown))
    assert (decision.publish, decision.actions) == ((), ())
    assert conditions(status)["Ready"] == ("True", "Ready")


def test_a_restart_in_mid_rollout_keeps_the_old_replicas() -> None:
    of = b.deployment(replicas=2)
    old = b.serving(of, b.older(of, 0), b.older(of, 1))
    new = b.name(of, 0)
    world = replace(old, probes={}, replicas={**old.replicas, new: b.facts(new, skypilot=b.seen(b.request(new)))})
    decision, status = b.step(world)
    assert (decision.publish, decision.actions) == ((), ())
    assert status.ready_replicas == 2


def test_a_replica_that_stops_answering_leaves_the_service() -> None:
    world = settled(b.serving(b.deployment()))
    decision, status = b.step(replace(world, probes={**world.probes, **b.silent(AT)}))
    assert decision.publish == (UnpublishEndpoints("r1-8000"),)
    assert conditions(status)["Ready"] == ("False", "EngineUnresponsive")


def test_one_dead_replica_does_not_touch_the_other() -> None:
    of = b.deployment(replicas=2)
    world = settled(b.serving(of, b.name(of, 0), b.name(of, 1)))
    dead = {**world.probes, **b.silent(AT)}
    replicas = {
        name: replace(known, job=NOT_ASKED, skypilot=b.AWAY if name.ordinal == 0 else known.skypilot)
        for name, known in world.replicas.items()
    }
    decision, status = b.step(replace(world, probes=dead, replicas=replicas))
    assert decision.publish == (PublishEndpoints("r1-8000", (Address(b.host(1), b.PORT),), ("http",)),)
    assert status.ready_replicas == 1


@pytest.mark.parametrize(("infra", "most"), [(("aws",), 33), (("gcp",), 26), (("aws", "gcp"), 26)])
def test_replicas_have_names_that_no_cloud_of_their_plan_cuts(infra: tuple[str, ...], most: int) -> None:
    of = b.rented_deployment(*infra, replicas=12)
    of = of.model_copy(update={"metadata": of.metadata.model_copy(update={"name": "deepseek-r1-distill"})})
    decision, _ = b.step(b.world(of, secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED))
    assert len(decision.actions) == 12
    assert max(len(str(name)) for name, _ in decision.actions) == most


def test_nothing_is_launched_in_a_namespace_that_is_being_deleted() -> None:
    decision, status = b.step(b.world(b.deployment(), namespace_terminating=True))
    assert decision.actions == ()
    assert conditions(status)["Ready"] == ("False", "NamespaceTerminating")


class TestSecrets:
    OF = b.deployment(endpoint={"apiKeySecretRef": {"name": "key", "key": "token"}})
    REF = SecretKeyRef(name="key", key="token")

    def test_a_secret_is_asked_for_before_a_launch(self) -> None:
        decision, _ = b.step(b.world(self.OF))
        assert decision.actions == ()
        assert [(q.kind, q.subject) for q in decision.asks] == [(QuestionKind.SECRET, "serving/key/token")]

    def test_a_missing_secret_is_reported_and_nothing_launched(self) -> None:
        missing = {self.REF: Known("Secret key does not exist in namespace serving", b.NOW)}
        decision, status = b.step(b.world(self.OF, secrets=missing))
        assert decision.actions == ()
        assert conditions(status)["Ready"] == ("False", "SecretNotFound")
        assert "Secret key does not exist" in message(status)

    def test_with_its_secrets_it_is_launched(self) -> None:
        decision, _ = b.step(b.world(self.OF, secrets={self.REF: Known("", b.NOW)}))
        assert actions(decision) == (Launch(b.name(self.OF)),)


def test_a_launch_whose_pods_find_no_node_makes_room_only_when_another_one_waits() -> None:
    of = b.deployment()
    name = b.name(of)
    stuck = b.facts(
        name,
        skypilot=b.seen(b.request(name, since=30), b.row(name, "INIT")),
        pods=(b.pod(name, phase="Pending", trouble=Failure(Reason.UNSCHEDULABLE, "0/1 nodes are available")),),
    )
    assert decided(b.world(of, stuck)).actions == ()
    assert decided(b.world(of, stuck), launches_waiting=True).actions == ((name, TearDown(name)),)


def test_nothing_is_torn_down_before_the_finalizer_is_there() -> None:
    of = b.deployment(held=False, replicas=0)
    name = b.name(of)
    decision = decided(b.world(of, b.facts(name, skypilot=b.seen(b.row(name)))))
    assert (decision.finalizer, decision.actions) == (AddFinalizer(), ())


@pytest.mark.parametrize("unknown", [NOT_ASKED, b.AWAY], ids=["not asked", "away"])
def test_nothing_is_launched_while_skypilot_cannot_be_asked(unknown: Any) -> None:
    (replica,) = decided(b.world(b.deployment(), skypilot=unknown)).replicas
    assert replica.finding.actions == ()
