"""Answers to questions, results of probes, addresses: the small facts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.facts.answers import Answers
from deepseek_operator.facts.base import Address, Failure, Known, Probe, Unknown
from deepseek_operator.facts.clock import elapsed, young
from deepseek_operator.facts.engine import EngineReading
from deepseek_operator.facts.probed import Probed
from deepseek_operator.facts.skypilot import JobState
from deepseek_operator.facts.world import NOT_ASKED, Question, QuestionKind, api_key_question, authority_question
from tests.unit.reconcile import builders as b

NAME = str(b.name(b.deployment()))
OUTCOME, JOB = Question(QuestionKind.OUTCOME, NAME), Question(QuestionKind.JOB, NAME)
AUTHORITY, API_KEY = authority_question(b.deployment()), api_key_question(b.deployment())
SECRET = Question(QuestionKind.SECRET, "serving/hf/token")


class TestAnswers:
    def test_that_fail_again_say_since_when(self) -> None:
        answers = Answers()
        steps: list[tuple[Any, Any]] = [
            (Unknown("a", b.ago(9)), Unknown("a", b.ago(9))),
            (Unknown("b", b.NOW), Unknown("b", b.ago(9))),
            (Known(None, b.NOW), Known(None, b.NOW)),
            (Unknown("c", b.NOW), Unknown("c", b.NOW)),
            (NOT_ASKED, Unknown(NOT_ASKED.why, b.NOW)),
        ]
        for answer, expected in steps:
            answers.put(OUTCOME, answer)
            assert answers.of(NAME) == {QuestionKind.OUTCOME: expected}

    def test_that_were_never_given_have_no_beginning(self) -> None:
        answers = Answers()
        answers.put(OUTCOME, NOT_ASKED)
        answers.put(OUTCOME, Unknown("a", b.NOW))
        assert answers.of(NAME) == {QuestionKind.OUTCOME: Unknown("a", b.NOW)}

    @pytest.mark.parametrize(
        ("question", "before", "after", "news"),
        [
            (OUTCOME, None, Known(None, b.NOW), True),
            (OUTCOME, Known(None, b.ago(9)), Known(None, b.NOW), False),
            (OUTCOME, Unknown("a", b.ago(9)), Known(None, b.NOW), True),
            (OUTCOME, Known(None, b.ago(9)), Unknown("a", b.NOW), True),
            (JOB, None, b.job(JobState.ACTIVE), False),
            (JOB, Unknown("a", b.ago(9)), b.job(JobState.ACTIVE), False),
            (JOB, b.job(JobState.ENDED), b.job(JobState.ACTIVE), True),
            (JOB, None, b.job(JobState.ENDED), True),
            (JOB, None, Unknown("a", b.NOW), True),
            (AUTHORITY, None, b.AUTHORITY, True),
            (AUTHORITY, b.AUTHORITY, Known("", b.NOW), True),
            (AUTHORITY, b.AUTHORITY, b.AUTHORITY, False),
            (API_KEY, None, Known(SecretStr("sesame"), b.NOW), False),
            (SECRET, Known("", b.ago(9)), Known("", b.NOW), True),
        ],
    )
    def test_are_news_where_a_decision_can_depend_on_them(
        self, question: Question, before: Any, after: Any, news: bool
    ) -> None:
        answers = Answers()
        if before is not None:
            answers.put(question, before)
        assert answers.put(question, after) is news

    def test_are_forgotten_with_their_name(self) -> None:
        answers = Answers()
        answers.put(OUTCOME, Known(None, b.NOW))
        answers.put(JOB, b.job(JobState.ACTIVE))
        answers.forget(NAME)
        assert answers.of(NAME) == {}
        answers.forget(NAME)

    def test_are_found_by_the_uid_in_their_name_until_they_are_forgotten(self) -> None:
        answers, names = Answers(), [b.name(b.deployment(), ordinal) for ordinal in (0, 1)]
        for name in names:
            answers.put(Question(QuestionKind.OUTCOME, str(name)), Known(None, b.NOW))
        assert set(answers.names(names[0].uid)) == set(names)
        answers.forget(str(names[0]))
        assert answers.names(names[0].uid) == (names[1],)

    @pytest.mark.parametrize(
        ("before", "after", "news"),
        [
            (Known(None, b.ago(9)), Known(None, b.NOW), False),
            (Known(None, b.ago(9)), Known(Failure(Reason.CREDENTIALS_INVALID, "no"), b.NOW), True),
            (Unknown("a", b.ago(9)), Known(None, b.NOW), True),
            (Known(None, b.ago(9)), Unknown("a", b.NOW), True),
            (Unknown("a", b.ago(9)), Unknown("b", b.NOW), False),
        ],
    )
    def test_about_a_cloud_are_news_where_they_differ(self, before: Any, after: Any, news: bool) -> None:
        answers = Answers()
        assert answers.put_cloud("aws", before)
        assert answers.put_cloud("aws", after) is news
        assert answers.clouds == {"aws": after}

    def test_about_a_secret_hold_for_a_minute_in_its_namespace(self) -> None:
        answers, reference = Answers(), SecretKeyRef(name="hf", key="a/b")
        answers.put(Question(QuestionKind.SECRET, "serving/hf/a/b"), Known("", b.NOW))
        for seconds, expected in ((59, Known("", b.NOW)), (60, NOT_ASKED)):
            assert answers.secrets("serving", b.NOW + timedelta(seconds=seconds)) == {reference: expected}
        assert answers.secrets("other", b.NOW) == {}

    def test_about_a_secret_that_are_too_old_go_when_another_one_comes(self) -> None:
        answers = Answers()
        for age in (60, 59, 0):
            answers.put(Question(QuestionKind.SECRET, f"serving/{age}-s-old/token"), Known("", b.ago(age)))
        assert {reference.name for reference in answers.secrets("serving", b.NOW)} == {"59-s-old", "0-s-old"}

    def test_about_a_secret_that_could_not_be_read_are_none(self) -> None:
        answers, question = Answers(), Question(QuestionKind.SECRET, "serving/hf/token")
        for answer in (Unknown("time-out", b.NOW), Known("", b.NOW), Unknown("time-out", b.NOW)):
            answers.put(question, answer)
        assert answers.secrets("serving", b.NOW) == {}

    def test_about_an_authority_belong_to_its_deployment_and_go_with_it(self) -> None:
        answers, question = Answers(), authority_question(b.deployment())
        answers.put(question, b.AUTHORITY)
        assert answers.of_deployment(question) == b.AUTHORITY
        assert answers.of(question.subject) == {}, "no cluster"
        answers.drop_of_deployment(question)
        assert answers.of_deployment(question) == NOT_ASKED


class TestProbed:
    A, B = Address("10.0.0.1", 8000), Address("10.0.0.2", 8000)
    RESULT = Known(Probe(True, b.NOW), b.NOW)

    def test_results_concern_those_who_watch(self) -> None:
        probed: Probed[str] = Probed()
        assert not probed.watch("x", [self.A])
        assert probed.put(self.A, self.RESULT) == ("x",)
        assert probed.put(self.B, self.RESULT) == ()
        assert probed.of("x") == {self.A: self.RESULT.value}
        assert probed.of("y") == {}

    def test_whoever_comes_later_hears_that_there_is_a_result(self) -> None:
        probed: Probed[str] = Probed()
        probed.put(self.A, self.RESULT)
        assert probed.watch("x", [self.A, self.B])
        assert not probed.watch("x", [self.A, self.B]), "the same again"
        assert not probed.watch("x", [self.A]), "fewer"

    def test_one_of_two_may_go(self) -> None:
        probed: Probed[str] = Probed()
        probed.watch("x", [self.A])
        probed.watch("y", [self.A, self.B])
        probed.watch("x", [])
        assert probed.put(self.A, self.RESULT) == ("y",)
        probed.watch("y", [self.B])
        assert (probed.put(self.A, self.RESULT), probed.put(self.B, self.RESULT)) == ((), ("y",))
        probed.watch("never", [])

    def test_an_address_that_is_no_longer_probed_has_no_result(self) -> None:
        probed: Probed[str] = Probed()
        probed.watch("x", [self.A])
        probed.put(self.A, self.RESULT)
        assert probed.put(self.A, None) == ()
        assert probed.put(self.A, None) == ()
        assert probed.of("x") == {}

    def test_what_an_engine_reports_concerns_those_who_watch_it(self) -> None:
        probed: Probed[str] = Probed()
        probed.watch("x", [self.A, self.B])
        reading = Known(EngineReading(4096), b.NOW)
        assert probed.put_reading(self.A, reading) == ("x",)
        assert (probed.readings_of("x"), probed.readings_of("y")) == ({self.A: reading}, {})

    def test_an_engine_that_cannot_be_read_is_no_news(self) -> None:
        probed: Probed[str] = Probed()
        probed.watch("x", [self.A])
        silence = Unknown("time-out", b.NOW)
        assert probed.put_reading(self.A, silence) == ()
        assert probed.readings_of("x") == {self.A: silence}

    def test_an_engine_that_is_no_longer_read_reports_nothing(self) -> None:
        probed: Probed[str] = Probed()
        probed.watch("x", [self.A])
        probed.put_reading(self.A, Known(EngineReading(4096), b.NOW))
        assert probed.put_reading(self.A, None) == ()
        assert probed.readings_of("x") == {}


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("10.0.0.1:8000", "10.0.0.1", 8000), ("[fd00::1]:65535", "fd00::1", 65535), ("head.example:1", "head.example", 1)],
)
def test_an_address_reads_as_it_is_written(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host, port)
    assert str(Address(host, port)) == text


@pytest.mark.parametrize("text", ["", "10.0.0.1", "8000", ":8000", "10.0.0.1:", "a:http", "a:0", "a:65536", "a:-1"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert Address.parse(text) is None


def test_a_pod_that_is_being_deleted_does_not_run() -> None:
    pod = b.pod(b.name(b.deployment()))
    assert pod.running
    assert not replace(pod, deleting=True).running
    assert not replace(pod, phase="Pending").running


def test_an_answer_from_before_the_clock_was_set_back_is_not_young() -> None:
    assert [young(b.NOW, b.ago(age), 60) for age in (-5, 0, 59, 60)] == [False, True, True, False]


def test_a_secret_that_was_seen_before_the_clock_was_set_back_is_looked_for_again() -> None:
    answers = Answers()
    answers.put(SECRET, Known("", b.NOW))
    assert list(answers.secrets("serving", b.ago(3600)).values()) == [NOT_ASKED]


def test_no_time_passes_since_never_or_since_the_future() -> None:
    assert [elapsed(b.NOW, since) for since in (None, b.ago(-5), b.ago(5))] == [0, 0, 5]
