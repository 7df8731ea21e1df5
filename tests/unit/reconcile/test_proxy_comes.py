"""How traffic goes from the engines to their proxies: each step after the one before has been seen to work."""

from dataclasses import replace

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.base import Address, Failure, Probe
from deepseek_operator.facts.world import World
from deepseek_operator.reconcile.actions import ApplyProxy, PublishEndpoints, UnpublishEndpoints
from deepseek_operator.reconcile.decide import decide
from deepseek_operator.reconcile.endpoint import Reachability, reachability
from deepseek_operator.reconcile.events import EventNote, notes
from deepseek_operator.reconcile.results import with_failed_publish
from deepseek_operator.reconcile.status import compute_status
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.decisions import NO_PLAN
from tests.unit.reconcile.proxied import FRONTS, MACHINE, SERVICES, led, published, rented, revision, with_proxy


class TestTheWayThere:
    def test_the_service_leads_to_proxies_that_have_an_engine(self) -> None:
        world = replace(led(rented()), endpoints=led(rented()).endpoints[1:])
        assert published(world) == (PublishEndpoints("r1-proxy", FRONTS, ("http",)),)

    def test_engines_of_the_cluster_stay_until_then(self) -> None:
        engine = Address(b.host(), b.PORT)
        before = with_proxy(b.serving(b.deployment()))
        first = led(before, direct=(engine,), plain=(engine,))
        waiting = replace(first, endpoints=(first.endpoints[0], first.endpoints[2]), probes=before.probes)
        assert published(replace(waiting, services=SERVICES)) == ()
        (to_proxies, away) = published(replace(first, endpoints=waiting.endpoints, services=SERVICES))
        assert to_proxies == PublishEndpoints("r1-proxy", FRONTS, ("http",))
        assert away == UnpublishEndpoints("r1-8000")

    def test_a_proxy_that_was_not_asked_yet_keeps_its_place(self) -> None:
        world = led(rented())
        assert published(replace(world, probes=b.answering(MACHINE))) == ()

    def test_a_proxy_that_goes_or_has_no_engine_leaves_the_service(self) -> None:
        world = led(rented())
        going = replace(world, proxies=(replace(world.proxies[0], deleting=True), world.proxies[1]))
        assert PublishEndpoints("r1-proxy", FRONTS[1:], ("http",)) in published(going)
        mute = replace(world, probes={**world.probes, **b.silent(FRONTS[0])})
        assert published(mute) == (PublishEndpoints("r1-proxy", FRONTS[1:], ("http",)),)

    def test_engines_of_the_cluster_do_without_where_all_proxies_are_dead(self) -> None:
        engine = Address(b.host(), b.PORT)
        world = replace(led(with_proxy(b.serving(b.deployment())), plain=(engine,)), services=SERVICES)
        dead = replace(world, probes={**world.probes, **b.silent(FRONTS[0]), **b.silent(FRONTS[1])})
        assert published(dead) == (
            PublishEndpoints("r1-8000", (engine,), ("http",)),
            UnpublishEndpoints("r1-proxy"),
        )

    def test_proxies_whose_only_engine_is_away_stay_until_it_is_back(self) -> None:
        world = led(rented())
        dead = replace(world, probes={**world.probes, **b.silent(FRONTS[0]), **b.silent(FRONTS[1])})
        assert published(dead) == ()

    def test_nobody_is_led_to_a_machine_itself(self) -> None:
        world = rented()
        assert not [a for a in published(world) if isinstance(a, PublishEndpoints) and a.service is None]
        assert MACHINE not in world.published

    def test_until_a_proxy_is_ready_the_deployment_is_not(self) -> None:
        world = rented(probes={**b.answering(MACHINE, b.SERVICE)})
        _, status = b.step(world)
        ready = next(one for one in status.conditions if one.type == "Ready")
        assert (ready.status, ready.reason) == ("False", "PublishingEndpoint")
        assert "Deployment r1-proxy" in ready.message

    def test_what_is_in_the_way_of_a_proxy_stands_in_the_status(self) -> None:
        world = rented(probes={**b.answering(MACHINE, b.SERVICE)})
        plan = b.planned(world.deployment)
        decision = decide(world, plan)
        failed = [(action, Failure(Reason.PROXY_REFUSED, f"no {type(action).__name__}")) for action in decision.publish]
        status = compute_status(world, plan, with_failed_publish(decision, failed))
        said = {one.type: (one.status, one.reason, one.message) for one in status.conditions}
        words = "waiting for a pod of Deployment r1-proxy: no ApplyProxy"
        assert said["Ready"] == ("False", "ProxyRefused", words)
        assert said["EndpointPublished"] == said["Ready"]
        note = EventNote("Warning", "ProxyRefused", words)
        assert note in notes(world.deployment.status, status)
        assert note not in notes(status, status)

    def test_a_pod_of_the_proxy_that_cannot_run_is_told(self) -> None:
        pods = (b.proxy_pod(0), b.proxy_pod(1, trouble=Failure(Reason.IMAGE_PULL_FAILED, "no such image")))
        told = reachability(rented(proxies=pods), serving=True, was_ready=False, proxied=True)
        assert told == Reachability(False, "waiting for a pod of Deployment r1-proxy: no such image")
        waiting = reachability(rented(proxies=pods[:1]), serving=True, was_ready=False, proxied=True)
        assert waiting.detail == "waiting for a pod of Deployment r1-proxy"

    @pytest.mark.parametrize("healthy", [True, False])
    def test_behind_proxies_the_service_itself_says_whether_the_model_answers(self, healthy: bool) -> None:
        world = led(rented(probes={b.SERVICE: Probe(healthy, b.NOW, "words")}))
        told = reachability(world, serving=True, was_ready=not healthy, proxied=True)
        assert told.answers is healthy
        assert told.detail == ("" if healthy else f"the Service does not answer yet at {b.SERVICE}")


class TestTheNextLookComesSoon:
    def look(self, world: World) -> float | None:
        return decide(world, b.planned(world.deployment)).next_look_s

    def test_while_the_proxy_is_made_or_taken_away(self) -> None:
        assert self.look(rented()) == 5
        assert self.look(replace(b.serving(b.deployment()), proxies=(b.proxy_pod(),))) == 5

    def test_while_no_proxy_is_ready_for_a_replica_that_is(self) -> None:
        world = led(with_proxy(b.serving(b.deployment())))
        made = replace(world, services=SERVICES, endpoints=(b.endpoints(Address(b.host(), b.PORT)),))
        mute = {**made.probes, **b.silent(FRONTS[0]), **b.silent(FRONTS[1])}
        assert self.look(made) is None
        assert self.look(replace(made, probes=mute)) == 5

    def test_but_not_for_proxies_without_a_replica(self) -> None:
        none = led(with_proxy(b.world(b.deployment(replicas=0))))
        idle = replace(none, services=SERVICES, endpoints=(), probes={})
        assert decide(idle, b.planned(idle.deployment)).proxied
        assert self.look(idle) is None

    def test_nor_where_no_proxy_is_wanted(self) -> None:
        assert self.look(b.serving(b.deployment())) is None


@pytest.mark.parametrize(("ip", "does"), [(None, [ApplyProxy]), ("10.88.1.1", [])], ids=["waiting", "running"])
def test_without_a_plan_pods_of_a_proxy_that_wait_are_helped_and_those_that_run_are_left(
    ip: str | None, does: list[type]
) -> None:
    """A Secret that somebody has deleted keeps them, and nobody but the operator can bring it back."""
    world = rented(ledger={"health_path": "/health"})
    pods = tuple(b.proxy_pod(number, revision(world), ip=ip) for number in range(2))
    decision = decide(replace(world, proxies=pods), NO_PLAN)
    assert [type(action) for action in decision.publish if isinstance(action, ApplyProxy)] == does
