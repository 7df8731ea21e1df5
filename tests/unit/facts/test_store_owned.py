"""The fact store: pods, Services, slices and namespaces, whose they are, and what a list of them heals."""

from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.v1alpha1 import LABEL_UID
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.kubernetes import LaunchedService
from deepseek_operator.facts.owned import OwnedFact
from deepseek_operator.facts.store import Store, owner_uid
from tests.unit.facts.stored import DSD, KEY, NEW_UID, R1, Woken, pod_body, world
from tests.unit.reconcile import builders as b


def test_a_pod_wakes_its_deployment(store: Store, woken: Woken) -> None:
    store.put_owned("pods", b.UID, pod_body("p"), b.pod(R1))
    assert woken.all() == [KEY]


class TestListing:
    def test_a_list_heals_a_deletion_that_the_watch_has_lost(self, store: Store, woken: Woken) -> None:
        store.put_owned("pods", b.UID, pod_body("gone", 3), b.pod(R1))
        store.put_owned("pods", b.UID, pod_body("new", 9), b.pod(R1, head=False))
        woken.clear()
        store.put_listing("pods", set(), "5")
        assert world(store).replicas[R1].pods == (b.pod(R1, head=False),)
        assert woken.all() == [KEY]

    @pytest.mark.parametrize(("name", "still"), [("serving", True), ("other", False)])
    def test_a_namespace_that_is_gone_is_not_being_deleted(self, store: Store, name: str, still: bool) -> None:
        store.put_namespace("serving", terminating=True)
        store.put_listing("namespaces", {("", name)}, "5")
        assert world(store).namespace_terminating is still

    def test_a_deployment_that_is_gone_is_dropped(self, store: Store) -> None:
        store.put_listing("deployments", set(), "5")
        assert store.world(KEY, b.NOW) is None


def test_a_terminating_namespace_wakes_its_deployments(store: Store, woken: Woken) -> None:
    store.put_namespace("other", terminating=True)
    assert woken.all() == []
    store.put_namespace("serving", terminating=True)
    assert woken.all() == [KEY]
    assert world(store).namespace_terminating


class TestPodsThatShareAnAddress:
    """No two pods have one IP: the watch has lost the deletion of the one that had it first."""

    OLD, NEW = b.pod(R1), b.pod(b.name(DSD, 1))

    def put(self, store: Store, which: Any, version: int, ip: str = "10.88.0.5") -> None:
        store.put_owned("pods", b.UID, pod_body(which.name, version), replace(which, ip=ip))

    def pods(self, store: Store) -> list[str]:
        return [pod.name for known in world(store).replicas.values() for pod in known.pods]

    def test_the_newer_one_has_it(self, store: Store) -> None:
        self.put(store, self.OLD, 1)
        self.put(store, self.NEW, 2)
        assert self.pods(store) == [self.NEW.name]

    def test_older_news_does_not_bring_it_back(self, store: Store) -> None:
        self.put(store, self.NEW, 2)
        self.put(store, self.OLD, 1)
        assert self.pods(store) == [self.NEW.name]

    def test_a_pod_that_has_another_address_by_now_stays(self, store: Store) -> None:
        self.put(store, self.OLD, 1)
        self.put(store, self.OLD, 2, ip="10.88.0.77")
        self.put(store, self.NEW, 3)
        assert sorted(self.pods(store)) == sorted([self.OLD.name, self.NEW.name])


def test_our_own_write_wakes_no_one_but_whoever_lost_a_pod_by_it(store: Store, woken: Woken) -> None:
    other = {
        "metadata": {"name": "r2", "namespace": "serving", "uid": NEW_UID, "resourceVersion": "7"},
        "spec": b.CPU_SPEC,
    }
    store.put_deployment(other)
    woken.clear()
    store.put_owned("pods", b.UID, pod_body(b.pod(R1).name, 1), b.pod(R1), wake=False)
    assert woken.all() == []
    store.put_owned("pods", NEW_UID, pod_body("new", 2), replace(b.pod(R1), name="new"), wake=False)
    assert woken.all() == [KEY]
    store.drop_owned("pods", NEW_UID, "serving", "new", wake=False)
    assert woken.all() == []


def test_a_pod_that_is_gone_wakes_its_deployment_once(store: Store, woken: Woken) -> None:
    store.put_owned("pods", b.UID, pod_body("p"), b.pod(R1))
    woken.clear()
    for _ in range(2):
        store.drop_owned("pods", b.UID, "serving", "p")
    assert woken.all() == [KEY]
    store.put_owned("pods", b.UID, pod_body("p"), b.pod(R1))
    woken.clear()
    for _ in range(2):
        store.drop_cluster("serving", b.UID, b.pod(R1).cluster_name_on_cloud)
    assert woken.all() == [KEY]


@pytest.mark.parametrize(
    ("kind", "fact"),
    [
        ("pods", b.pod(R1)),
        ("pods", b.proxy_pod()),
        ("services", LaunchedService("s", str(R1), "on-cloud")),
        ("services", b.service()),
        ("endpointslices", b.endpoints(Address("10.0.0.66", 8000))),
    ],
)
def test_what_somebody_labelled_with_the_uid_of_another_namespaces_deployment_is_not_taken_for_its_own(
    store: Store, woken: Woken, kind: str, fact: OwnedFact
) -> None:
    """Who may see a deployment knows its UID; the Service must not lead to that person's pod."""
    before = world(store)
    woken.clear()
    metadata = {"name": "r1", "namespace": "another", "resourceVersion": "9"}
    store.put_owned(kind, b.UID, {"metadata": metadata}, fact)
    assert woken.all() == []
    after = world(store)
    assert (after.replicas, after.proxies, after.service, after.services, after.endpoints) == (
        before.replicas, before.proxies, before.service, before.services, before.endpoints
    )  # fmt: skip


def test_pods_of_an_object_that_is_not_known_wake_no_one(store: Store, woken: Woken) -> None:
    store.put_owned("pods", NEW_UID, pod_body("p"), b.pod(R1))
    assert woken.all() == []


def test_a_list_of_one_namespace_drops_nothing_of_the_same_name_in_another(store: Store) -> None:
    far = {"metadata": {"name": "r1", "namespace": "far", "uid": NEW_UID, "resourceVersion": "2"}, "spec": b.CPU_SPEC}
    store.put_deployment(far)
    store.put_owned("services", b.UID, pod_body("r1", 3), b.service())
    there = {"metadata": {"name": "r1", "namespace": "far", "resourceVersion": "3"}}
    store.put_owned("services", NEW_UID, there, b.service())
    store.put_listing("services", {("far", "r1")}, "9")
    assert world(store).service is None
    other = store.world(("far", "r1"), b.NOW)
    assert other is not None
    assert other.service == b.service()


def test_what_is_said_again_wakes_no_one(store: Store, woken: Woken) -> None:
    for terminating in (True, False):
        store.put_namespace("serving", terminating=terminating)
        assert woken.all() == [KEY]
        store.put_namespace("serving", terminating=terminating)
        assert woken.all() == []
        assert world(store).namespace_terminating is terminating
    for conflict in (True, False):
        store.put_service_conflict(KEY, conflict=conflict)
        assert woken.all() == [KEY]
        store.put_service_conflict(KEY, conflict=conflict)
        assert woken.all() == []
        assert world(store).service_conflict is conflict


@pytest.mark.parametrize("name", [f"x-{b.UID[:8]}-0badbeef-0", "my-cluster"])
def test_a_pod_that_names_a_replica_of_somebody_else_adds_none(store: Store, name: str) -> None:
    store.put_owned("pods", b.UID, pod_body("p"), replace(b.pod(R1), cluster_name=name))
    assert world(store).replicas == {}


def test_each_replica_is_joined_from_its_own_pods_and_services(store: Store) -> None:
    second = b.name(DSD, 1)
    for version, name in enumerate((R1, second), 1):
        store.put_owned("pods", b.UID, pod_body(f"p{version}", version), b.pod(name))
        left = LaunchedService(f"s{version}", str(name), "on-cloud")
        store.put_owned("services", b.UID, pod_body(left.name, version), left)
    found = world(store).replicas
    assert {name: ([pod.cluster_name for pod in known.pods], [one.name for one in known.services])
            for name, known in found.items()} == {R1: ([str(R1)], ["s1"]), second: ([str(second)], ["s2"])}  # fmt: skip


@pytest.mark.parametrize(("labels", "uid"), [({LABEL_UID: "u"}, "u"), ({}, ""), (None, "")])
def test_an_object_says_whose_it_is(labels: dict[str, str] | None, uid: str) -> None:
    assert owner_uid({"metadata": {"labels": labels}}) == uid
