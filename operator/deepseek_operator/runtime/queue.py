"""The work queue: keys, not events. A key is worked on by one worker at a time, and never lost while it is.

The semantics are those of client-go's workqueue: adding a key twice before it is taken is one pass; adding it while it
is worked on is one more pass afterwards; a failed key comes back ever later; ``add_after`` keeps the earliest time.
"""

import asyncio
import heapq
import itertools
from typing import Final

__all__ = ["Key", "WorkQueue"]

Key = tuple[str, str]
"""``(namespace, name)``."""

_FIRST_BACKOFF_S: Final = 0.5
_LONGEST_BACKOFF_S: Final = 60.0


class WorkQueue:
    """Keys that want a pass."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._ids = itertools.count()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Return how many keys wait for a worker."""
        return len(self._waiting)

    def add(self, key: Key) -> None:
        """Ask for a pass of ``key`` as soon as a worker is free."""
        self._due.pop(key, None)
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Ask for a pass of ``key`` in ``seconds``, unless an earlier one is asked for already."""
        due = asyncio.get_running_loop().time() + seconds
        if key in self._waiting or due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._ids), key))
        self._changed.set()

    async def take(self) -> Key:
        """Return the next key; :meth:`done` or :meth:`failed` must follow."""
        key = await self._ready.get()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """Say that a pass ended well."""
        self._failures.pop(key, None)
        self._release(key)

    def failed(self, key: Key) -> float:
        """Say that a pass failed; it is repeated after the returned number of seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay: float = min(_FIRST_BACKOFF_S * 2 ** min(failures - 1, 10), _LONGEST_BACKOFF_S)
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
                    self.add(key)
            self._changed.clear()
            wait = self._heap[0][0] - loop.time() if self._heap else None
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue

    def _release(self, key: Key) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
