"""Waiting for conditions with deadlines; the only place of the tests that sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["eventually", "steadily"]

T = TypeVar("T")


def eventually(look: Callable[[], T], *, within: float, what: str, every: float = 0.5) -> T:
    """Return the first true value of ``look``.

    Raises
    ------
    TimeoutError
        With ``what`` was waited for and what was seen last, after ``within`` seconds.
    """
    deadline = time.monotonic() + within
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {within:g} s; seen last: {seen!r}")
        time.sleep(every)


def steadily(look: Callable[[], bool], *, for_seconds: float, what: str, every: float = 0.5) -> None:
    """Expect ``look`` to stay true.

    Raises
    ------
    AssertionError
        As soon as it is false.
    """
    deadline = time.monotonic() + for_seconds
    while time.monotonic() < deadline:
        if not look():
            raise AssertionError(f"{what}: no longer so")
        time.sleep(every)
