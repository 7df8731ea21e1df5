"""Questions: asked in the background, one at a time each, and an error is Unknown for that one question only."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import SecretStr

from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.facts.base import Address, Failure, Known, Unknown
from deepseek_operator.facts.skypilot import Job, JobState, Outcome
from deepseek_operator.facts.store import Key, Store
from deepseek_operator.facts.world import Question, QuestionKind
from deepseek_operator.feeds.questions import Questions
from deepseek_operator.skypilot.errors import SkyPilotUnavailableError
from tests.simulation.clock import run_virtually
from tests.unit.reconcile import builders as b

R = ("serving", "r1")
NAME = str(b.name(b.deployment()))
OUTCOME, JOB = Question(QuestionKind.OUTCOME, NAME), Question(QuestionKind.JOB, NAME)
HUNDRED = [Question(QuestionKind.ENDPOINT, str(b.name(b.deployment(), ordinal))) for ordinal in range(100)]


class Answers:
    """SkyPilot and Kubernetes, as far as they are asked questions."""

    def __init__(self) -> None:
        self.seconds = 0.1
        self.error: Exception | None = None
        self.calls: list[str] = []

    async def _answer(self, what: str, value: Any) -> Any:
        self.calls.append(what)
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return value

    async def last_outcome(self, cluster_name: str) -> Outcome | None:
        return await self._answer("outcome", None)  # type: ignore[no-any-return]

    async def job(self, cluster_name: str) -> Job:
        return await self._answer("job", Job(3, JobState.ENDED, "FAILED"))  # type: ignore[no-any-return]

    async def job_log(self, cluster_name: str, job_id: int) -> str:
        return await self._answer(f"log {job_id}", "boom")  # type: ignore[no-any-return]

    async def endpoints(self, cluster_name: str, port: int) -> Address | None:
        return await self._answer("endpoints", None)  # type: ignore[no-any-return]

    async def terminated(self, cluster_name: str) -> datetime | None:
        return await self._answer("terminated", b.NOW)  # type: ignore[no-any-return]

    async def hourly_price(self, cluster_name: str) -> Decimal | None:
        return await self._answer("price", None)  # type: ignore[no-any-return]

    async def cloud_access(self, cloud: str) -> Failure | None:
        return await self._answer(f"cloud {cloud}", None)  # type: ignore[no-any-return]

    async def missing_secret(self, namespace: str, reference: SecretKeyRef) -> str | None:
        return await self._answer("secret", None)  # type: ignore[no-any-return]

    async def authority(self, namespace: str, name: str, uid: str) -> str:
        return await self._answer("authority", "")  # type: ignore[no-any-return]

    async def api_key(self, namespace: str, name: str, uid: str) -> SecretStr:
        return await self._answer("api-key", SecretStr(""))  # type: ignore[no-any-return]


def play(story: Callable[[Answers, Questions, list[tuple[Question, Any]]], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        told: list[tuple[Question, Any]] = []

        def put(question: Question, answer: Any, askers: Iterable[Key]) -> None:
            told.append((question, answer))

        store = Store(lambda key: None)
        store.put_answer = put  # type: ignore[assignment,method-assign]
        answers = Answers()
        await story(answers, Questions(answers, answers, store, clock=lambda: b.NOW), told)

    run_virtually(run())


async def ask_hundred_that_hang(answers: Answers, questions: Questions) -> None:
    """Ask a hundred questions for one deployment, each of which takes 30 s; what is asked after them takes none."""
    answers.seconds = 30.0
    for question in HUNDRED:
        questions.ask(question, R)
    await asyncio.sleep(1)
    answers.seconds = 0.1


def test_an_answer_says_when_it_was_asked_for() -> None:
    async def story(answers: Answers, questions: Questions, told: list[tuple[Question, Any]]) -> None:
        questions.ask(OUTCOME, R)
        await asyncio.sleep(1)
        assert told == [(OUTCOME, Known(None, b.NOW))]

    play(story)


def test_the_end_of_a_job_comes_with_its_log() -> None:
    async def story(answers: Answers, questions: Questions, told: list[tuple[Question, Any]]) -> None:
        questions.ask(JOB, R)
        await asyncio.sleep(1)
        assert told == [(JOB, Known(Job(3, JobState.ENDED, "FAILED", "boom"), b.NOW))]

    play(story)


def test_an_error_is_unknown_for_that_question_only() -> None:
    async def story(answers: Answers, questions: Questions, told: list[tuple[Question, Any]]) -> None:
        answers.error = SkyPilotUnavailableError("timed out")
        questions.ask(OUTCOME, R)
        await asyncio.sleep(1)
        answers.error = None
        questions.ask(JOB, R)
        await asyncio.sleep(1)
        assert told[0] == (OUTCOME, Unknown("timed out", b.NOW))
        assert isinstance(told[1][1], Known)

    play(story)


def test_an_answer_in_a_form_that_nobody_foresaw_is_unknown_as_well() -> None:
    async def story(answers: Answers, questions: Questions, told: list[tuple[Question, Any]]) -> None:
        answers.error = KeyError("finished_at")
        questions.ask(OUTCOME, R)
        await asyncio.sleep(1)
        assert told == [(OUTCOME, Unknown("the answer could not be understood: KeyError('finished_at')", b.NOW))]

    play(story)


def test_a_question_is_not_asked_again_at_once_unless_something_has_changed() -> None:
    async def story(answers: Answers, questions: Questions, told: list[tuple[Question, Any]]) -> None:
        for _ in range(10):
            questions.ask(OUTCOME, R)
            await asyncio.sleep(0.2)
        assert answers.calls == ["outcome"]
        await asyncio.sleep(5)
        questions.ask(OUTCOME, R)
        await asyncio.sleep(0.2)
        assert answers.calls == ["outcome"] * 2
        questions.forget(NAME)
        questions.ask(OUTCOME, R)
        await asyncio.sleep(0.2)
        assert answers.calls == ["outcome"] * 3

    play(story)


def test_what_was_asked_before_something_has_changed_is_asked_again_and_its_answer_not_taken() -> None:
    """A job of the launch before, say, of which SkyPilot needs half a minute to tell that its nodes are gone."""

    async def story(answers: Answers, questions: Questions, told: list[tuple[Question, Any]]) -> None:
        answers.seconds = 30.0
        questions.ask(JOB, R)
        await asyncio.sleep(1)
        questions.forget(NAME)
        answers.seconds = 0.1
        questions.ask(JOB, R)
        await asyncio.sleep(1)
        assert (answers.calls, [question for question, _ in told]) == (["job", "job", "log 3"], [JOB])
        await asyncio.sleep(60)
        assert len(told) == 1
        questions.ask(JOB, R)
        await asyncio.sleep(1)
        assert len(told) == 2

    play(story)


def test_a_question_that_hangs_holds_up_no_other() -> None:
    async def story(answers: Answers, questions: Questions, told: list[tuple[Question, Any]]) -> None:
        answers.seconds = 1000
        questions.ask(OUTCOME, R)
        await asyncio.sleep(1)
        answers.seconds = 0.1
        questions.ask(JOB, R)
        await asyncio.sleep(1)
        assert [question for question, _ in told] == [JOB]

    play(story)


def test_a_question_to_kubernetes_does_not_wait_for_skypilot() -> None:
    """Where a node group with hundreds of engines is lost, SkyPilot needs half a minute to say so of each."""

    async def story(answers: Answers, questions: Questions, told: list[tuple[Question, Any]]) -> None:
        await ask_hundred_that_hang(answers, questions)
        questions.ask(Question(QuestionKind.SECRET, "serving/hf/token"), R)
        await asyncio.sleep(1)
        assert [question.kind for question, _ in told] == [QuestionKind.SECRET]

    play(story)


def test_a_deployment_whose_questions_hang_holds_up_no_other_deployment() -> None:
    async def story(answers: Answers, questions: Questions, told: list[tuple[Question, Any]]) -> None:
        await ask_hundred_that_hang(answers, questions)
        questions.ask(Question(QuestionKind.ENDPOINT, "other-00000001-aaaaaaaa-0"), ("serving", "other"))
        await asyncio.sleep(1)
        assert [question.subject for question, _ in told] == ["other-00000001-aaaaaaaa-0"]

    play(story)


def test_all_questions_of_a_deployment_are_answered_in_their_turn() -> None:
    async def story(answers: Answers, questions: Questions, told: list[tuple[Question, Any]]) -> None:
        for question in HUNDRED:
            questions.ask(question, R)
        await asyncio.sleep(2)
        assert [question for question, _ in told] == HUNDRED

    play(story)


def test_an_answer_is_for_all_who_have_asked_meanwhile_and_for_nobody_else() -> None:
    woken: list[tuple[str, str]] = []

    async def story() -> None:
        store = Store(woken.append)
        for name in ("r1", "r2", "r3"):
            metadata = {"name": name, "namespace": "serving", "uid": f"uid-{name}", "resourceVersion": "1"}
            store.put_deployment({"metadata": metadata, "spec": b.CPU_SPEC})
        woken.clear()
        questions = Questions(Answers(), Answers(), store, clock=lambda: b.NOW)
        secret = Question(QuestionKind.SECRET, "serving/hf/token")
        for name in ("r1", "r2", "gone"):
            questions.ask(secret, ("serving", name))
        await asyncio.sleep(10)
        assert sorted(woken) == [("serving", "r1"), ("serving", "r2")]
        questions.ask(secret, ("serving", "r3"))
        await asyncio.sleep(1)
        assert woken[2:] == [("serving", "r3")]

    run_virtually(story())
