"""How proxies and rented machines behind them are probed, and who follows before a certificate ends."""

from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.status import Phase
from deepseek_operator.facts.base import Address, Known
from deepseek_operator.facts.names import server_name
from deepseek_operator.facts.world import QuestionKind
from deepseek_operator.launch.proxy import PROXY_PATH, PROXY_PORT
from deepseek_operator.reconcile.actions import Launch, PublishEndpoints
from deepseek_operator.reconcile.decide import decide
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.proxied import FRONTS, MACHINE, led, rented


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
