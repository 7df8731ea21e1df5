"""Where a spec cannot be planned, or an object cannot be read: what serves is left alone, and nothing is launched."""

from dataclasses import replace

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.kubernetes import Endpoints
from deepseek_operator.facts.skypilot import JobState
from deepseek_operator.launch.proxy import PROXY_PORT
from deepseek_operator.planning import Refused
from deepseek_operator.reconcile.actions import PublishEndpoints, RemoveFinalizer, UnpublishEndpoints
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.decisions import AT, NO_PLAN, changed, conditions, decided, message, settled


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

    def test_an_engine_that_answers_again_is_led_to_again(self) -> None:
        decision, _ = b.step(replace(settled(b.serving(b.deployment())), endpoints=()), NO_PLAN)
        assert decision.publish == (PublishEndpoints("r1-8000", (AT,), ("http",)),)

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


def test_no_old_replica_makes_room_for_a_spec_that_cannot_be_planned() -> None:
    of = b.deployment(replicas=2, updateStrategy={"maxSurge": 0, "maxUnavailable": 1})
    found = decided(b.serving(of, b.older(of, 0), b.older(of, 1)), NO_PLAN).replicas
    assert [replica.finding.phase for replica in found] == [Phase.READY, Phase.READY]


def test_a_spec_that_cannot_be_planned_adds_no_replica_that_waits() -> None:
    assert decided(b.world(b.deployment()), NO_PLAN).replicas == ()
