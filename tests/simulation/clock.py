"""An event loop whose clock jumps to the next timer as soon as nothing else is left to do."""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar, TypeVarTuple

__all__ = ["START", "VirtualLoop", "run_virtually"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
LEAST_S: Final = 1e-6
"""Seconds that always pass: a timer whose time is a rounding error away would be set again and again."""
ROUNDING_S: Final = 1e-9
"""Seconds by which a timer may be called early."""


class _Call(asyncio.TimerHandle):
    """A call that is to be made, without what asyncio keeps of it for debugging."""

    __slots__ = ()
    _callback: Callable[..., object]
    _args: tuple[Any, ...]
    _context: Context
    _cancelled: bool

    def __init__(self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None):
        self._when, self._callback, self._args, self._cancelled = when, callback, args, False
        self._context = context or copy_context()

    def cancel(self) -> None:
        self._cancelled, self._args = True, ()


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop. Nothing in it waits for a file, a socket or a thread, so that it needs no selector.

    Attributes
    ----------
    moment
        Seconds since the start.
    shift
        By how much the wall clock was set forward or back; timers do not notice.
    """

    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self.moment = 0.0
        self.shift = 0.0
        self._calls: list[_Call] = []
        self._timers: list[tuple[float, int, _Call]] = []
        self._ids = itertools.count()

    def time(self) -> float:
        """Return the seconds since the start."""
        return self.moment

    def now(self) -> datetime:
        """Return what the wall clock shows."""
        return START + timedelta(seconds=self.moment + self.shift)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call something after what was to be called before."""
        call = _Call(self.moment, callback, args, context)
        self._calls.append(call)
        return call

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call something at a moment; of what is called at the same moment, what was set first comes first."""
        call = _Call(when, callback, args, context)
        heapq.heappush(self._timers, (when, next(self._ids), call))
        return call

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call something after so many seconds."""
        return self.call_at(self.moment + delay, callback, *args, context=context)

    def _run_once(self) -> None:
        """Let time pass until something is to be called, and call all of that."""
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        wait_s = 0.0
        if not self._calls and not self._stopping:
            if not timers:
                raise RuntimeError("every task waits for something that never comes")
            wait_s = timers[0][0] - self.moment
        self.moment += max(LEAST_S, wait_s)
        due, self._calls = self._calls, []
        while timers and timers[0][0] < self.moment + ROUNDING_S:
            due.append(heapq.heappop(timers)[2])
        for call in due:
            if not call._cancelled:
                call._context.run(call._callback, *call._args)


def run_virtually(work: Coroutine[Any, Any, T], loop: VirtualLoop | None = None) -> T:
    """Run something on a clock of its own, where hours pass at once, and cancel what is left of it."""
    loop = loop or VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(_cancel_all())
        loop.close()


async def _cancel_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
