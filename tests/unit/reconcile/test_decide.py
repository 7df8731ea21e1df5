"""The whole decision: finalizer before launch, teardown before release, endpoint before Ready."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import DeepSeekDeploymentStatus, Phase
from deepseek_operator.reconcile.actions import (
    AddFinalizer,
    ApplyService,
    ApplyServiceAccount,
    ClearRemains,
    Launch,
    PublishEndpoints,
    RemoveFinalizer,
    TearDown,
)
from deepseek_operator.reconcile.decide import Decision, decide
from deepseek_operator.reconcile.events import notes
from deepseek_operator.reconcile.world import (
    Failure,
    LaunchedService,
    Outcome,
    Probe,
    PublishedService,
    RequestKind,
    RequestState,
)
from tests.unit.reconcile import builders as b


def conditions(decision: Decision) -> dict[str, tuple[str, str]]:
    assert decision.status is not None
    return {c.type: (c.status, c.reason) for c in decision.status.conditions}


def message(decision: Decision, kind: str = "Ready") -> str:
    assert decision.status is not None
    return next(c.message for c in decision.status.conditions if c.type == kind)


def settled(of: Any, *ordinals: int) -> Any:
    """The deployment with the status that a serving world gives it."""
    status = decide(b.serving(of, *ordinals)).status
    return of.model_copy(update={"status": status})


def test_nothing_is_launched_before_the_finalizer_is_there() -> None:
    decision = decide(b.world(b.deployment(held=False)))
    assert decision.actions == (AddFinalizer(),)
    assert decision.next_look_s is not None


def test_what_was_only_planned_is_no_launch_that_got_lost() -> None:
    of = b.deployment(held=False)
    first = decide(b.world(of))
    assert conditions(first)["Ready"] == ("False", "Planning")
    second = decide(b.world(b.deployment(status=first.status)))
    assert second.status is not None
    assert (second.status.instances[0].reason, second.status.instances[0].attempts) == ("Launching", 0)


def test_the_account_of_the_pods_is_made_before_the_launch() -> None:
    decision = decide(b.world(b.deployment(), service_account_exists=False))
    kinds = [type(action) for action in decision.actions]
    assert kinds.index(ApplyServiceAccount) < kinds.index(Launch)


def test_a_serving_deployment_is_ready_and_settled() -> None:
    of = settled(b.deployment())
    decision = decide(b.serving(of))
    assert conditions(decision) == {
        "Ready": ("True", "Ready"),
        "Reconciling": ("False", "Ready"),
        "Stalled": ("False", "Planned"),
        "Planned": ("True", "Planned"),
        "EndpointPublished": ("True", "EndpointPublished"),
    }
    assert (decision.actions, decision.next_look_s, decision.status) == ((), None, of.status)


def test_a_replica_that_answers_is_published_before_the_deployment_is_ready() -> None:
    of = b.deployment()
    world = replace(
        b.serving(of), service=PublishedService(exists=True, cluster_ip="10.96.1.1", port=8000, type="ClusterIP")
    )
    decision = decide(world)
    assert decision.actions == (PublishEndpoints(("10.88.0.5",), 8000),)
    assert conditions(decision)["Ready"] == ("False", "PublishingEndpoint")


@pytest.mark.parametrize("probe", [None, Probe(False, b.NOW, "connection refused")], ids=["not asked", "refused"])
def test_ready_needs_an_answer_through_the_service(probe: Probe | None) -> None:
    world = b.serving(b.deployment())
    probes = {address: known for address, known in world.probes.items() if not address.startswith("10.96.")}
    decision = decide(replace(world, probes=probes if probe is None else {**probes, "10.96.1.1:8000": probe}))
    assert conditions(decision)["Ready"] == ("False", "PublishingEndpoint")
    assert decision.next_look_s is not None


def test_a_replica_that_stops_answering_leaves_the_service() -> None:
    of = settled(b.deployment())
    world = b.serving(of)
    decision = decide(replace(world, probes={}))
    assert PublishEndpoints((), 8000) in decision.actions
    assert conditions(decision)["Ready"][0] == "False"


def test_a_damaged_service_is_repaired() -> None:
    world = b.serving(settled(b.deployment()))
    decision = decide(replace(world, service=replace(world.service, port=9)))
    assert ApplyService(8000, 8000, "ClusterIP") in decision.actions


def test_a_foreign_service_of_the_same_name_is_left_alone_and_said() -> None:
    decision = decide(b.world(b.deployment(), service=PublishedService(exists=True, foreign=True)))
    assert decision.actions == ()
    assert conditions(decision)["Ready"] == ("False", "ServiceConflict")


def test_a_model_that_does_not_fit_is_stalled_and_launches_nothing() -> None:
    failure = Failure(Reason.DOES_NOT_FIT, "needs 654 GiB; 8xL4 offer 162 GiB")
    decision = decide(b.world(b.deployment(), plan_failure=failure))
    assert not any(isinstance(action, Launch) for action in decision.actions)
    assert conditions(decision)["Stalled"] == ("True", "DoesNotFit")
    assert conditions(decision)["Ready"] == ("False", "DoesNotFit")
    assert message(decision) == failure.message


def test_a_spec_that_became_impossible_leaves_serving_replicas_alone() -> None:
    of = settled(b.deployment())
    changed = b.deployment(engine={**b.CPU_SPEC["engine"], "args": ["--nonsense"]}, status=of.status)
    world = replace(b.serving(of), deployment=changed, plan=None, plan_failure=Failure(Reason.INVALID_SPEC, "no"))
    decision = decide(world)
    assert decision.actions == ()
    assert conditions(decision)["Stalled"] == ("True", "InvalidSpec")
    assert decision.status is not None
    assert decision.status.ready_replicas == 1


def test_a_suspended_deployment_gives_everything_back_and_stays() -> None:
    of = b.deployment(suspend=True)
    cluster = b.name(of)
    decision = decide(b.world(of, skypilot=b.skypilot(b.row(cluster))))
    assert TearDown(cluster) in decision.actions
    assert conditions(decision)["Ready"] == ("False", "Suspended")
    assert conditions(decide(b.world(of)))["Reconciling"] == ("False", "Suspended")


class TestDeletion:
    OF = b.deployment(deleting=True)
    CLUSTER = b.name(OF)

    def test_an_object_that_was_never_held_is_none_of_our_business(self) -> None:
        assert decide(b.world(b.deployment(held=False, deleting=True))) == Decision((), None, None)

    def test_an_object_of_which_nothing_exists_is_released(self) -> None:
        assert decide(b.world(self.OF)).actions == (RemoveFinalizer(),)

    @pytest.mark.parametrize("state", list(RequestState))
    def test_a_launch_in_any_state_is_torn_down(self, state: RequestState) -> None:
        seen = b.skypilot(b.request(self.CLUSTER, state=state))
        assert decide(b.world(self.OF, skypilot=seen)).actions == (TearDown(self.CLUSTER),)

    def test_a_teardown_under_way_is_waited_for(self) -> None:
        seen = b.skypilot(b.row(self.CLUSTER), b.request(self.CLUSTER, RequestKind.DOWN))
        decision = decide(b.world(self.OF, skypilot=seen))
        assert decision.actions == ()
        assert decision.next_look_s is not None

    def test_unknown_to_skypilot_is_not_gone(self) -> None:
        decision = decide(b.world(self.OF, pods=(b.pod(self.CLUSTER),)))
        assert decision.actions == (ClearRemains(self.CLUSTER),)

    def test_a_service_left_by_skypilot_counts_too(self) -> None:
        left = LaunchedService(f"{self.CLUSTER}-x-head", self.CLUSTER, f"{self.CLUSTER}-x")
        assert decide(b.world(self.OF, launched_services=(left,))).actions == (ClearRemains(self.CLUSTER),)

    def test_it_is_held_while_skypilot_cannot_be_asked(self) -> None:
        of = b.with_instances(self.OF, b.instance(self.CLUSTER, Phase.READY, Reason.READY))
        decision = decide(b.world(of, skypilot=b.skypilot(reachable=False, message="refused")))
        assert decision.actions == ()
        assert message(decision) == "refused"

    def test_replicas_of_every_revision_are_found(self) -> None:
        old = "r1-0a1b2c3d-beef-0"
        seen = b.skypilot(b.row(self.CLUSTER), b.row(old))
        assert set(decide(b.world(self.OF, skypilot=seen)).actions) == {TearDown(self.CLUSTER), TearDown(old)}

    def test_clusters_of_others_are_left_alone(self) -> None:
        seen = b.skypilot(b.row("r1-ffffffff-beef-0"), b.row("my-own-cluster"))
        assert decide(b.world(self.OF, skypilot=seen)).actions == (RemoveFinalizer(),)

    def test_a_failed_teardown_is_said_and_repeated_later(self) -> None:
        outcome = Outcome("req-7", RequestKind.DOWN, b.NOW, Failure(Reason.LAUNCH_FAILED, "AuthFailure"))
        of = b.with_instances(self.OF, b.instance(self.CLUSTER, Phase.TERMINATING, Reason.TERMINATING))
        seen = b.world(of, skypilot=b.skypilot(b.row(self.CLUSTER)), outcomes={self.CLUSTER: outcome})
        decision = decide(seen)
        assert decision.actions == ()
        assert "AuthFailure" in message(decision)
        failed = b.instance(
            self.CLUSTER,
            Phase.TERMINATING,
            Reason.TEARDOWN_FAILED,
            failure="request/req-7",
            attempts=1,
            retry_after=b.ago(1),
        )
        again = decide(replace(seen, deployment=b.with_instances(self.OF, failed)))
        assert again.actions == (TearDown(self.CLUSTER),)


class TestEvents:
    def test_only_transitions_are_told(self) -> None:
        of = settled(b.deployment())
        assert notes(of.status, of.status) == ()
        told = [note.reason for note in notes(DeepSeekDeploymentStatus(), of.status)]
        assert told == ["Ready", "Ready"]

    def test_a_failure_is_a_warning_with_its_cause(self) -> None:
        of = b.with_instances(b.deployment(), b.instance(b.name(b.deployment()), Phase.LAUNCHING, Reason.LAUNCHING))
        after = decide(b.world(of, outcomes={b.name(of): b.failed_launch()})).status
        assert after is not None
        (note,) = notes(of.status, after)
        assert (note.type, note.reason) == ("Warning", "Unschedulable")
        assert "0/1 nodes are available" in note.message


def test_a_replica_that_serves_leaves_the_service_before_it_is_torn_down() -> None:
    of = settled(b.deployment(replicas=2), 0, 1)
    smaller = of.model_copy(update={"spec": of.spec.model_copy(update={"replicas": 1})})
    surplus = b.name(of, 1)

    first = decide(b.serving(smaller, 0, 1))
    assert first.actions == (PublishEndpoints(("10.88.0.5",), b.PORT),)
    assert first.next_look_s is not None

    # Its address stays in the status: that of an older revision is known from nowhere else.
    assert first.status is not None
    assert [i.address for i in first.status.instances if i.name == surplus] == [f"10.88.0.6:{b.PORT}"]
    # The Service led to a replica that answers before, and does so now.
    assert conditions(first)["Ready"] == ("True", "Ready")

    left = smaller.model_copy(update={"status": first.status})
    waiting = replace(b.serving(left, 0, 1), now=b.NOW + timedelta(seconds=9))
    assert TearDown(surplus) not in decide(waiting).actions
    assert TearDown(surplus) in decide(replace(waiting, now=b.NOW + timedelta(seconds=10))).actions


def test_a_deleted_deployment_is_torn_down_at_once() -> None:
    of = settled(b.deployment(), 0)
    deleted = b.deployment(deleting=True, status=of.status)
    assert TearDown(b.name(of)) in decide(b.serving(deleted, 0)).actions
