"""The fact store: answers to questions and probes of engines, whom they wake, and how long they hold."""

from datetime import timedelta

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.facts.base import Address, Failure, Known, Probe, Unknown
from deepseek_operator.facts.engine import EngineReading
from deepseek_operator.facts.skypilot import JobState, Outcome, RequestKind
from deepseek_operator.facts.store import Store
from deepseek_operator.facts.world import NOT_ASKED, Question, QuestionKind, authority_question
from tests.unit.facts.stored import DSD, KEY, NEW_UID, R1, Woken, body, pod_body, snapshot, world
from tests.unit.reconcile import builders as b

AT = Address("10.88.0.5", 8000)


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
        store.put_answer(question, Known("", b.NOW), [KEY])
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


def test_after_a_request_of_ours_earlier_answers_no_longer_hold(store: Store) -> None:
    snapshot(store, b.row(R1))
    store.put_answer(Question(QuestionKind.OUTCOME, str(R1)), Known(None, b.NOW))
    store.acted(KEY, str(R1), launch=True)
    assert world(store).replicas[R1].outcome == NOT_ASKED
    store.not_acted(str(R1))
    assert not store.snapshot_pending()


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


def test_an_answer_about_a_secret_wakes_who_has_asked(store: Store, woken: Woken) -> None:
    metadata = {"name": "r2", "namespace": "serving", "uid": NEW_UID, "resourceVersion": "7"}
    store.put_deployment({"metadata": metadata, "spec": b.CPU_SPEC})
    woken.clear()
    for askers, expected in (([KEY, ("serving", "gone")], [KEY]), ([("serving", "gone")], []), ([], [])):
        store.put_answer(Question(QuestionKind.SECRET, "serving/hf/token"), Known("", b.NOW), askers)
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


def test_no_answer_outlives_its_deployment_or_comes_after_it(store: Store) -> None:
    """The same name would be asked about again where somebody brings the object back from a backup, UID included."""
    questions = [
        Question(QuestionKind.HISTORY, str(R1)),  # of a name that no snapshot shows any more
        authority_question(DSD),
        Question(QuestionKind.SECRET, "serving/hf/token"),
    ]
    for question in questions:
        store.put_answer(question, Known("", b.NOW), [KEY])
    store.drop_deployment(KEY)
    for question in questions:
        store.put_answer(question, Known("", b.NOW), [KEY])
    store.put_deployment(body(2))
    store.put_owned("pods", b.UID, pod_body("p"), b.pod(R1))
    again = world(store)
    assert (again.authority, again.secrets, again.replicas[R1].terminated) == (NOT_ASKED, {}, NOT_ASKED)


def test_no_answer_outlives_its_replica(store: Store) -> None:
    """Before it is forgotten, SkyPilot is asked what became of its machines, which no snapshot shows any more."""
    names = [b.name(DSD, ordinal) for ordinal in (0, 1)]
    instances = [{"name": str(name), "revision": name.revision, "phase": "Terminating"} for name in names]
    store.put_deployment({**body(2), "status": {"instances": instances}})
    for name in names:
        store.put_answer(Question(QuestionKind.HISTORY, str(name)), Known(None, b.NOW))
    store.put_deployment({**body(3), "status": {"instances": instances[1:]}})
    assert store._answers.names(R1.uid) == (names[1],)


def test_a_deployment_that_goes_takes_no_answer_about_another_one_along(store: Store) -> None:
    """Both are in one namespace, and their UIDs begin alike."""
    twin = b.UID[:8] + "-ffff-ffff-ffff-ffffffffffff"
    metadata = {"name": "r2", "namespace": "serving", "uid": twin, "resourceVersion": "7"}
    store.put_deployment({"metadata": metadata, "spec": b.CPU_SPEC})
    store.put_owned("pods", b.UID, pod_body("p"), b.pod(R1))
    store.put_answer(Question(QuestionKind.HISTORY, str(R1)), Known(None, b.NOW))
    store.put_answer(Question(QuestionKind.SECRET, "serving/hf/token"), Known("", b.NOW), [KEY])
    store.drop_deployment(("serving", "r2"))
    assert world(store).replicas[R1].terminated == Known(None, b.NOW)
    assert world(store).secrets == {SecretKeyRef(name="hf", key="token"): Known("", b.NOW)}
