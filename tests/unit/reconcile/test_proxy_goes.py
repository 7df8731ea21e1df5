"""When a proxy stays although little is known, and how traffic goes back to the engines before it goes."""

from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.base import Address, Known
from deepseek_operator.facts.kubernetes import Endpoints
from deepseek_operator.facts.world import NOT_ASKED, Seen
from deepseek_operator.planning import Refused
from deepseek_operator.reconcile.actions import PublishEndpoints, RemoveProxy, TearDown, UnpublishEndpoints
from deepseek_operator.reconcile.decide import decide
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.proxied import FRONTS, MACHINE, SERVICES, led, published, rented, with_proxy


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

    @pytest.mark.parametrize("conflict", [True, False])
    def test_machines_leave_it_although_no_service_of_ours_leads_to_it(self, conflict: bool) -> None:
        world = replace(led(rented()), service=None, service_conflict=conflict)
        other = Address("54.0.0.9", b.PORT)
        both = tuple(
            replace(piece, addresses=(MACHINE, other)) if piece.name == "r1-tls.8000" else piece
            for piece in world.endpoints
        )
        found = decide(replace(world, endpoints=both), Refused(Reason.DOES_NOT_FIT, "needs 654 GiB")).publish
        assert found == (PublishEndpoints("r1-tls.8000", (MACHINE,), ("http",), "r1-tls"),)

    def test_it_goes_with_the_object(self) -> None:
        world = led(rented())
        body = world.deployment.metadata.model_copy(update={"deletion_timestamp": "2026-11-24T11:59:00Z"})
        gone = replace(world, deployment=world.deployment.model_copy(update={"metadata": body}))
        assert published(gone) == (UnpublishEndpoints("r1-proxy"), UnpublishEndpoints("r1-tls.8000"))
        incomplete = replace(gone, services=frozenset({"r1"}), proxies=gone.proxies[:1])
        assert published(incomplete) == published(gone)


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
