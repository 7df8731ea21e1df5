"""The whole decision: finalizer before launch, teardown before release, endpoint before Ready."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.api.status import DeepSeekDeploymentStatus
from deepseek_operator.api.v1alpha1 import ANNOTATION_ABANDON, DeepSeekDeployment
from deepseek_operator.facts.base import Address, Known, Probe
from deepseek_operator.facts.kubernetes import Endpoints, LaunchedService
from deepseek_operator.facts.skypilot import JobState, Outcome, RequestKind
from deepseek_operator.facts.world import NOT_ASKED, QuestionKind, World
from deepseek_operator.launch.proxy import PROXY_PORT
from deepseek_operator.planning import Refused
from deepseek_operator.reconcile.actions import (
    AddFinalizer,
    ClearRemains,
    Launch,
    PublishEndpoints,
    RemoveFinalizer,
    TearDown,
    UnpublishEndpoints,
)
from deepseek_operator.reconcile.decide import Decision, decide
from deepseek_operator.reconcile.events import notes
from tests.unit.reconcile import builders as b

AT = Address(b.host(), b.PORT)
NO_PLAN = Refused(Reason.DOES_NOT_FIT, "needs 654 GiB; 8xL4 offer 162 GiB")


def conditions(status: DeepSeekDeploymentStatus) -> dict[str, tuple[str, str]]:
    return {c.type: (c.status, c.reason) for c in status.conditions}


def message(status: DeepSeekDeploymentStatus, kind: str = "Ready") -> str:
    return next(c.message for c in status.conditions if c.type == kind)


def actions(decision: Decision) -> tuple[Any, ...]:
    return tuple(action for _, action in decision.actions)


def settled(world: World) -> World:
    """The world after the pass that has nothing to do but to write the status."""
    _, status = b.step(world)
    return replace(world, deployment=world.deployment.model_copy(update={"status": status}))


def changed(world: World, **spec: Any) -> World:
    """The world after an edit of the spec."""
    status, deleting = world.deployment.status, spec.pop("deleting", False)
    return replace(world, deployment=b.deployment(status=status, deleting=deleting, **spec))


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


def test_a_replica_that_answers_is_published_before_the_deployment_is_ready() -> None:
    decision, status = b.step(replace(b.serving(b.deployment()), endpoints=()))
    assert decision.publish == (PublishEndpoints("r1-8000", (AT,), ("http",)),)
    assert decision.actions == ()
    assert conditions(status)["Ready"] == ("True", "Ready")  # the Service itself was probed a moment ago


@pytest.mark.parametrize("probe", [None, Probe(False, b.NOW, "connection refused")], ids=["not asked", "refused"])
def test_ready_needs_an_answer_through_the_service(probe: Probe | None) -> None:
    world = b.serving(b.deployment())
    probes = {AT: world.probes[AT]} if probe is None else {**world.probes, b.SERVICE: probe}
    _, status = b.step(replace(world, probes=probes))
    assert conditions(status)["Ready"] == ("False", "PublishingEndpoint")


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


def test_a_foreign_service_of_the_same_name_is_left_alone_and_reported() -> None:
    decision, status = b.step(b.world(b.deployment(), service=None, service_conflict=True))
    assert decision.actions == ()
    assert conditions(status)["Ready"] == ("False", "ServiceConflict")


def test_a_model_that_does_not_fit_is_stalled_and_launches_nothing() -> None:
    decision, status = b.step(b.world(b.deployment()), NO_PLAN)
    assert decision.actions == ()
    assert conditions(status)["Stalled"] == ("True", "DoesNotFit")
    assert conditions(status)["Ready"] == ("False", "DoesNotFit")
    assert message(status) == NO_PLAN.message


class TestWithoutAPlan:
    """The spec cannot be launched any more: a refreshed price, an edit that does not fit."""

    def test_what_serves_is_left_alone(self) -> None:
        decision, status = b.step(settled(b.serving(b.deployment())), NO_PLAN)
        assert (decision.publish, decision.actions) == ((), ())
        assert conditions(status)["Stalled"] == ("True", "DoesNotFit")
        assert status.ready_replicas == 1

    def test_a_dead_address_still_leaves_the_service(self) -> None:
        world = b.serving(b.deployment())
        decision, _ = b.step(replace(world, probes={**world.probes, **b.silent(AT)}), NO_PLAN)
        assert decision.publish == (UnpublishEndpoints("r1-8000"),)

    def test_scaling_down_still_gives_nodes_back(self) -> None:
        world = settled(b.serving(b.deployment()))
        decision, _ = b.step(changed(world, replicas=0), NO_PLAN)
        assert decision.publish == (UnpublishEndpoints("r1-8000"),)

    def test_an_engine_that_exits_is_not_started_again(self) -> None:
        world = b.serving(b.deployment())
        name = b.name(b.deployment())
        ended = b.up(name, job=b.job(JobState.ENDED))
        decision, status = b.step(replace(world, probes=b.silent(AT), replicas={name: ended}), NO_PLAN)
        assert decision.actions == ()
        assert status.instances[0].reason == "DoesNotFit"


def test_an_unreadable_spec_takes_nothing_away() -> None:
    world = settled(b.serving(b.deployment()))
    stand_in = b.deployment(status=world.deployment.status, model={"name": "unreadable"}, replicas=0)
    refused = Refused(Reason.INVALID_SPEC, "spec.model: Field required")
    decision, status = b.step(replace(world, deployment=stand_in, unreadable=refused.message), refused)
    assert (decision.publish, decision.actions) == ((), ())
    assert conditions(status)["Ready"] == ("False", "InvalidSpec")


def test_an_unreadable_spec_changes_neither_the_type_of_a_service_nor_its_proxy() -> None:
    """A spec of a newer version, after the operator was rolled back: another type would release the load balancer."""
    of = b.deployment(endpoint={"type": "LoadBalancer", "proxy": True})
    address, proxy = Address(b.host(), b.PORT), b.proxy_pod()
    assert proxy.ip is not None
    slices = (
        Endpoints("r1-plain.8000", (address,), ("http",), "r1-plain"),
        Endpoints("r1-proxy", (Address(proxy.ip, PROXY_PORT),), ("http",), "r1"),
    )
    world = replace(
        b.serving(of),
        service=b.service(type="LoadBalancer"),
        services=frozenset({"r1", "r1-plain", "r1-tls"}),
        proxies=(proxy,),
        endpoints=slices,
    )
    stand_in = b.deployment(status=world.deployment.status, model={"name": "unreadable"}, replicas=0)
    refused = Refused(Reason.INVALID_SPEC, "spec.fallback: Extra inputs are not permitted")
    decision, _ = b.step(replace(world, deployment=stand_in, unreadable=refused.message), refused)
    assert (decision.publish, decision.actions) == ((), ())


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


def test_a_suspended_deployment_gives_everything_back_and_stays() -> None:
    of = b.deployment(suspend=True)
    cluster = b.name(of)
    decision, status = b.step(b.world(of, b.facts(cluster, skypilot=b.seen(b.row(cluster)))))
    assert actions(decision) == (TearDown(cluster),)
    assert conditions(status)["Ready"] == ("False", "Suspended")
    _, empty = b.step(b.world(of))
    assert conditions(empty)["Reconciling"] == ("False", "Suspended")


class TestDeletion:
    OF = b.deployment(deleting=True)
    CLUSTER = b.name(OF)

    def test_an_object_that_was_never_held_is_none_of_our_business(self) -> None:
        decision, _ = b.step(b.world(b.deployment(held=False, deleting=True)))
        assert decision == Decision()

    def test_an_object_of_which_nothing_exists_is_released(self) -> None:
        decision, _ = b.step(b.world(self.OF))
        assert decision.finalizer == RemoveFinalizer()

    @pytest.mark.parametrize("away", [NOT_ASKED, b.AWAY], ids=["not asked", "away"])
    def test_it_is_held_while_skypilot_cannot_be_asked(self, away: Any) -> None:
        decision, _ = b.step(b.world(self.OF, skypilot=away))
        assert decision.finalizer is None

    @pytest.mark.parametrize("state", ["PENDING", "WAITING", "RUNNING"])
    def test_a_launch_for_which_nothing_is_listed_yet_is_cancelled(self, state: str) -> None:
        seen = b.seen(b.request(self.CLUSTER, state=state))
        decision, _ = b.step(b.world(self.OF, b.facts(self.CLUSTER, skypilot=seen)))
        assert actions(decision) == (TearDown(self.CLUSTER, ("req-1",)),)

    @pytest.mark.parametrize("state", ["WAITING", "RUNNING"])
    def test_a_launch_under_way_is_torn_down(self, state: str) -> None:
        seen = b.seen(b.request(self.CLUSTER, state=state), b.row(self.CLUSTER, "INIT"))
        decision, _ = b.step(b.world(self.OF, b.facts(self.CLUSTER, skypilot=seen)))
        assert actions(decision) == (TearDown(self.CLUSTER),)

    def test_a_launch_that_may_still_be_heard_holds_the_object(self) -> None:
        of = b.remembering(self.OF, {self.CLUSTER: b.ledger(unanswered="launch", unanswered_at=b.ago(30))})
        decision, _ = b.step(b.world(of, b.facts(self.CLUSTER)))
        assert (decision.finalizer, decision.actions) == (None, ())

    def test_a_teardown_under_way_is_waited_for(self) -> None:
        seen = b.seen(b.row(self.CLUSTER), b.request(self.CLUSTER, "down"))
        decision, _ = b.step(b.world(self.OF, b.facts(self.CLUSTER, skypilot=seen)))
        assert decision.actions == ()
        assert decision.next_look_s is not None

    def test_unknown_to_skypilot_is_not_gone(self) -> None:
        decision, _ = b.step(b.world(self.OF, b.facts(self.CLUSTER, pods=(b.pod(self.CLUSTER),))))
        assert actions(decision) == (ClearRemains(self.CLUSTER, (f"{self.CLUSTER}-d5ee9000",)),)

    def test_a_service_left_by_skypilot_counts_too(self) -> None:
        left = LaunchedService(f"{self.CLUSTER}-x-head", str(self.CLUSTER), f"{self.CLUSTER}-x")
        decision, _ = b.step(b.world(self.OF, b.facts(self.CLUSTER, services=(left,))))
        assert actions(decision) == (ClearRemains(self.CLUSTER, (f"{self.CLUSTER}-x",)),)

    def test_a_rented_machine_of_a_lost_database_holds_the_object(self) -> None:
        of = b.remembering(self.OF, {self.CLUSTER: b.ledger(infra="aws")})
        decision, status = b.step(b.world(of, b.facts(self.CLUSTER, terminated=Known(None, b.NOW))))
        assert decision.finalizer is None
        assert conditions(status)["Ready"] == ("False", "MachinesUnaccounted")
        assert str(self.CLUSTER) in message(status)
        assert ANNOTATION_ABANDON in message(status)

    @pytest.mark.parametrize(
        "known",
        [
            {"terminated": Known(b.NOW, b.NOW)},
            {"outcome": Known(Outcome("r", RequestKind.DOWN, b.NOW), b.NOW)},
            {"outcome": b.failed_launch()},
        ],
        ids=["in its history", "torn down", "launch failed"],
    )
    def test_a_rented_machine_that_skypilot_terminated_does_not(self, known: dict[str, Any]) -> None:
        of = b.remembering(self.OF, {self.CLUSTER: b.ledger(infra="aws")})
        decision, _ = b.step(b.world(of, b.facts(self.CLUSTER, **known)))
        assert decision.finalizer == RemoveFinalizer()

    def test_its_user_can_insist_and_is_told_what_is_left(self) -> None:
        metadata = self.OF.metadata.model_copy(update={"annotations": {ANNOTATION_ABANDON: "true"}})
        of = self.OF.model_copy(update={"metadata": metadata})
        known = b.facts(self.CLUSTER, skypilot=b.AWAY)
        decision, _ = b.step(b.world(of, known, skypilot=b.AWAY))
        assert (decision.finalizer, decision.abandoned) == (RemoveFinalizer(), (self.CLUSTER,))

    def test_a_failed_teardown_is_reported_and_repeated_later(self) -> None:
        of = b.remembering(self.OF, {self.CLUSTER: b.ledger(leaving_since=b.ago(9), teardown_at=b.ago(8))})
        known = b.facts(self.CLUSTER, skypilot=b.seen(b.row(self.CLUSTER)), outcome=b.failed_teardown())
        decision, status = b.step(b.world(of, known))
        assert decision.actions == ()
        assert "AuthFailure" in message(status)
        later = b.world(of.model_copy(update={"status": status}), known, now=b.NOW + timedelta(seconds=11))
        assert actions(b.step(later)[0]) == (TearDown(self.CLUSTER),)

    def test_it_leaves_the_service_and_is_torn_down_at_once(self) -> None:
        world = changed(settled(b.serving(b.deployment())), deleting=True)
        decision, _ = b.step(world)
        assert decision.publish == (UnpublishEndpoints("r1-8000"),)
        assert actions(decision) == (TearDown(self.CLUSTER),)


class TestDrain:
    """A replica that serves and is no longer wanted leaves the Service first."""

    OF = b.deployment(replicas=2)
    KEPT, SURPLUS = b.name(OF, 0), b.name(OF, 1)
    LEFT = Address(b.host(1), b.PORT)

    def leaving(self, **probe: Any) -> World:
        """The surplus replica, 5 seconds after it has left the Service."""
        world = changed(settled(b.serving(self.OF, self.KEPT, self.SURPLUS)), replicas=1)
        decision, status = b.step(world)
        assert decision.publish == (PublishEndpoints("r1-8000", (AT,), ("http",)),)
        assert decision.actions == ()
        unpublished = replace(
            world,
            deployment=world.deployment.model_copy(update={"status": status}),
            endpoints=(b.endpoints(AT),),
        )
        _, status = b.step(unpublished)
        probes = {**world.probes, self.LEFT: Probe(True, b.NOW, **probe)}
        of = unpublished.deployment.model_copy(update={"status": status})
        return replace(unpublished, deployment=of, probes=probes, now=b.NOW + timedelta(seconds=5))

    def test_it_waits_while_the_slice_still_leads_to_it(self) -> None:
        world = changed(settled(b.serving(self.OF, self.KEPT, self.SURPLUS)), replicas=1)
        late = replace(world, now=b.NOW + timedelta(hours=1))
        _, status = b.step(late)
        refused = replace(late, deployment=late.deployment.model_copy(update={"status": status}))
        assert b.step(replace(refused, now=b.NOW + timedelta(hours=2)))[0].actions == ()

    def test_it_waits_for_its_running_requests(self) -> None:
        assert b.step(self.leaving(running=2))[0].actions == ()

    def test_it_goes_when_they_have_ended(self) -> None:
        assert actions(b.step(self.leaving(running=0))[0]) == (TearDown(self.SURPLUS),)

    def test_it_goes_when_their_time_is_up(self) -> None:
        world = self.leaving(running=2)
        seconds = world.deployment.status.instances[1].ledger.drain_seconds
        assert actions(b.step(replace(world, now=b.NOW + timedelta(seconds=seconds)))[0]) == (TearDown(self.SURPLUS),)

    def test_an_engine_that_does_not_say_gets_ten_seconds(self) -> None:
        world = self.leaving()
        assert b.step(world)[0].actions == ()
        assert actions(b.step(replace(world, now=b.NOW + timedelta(seconds=10)))[0]) == (TearDown(self.SURPLUS),)

    def test_its_address_stays_in_the_status_and_the_deployment_ready(self) -> None:
        _, status = b.step(self.leaving(running=2))
        assert [i.address for i in status.instances] == [str(AT), str(self.LEFT)]
        assert conditions(status)["Ready"] == ("True", "Ready")

    def test_after_a_failed_teardown_it_does_not_drain_again(self) -> None:
        world = self.leaving(running=0)
        decision, status = b.step(world)
        assert actions(decision) == (TearDown(self.SURPLUS),)
        known = replace(world.replicas[self.SURPLUS], outcome=b.failed_teardown())
        failed = replace(
            world,
            deployment=world.deployment.model_copy(update={"status": status}),
            replicas={**world.replicas, self.SURPLUS: known},
        )
        decision, status = b.step(failed)
        surplus = next(i for i in status.instances if i.name == str(self.SURPLUS))
        assert (decision.actions, surplus.reason, surplus.attempts) == ((), "TeardownFailed", 1)
        later = replace(
            failed,
            deployment=failed.deployment.model_copy(update={"status": status}),
            now=failed.now + timedelta(seconds=11),
        )
        assert actions(b.step(later)[0]) == (TearDown(self.SURPLUS),)


class TestOldStatuses:
    def test_a_status_of_a_newer_operator_is_read(self) -> None:
        body = {
            "metadata": {"name": "r1", "namespace": "serving", "uid": b.UID},
            "spec": b.CPU_SPEC,
            "status": {
                "instances": [
                    {
                        "name": str(b.name(b.deployment())),
                        "phase": "Draining",
                        "reason": "SomethingNew",
                        "ledger": {"attempts": "many", "restarts": 2, "readySince": "tomorrow", "new": {}},
                    },
                    {"noName": True},
                ],
                "plan": {"verdict": "Perhaps"},
            },
        }
        of, problem = DeepSeekDeployment.parse_leniently(body)
        assert problem == ""
        (instance,) = of.status.instances
        assert (instance.ledger.attempts, instance.ledger.restarts, instance.ledger.ready_since) == (0, 2, None)
        _, status = b.step(b.world(of, b.facts(b.name(of), skypilot=b.seen(b.row(b.name(of)))), service=None))
        assert status.instances[0].reason

    def test_an_object_that_cannot_be_read_can_be_deleted(self) -> None:
        of, problem = DeepSeekDeployment.parse_leniently(
            {
                "metadata": {
                    "name": "r1",
                    "namespace": "serving",
                    "uid": b.UID,
                    "finalizers": ["deepseek-operator.io/teardown"],
                    "deletionTimestamp": "2026-11-24T11:59:00Z",
                },
                "spec": {"model": 5},
            }
        )
        assert "model" in problem
        decision, _ = b.step(b.world(of, unreadable=problem), Refused(Reason.INVALID_SPEC, problem))
        assert decision.finalizer == RemoveFinalizer()


class TestEvents:
    def test_only_transitions_are_reported(self) -> None:
        _, status = b.step(b.serving(b.deployment()))
        assert notes(status, status) == ()
        assert [note.reason for note in notes(DeepSeekDeploymentStatus(), status)] == ["Ready"]

    def test_a_failure_is_a_warning_with_its_cause(self) -> None:
        of = b.remembering(b.deployment(), {b.name(b.deployment()): b.ledger()})
        _, after = b.step(b.world(of, b.facts(b.name(of), outcome=b.failed_launch())))
        (note,) = notes(of.status, after)
        assert (note.type, note.reason) == ("Warning", "Unschedulable")
        assert "0/1 nodes are available" in note.message
