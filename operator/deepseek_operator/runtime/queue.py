"""The work queue: keys, not events. A key is worked on by one worker at a time, and never lost while it is.

The semantics are those of client-go's workqueue: adding a key twice before it is taken is one pass; adding it while it
is worked on is one more pass afterwards; a failed key comes back after a growing delay; ``add_after`` keeps the
earliest time. Besides, what has happened goes before what is only looked at again: with a thousand keys that poll, a
new deployment, a deletion or a dead engine still gets the next free worker.
"""

import asyncio
import heapq
import itertools
from collections import OrderedDict
from typing import Final

from deepseek_operator.facts.store import Key

__all__ = ["LONGEST_BACKOFF_S", "WorkQueue"]

_FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 30.0


class WorkQueue:
    """Keys that want a pass."""

    def __init__(self) -> None:
        self._urgent: OrderedDict[Key, float] = OrderedDict()
        self._polled: OrderedDict[Key, float] = OrderedDict()
        self._available = asyncio.Semaphore(0)  # counts the keys that wait: each of them wakes one worker, not all
        self._working: set[Key] = set()
        self._again: dict[Key, bool] = {}
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._ids = itertools.count()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Return how many keys wait for a worker."""
        return len(self._urgent) + len(self._polled)

    def oldest_s(self) -> float:
        """Return for how many seconds the key that has waited longest has been waiting."""
        heads = [next(iter(waiting.values())) for waiting in (self._urgent, self._polled) if waiting]
        return asyncio.get_running_loop().time() - min(heads) if heads else 0.0

    def add(self, key: Key, *, urgent: bool = True) -> None:
        """Ask for a pass of ``key`` as soon as a worker is free.

        Parameters
        ----------
        urgent
            Something has happened to it. Otherwise it comes after all those to which something has.
        """
        self._due.pop(key, None)
        if key in self._working:
            self._again[key] = urgent or self._again.get(key, False)
            return
        if key in self._urgent or (key in self._polled and not urgent):
            return
        if key in self._polled:
            self._urgent[key] = self._polled.pop(key)
            return
        (self._urgent if urgent else self._polled)[key] = asyncio.get_running_loop().time()
        self._available.release()

    def add_after(self, key: Key, seconds: float) -> None:
        """Ask for a pass of ``key`` in ``seconds``, unless an earlier one is asked for already."""
        due = asyncio.get_running_loop().time() + seconds
        if key in self._urgent or key in self._polled or due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._ids), key))
        if self._heap[0][0] == due:
            self._changed.set()

    async def take(self) -> Key:
        """Return the next key; :meth:`done` or :meth:`failed` must follow."""
        await self._available.acquire()
        key, _ = (self._urgent or self._polled).popitem(last=False)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """Report that a pass ended well."""
        self._failures.pop(key, None)
        self._release(key)

    def failed(self, key: Key) -> float:
        """Report that a pass failed; it is repeated after the returned number of seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay: float = min(_FIRST_BACKOFF_S * 2 ** min(failures - 1, 10), LONGEST_BACKOFF_S)
        self._release(key)
        self.add_after(key, delay)
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
                if self._due.get(key) == due:  # else it was added earlier, or again for another time
                    self.add(key, urgent=False)
            self._changed.clear()
            wait = self._heap[0][0] - loop.time() if self._heap else None
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue

    def _release(self, key: Key) -> None:
        self._working.discard(key)
        if key in self._again:
            self.add(key, urgent=self._again.pop(key))
