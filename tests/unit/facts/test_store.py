"""The fact store: what wakes whom, what is newer, and what a world is joined from."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.facts.base import Address, Failure, Known, Probe, Unknown
from deepseek_operator.facts.skypilot import Outcome, RequestKind
from deepseek_operator.facts.store import Key, Store
from deepseek_operator.facts.world import Question, QuestionKind, World
from tests.unit.reconcile import builders as b

KEY: Key = ("serving", "r1")
DSD = b.deployment()
R1 = b.name(DSD)
AT = Address("10.88.0.5", 8000)


class Woken(list[Key]):
    """Keys that were woken since the last look."""

    def all(self) -> list[Key]:
        found = list(self)
        self.clear()
        return found


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
def store(woken: Woken) -> Store:
    store = Store(woken.append)
    store.put_deployment(body())
    woken.clear()
    return store


def body(version: int = 1, uid: str = b.UID, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "r1", "namespace": "serving", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {**b.CPU_SPEC, **spec}}


def world(store: Store) -> World:
    found = store.world(KEY, b.NOW)
    assert found is not None
    return found


def pod_body(name: str, version: int = 1) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "serving", "resourceVersion": str(version)}}


def snapshot(store: Store, *things: Any, sequence: int | None = None) -> None:
    clusters = {thing.name: thing for thing in things if hasattr(thing, "hash")}
    requests: dict[str, Any] = {}
    for thing in things:
        if hasattr(thing, "kind"):
            requests[thing.cluster_name] = (*requests.get(thing.cluster_name, ()), thing)
    store.put_snapshot(sequence or store.ask_snapshot(), b.NOW, clusters, requests)


def test_an_older_object_never_replaces_a_newer_one(store: Store, woken: Woken) -> None:
    store.put_deployment(body(5, replicas=3))
    store.put_deployment(body(4, replicas=2))
    assert world(store).deployment.spec.replicas == 3
    assert woken.all() == [KEY]


def test_the_answer_to_our_own_write_wakes_no_one_and_neither_does_its_event(store: Store, woken: Woken) -> None:
    store.put_deployment(body(5), wake=False)
    store.put_deployment(body(5))
    assert woken.all() == []


def test_a_deletion_is_forgotten_unless_a_new_object_has_come(store: Store, woken: Woken) -> None:
    new = "ffffffff-0000-0000-0000-000000000000"
    store.put_deployment(body(9, uid=new))
    store.drop_deployment(KEY, b.UID)
    assert world(store).deployment.metadata.uid == new
    store.drop_deployment(KEY, new)
    assert store.world(KEY, b.NOW) is None
    assert woken.all() == [KEY, KEY]


def test_a_late_event_does_not_bring_back_what_was_released(store: Store) -> None:
    store.put_deployment(body(9))
    store.drop_released(world(store).deployment)
    store.put_deployment(body(9))
    assert store.world(KEY, b.NOW) is None
    store.drop_deployment(KEY, b.UID)  # the watch has seen it go: from now on the name is free again
    store.put_deployment(body(1))
    assert world(store).deployment.metadata.uid == b.UID


def test_before_the_first_snapshot_everything_of_skypilot_is_unknown(store: Store) -> None:
    store.put_owned("pods", b.UID, pod_body("p"), b.pod(R1))
    found = world(store)
    assert isinstance(found.skypilot, Unknown)
    assert isinstance(found.replicas[R1].skypilot, Unknown)
    assert found.replicas[R1].pods == (b.pod(R1),)


def test_a_snapshot_wakes_the_deployments_whose_clusters_changed(store: Store, woken: Woken) -> None:
    snapshot(store, b.row(R1))
    assert woken.all() == [KEY]
    snapshot(store, b.row(R1))
    assert woken.all() == []
    snapshot(store, b.row(R1, "INIT"))
    assert woken.all() == [KEY]


def test_clusters_of_others_are_not_ours(store: Store) -> None:
    gone, stranger = b.named("r1-ffffffff-0badbeef-0"), b.named(f"x-{b.UID[:8]}-0badbeef-0")
    snapshot(store, b.row(R1, user="us"), b.row(gone, user="us"), b.row(stranger, user="them"))
    assert set(world(store).replicas) == {R1}
    assert store.orphans("us") == (str(gone),)


def test_after_a_request_of_ours_only_a_later_snapshot_counts(store: Store, woken: Woken) -> None:
    snapshot(store)
    early = store.ask_snapshot()
    store.acted(KEY, str(R1), launch=True)
    snapshot(store, sequence=early)
    assert isinstance(world(store).replicas[R1].skypilot, Unknown)
    assert store.snapshot_pending()
    woken.clear()
    snapshot(store)
    assert woken.all() == [KEY]
    assert R1 not in world(store).replicas
    assert not store.snapshot_pending()


def test_while_skypilot_is_away_what_was_seen_last_is_kept_for_display(store: Store, woken: Woken) -> None:
    snapshot(store, b.row(R1))
    woken.clear()
    store.put_skypilot_unknown("connection refused", b.NOW)
    store.put_skypilot_unknown("connection refused", b.NOW + timedelta(seconds=2))
    found = world(store).replicas[R1]
    assert found.skypilot == Unknown("connection refused", b.NOW)
    assert found.last_seen.cluster == b.row(R1)
    assert woken.all() == [KEY]


class TestAnswers:
    QUESTION = Question(QuestionKind.OUTCOME, str(R1))
    ANSWER = Known(Outcome("r", RequestKind.LAUNCH, b.NOW, Failure(Reason.UNSCHEDULABLE, "no")), b.NOW)

    def test_an_answer_wakes_its_deployment_and_is_joined(self, store: Store, woken: Woken) -> None:
        snapshot(store, b.row(R1))
        woken.clear()
        store.put_answer(self.QUESTION, self.ANSWER)
        assert woken.all() == [KEY]
        assert world(store).replicas[R1].outcome == self.ANSWER

    def test_it_is_forgotten_as_soon_as_something_of_the_cluster_moves(self, store: Store) -> None:
        snapshot(store, b.row(R1))
        store.put_answer(self.QUESTION, self.ANSWER)
        snapshot(store, b.row(R1), b.request(R1))
        assert isinstance(world(store).replicas[R1].outcome, Unknown)

    def test_a_question_that_keeps_failing_says_since_when(self, store: Store) -> None:
        snapshot(store, b.row(R1))
        store.put_answer(self.QUESTION, Unknown("time-out", b.NOW))
        store.put_answer(self.QUESTION, Unknown("refused", b.NOW + timedelta(seconds=5)))
        assert world(store).replicas[R1].outcome == Unknown("refused", b.NOW)

    def test_that_a_secret_exists_is_believed_for_a_minute(self, store: Store) -> None:
        question, reference = Question(QuestionKind.SECRET, "serving/hf/token"), SecretKeyRef(name="hf", key="token")
        store.put_answer(question, Known("", b.NOW))
        assert world(store).secrets[reference] == Known("", b.NOW)
        later = store.world(KEY, b.NOW + timedelta(seconds=61))
        assert later is not None
        assert isinstance(later.secrets[reference], Unknown)


class TestProbes:
    def test_a_probe_wakes_those_who_watch_its_address(self, store: Store, woken: Woken) -> None:
        store.put_probe(AT, Known(Probe(True, b.NOW), b.NOW))
        assert woken.all() == []
        store.watch(KEY, [AT])
        assert woken.all() == [KEY]  # it was probed for someone else already
        store.put_probe(AT, Known(Probe(False, b.NOW), b.NOW))
        assert woken.all() == [KEY]
        assert world(store).probes == {AT: Probe(False, b.NOW)}

    def test_an_address_that_is_no_longer_watched_is_unknown(self, store: Store, woken: Woken) -> None:
        store.watch(KEY, [AT])
        store.put_probe(AT, Known(Probe(True, b.NOW), b.NOW))
        store.watch(KEY, [])
        woken.clear()
        store.put_probe(AT, Known(Probe(False, b.NOW), b.NOW))
        assert woken.all() == []
        assert world(store).probes == {}


class TestListing:
    def test_a_list_heals_a_deletion_that_the_watch_has_lost(self, store: Store, woken: Woken) -> None:
        store.put_owned("pods", b.UID, pod_body("gone", 3), b.pod(R1))
        store.put_owned("pods", b.UID, pod_body("new", 9), b.pod(R1, head=False))
        woken.clear()
        store.put_listing("pods", [], "5")
        assert world(store).replicas[R1].pods == (b.pod(R1, head=False),)
        assert woken.all() == [KEY]

    def test_a_deployment_that_is_gone_is_dropped(self, store: Store) -> None:
        store.put_listing("deployments", [], "5")
        assert store.world(KEY, b.NOW) is None


def test_a_terminating_namespace_wakes_its_deployments(store: Store, woken: Woken) -> None:
    store.put_namespace("other", terminating=True)
    assert woken.all() == []
    store.put_namespace("serving", terminating=True)
    assert woken.all() == [KEY]
    assert world(store).namespace_terminating


def test_launches_in_flight_are_counted_from_the_moment_they_are_sent(store: Store) -> None:
    store.acted(KEY, str(R1), launch=True)
    assert store.launches() == (frozenset({str(R1)}), frozenset())
    snapshot(store, b.request(R1, state="PENDING"))
    assert store.launches() == (frozenset({str(R1)}), frozenset({str(R1)}))
    snapshot(store, b.row(R1))
    assert store.launches() == (frozenset(), frozenset())


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


def test_a_status_that_could_not_be_written_is_part_of_the_world(store: Store) -> None:
    remembered = b.remembering(DSD, {R1: b.ledger()}).status
    store.put_unsaved(DSD, remembered)
    assert set(world(store).replicas) == {R1}
    assert world(store).deployment.status == remembered
    assert store.stored_status(KEY) == DSD.status
    store.drop_unsaved(KEY)
    assert world(store).deployment.status == DSD.status


@pytest.mark.parametrize(
    ("changed", "edited"),
    [
        ({"generation": 2}, True),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, True),
        ({"annotations": {"deepseek-operator.io/abandon": "x"}}, True),
        ({"finalizers": ["somebody.else/finalizer"]}, False),
        ({}, False),
    ],
    ids=["spec", "deletion", "annotation", "finalizer", "status"],
)
def test_what_a_user_changes_is_told_from_what_else_changes(changed: dict[str, Any], edited: bool) -> None:
    woken: list[str] = []
    store = Store(lambda _: woken.append("other"), wake_edited=lambda _: woken.append("edited"))
    store.put_deployment(body())
    after = body(2)
    store.put_deployment({**after, "metadata": after["metadata"] | changed})
    assert woken == ["edited", "edited" if edited else "other"]
