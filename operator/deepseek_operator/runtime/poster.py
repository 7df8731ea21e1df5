"""Events are posted beside the passes: no pass waits for one, and while passes wait they have the API server first."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

import structlog

from deepseek_operator.api.v1alpha1 import DeepSeekDeployment, Metadata
from deepseek_operator.kube.errors import KubeConflictError, KubeError, KubeNotFoundError, KubeUnavailableError
from deepseek_operator.reconcile.events import EventNote

__all__ = ["EventPoster"]

log = structlog.get_logger(__name__)

PATIENCE_S: Final = 60.0
"""Seconds for which an Event waits for a moment in which no pass does."""
LIFE_S: Final = 300.0
"""Seconds after which an Event that the API server never accepted is given up; the status holds the truth."""
MOST: Final = 10_000
"""Events that may wait; the oldest go."""
LOOK_S: Final = 0.25
AGAIN_S: Final = 2.0
CLOSE_S: Final = 2.0


class EventWrites(Protocol):
    """The part of the Kubernetes adapter that posts Events."""

    async def post_event(self, of: Metadata, type_: str, reason: str, message: str, now: datetime) -> None: ...


@dataclass(frozen=True)
class _Waiting:
    of: Metadata  # not the object, of which each version would be kept as long
    note: EventNote
    at: datetime


@dataclass
class EventPoster:
    """Posts Events, one after another.

    Attributes
    ----------
    busy
        Whether passes wait: what they write comes first.
    """

    writer: EventWrites
    busy: Callable[[], bool]
    clock: Callable[[], datetime]
    _waiting: deque[_Waiting] = field(default_factory=deque, init=False)
    _any: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def post(self, deployment: DeepSeekDeployment, note: EventNote) -> None:
        """Have an Event posted soon. It carries the time of this call."""
        if len(self._waiting) >= MOST:
            lost = self._waiting.popleft()
            log.warning("event_not_posted", reason=lost.note.reason, error=f"{MOST} others wait")
        self._waiting.append(_Waiting(deployment.metadata, note, self.clock()))
        self._any.set()

    async def run(self) -> None:
        """Post what is to be posted, until cancelled."""
        while True:
            await self._any.wait()
            while self._waiting:
                pause_s = AGAIN_S
                if self.busy() and self._waits_s(self._waiting[0]) < PATIENCE_S:
                    pause_s = LOOK_S
                elif await self._post(self._waiting[0]):
                    continue
                await asyncio.sleep(pause_s)
            self._any.clear()

    async def close(self) -> None:
        """Post what is left, as far as that takes only a moment."""
        try:
            async with asyncio.timeout(CLOSE_S):
                while self._waiting and await self._post(self._waiting[0]):
                    pass
        except TimeoutError:
            pass
        self._waiting.clear()

    def _waits_s(self, waiting: _Waiting) -> float:
        return abs((self.clock() - waiting.at).total_seconds())

    async def _post(self, waiting: _Waiting) -> bool:
        """Post the first one; return False if the API server may accept it later, behind the others."""
        note, problem, later = waiting.note, "", False
        try:
            await self.writer.post_event(waiting.of, note.type, note.reason, note.message, waiting.at)
        except (KubeConflictError, KubeNotFoundError):
            pass  # it was heard before, or the namespace is gone
        except KubeError as error:
            later = isinstance(error, KubeUnavailableError) and self._waits_s(waiting) < LIFE_S
            problem = "" if later else str(error)
        except Exception:
            # One that cannot even be made must not end the task, and with it every pass.
            log.exception("event_not_made", reason=note.reason, object=f"{waiting.of.namespace}/{waiting.of.name}")
        if problem:
            with structlog.contextvars.bound_contextvars(object=f"{waiting.of.namespace}/{waiting.of.name}"):
                log.warning("event_not_posted", reason=note.reason, error=problem)
        if self._waiting and self._waiting[0] is waiting:
            self._waiting.popleft()
            if later:
                self._waiting.append(waiting)  # what one namespace refuses, by a webhook say, holds up no other
        return not later
