"""Looking again and again."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final, TypeVar

from deepseek_operator.plugin.kubectl import KubectlError
from deepseek_operator.plugin.screen import say

__all__ = ["LOOK_S", "looks"]

_T = TypeVar("_T")
LOOK_S: Final = 2.0
"""Seconds between two looks."""


def looks(look: Callable[[], _T]) -> Iterator[_T]:
    """Yield what is there every :data:`LOOK_S`; an API server that is away for a moment ends nothing.

    Raises
    ------
    KubectlError
        If the first look fails, or a later one because the object is gone or the user has lost the right.
    """
    yield look()
    while True:
        time.sleep(LOOK_S)
        try:
            yield look()
        except KubectlError as error:
            if error.reason in ("NotFound", "Forbidden"):
                raise
            say(f"{datetime.now(UTC):%H:%M:%S} {error.message}")
