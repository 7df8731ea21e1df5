"""Where the Service leads: each engine with its own address and port, additions before removals."""

from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address, Probe
from deepseek_operator.facts.kubernetes import Endpoints, PublishedService
from deepseek_operator.facts.world import World
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.actions import ApplyService, PublishEndpoints, UnpublishEndpoints
from deepseek_operator.reconcile.endpoint import (
    Reachability,
    about_to_be_asked,
    endpoint_status,
    publish,
    reachability,
    service_address,
)
from deepseek_operator.reconcile.proxy import Front
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.decisions import decided

A, B, C = Address("10.0.0.1", 8000), Address("10.0.0.2", 8000), Address("10.0.0.3", 9000)
DSD = b.deployment()
PLAN = b.planned(DSD)
UNREACHABLE = Reason.ENDPOINT_UNREACHABLE
OTHER_PORT = b.deployment(endpoint={"port": 9000})
RENTED: dict[str, Any] = {
    "model": {"name": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"},
    "engine": {"name": "VLLM"},
    "resources": {"accelerators": ["L4:1"], "infra": ["aws"]},
}


def leading_to(*addresses: Address, of: Any = DSD) -> World:
    return b.world(of, endpoints=(b.endpoints(*addresses),) if addresses else ())


def test_a_service_is_created_with_the_planned_port() -> None:
    assert publish(b.world(DSD, service=None), PLAN, ()) == (ApplyService((8000,), "ClusterIP", create=True),)


def test_a_settled_service_is_left_alone() -> None:
    assert publish(leading_to(A, B), PLAN, (B, A)) == ()


def test_a_replica_is_added_and_removed_in_one_slice() -> None:
    assert publish(leading_to(A), PLAN, (A, B)) == (PublishEndpoints("r1-8000", (A, B), ("http",)),)
    assert publish(leading_to(A, B), PLAN, (A,)) == (PublishEndpoints("r1-8000", (A,), ("http",)),)


def test_when_nothing_serves_the_slice_goes() -> None:
    assert publish(leading_to(A), PLAN, ()) == (UnpublishEndpoints("r1-8000"),)


def test_another_port_leads_both_ports_to_the_replicas_that_serve() -> None:
    """The old replica listens on 8000: the Service's new port must reach it there until new ones serve."""
    assert publish(leading_to(A, of=OTHER_PORT), b.planned(OTHER_PORT), (A,)) == (
        PublishEndpoints("r1-8000", (A,), ("http", "http-8000")),
        ApplyService((9000, 8000), "ClusterIP"),
    )


def test_during_a_change_of_port_each_replica_is_published_with_its_own() -> None:
    names = ("http", "http-8000")
    world = b.world(OTHER_PORT, service=b.service(9000, 8000), endpoints=(b.endpoints(A, names=names),))
    assert publish(world, b.planned(OTHER_PORT), (A, C)) == (PublishEndpoints("r1-9000", (C,), names),)


def test_the_old_port_goes_with_the_last_replica_on_it() -> None:
    names = ("http", "http-8000")
    slices = (b.endpoints(A, names=names), b.endpoints(C, names=names))
    world = b.world(OTHER_PORT, service=b.service(9000, 8000), endpoints=slices)
    assert publish(world, b.planned(OTHER_PORT), (C,)) == (
        PublishEndpoints("r1-9000", (C,), ("http",)),
        UnpublishEndpoints("r1-8000"),
        ApplyService((9000,), "ClusterIP"),
    )


def test_while_a_replica_drains_on_the_old_port_clients_of_that_port_reach_the_new_one() -> None:
    names = ("http", "http-8000")
    slices = (b.endpoints(A, names=names), b.endpoints(C, names=names))
    world = b.world(OTHER_PORT, service=b.service(9000, 8000), endpoints=slices)
    assert publish(world, b.planned(OTHER_PORT), (C,), draining=(A,)) == (UnpublishEndpoints("r1-8000"),)


def test_a_service_of_somebody_else_is_neither_changed_nor_taken_over() -> None:
    world = b.world(DSD, service=replace(b.service(7000), foreign=True))
    assert publish(world, PLAN, ()) == (ApplyService((8000,), "ClusterIP", create=True),)
    assert publish(world, None, ()) == ()


def test_without_a_plan_what_no_longer_serves_still_leaves() -> None:
    assert publish(leading_to(A, B), None, (A,)) == (PublishEndpoints("r1-8000", (A,), ("http",)),)


def test_a_slice_of_an_older_operator_is_replaced_after_the_new_one_is_there() -> None:
    world = b.world(DSD, endpoints=(replace(b.endpoints(A), name="r1"),))
    assert publish(world, PLAN, (A,)) == (PublishEndpoints("r1-8000", (A,), ("http",)), UnpublishEndpoints("r1"))


@pytest.mark.parametrize("damaged", [b.service(9), b.service(8000, type="NodePort"), b.service(8000, 8443)])
def test_a_service_that_someone_changed_is_restored(damaged: Any) -> None:
    world = replace(leading_to(A), service=damaged)
    assert ApplyService((8000,), "ClusterIP") in publish(world, PLAN, (A,))


def test_a_deleted_object_leads_nowhere() -> None:
    world = replace(leading_to(A), deployment=b.deployment(deleting=True))
    assert publish(world, PLAN, ()) == (UnpublishEndpoints("r1-8000"),)


def test_a_service_of_someone_else_gets_no_slices() -> None:
    (action,) = publish(b.world(DSD, service=None, service_conflict=True), PLAN, (A,))
    assert action == ApplyService((8000,), "ClusterIP", create=True)


@pytest.mark.parametrize("serving", [(), (A,)])
@pytest.mark.parametrize(
    ("says", "plan", "world"),
    [
        ("somebody else has a Service of this name", PLAN, {"service": None, "service_conflict": True}),
        ("somebody has deleted the Service while the plan fails", None, {"service": None}),
    ],
)
def test_what_no_longer_serves_leaves_the_slices_although(
    says: str, plan: Planned | None, world: dict[str, Any], serving: tuple[Address, ...]
) -> None:
    changed = (PublishEndpoints("r1-8000", (A,), ("http",)) if serving else UnpublishEndpoints("r1-8000"),)
    create = (ApplyService((8000,), "ClusterIP", create=True),) if plan is not None else ()
    assert publish(replace(leading_to(A, B), **world), plan, serving) == changed + create, says
    assert publish(replace(leading_to(*serving), **world), plan, (*serving, C)) == create, "nothing comes in"


@pytest.mark.parametrize(
    ("says", "proxy", "expected"),
    [
        (
            "those that are ready",
            Front(True, ready=(A,), kept=(A, B)),
            (PublishEndpoints("r1-proxy", (A,), ("http",)),),
        ),
        ("those that stay until one is", Front(True, kept=(A, B)), ()),
        ("none where none is wanted", Front(False, ready=(A, B), kept=(A, B)), (UnpublishEndpoints("r1-proxy"),)),
    ],
)
def test_of_proxies_stay_although_no_service_of_ours_leads_to_them(
    says: str, proxy: Front, expected: tuple[Any, ...]
) -> None:
    fronts = Endpoints("r1-proxy", (A, B), ("http",))
    assert publish(replace(b.world(DSD), service=None, endpoints=(fronts,)), None, (), proxy=proxy) == expected, says


class TestReachability:
    def test_an_answer_through_the_service_is_needed(self) -> None:
        assert not reachability(leading_to(A), serving=True, was_ready=False).answers
        world = replace(leading_to(A), probes=b.answering(b.SERVICE))
        assert reachability(world, serving=True, was_ready=False).answers

    @pytest.mark.parametrize(
        ("seconds", "expected"),
        [
            (0, Reachability(False, f"the Service does not answer yet at {b.SERVICE}")),
            (10, Reachability(False, f"the Service does not answer at {b.SERVICE}: refused", UNREACHABLE)),
        ],
    )
    def test_a_refusal_is_told_once_it_does_not_pass_by_itself(self, seconds: int, expected: Reachability) -> None:
        world = replace(leading_to(A), probes={b.SERVICE: Probe(False, b.ago(seconds), "refused")})
        assert reachability(world, serving=True, was_ready=True) == expected

    def test_what_was_ready_stays_so_until_a_probe_has_failed(self) -> None:
        assert reachability(leading_to(A), serving=True, was_ready=True).answers
        assert not reachability(b.world(DSD), serving=True, was_ready=True).answers

    def test_without_a_serving_replica_nothing_answers(self) -> None:
        world = replace(leading_to(A), probes=b.answering(b.SERVICE))
        assert not reachability(world, serving=False, was_ready=True).answers


class TestTheServiceItself:
    def test_without_a_plan_and_without_a_service_nothing_is_made(self) -> None:
        assert publish(b.world(DSD, service=None), None, (A,)) == ()

    def test_a_deleted_objects_slices_go_and_its_service_is_left_to_the_garbage_collector(self) -> None:
        world = b.world(b.deployment(deleting=True), endpoints=(b.endpoints(A),), service=None)
        assert publish(world, PLAN, (A,)) == (UnpublishEndpoints("r1-8000"),)

    @pytest.mark.parametrize("ip", [None, "", "None"])
    def test_a_service_without_an_ip_cannot_be_probed(self, ip: str | None) -> None:
        world = b.world(DSD, service=replace(b.service(), cluster_ip=ip))
        assert service_address(world) is None
        assert reachability(world, serving=True, was_ready=True).detail == "the Service has no cluster IP yet"

    def test_a_service_that_is_not_there_yet(self) -> None:
        world = b.world(DSD, service=None)
        assert reachability(world, serving=True, was_ready=False).detail == "the Service is being created"
        assert endpoint_status(world, None) is None

    def test_the_service_of_someone_else_is_no_endpoint(self) -> None:
        world = b.world(DSD, service=PublishedService(foreign=True, cluster_ip="10.96.9.9", ports=(8000,)))
        assert (service_address(world), endpoint_status(world, None)) == (None, None)

    def test_a_service_without_ports_is_no_endpoint(self) -> None:
        world = b.world(DSD, service=replace(b.service(), ports=()))
        assert (service_address(world), endpoint_status(world, None)) == (None, None)

    def test_the_address_outside_is_told_only_where_there_is_one(self) -> None:
        inside = endpoint_status(b.world(DSD), None)
        assert inside is not None
        assert (inside.url, inside.internal_url) == (None, "http://r1.serving.svc:8000/v1")
        outside = endpoint_status(b.world(DSD, service=replace(b.service(), external_host="lb.example")), None)
        assert outside is not None
        assert outside.url == "http://lb.example:8000/v1"
        outside = endpoint_status(b.world(DSD, service=replace(b.service(), external_host="2001:db8::1")), None)
        assert outside is not None
        assert outside.url == "http://[2001:db8::1]:8000/v1"

    @pytest.mark.parametrize(
        ("of", "secret"),
        [
            (b.deployment(), None),
            (b.deployment(endpoint={"apiKeySecretRef": {"name": "mine", "key": "token"}}), "mine"),
            (b.rented_deployment(), "key"),
            (b.deployment(**RENTED), "r1-api-key"),
        ],
        ids=["no key", "of the user", "of the user, rented", "of the operator"],
    )
    def test_it_names_the_secret_with_the_key(self, of: DeepSeekDeployment, secret: str | None) -> None:
        shown = endpoint_status(b.world(of), b.planned(of))
        assert shown is not None
        assert shown.api_key_secret_name == secret

    def test_it_is_about_to_be_asked_until_its_first_probe(self) -> None:
        world = leading_to(A)
        assert about_to_be_asked(world, serving=True)
        assert not about_to_be_asked(world, serving=False)
        assert not about_to_be_asked(replace(world, service=None), serving=True)
        assert not about_to_be_asked(replace(world, probes=b.answering(b.SERVICE)), serving=True)

    def test_names_of_ports_are_restored(self) -> None:
        damaged = replace(b.service(), port_names=("web",))
        assert publish(b.world(DSD, service=damaged), PLAN, ()) == (ApplyService((8000,), "ClusterIP"),)


def test_a_replica_that_stays_and_does_not_serve_holds_no_port_of_the_service() -> None:
    of = b.deployment(endpoint={"port": 9000})
    old = b.older(of)
    kept = b.remembering(of, {old: b.ledger(silent_since=b.ago(10), address=f"{b.host()}:{b.PORT}")})
    decision = decided(b.world(kept, b.up(old), service=b.service(9000, 8000)))
    assert next(one.finding.phase for one in decision.replicas if one.name == old) is not Phase.TERMINATING
    assert decision.publish == (ApplyService((9000,), "ClusterIP"),)


def test_a_replica_that_drains_keeps_the_old_port_of_the_service() -> None:
    """Its clients still use it, until its last request has ended."""
    of = b.deployment(replicas=1, endpoint={"port": 9000})
    old = b.older(of)
    world = b.serving(of, old, b.name(of, 1))
    drained = {"ready_since": b.ago(300), "drain_seconds": 120, "leaving_since": b.ago(5)}
    for unpublished, kept in ((b.ago(2), True), (b.ago(3600), False)):
        ledgers = {
            old: b.ledger(**drained, unpublished_since=unpublished, address=f"{b.host()}:{b.PORT}"),
            b.name(of, 1): b.ledger(ready_since=b.ago(60), port=9000, address=f"{b.host(1)}:9000"),
        }
        moved = replace(
            world,
            deployment=b.remembering(world.deployment, ledgers),
            probes=b.answering(Address(b.host(), b.PORT), Address(b.host(1), 9000), b.SERVICE),
            endpoints=(b.endpoints(Address(b.host(1), 9000)),),
            service=b.service(9000, 8000),
        )
        dropped = [action for action in decided(moved).publish if isinstance(action, ApplyService)]
        assert (dropped == []) is kept
