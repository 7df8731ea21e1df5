"""Feed of answers: what a decision asked for, asked in the background so that no pass waits for it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

import structlog
from pydantic import SecretStr

from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.facts.base import Address, Fact, Failure, Known, Unknown
from deepseek_operator.facts.skypilot import Job, JobState, Outcome
from deepseek_operator.facts.store import Key, Store
from deepseek_operator.facts.text import clean
from deepseek_operator.facts.world import Question, QuestionKind
from deepseek_operator.kube.errors import KubeError
from deepseek_operator.skypilot.errors import SkyPilotError

__all__ = ["Questions"]

log = structlog.get_logger(__name__)

AGAIN_S: Final = 5.0
"""Seconds before the same question is asked again, whether it was answered or not."""
AT_ONCE: Final = 16
"""Questions that are under way at the same time, to either server. Each has the time-out of its client."""
OF_ONE: Final = 8
"""How many of those may be of one deployment: one whose machines are out of reach must not hold up the others."""


class _SkyPilot(Protocol):
    async def last_outcome(self, cluster_name: str) -> Outcome | None: ...
    async def job(self, cluster_name: str) -> Job: ...
    async def job_log(self, cluster_name: str, job_id: int) -> str: ...
    async def endpoints(self, cluster_name: str, port: int) -> Address | None: ...
    async def terminated(self, cluster_name: str) -> datetime | None: ...
    async def hourly_price(self, cluster_name: str) -> Decimal | None: ...
    async def cloud_access(self, cloud: str) -> Failure | None: ...


class _Kubernetes(Protocol):
    async def missing_secret(self, namespace: str, reference: SecretKeyRef) -> str | None: ...
    async def authority(self, namespace: str, name: str, uid: str) -> str: ...
    async def api_key(self, namespace: str, name: str, uid: str) -> SecretStr: ...


class _Gate:
    """Lets so many questions through to a server as it can take, and not all of one deployment."""

    def __init__(self) -> None:
        self.shared = asyncio.Semaphore(AT_ONCE)
        self._of_deployments: WeakValueDictionary[Key, asyncio.Semaphore] = WeakValueDictionary()

    def of(self, deployment: Key) -> asyncio.Semaphore:
        """Return the part of a deployment. It goes with the last question that holds it or waits for it."""
        part = self._of_deployments.get(deployment)
        if part is None:
            part = self._of_deployments[deployment] = asyncio.Semaphore(OF_ONE)
        return part


class Questions:
    """Asks, and puts the answers into the store. An error becomes Unknown, for that one question only."""

    def __init__(
        self, skypilot: _SkyPilot, kubernetes: _Kubernetes, store: Store, *, clock: Callable[[], datetime]
    ) -> None:
        self._skypilot, self._kubernetes, self._store, self._clock = skypilot, kubernetes, store, clock
        self._asked: dict[Question, float] = {}
        """When each was asked, oldest first; not longer than that keeps it from being asked again."""
        self._tasks: dict[Question, asyncio.Task[None]] = {}
        self._askers: dict[Question, set[Key]] = {}
        """Which deployments wait for what is under way."""
        # One each: what Kubernetes says in milliseconds must not wait for a SkyPilot server that hangs.
        to_skypilot, to_kubernetes = _Gate(), _Gate()
        self._ways: dict[QuestionKind, tuple[_Gate, Callable[[Question], Awaitable[Any]]]] = {
            QuestionKind.OUTCOME: (to_skypilot, lambda question: skypilot.last_outcome(question.subject)),
            QuestionKind.JOB: (to_skypilot, lambda question: self._job(question.subject)),
            QuestionKind.ENDPOINT: (to_skypilot, lambda question: skypilot.endpoints(question.subject, question.port)),
            QuestionKind.HISTORY: (to_skypilot, lambda question: skypilot.terminated(question.subject)),
            QuestionKind.PRICE: (to_skypilot, lambda question: skypilot.hourly_price(question.subject)),
            QuestionKind.CLOUD: (to_skypilot, lambda question: skypilot.cloud_access(question.subject)),
            QuestionKind.AUTHORITY: (to_kubernetes, lambda question: kubernetes.authority(*_parts(question))),
            QuestionKind.API_KEY: (to_kubernetes, lambda question: kubernetes.api_key(*_parts(question))),
            QuestionKind.SECRET: (to_kubernetes, self._missing_secret),
        }

    def ask(self, question: Question, deployment: Key) -> None:
        """Ask for a deployment, unless the same question is under way or was asked a moment ago."""
        now = asyncio.get_running_loop().time()
        while self._asked and now - next(iter(self._asked.values())) >= AGAIN_S:
            del self._asked[next(iter(self._asked))]
        if question in self._tasks:
            self._askers[question].add(deployment)
            return
        if question in self._asked:
            return
        self._asked[question] = now
        self._askers[question] = {deployment}
        task = asyncio.create_task(self._answer(question, deployment))
        self._tasks[question] = task
        task.add_done_callback(lambda _: self._ended(question, task))

    def forget(self, name: str) -> None:
        """Ask about a cluster again at once when the next decision wants to: something about it has changed.

        What is under way is given up. Its answer may tell what was before.
        """
        for question in [known for known in self._asked if known.subject == name]:
            del self._asked[question]
        for question, task in [(known, task) for known, task in self._tasks.items() if known.subject == name]:
            task.cancel()
            self._ended(question, task)

    def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks.values():
            task.cancel()

    def _ended(self, question: Question, task: asyncio.Task[None]) -> None:
        if self._tasks.get(question) is task:  # else it was given up, and asked again
            del self._tasks[question], self._askers[question]

    async def _answer(self, question: Question, deployment: Key) -> None:
        gate, ask = self._ways[question.kind]
        async with gate.of(deployment), gate.shared:
            at = self._clock()
            answer: Fact[Any]
            try:
                answer = Known(await ask(question), at)
            except (SkyPilotError, KubeError) as error:
                answer = Unknown(str(error), at)
            except Exception as error:
                # A rule waits for the answer, and says that nobody could give one.
                log.exception("answer_not_understood", question=str(question.kind), subject=question.subject)
                answer = Unknown(f"the answer could not be understood: {clean(repr(error), 300)}", at)
            self._store.put_answer(question, answer, self._askers[question])

    async def _missing_secret(self, question: Question) -> str:
        namespace, name, key = _parts(question)
        return await self._kubernetes.missing_secret(namespace, SecretKeyRef(name=name, key=key)) or ""

    async def _job(self, name: str) -> Job:
        job = await self._skypilot.job(name)
        if job.state is not JobState.ENDED:
            return job
        return Job(job.id, job.state, job.status, await self._skypilot.job_log(name, job.id))


def _parts(question: Question) -> tuple[str, str, str]:
    first, second, third = question.subject.split("/", 2)
    return first, second, third
