"""Pods, Services and slices of each deployment: what is newer, what is gone, whose they are."""

from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.base import Address, Failure
from deepseek_operator.facts.kubernetes import Endpoints, LaunchedService, Pod
from deepseek_operator.facts.owned import OwnedFact, OwnedObjects
from tests.unit.reconcile import builders as b

UID, OTHER = b.UID, "ffffffff-0000-0000-0000-000000000000"
R1 = b.name(b.deployment())
POD = b.pod(R1)
PLACES = ("pods", "proxies", "services", "published", "endpoints")
LAUNCHED = LaunchedService("left", str(R1), "left-on-cloud")
SLICE = Endpoints("r1-8000", (Address("10.0.0.1", 8000),))
KINDS: list[tuple[str, str, OwnedFact]] = [
    ("pods", "pods", POD),
    ("pods", "proxies", b.proxy_pod()),
    ("services", "services", LAUNCHED),
    ("services", "published", b.service()),
    ("endpointslices", "endpoints", SLICE),
]


def body(name: str, version: int | str = 1) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "serving", "resourceVersion": str(version)}}


@pytest.fixture
def owned() -> OwnedObjects[str]:
    return OwnedObjects()


@pytest.mark.parametrize(("kind", "place", "fact"), KINDS)
def test_each_kind_has_its_place_and_leaves_it(
    owned: OwnedObjects[str], kind: str, place: str, fact: OwnedFact
) -> None:
    assert owned.put(kind, UID, body("x"), fact) == (() if fact is LAUNCHED else (UID,))
    found = {name: getattr(owned.of(UID), name) for name in PLACES}
    assert {name: kept for name, kept in found.items() if kept} == {place: {"x": fact}}
    assert owned.owners(kind) == {"x": [UID]}
    assert owned.drop(kind, UID, "serving", "x")
    assert owned.owners(kind) == {}


@pytest.mark.parametrize(
    ("fields", "news"),
    [
        ({"phase": "Pending"}, False),
        ({"phase": "Pending", "trouble": Failure(Reason.UNSCHEDULABLE, "no node")}, True),
        ({"phase": "Pending", "deleting": True}, True),
        ({"phase": "Failed"}, True),
    ],
)
def test_a_new_pod_is_no_news_until_something_can_be_said_of_it(
    owned: OwnedObjects[str], fields: dict[str, Any], news: bool
) -> None:
    pod = replace(POD, **fields)
    assert owned.put("pods", UID, body("x", 1), pod) == ((UID,) if news else ())
    assert owned.of(UID).pods == {"x": pod}
    assert owned.put("pods", UID, body("x", 2), replace(pod, ip="10.88.0.9")) == (UID,), "a change always is"


def test_the_same_news_is_no_change(owned: OwnedObjects[str]) -> None:
    owned.put("pods", UID, body("x", 1), POD)
    assert owned.put("pods", UID, body("x", 1), b.pod(R1, head=False)) == (), "no newer version"
    assert owned.put("pods", UID, body("x", 2), POD) == (), "the same fact"
    assert owned.of(UID).pods == {"x": POD}


def test_what_is_dropped_may_come_again_with_any_version(owned: OwnedObjects[str]) -> None:
    owned.put("pods", UID, body("x", 9), POD)
    owned.drop("pods", UID, "serving", "x")
    assert owned.put("pods", UID, body("x", 1), POD) == (UID,)


def test_what_we_deleted_ourselves_is_not_brought_back_by_an_event_from_before(owned: OwnedObjects[str]) -> None:
    owned.put("pods", UID, body("x", 9), POD)
    owned.drop("pods", UID, "serving", "x", by_us=True)
    assert owned.put("pods", UID, body("x", 8), POD) == ()
    assert owned.put("pods", UID, body("x", 10), POD) == (UID,), "another one of its name"


@pytest.mark.parametrize(("version", "newer"), [(8, True), (9, False), (10, False)])
def test_something_newer_is_known_than_what_is_gone(owned: OwnedObjects[str], version: int, *, newer: bool) -> None:
    owned.put("pods", UID, body("x", 9), POD)
    assert owned.knows_newer("pods", body("x", version)) is newer
    assert not owned.knows_newer("pods", body("y", version))


def test_what_was_never_known_cannot_be_dropped(owned: OwnedObjects[str]) -> None:
    assert not owned.drop("pods", UID, "serving", "x")
    owned.put("pods", UID, body("x"), POD)
    assert not owned.drop("pods", UID, "serving", "y")
    assert not owned.drop("services", UID, "serving", "x")
    assert owned.of(UID).pods == {"x": POD}


def test_a_version_that_is_no_number_counts_as_the_oldest(owned: OwnedObjects[str]) -> None:
    assert owned.put("pods", UID, body("x", "abc"), POD) == (UID,)
    assert owned.put("pods", UID, body("x", "abc"), b.pod(R1, head=False)) == ()
    assert owned.put("pods", UID, body("x", 1), b.pod(R1, head=False)) == (UID,)


def test_a_cluster_that_was_deleted_by_label_takes_its_pods_and_services_along(owned: OwnedObjects[str]) -> None:
    other = b.pod(b.name(b.deployment(), 1))
    for kind, fact in (("pods", POD), ("pods", other), ("services", LAUNCHED), ("services", b.service())):
        owned.put(kind, UID, body(getattr(fact, "name", "r1")), fact)
    assert owned.drop_cluster(UID, POD.cluster_name_on_cloud)
    assert not owned.drop_cluster(UID, POD.cluster_name_on_cloud)
    assert (set(owned.of(UID).pods), set(owned.of(UID).services)) == ({other.name}, {"left"})
    assert owned.drop_cluster(UID, "left-on-cloud")
    assert (owned.of(UID).services, set(owned.of(UID).published)) == ({}, {"r1"})


class TestPodsOfTwoDeployments:
    """One of them has an IP; then the other one is seen with it."""

    def pod(self, name: str, **fields: Any) -> Pod:
        values = {"head": True, "phase": "Running", "ip": "10.88.0.5", **fields}
        return Pod(name, str(R1), "on-cloud", **values)

    def test_that_share_an_address_are_both_news(self, owned: OwnedObjects[str]) -> None:
        owned.put("pods", UID, body("old", 1), self.pod("old"))
        assert owned.put("pods", OTHER, body("new", 2), self.pod("new")) == (OTHER, UID)
        assert owned.of(UID).pods == {}

    @pytest.mark.parametrize("fields", [{"phase": "Pending"}, {"deleting": True}, {"ip": None}])
    def test_do_not_share_an_address_that_one_does_not_hold(
        self, owned: OwnedObjects[str], fields: dict[str, Any]
    ) -> None:
        owned.put("pods", UID, body("old", 1), self.pod("old"))
        owned.put("pods", OTHER, body("new", 2), self.pod("new", **fields))
        owned.put("pods", UID, body("third", 3), self.pod("third", **fields))
        assert (set(owned.of(UID).pods), set(owned.of(OTHER).pods)) == ({"old", "third"}, {"new"})

    @pytest.mark.parametrize("fields", [{"phase": "Succeeded"}, {"deleting": True}, {"ip": "10.88.0.6"}])
    def test_do_not_share_an_address_that_the_old_one_has_lost(
        self, owned: OwnedObjects[str], fields: dict[str, Any]
    ) -> None:
        owned.put("pods", UID, body("old", 1), self.pod("old"))
        owned.put("pods", UID, body("old", 2), self.pod("old", **fields))
        assert owned.put("pods", OTHER, body("new", 3), self.pod("new")) == (OTHER,)
        assert set(owned.of(UID).pods) == {"old"}

    def test_do_not_share_the_address_of_one_that_is_gone(self, owned: OwnedObjects[str]) -> None:
        owned.put("pods", UID, body("old", 5), self.pod("old"))
        owned.drop("pods", UID, "serving", "old")
        assert owned.put("pods", OTHER, body("new", 1), self.pod("new")) == (OTHER,)

    def test_keep_an_address_when_the_pod_that_had_it_before_goes(self, owned: OwnedObjects[str]) -> None:
        owned.put("pods", UID, body("old", 1), self.pod("old"))
        owned.put("pods", UID, body("old", 2), self.pod("old", phase="Succeeded"))
        owned.put("pods", OTHER, body("new", 4), self.pod("new"))
        owned.drop("pods", UID, "serving", "old")
        assert owned.put("pods", UID, body("third", 3), self.pod("third")) == (), "older than the one that has it"

    def test_do_not_share_an_address_with_themselves(self, owned: OwnedObjects[str]) -> None:
        owned.put("pods", UID, body("old", 1), self.pod("old"))
        assert owned.put("pods", UID, body("old", 2), self.pod("old")) == ()
        assert set(owned.of(UID).pods) == {"old"}

    def test_of_the_same_name_are_two_pods(self, owned: OwnedObjects[str]) -> None:
        owned.put("pods", UID, {"metadata": {**body("x", 1)["metadata"], "namespace": "a"}}, self.pod("x"))
        assert owned.put("pods", OTHER, body("x", 2), self.pod("x")) == (OTHER, UID)


def test_a_list_of_one_namespace_says_nothing_of_others(owned: OwnedObjects[str]) -> None:
    owned.put("pods", UID, body("p", 3), POD)
    assert owned.absent("pods", set(), "5", "elsewhere") == ()
    assert owned.absent("pods", set(), "5", "serving") == (("serving", "p"),)


def test_a_list_tells_what_is_gone_and_not_what_is_newer(owned: OwnedObjects[str]) -> None:
    for kind, name, version in (("pods", "gone", 3), ("pods", "there", 3), ("pods", "new", 9), ("services", "s", 3)):
        owned.put(kind, UID, body(name, version), POD if kind == "pods" else LAUNCHED)
    assert owned.absent("pods", {("serving", "there")}, "5") == (("serving", "gone"),)
    assert owned.absent("pods", {("serving", "there")}, "3") == (("serving", "gone"),)
    assert owned.absent("pods", {("serving", "gone"), ("serving", "there"), ("serving", "new")}, "99") == ()


def test_nothing_is_left_of_a_deployment_that_is_gone(owned: OwnedObjects[str]) -> None:
    owned.put("pods", UID, body("x"), POD)
    owned.put("pods", OTHER, body("y"), b.pod(b.name(b.deployment(), 1)))
    owned.drop_all(UID)
    assert (owned.of(UID).pods, set(owned.of(OTHER).pods)) == ({}, {"y"})
