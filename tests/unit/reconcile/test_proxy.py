"""When a proxy stands between the Service and the engines, and how traffic goes from one way to the other."""

from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address, Failure, Known, Probe
from deepseek_operator.facts.kubernetes import Endpoints
from deepseek_operator.facts.names import revision_of, server_name
from deepseek_operator.facts.world import NOT_ASKED, QuestionKind, Seen, World, api_key_question
from deepseek_operator.launch.proxy import PROXY_PATH, PROXY_PORT, ProxySettings, proxy_revision
from deepseek_operator.planning import Refused
from deepseek_operator.reconcile.actions import (
    Action,
    ApplyProxy,
    Launch,
    PublishEndpoints,
    RemoveProxy,
    TearDown,
    UnpublishEndpoints,
)
from deepseek_operator.reconcile.decide import decide
from deepseek_operator.reconcile.endpoint import Reachability, reachability
from deepseek_operator.reconcile.events import EventNote, notes
from deepseek_operator.reconcile.proxy import front
from deepseek_operator.reconcile.results import with_failed_publish
from deepseek_operator.reconcile.status import compute_status
from tests.unit.reconcile import builders as b

MACHINE = Address("54.0.0.1", b.PORT)
FRONTS = (Address("10.88.1.1", PROXY_PORT), Address("10.88.1.2", PROXY_PORT))
SERVICES = frozenset({"r1", "r1-plain", "r1-tls"})


def rented(**fields: Any) -> World:
    """One replica on a rented machine that answers; nobody leads to it yet."""
    of = b.rented_deployment()
    name = b.name(of)
    kept = b.ledger(infra="aws", address=str(MACHINE), ready_since=b.ago(300), certificate_until=b.ago(-300 * 86_400))
    kept = kept.model_copy(update=fields.pop("ledger", {}))
    seen = b.seen(b.row(name, cloud="AWS", region="us-east-1"))
    replica = b.facts(name, skypilot=seen, price=Known(None, b.NOW), endpoint=Known(MACHINE, b.NOW))
    known = {
        "authority": b.AUTHORITY,
        "probes": b.answering(MACHINE),
        "secrets": b.API_KEY_EXISTS,
        "clouds": b.CLOUDS_ENABLED,
        "services": SERVICES,
        **fields,
    }
    return b.world(b.remembering(of, {name: kept}), replica, **known)


def led(world: World, *, direct: tuple[Address, ...] = (), plain: tuple[Address, ...] = ()) -> World:
    """The same with proxies that are ready, and with slices that lead to them."""
    members = tuple(
        Endpoints(f"{service}.{b.PORT}", addresses, ("http",), service)
        for service, addresses in (("r1-plain", plain), ("r1-tls", () if plain else (MACHINE,)))
        if addresses
    )
    front = Endpoints("r1-proxy", FRONTS, ("http",), "r1")
    straight = (Endpoints("r1-8000", direct, ("http",), "r1"),) if direct else ()
    return replace(
        world,
        proxies=(b.proxy_pod(0, revision(world)), b.proxy_pod(1, revision(world))),
        endpoints=(*straight, front, *members),
        probes={**world.probes, **b.answering(*FRONTS)},
    )


def revision(world: World) -> str:
    """What the proxy of a world is made from."""
    action = next(a for a in published(replace(world, proxies=())) if isinstance(a, ApplyProxy))
    return proxy_revision(action.spec)


def published(world: World) -> tuple[Action, ...]:
    return decide(world, b.planned(world.deployment)).publish


def with_proxy(world: World, *, wanted: bool = True) -> World:
    spec = world.deployment.spec
    endpoint = spec.endpoint.model_copy(update={"proxy": wanted})
    return replace(
        world, deployment=world.deployment.model_copy(update={"spec": spec.model_copy(update={"endpoint": endpoint})})
    )


class TestWhenThereIsOne:
    def test_replicas_of_the_cluster_need_none(self) -> None:
        assert published(b.serving(b.deployment())) == ()

    def test_a_rented_replica_brings_one(self) -> None:
        (members, applied) = published(rented())
        assert members == PublishEndpoints("r1-tls.8000", (MACHINE,), ("http",), "r1-tls")
        assert isinstance(applied, ApplyProxy)
        assert applied.spec.encrypted

    def test_it_is_made_while_the_machine_still_comes_up(self) -> None:
        world = rented(probes={}, ledger={"ready_since": None, "address": None})
        assert any(isinstance(action, ApplyProxy) for action in published(world))

    def test_a_user_may_ask_for_one(self) -> None:
        (members, applied) = published(with_proxy(b.serving(b.deployment())))
        assert (members, applied) == (
            PublishEndpoints("r1-plain.8000", (Address(b.host(), b.PORT),), ("http",), "r1-plain"),
            applied,
        )
        assert isinstance(applied, ApplyProxy)
        assert (applied.spec.encrypted, applied.spec.authority, applied.spec.api_key) == (False, "", None)

    def test_a_machine_of_an_operator_without_tls_needs_none(self) -> None:
        assert published(rented(ledger={"certificate_until": None}))[0] == PublishEndpoints(
            "r1-8000", (MACHINE,), ("http",)
        )

    def test_one_that_has_read_another_authority_is_replaced(self) -> None:
        world = led(rented())
        renewed = replace(world, authority=Known("-----BEGIN CERTIFICATE----- another", b.NOW))
        assert [type(action) for action in published(renewed)] == [ApplyProxy]

    @pytest.mark.parametrize("authority", [b.AWAY, Known("", b.NOW)], ids=["unknown", "gone"])
    def test_none_is_made_before_its_authority_is_known(self, authority: Any) -> None:
        of = with_proxy(b.world(b.rented_deployment("kubernetes", "aws"), authority=authority))
        decision = decide(of, b.planned(of.deployment))
        assert decision.publish == ()
        assert of.authority_question in decision.asks
        made = replace(of, authority=b.AUTHORITY)
        assert [type(action) for action in published(made)] == [ApplyProxy]

    @pytest.mark.parametrize(
        ("says", "of", "planned", "tls", "asked"),
        [
            ("a machine, whatever the spec says now", b.deployment(), True, True, True),
            ("a machine, while nothing can be planned", b.rented_deployment(), False, True, True),
            ("a spec that may rent one", b.rented_deployment("kubernetes", "aws"), True, False, True),
            ("a spec that cannot", b.deployment(), True, False, False),
            ("nothing that is known", b.rented_deployment(), False, False, False),
        ],
    )
    def test_its_authority_is_asked_for_where_a_machine_may_need_it(
        self, says: str, of: DeepSeekDeployment, planned: bool, tls: bool, asked: bool
    ) -> None:
        world = with_proxy(b.world(of))
        found = front(world, b.planned(of) if planned else None, ProxySettings(), frozenset(), tls=tls)
        key = () if of.spec.endpoint.api_key_secret_ref else (api_key_question(of),)
        assert found.asks == ((world.authority_question, *key) if asked else ()), says

    def test_one_that_is_complete_is_left_alone(self) -> None:
        assert published(led(rented())) == ()

    @pytest.mark.parametrize(
        "change",
        [
            {"proxies": (b.proxy_pod(0, "other"), b.proxy_pod(1, "other"))},
            {"proxies": ()},
            {"services": frozenset({"r1", "r1-tls"})},
            {"proxies": tuple(replace(one, deleting=True) for one in led(rented()).proxies)},
        ],
        ids=["of another revision", "without pods", "without a Service", "with pods that go"],
    )
    def test_one_that_is_not_as_it_should_be_is_applied_again(self, change: dict[str, Any]) -> None:
        assert any(isinstance(action, ApplyProxy) for action in published(replace(led(rented()), **change)))

    def test_the_operators_key_is_added_and_that_of_the_user_is_not(self) -> None:
        (_, applied) = published(rented())
        assert isinstance(applied, ApplyProxy)
        assert applied.spec.api_key is None  # the user gave one
        spec = rented().deployment.spec
        without = spec.model_copy(update={"endpoint": spec.endpoint.model_copy(update={"api_key_secret_ref": None})})
        world = replace(rented(), deployment=rented().deployment.model_copy(update={"spec": without}))
        decision = decide(world, b.planner().plan(without))
        (own,) = [action for action in decision.publish if isinstance(action, ApplyProxy)]
        assert own.spec.api_key is not None
        assert own.spec.api_key.name == "r1-api-key"

    def test_the_operators_key_is_added_while_machines_of_an_older_spec_ask_for_it(self) -> None:
        spec = rented().deployment.spec
        keyless = spec.model_copy(
            update={
                "endpoint": spec.endpoint.model_copy(update={"api_key_secret_ref": None}),
                "resources": spec.resources.model_copy(update={"infra": ("kubernetes",)}),
            }
        )
        world = replace(rented(), deployment=rented().deployment.model_copy(update={"spec": keyless}))
        decision = decide(replace(world, revision=revision_of(keyless)), b.planner().plan(keyless))
        (applied,) = [action for action in decision.publish if isinstance(action, ApplyProxy)]
        assert applied.spec.encrypted
        assert applied.spec.api_key is not None

    def test_the_number_of_pods_is_the_operators(self) -> None:
        world = rented()
        decision = decide(world, b.planned(world.deployment), proxy=ProxySettings("x/haproxy:1", 3))
        (applied,) = [action for action in decision.publish if isinstance(action, ApplyProxy)]
        assert applied.spec.settings == ProxySettings("x/haproxy:1", 3)


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


class TestWhileTheSpecCannotBePlanned:
    """A price has risen since the machine was asked for, say."""

    REFUSED = Refused(Reason.DOES_NOT_FIT, "needs 654 GiB")

    @pytest.mark.parametrize("path", ["/health", "/ready"])
    def test_a_machine_that_is_rented_gets_its_proxy(self, path: str) -> None:
        world = rented(ledger={"health_path": path})
        (made,) = [one for one in decide(world, self.REFUSED).publish if isinstance(one, ApplyProxy)]
        assert (made.spec.health_path, made.spec.encrypted) == (path, True)

    def test_one_that_is_not_remembered_does_not(self) -> None:
        world = rented(ledger={"health_path": None})
        assert not any(isinstance(one, ApplyProxy) for one in decide(world, self.REFUSED).publish)

    def test_nobody_else_gets_one(self) -> None:
        world = b.serving(b.deployment(endpoint={"proxy": True}))
        assert not any(isinstance(one, ApplyProxy) for one in decide(world, self.REFUSED).publish)


class TestItStays:
    """What the operator does not know yet, or what is on its way, is no reason to take a proxy away."""

    def test_as_it_is_while_the_spec_cannot_be_planned(self) -> None:
        world = replace(led(rented()), proxies=led(rented()).proxies[:1])
        refused = decide(world, Refused(Reason.DOES_NOT_FIT, "needs 654 GiB"))
        assert refused.publish == (PublishEndpoints("r1-proxy", FRONTS[:1], ("http",)),)

    def test_while_the_only_machine_is_launched_again_and_may_be_rented(self) -> None:
        world = led(rented(probes={}, ledger={"infra": None, "address": None, "ready_since": None}))
        (replica,) = world.replicas.values()
        launching = replace(replica, skypilot=b.seen(b.request(replica.name)), last_seen=Seen(), endpoint=NOT_ASKED)
        with_slice = replace(world, replicas={replica.name: launching})
        without = replace(with_slice, endpoints=())
        assert [action for action in published(with_slice) if action != UnpublishEndpoints("r1-tls.8000")] == []
        assert published(without) == (PublishEndpoints("r1-proxy", FRONTS, ("http",)),)

    def test_but_none_is_made_for_a_launch_that_may_stay_in_the_cluster(self) -> None:
        world = rented(probes={}, ledger={"infra": None, "address": None, "ready_since": None}, services=frozenset())
        (replica,) = world.replicas.values()
        launching = replace(replica, skypilot=b.seen(b.request(replica.name)), last_seen=Seen(), endpoint=NOT_ASKED)
        assert published(replace(world, replicas={replica.name: launching})) == ()

    def test_after_a_restart_with_a_lost_status_before_skypilot_was_asked(self) -> None:
        world = led(rented())
        lost = replace(
            world,
            deployment=b.rented_deployment(),
            replicas={},
            skypilot=NOT_ASKED,
            authority=NOT_ASKED,
            probes={},
        )
        assert published(lost) == ()


class TestTheWayBack:
    def engine(self) -> Address:
        return Address(b.host(), b.PORT)

    def test_members_stay_while_the_service_leads_to_proxies_that_nobody_sees(self) -> None:
        asked = led(with_proxy(b.serving(b.deployment())), plain=(self.engine(),))
        unseen = replace(with_proxy(asked, wanted=False), services=SERVICES, proxies=())
        assert published(unseen) == (
            PublishEndpoints("r1-8000", (self.engine(),), ("http",)),
            UnpublishEndpoints("r1-proxy"),
        )

    def test_the_service_leads_to_engines_before_the_proxy_goes(self) -> None:
        asked = led(with_proxy(b.serving(b.deployment())), plain=(self.engine(),))
        world = replace(with_proxy(asked, wanted=False), services=SERVICES)
        assert published(world) == (
            PublishEndpoints("r1-8000", (self.engine(),), ("http",)),
            UnpublishEndpoints("r1-proxy"),
        )
        left = Endpoints("r1-plain.8000", (self.engine(),), ("http",), "r1-plain")
        after = replace(world, endpoints=(b.endpoints(self.engine()), left))
        assert published(after) == (RemoveProxy(),)  # its members stay for as long as it finishes requests

    @pytest.mark.parametrize(
        ("proxies", "services", "removed"),
        [
            ((b.proxy_pod(),), {"r1"}, True),
            ((), {"r1", "r1-tls"}, True),
            ((b.proxy_pod(deleting=True),), {"r1"}, False),
            ((), {"r1"}, False),
        ],
        ids=["a pod", "a Service", "a pod that goes", "nothing"],
    )
    def test_what_is_left_of_it_is_removed(self, proxies: Any, services: set[str], removed: bool) -> None:
        world = replace(b.serving(b.deployment()), proxies=proxies, services=frozenset(services))
        assert (RemoveProxy() in published(world)) is removed

    def test_nothing_is_left_of_it(self) -> None:
        left = Endpoints("r1-plain.8000", (self.engine(),), ("http",), "r1-plain")
        world = replace(
            b.serving(b.deployment()), endpoints=(b.endpoints(self.engine()), left), services=frozenset({"r1"})
        )
        assert published(world) == (UnpublishEndpoints("r1-plain.8000"),)
        assert published(replace(world, endpoints=world.endpoints[:1])) == ()

    def test_it_goes_with_the_object(self) -> None:
        world = led(rented())
        body = world.deployment.metadata.model_copy(update={"deletion_timestamp": "2026-11-24T11:59:00Z"})
        gone = replace(world, deployment=world.deployment.model_copy(update={"metadata": body}))
        assert published(gone) == (UnpublishEndpoints("r1-proxy"), UnpublishEndpoints("r1-tls.8000"))
        incomplete = replace(gone, services=frozenset({"r1"}), proxies=gone.proxies[:1])
        assert published(incomplete) == published(gone)


class TestProbes:
    def test_a_machine_is_asked_over_tls_as_its_replica(self) -> None:
        world = rented()
        target = decide(world, b.planned(world.deployment)).targets[MACHINE]
        assert target.encryption is not None
        assert target.encryption.server_name == server_name(str(b.name(world.deployment)), b.UID)

    def test_proxies_are_asked_whether_they_have_an_engine(self) -> None:
        world = led(rented())
        targets = decide(world, b.planned(world.deployment)).targets
        assert [targets[one].path for one in FRONTS] == [PROXY_PATH, PROXY_PATH]

    def test_only_proxies_that_are_led_to_may_miss_an_answer(self) -> None:
        world = led(rented())
        targets = decide(world, b.planned(world.deployment)).targets
        assert [targets[one].trusted for one in FRONTS] == [True, True]
        targets = decide(replace(world, endpoints=world.endpoints[1:]), b.planned(world.deployment)).targets
        assert [targets[one].trusted for one in FRONTS] == [False, False]

    def test_pods_without_an_address_or_that_go_are_not_asked(self) -> None:
        pods = (b.proxy_pod(0, ip=None), b.proxy_pod(1, deleting=True), b.proxy_pod(2))
        targets = decide(rented(proxies=pods), b.planned(b.rented_deployment())).targets
        assert [one.host for one in targets if one.port == PROXY_PORT] == ["10.88.1.3"]

    @pytest.mark.parametrize("authority", [b.AWAY, Known("", b.NOW)], ids=["unknown", "gone"])
    def test_a_machine_that_nobody_can_tell_from_a_stranger_keeps_what_it_has(self, authority: Any) -> None:
        world = replace(led(rented()), authority=authority, probes=b.answering(*FRONTS))
        decision = decide(world, b.planned(world.deployment))
        assert MACHINE not in decision.targets
        assert (decision.publish, decision.actions) == ((), ())

    @pytest.mark.parametrize("authority", [b.AWAY, Known("", b.NOW)], ids=["unknown", "gone"])
    def test_who_signs_for_a_machine_is_asked_until_it_is_known(self, authority: Any) -> None:
        world = led(rented())
        settled = decide(world, b.planned(world.deployment))
        assert settled.next_look_s is None
        assert world.authority_question not in settled.asks
        missing = decide(replace(world, authority=authority), b.planned(world.deployment))
        assert world.authority_question in missing.asks
        assert missing.next_look_s == 5.0

    def test_replicas_of_the_cluster_are_asked_in_plain(self) -> None:
        world = b.serving(b.deployment())
        decision = decide(world, b.planned(world.deployment))
        assert all(target.encryption is None for target in decision.targets.values())
        assert all(question.kind is not QuestionKind.AUTHORITY for question in decision.asks)


class TestCertificates:
    SOON = {"certificate_until": b.ago(-29 * 86_400)}

    def test_a_launch_on_a_cloud_notes_how_long_its_certificate_is_valid(self) -> None:
        of = b.rented_deployment()
        _, status = b.step(b.world(of, secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED))
        until = status.instances[0].ledger.certificate_until
        assert until is not None
        assert (until - b.NOW).days == 365
        _, status = b.step(b.world(b.deployment()))
        assert status.instances[0].ledger.certificate_until is None

    def test_a_replica_whose_certificate_ends_soon_gets_a_successor_first(self) -> None:
        world = led(rented(ledger=self.SOON))
        decision = decide(world, b.planned(world.deployment))
        (action,) = [action for _, action in decision.actions]
        assert isinstance(action, Launch)
        assert action.name.ordinal == 1  # the name of its predecessor is taken
        assert action.name.revision == b.name(world.deployment).revision
        assert decision.publish == ()

    def test_it_leaves_when_the_successor_serves(self) -> None:
        world = led(rented(ledger=self.SOON))
        old, new = b.name(world.deployment), b.name(world.deployment, 1)
        there = Address("54.0.0.2", b.PORT)
        kept = b.ledger(infra="aws", address=str(there), ready_since=b.ago(30), certificate_until=b.ago(-365 * 86_400))
        of = b.remembering(world.deployment, {old: world.deployment.status.instances[0].ledger, new: kept})
        seen = b.seen(b.row(new, cloud="AWS", region="us-east-1"))
        successor = b.facts(new, skypilot=seen, price=Known(None, b.NOW), endpoint=Known(there, b.NOW))
        to_proxies, members = world.endpoints
        world = replace(
            world,
            deployment=of,
            replicas={**world.replicas, new: successor},
            probes={**world.probes, **b.answering(there)},
            endpoints=(to_proxies, replace(members, addresses=(MACHINE, there))),
        )
        decision = decide(world, b.planned(world.deployment))
        assert decision.publish == (PublishEndpoints("r1-tls.8000", (there,), ("http",), "r1-tls"),)
        assert {one.name: one.finding.phase for one in decision.replicas} == {old: Phase.TERMINATING, new: Phase.READY}

    def test_a_replica_of_the_cluster_has_none_that_could_end(self) -> None:
        of = b.deployment()
        world = b.serving(of)
        kept = world.deployment.status.instances[0].ledger.model_copy(update=self.SOON)
        world = replace(world, deployment=b.remembering(world.deployment, {b.name(of): kept}))
        assert decide(world, b.planned(of)).actions == ()


def test_a_replica_behind_a_proxy_stays_until_every_proxy_knows_that_it_goes() -> None:
    world = led(rented())
    old = b.older(world.deployment)
    kept = world.deployment.status.instances[0].ledger.model_copy(
        update={"leaving_since": b.ago(15), "unpublished_since": b.ago(15), "address": "54.0.0.9:8000"}
    )
    ledgers = {b.name(world.deployment): world.deployment.status.instances[0].ledger, old: kept}
    gone = Address("54.0.0.9", b.PORT)
    replica = b.facts(old, skypilot=b.seen(b.row(old, cloud="AWS")), price=Known(None, b.NOW))
    world = replace(
        world,
        deployment=b.remembering(world.deployment, ledgers),
        replicas={**world.replicas, old: replica},
        probes={**world.probes, gone: replace(b.answering(gone)[gone], running=0)},
    )
    assert decide(world, b.planned(world.deployment)).actions == ()
    ledgers[old] = kept.model_copy(update={"unpublished_since": b.ago(25)})
    later = replace(world, deployment=b.remembering(world.deployment, ledgers))
    assert [type(action) for _, action in decide(later, b.planned(world.deployment)).actions] == [TearDown]
