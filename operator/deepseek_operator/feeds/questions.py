"""Feed of answers: what a decision asked for, asked in the background so that no pass waits for it."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Protocol

import structlog
from pydantic import SecretStr

from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.facts.base import Address, Failure, Known, Unknown
from deepseek_operator.facts.skypilot import Job, JobState, Outcome
from deepseek_operator.facts.store import Store
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
_OF_KUBERNETES: Final = frozenset({QuestionKind.SECRET, QuestionKind.AUTHORITY, QuestionKind.API_KEY})


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


class Questions:
    """Asks, and puts the answers into the store. An error becomes Unknown, for that one question only."""

    def __init__(
        self, skypilot: _SkyPilot, kubernetes: _Kubernetes, store: Store, *, clock: Callable[[], datetime]
    ) -> None:
        self._skypilot, self._kubernetes, self._store, self._clock = skypilot, kubernetes, store, clock
        self._asked: dict[Question, float] = {}
        """When each was asked, oldest first; not longer than that keeps it from being asked again."""
        self._tasks: dict[Question, asyncio.Task[None]] = {}
        # One each: what Kubernetes says in milliseconds must not wait for a SkyPilot server that hangs.
        self._kubernetes_gate, self._skypilot_gate = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE)

    def ask(self, question: Question) -> None:
        """Ask, unless the same question is under way or was asked a moment ago."""
        now = asyncio.get_running_loop().time()
        while self._asked and now - next(iter(self._asked.values())) >= AGAIN_S:
            del self._asked[next(iter(self._asked))]
        if question in self._tasks or question in self._asked:
            return
        self._asked[question] = now
        task = asyncio.create_task(self._answer(question))
        self._tasks[question] = task
        task.add_done_callback(lambda _: self._tasks.pop(question, None))

    def forget(self, name: str) -> None:
        """Ask about a cluster again at once when the next decision wants to: something about it has changed."""
        for question in [known for known in self._asked if known.subject == name]:
            del self._asked[question]

    def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks.values():
            task.cancel()

    async def _answer(self, question: Question) -> None:
        async with self._kubernetes_gate if question.kind in _OF_KUBERNETES else self._skypilot_gate:
            at = self._clock()
            try:
                value = await self._ask(question)
            except (SkyPilotError, KubeError) as error:
                self._store.put_answer(question, Unknown(str(error), at))
            except Exception as error:
                # A rule waits for the answer, and says that nobody could give one.
                log.exception("answer_not_understood", question=str(question.kind), subject=question.subject)
                words = f"the answer could not be understood: {clean(repr(error), 300)}"
                self._store.put_answer(question, Unknown(words, at))
            else:
                self._store.put_answer(question, Known(value, at))

    async def _ask(self, question: Question) -> Any:
        subject = question.subject
        match question.kind:
            case QuestionKind.OUTCOME:
                return await self._skypilot.last_outcome(subject)
            case QuestionKind.JOB:
                return await self._job(subject)
            case QuestionKind.ENDPOINT:
                return await self._skypilot.endpoints(subject, question.port)
            case QuestionKind.HISTORY:
                return await self._skypilot.terminated(subject)
            case QuestionKind.PRICE:
                return await self._skypilot.hourly_price(subject)
            case QuestionKind.CLOUD:
                return await self._skypilot.cloud_access(subject)
            case QuestionKind.AUTHORITY:
                namespace, name, uid = subject.split("/", 2)
                return await self._kubernetes.authority(namespace, name, uid)
            case QuestionKind.API_KEY:
                namespace, name, uid = subject.split("/", 2)
                return await self._kubernetes.api_key(namespace, name, uid)
            case QuestionKind.SECRET:
                namespace, name, key = subject.split("/", 2)
                return await self._kubernetes.missing_secret(namespace, SecretKeyRef(name=name, key=key)) or ""

    async def _job(self, name: str) -> Job:
        job = await self._skypilot.job(name)
        if job.state is not JobState.ENDED:
            return job
        return Job(job.id, job.state, job.status, await self._skypilot.job_log(name, job.id))
