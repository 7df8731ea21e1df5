"""An event loop whose clock jumps to the next timer as soon as nothing else is left to do."""

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

__all__ = ["START", "VirtualLoop", "run_virtually"]

T = TypeVar("T")

START = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


class _Jump(selectors.SelectSelector):
    """Never waits: it moves the clock of its loop by the time that it should have waited."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("every task waits for something that never comes")
        # A little always passes: a timer whose time is a rounding error away would be set again and again.
        self.loop.moment += max(1e-6, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop.

    Attributes
    ----------
    moment
        Seconds since the start.
    shift
        By how much the wall clock was set forward or back; timers do not notice.
    """

    def __init__(self) -> None:
        self.moment = 0.0
        self.shift = 0.0
        selector = _Jump()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Return the seconds since the start."""
        return self.moment

    def now(self) -> datetime:
        """Return what the wall clock shows."""
        return START + timedelta(seconds=self.moment + self.shift)


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
