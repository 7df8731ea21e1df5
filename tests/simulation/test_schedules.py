"""Thousands of random schedules. What breaks a promise is printed with the command that replays and shrinks it."""

import os

from tests.simulation.__main__ import spread

COUNT = int(os.environ.get("DSD_SCHEDULES", "5000"))
"""More of them find rarer things: docs/testing.md says how many were played, and what they found."""


def test_no_schedule_breaks_a_promise() -> None:
    broken = [found for chunk in spread(range(COUNT)) for found in chunk]
    assert broken == [], "\n".join(
        f"{words}\n  python -m tests.simulation --replay {seed} --shrink" for seed, words in broken
    )
