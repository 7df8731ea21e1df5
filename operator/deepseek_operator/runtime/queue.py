"""The work queue: keys, not events. A key is worked on by one worker at a time, and never lost while it is.

The semantics are those of client-go's workqueue: adding a key twice before it is taken is one pass; adding it while it
is worked on is one more pass afterwards; a failed key comes back after a growing delay; ``add_after`` keeps the
earliest time. Besides, keys have a :class:`Priority`: with a thousand keys that poll, a new deployment, a deletion or a
dead engine still gets the next free worker.

No storm starves anybody. Two turns in four belong to edits, one to what is urgent, one to the rest: to other news, and
to what is only looked at again, by turns. A turn that nobody wants goes to the next in order. Of edits, and of what is
urgent, the oldest and the newest come alternately, so that one deployment that is created beside a thousand others does
not come last.
"""

import asyncio
import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from deepseek_operator.facts.store import Key

__all__ = ["LONGEST_BACKOFF_S", "Priority", "WorkQueue"]

_FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 30.0


class Priority(IntEnum):
    """Which keys come first."""

    EDITED = 0
    """Its user has created, changed or deleted it."""
    URGENT = 1
    """Its engine answers or no longer answers, or a pass of its own goes on from what was written: somebody waits."""
    NORMAL = 2
    """Something else about it has changed."""
    POLL = 3
    """It is only looked at again."""


_EDIT_TURN: Final = tuple(Priority)
_URGENT_TURN: Final = (Priority.URGENT, Priority.EDITED, Priority.NORMAL, Priority.POLL)
_TURNS: Final = (
    _EDIT_TURN,
    _EDIT_TURN,
    _URGENT_TURN,
    (Priority.NORMAL, Priority.POLL, Priority.EDITED, Priority.URGENT),
    _EDIT_TURN,
    _EDIT_TURN,
    _URGENT_TURN,
    (Priority.POLL, Priority.NORMAL, Priority.EDITED, Priority.URGENT),
)
"""Whose turn it is, and who comes instead where nobody of that priority waits."""


class WorkQueue:
    """Keys that want a pass.

    Parameters
    ----------
    waited
        Called with the seconds that a key had waited when it is taken.
    """

    def __init__(self, waited: Callable[[float], None] = lambda _: None) -> None:
        self._waited = waited
        self._waiting: tuple[OrderedDict[Key, float], ...] = tuple(OrderedDict() for _ in Priority)
        self._priority: dict[Key, Priority] = {}
        self._available = asyncio.Semaphore(0)  # counts the keys that wait: each of them wakes one worker, not all
        self._turns = itertools.cycle(_TURNS)
        self._newest = dict.fromkeys((Priority.EDITED, Priority.URGENT), False)
        self._working: dict[Key, Priority] = {}
        self._again: dict[Key, Priority] = {}
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, tuple[float, Priority]] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._ids = itertools.count()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Return how many keys wait for a worker."""
        return len(self._priority)

    def oldest_s(self) -> float:
        """Return for how many seconds the key that has waited longest has been waiting."""
        heads = [next(iter(waiting.values())) for waiting in self._waiting if waiting]
        return asyncio.get_running_loop().time() - min(heads) if heads else 0.0

    def add(self, key: Key, priority: Priority = Priority.NORMAL) -> None:
        """Ask for a pass of ``key`` as soon as a worker is free."""
        self._due.pop(key, None)
        if key in self._working:
            self._again[key] = min(priority, self._again.get(key, priority))
            return
        before = self._priority.get(key)
        if before is not None and before <= priority:
            return
        since = asyncio.get_running_loop().time()
        if before is None:
            self._available.release()
        else:
            since = self._waiting[before].pop(key)
        self._waiting[priority][key] = since
        self._priority[key] = priority

    def add_edited(self, key: Key) -> None:
        """Ask for a pass of ``key`` because its user has changed it."""
        self.add(key, Priority.EDITED)

    def add_urgent(self, key: Key) -> None:
        """Ask for a pass of ``key`` before those that are not urgent."""
        self.add(key, Priority.URGENT)

    def add_after(self, key: Key, seconds: float, priority: Priority = Priority.POLL) -> None:
        """Ask for a pass of ``key`` in ``seconds``, unless an earlier one is asked for already."""
        due = asyncio.get_running_loop().time() + seconds
        if key in self._priority or (key in self._due and due >= self._due[key][0]):
            return
        self._due[key] = (due, priority)
        heapq.heappush(self._heap, (due, next(self._ids), key))
        if self._heap[0][0] == due:
            self._changed.set()

    async def take(self) -> Key:
        """Return the next key; :meth:`done` or :meth:`failed` must follow."""
        await self._available.acquire()
        key, since = self._next()
        self._working[key] = self._priority.pop(key)
        self._waited(asyncio.get_running_loop().time() - since)
        return key

    def _next(self) -> tuple[Key, float]:
        priority = next(one for one in next(self._turns) if self._waiting[one])
        newest = self._newest.get(priority, False)
        if priority in self._newest:
            self._newest[priority] = not newest
        return self._waiting[priority].popitem(last=newest)

    def done(self, key: Key) -> None:
        """Report that a pass ended well."""
        self._failures.pop(key, None)
        self._release(key)

    def failed(self, key: Key) -> float:
        """Report that a pass failed; it is repeated after the returned number of seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay: float = min(_FIRST_BACKOFF_S * 2 ** min(failures - 1, 10), LONGEST_BACKOFF_S)
        priority = self._working[key]  # whoever waits for it goes on waiting
        self._release(key)
        self.add_after(key, delay, priority)
        return delay

    def forget(self, key: Key) -> None:
        """Drop what is planned for a key whose object is gone."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    async def run_timers(self) -> None:
        """Move keys whose time has come to the workers, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            while self._heap and self._heap[0][0] <= loop.time():
                due, _, key = heapq.heappop(self._heap)
                planned = self._due.get(key)
                if planned is not None and planned[0] == due:  # else it was added earlier, or again for another time
                    self.add(key, planned[1])
            self._changed.clear()
            wait = self._heap[0][0] - loop.time() if self._heap else None
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _release(self, key: Key) -> None:
        self._working.pop(key, None)
        if key in self._again:
            self.add(key, self._again.pop(key))
