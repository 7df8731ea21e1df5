"""The fact store: what wakes whom, what is newer, and what a world is joined from."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.api.v1alpha1 import LABEL_UID
from deepseek_operator.facts.base import Address, Failure, Known, Probe, Unknown
from deepseek_operator.facts.engine import EngineReading
from deepseek_operator.facts.kubernetes import LaunchedService
from deepseek_operator.facts.owned import OwnedFact
from deepseek_operator.facts.skypilot import JobState, Outcome, RequestKind
from deepseek_operator.facts.store import Key, Store, owner_uid
from deepseek_operator.facts.world import NOT_ASKED, Question, QuestionKind, World, authority_question
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


@pytest.mark.parametrize("uid", ["", b.UID])
def test_after_a_deletion_the_name_is_free_for_any_version(store: Store, uid: str) -> None:
    store.put_deployment(body(9))
    store.drop_deployment(KEY, uid)
    store.put_deployment(body(1))
    assert world(store).deployment.metadata.uid == b.UID


def test_a_pod_wakes_its_deployment(store: Store, woken: Woken) -> None:
    store.put_owned("pods", b.UID, pod_body("p"), b.pod(R1))
    assert woken.all() == [KEY]


def test_a_late_event_does_not_bring_back_what_was_released(store: Store) -> None:
    store.put_deployment(body(9))
    store.drop_released(world(store).deployment)
    store.put_deployment(body(9))
    assert store.world(KEY, b.NOW) is None
    store.drop_deployment(KEY, b.UID)  # the watch has seen it go: from now on the name is free again
    store.put_deployment(body(1))
    assert world(store).deployment.metadata.uid == b.UID


def test_a_release_that_is_answered_late_does_not_drop_the_object_that_has_come_since(store: Store) -> None:
    released, other = world(store).deployment, "0badcafe-4e5f-6789-abcd-ef0123456789"
    store.put_deployment(body(2, uid=other))
    store.drop_released(released)
    assert world(store).deployment.metadata.uid == other


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


def test_a_process_that_takes_over_believes_no_snapshot_that_was_asked_for_before(store: Store, woken: Woken) -> None:
    snapshot(store)  # the process before launches R1 after it
    store.put_owned("pods", b.UID, pod_body("p"), b.pod(R1))
    assert isinstance(world(store).replicas[R1].skypilot, Known)
    under_way = store.ask_snapshot()
    store.outdate_snapshot()
    assert isinstance(world(store).skypilot, Unknown)
    snapshot(store, sequence=under_way)
    woken.clear()
    assert isinstance(world(store).replicas[R1].skypilot, Unknown), "it may have been answered before the launch"
    snapshot(store, b.row(R1))
    assert isinstance(world(store).skypilot, Known)
    assert woken.all() == [KEY]


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

    def test_an_answer_that_is_no_news_wakes_no_one_and_is_joined(self, store: Store, woken: Woken) -> None:
        snapshot(store, b.row(R1))
        woken.clear()
        store.put_answer(Question(QuestionKind.JOB, str(R1)), b.job(JobState.ACTIVE))
        assert woken.all() == []
        assert world(store).replicas[R1].job == b.job(JobState.ACTIVE)

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

    def test_a_probe_is_urgent_and_what_an_engine_reports_is_not(self) -> None:
        woken: list[str] = []
        store = Store(
            lambda _: woken.append("other"),
            wake_urgently=lambda _: woken.append("urgent"),
            wake_later=lambda _: woken.append("later"),
        )
        store.watch(KEY, [AT])
        store.put_probe(AT, Known(Probe(True, b.NOW), b.NOW))
        store.put_reading(AT, Known(EngineReading(4096), b.NOW))
        assert woken == ["urgent", "later"]

    def test_what_an_engine_reports_is_joined(self, store: Store) -> None:
        store.watch(KEY, [AT])
        store.put_reading(AT, Known(EngineReading(4096), b.NOW))
        assert world(store).readings == {AT: Known(EngineReading(4096), b.NOW)}

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
    assert store.stored_status(("serving", "gone")) is None
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


NEW_UID = "ffffffff-0000-0000-0000-000000000000"


def test_an_object_that_has_changed_keeps_what_is_known_of_it(store: Store) -> None:
    store.put_owned("pods", b.UID, pod_body("p"), b.pod(R1))
    store.put_service_conflict(KEY, conflict=True)
    store.put_unsaved(DSD, b.remembering(DSD, {R1: b.ledger()}).status)
    before = world(store)
    store.put_deployment(body(9, replicas=2))
    after = world(store)
    assert after.deployment.spec.replicas == 2
    assert (after.replicas, after.service_conflict) == (before.replicas, True)
    assert after.deployment.status == before.deployment.status


class TestAnObjectThatWasCreatedAgain:
    def test_has_nothing_of_its_predecessor(self, store: Store) -> None:
        store.put_owned("pods", b.UID, pod_body("p"), b.pod(R1))
        store.put_service_conflict(KEY, conflict=True)
        store.put_unsaved(DSD, b.remembering(DSD, {R1: b.ledger()}).status)
        store.put_deployment(body(9, uid=NEW_UID))
        found = world(store)
        assert (found.replicas, found.service_conflict, found.deployment.status.instances) == ({}, False, ())
        assert store.orphans("us") == ()

    def test_does_not_inherit_a_status_that_is_written_late(self, store: Store) -> None:
        store.put_deployment(body(9, uid=NEW_UID))
        store.put_unsaved(DSD, b.remembering(DSD, {R1: b.ledger()}).status)
        assert world(store).deployment.status.instances == ()

    def test_is_not_replaced_by_an_event_from_before_it(self, store: Store) -> None:
        store.put_deployment(body(9, uid=NEW_UID))
        store.drop_deployment(KEY, b.UID)
        store.put_deployment(body(8))
        assert world(store).deployment.metadata.uid == NEW_UID


def test_an_edit_changes_the_revision_and_a_write_of_the_status_does_not(store: Store) -> None:
    first = world(store).revision
    store.put_deployment(body(2))
    assert world(store).revision == first
    store.put_deployment(body(3, endpoint={"port": 9000}))
    assert world(store).revision != first


def test_two_objects_whose_uids_begin_alike_are_told_apart(store: Store, woken: Woken) -> None:
    twin = b.UID[:8] + "-ffff-ffff-ffff-ffffffffffff"
    other = {
        "metadata": {"name": "r2", "namespace": "serving", "uid": twin, "resourceVersion": "7"},
        "spec": b.CPU_SPEC,
    }
    store.put_deployment(other)
    woken.clear()
    snapshot(store)
    woken.clear()
    snapshot(store, b.row(R1))
    assert woken.all() == [KEY]
    store.drop_deployment(("serving", "r2"), twin)
    woken.clear()
    snapshot(store)
    assert woken.all() == [KEY]


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


def test_a_server_that_can_be_asked_again_wakes_everybody(store: Store, woken: Woken) -> None:
    snapshot(store)
    assert woken.all() == [KEY]
    snapshot(store)
    assert woken.all() == []
    store.put_skypilot_unknown("refused", b.NOW)
    woken.clear()
    snapshot(store)
    assert woken.all() == [KEY]


def test_after_a_request_of_ours_earlier_answers_no_longer_hold(store: Store) -> None:
    snapshot(store, b.row(R1))
    store.put_answer(Question(QuestionKind.OUTCOME, str(R1)), Known(None, b.NOW))
    store.acted(KEY, str(R1), launch=True)
    assert world(store).replicas[R1].outcome == NOT_ASKED
    store.not_acted(str(R1))
    assert not store.snapshot_pending()


def test_a_name_about_which_we_have_asked_belongs_to_the_world_at_once(store: Store) -> None:
    store.acted(KEY, str(R1), launch=True)
    assert set(world(store).replicas) == {R1}
    assert store.names(KEY) == {str(R1)}
    assert store.names(("serving", "gone")) == set()


def test_a_name_that_skypilot_shows_is_one_of_its_deployment(store: Store) -> None:
    snapshot(store, b.row(R1))
    assert store.names(KEY) == {str(R1)}
    assert store.names(("serving", "gone")) == set()


@pytest.mark.parametrize("name", [f"x-{b.UID[:8]}-0badbeef-0", "my-cluster"])
def test_a_pod_that_names_a_replica_of_somebody_else_adds_none(store: Store, name: str) -> None:
    store.put_owned("pods", b.UID, pod_body("p"), replace(b.pod(R1), cluster_name=name))
    assert world(store).replicas == {}


@pytest.mark.parametrize(
    ("infra", "woken_by_aws"), [([], True), (["aws/us-east-1"], True), (["gcp", "aws"], True), (["gcp"], False)]
)
def test_news_of_a_cloud_wakes_those_who_may_use_it(
    store: Store, woken: Woken, infra: list[str], woken_by_aws: bool
) -> None:
    store.put_deployment(body(2, resources={**b.CPU_SPEC["resources"], "infra": infra}))
    woken.clear()
    for expected in ([KEY] if woken_by_aws else [], []):
        store.put_answer(Question(QuestionKind.CLOUD, "aws"), Known(None, b.NOW))
        assert woken.all() == expected
    assert world(store).clouds == {"aws": Known(None, b.NOW)}


def test_an_answer_about_a_secret_wakes_its_namespace(store: Store, woken: Woken) -> None:
    for namespace, expected in (("other", []), ("serving", [KEY])):
        store.put_answer(Question(QuestionKind.SECRET, f"{namespace}/hf/token"), Known("", b.NOW))
        assert woken.all() == expected


@pytest.mark.parametrize(
    ("subject", "woken_by_it"),
    [(f"serving/r1/{b.UID}", True), (f"serving/r2/{b.UID}", False), ("serving/r1/ffffffff", False)],
)
def test_the_answer_about_an_authority_wakes_its_deployment(
    store: Store, woken: Woken, subject: str, woken_by_it: bool
) -> None:
    store.put_answer(Question(QuestionKind.AUTHORITY, subject), b.AUTHORITY)
    assert woken.all() == ([KEY] if woken_by_it else [])
    assert world(store).authority == (b.AUTHORITY if woken_by_it else NOT_ASKED)


def test_each_replica_is_joined_from_its_own_pods_and_services(store: Store) -> None:
    second = b.name(DSD, 1)
    for version, name in enumerate((R1, second), 1):
        store.put_owned("pods", b.UID, pod_body(f"p{version}", version), b.pod(name))
        left = LaunchedService(f"s{version}", str(name), "on-cloud")
        store.put_owned("services", b.UID, pod_body(left.name, version), left)
    found = world(store).replicas
    assert {name: ([pod.cluster_name for pod in known.pods], [one.name for one in known.services])
            for name, known in found.items()} == {R1: ([str(R1)], ["s1"]), second: ([str(second)], ["s2"])}  # fmt: skip


def test_only_clusters_that_we_launched_and_nobody_owns_are_orphans(store: Store) -> None:
    snapshot(
        store,
        b.row(R1, user="us"),
        b.row(b.named("x-ffffffff-0badbeef-0"), user="us"),
        b.row(b.named("y-ffffffff-0badbeef-0"), user="them"),
        replace(b.row(R1, user="us"), name="my-cluster"),
    )
    assert store.orphans("us") == ("x-ffffffff-0badbeef-0",)


@pytest.mark.parametrize(("labels", "uid"), [({LABEL_UID: "u"}, "u"), ({}, ""), (None, "")])
def test_an_object_says_whose_it_is(labels: dict[str, str] | None, uid: str) -> None:
    assert owner_uid({"metadata": {"labels": labels}}) == uid


def test_an_answer_that_comes_after_its_deployment_has_gone_is_not_kept(store: Store) -> None:
    """The same name would be asked about again where somebody brings the object back from a backup, UID included."""
    questions = [
        Question(QuestionKind.HISTORY, str(R1)),
        authority_question(DSD),
        Question(QuestionKind.SECRET, "serving/hf/token"),
    ]
    store.put_answer(questions[0], Known(None, b.NOW))  # of a name that no snapshot shows any more
    store.drop_deployment(KEY)
    for question in questions:
        store.put_answer(question, Known("", b.NOW))
    store.put_deployment(body(2))
    again = world(store)
    assert (again.authority, again.secrets) == (NOT_ASKED, {})
    store.acted(KEY, str(R1), launch=True)
    assert world(store).replicas[R1].terminated == NOT_ASKED
