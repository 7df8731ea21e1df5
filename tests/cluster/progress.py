"""What long builds say while they run: a counter every few seconds instead of silent minutes.

A :class:`Progress` is given every line that a program writes, and asked now and then for words.
"""

import re
import time
from collections.abc import Callable
from typing import Final

from tests.cluster.shell import say

_WIDTH: Final = 70


class Progress:
    """Counts lines, and says how many there were and what the last one was.

    Parameters
    ----------
    what
        What is made: ``kubernetes``, ``image skypilot``.
    tell, clock
        Where words go, and the time in seconds; for tests.
    """

    def __init__(
        self, what: str, *, tell: Callable[[str], None] = say, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what, self._tell, self._clock = what, tell, clock
        self._began = clock()
        self.lines = 0
        self.last = ""

    def line(self, text: str) -> None:
        """Take in one line of the program's output."""
        if text.strip():
            self.lines += 1
            self.last = text.strip()

    def tick(self) -> None:
        """Say how far it is."""
        self._tell(f"  {self._what}, {self._clock() - self._began:.0f} s: {self.words()}")

    def words(self) -> str:
        """Return how far it is."""
        return f"{self.lines} lines of output, {shortened(self.last)}" if self.lines else "nothing written yet"


class Downloads(Progress):
    """Go modules that are fetched, as ``go`` says it on standard error."""

    def words(self) -> str:
        """Return how many there were."""
        return f"{self.lines} modules downloaded" if self.lines else "looking at what has to be compiled"

    def line(self, text: str) -> None:
        """Count ``go: downloading MODULE VERSION``."""
        if text.startswith("go: downloading "):
            super().line(text)


class Compiling(Progress):
    """Packages that ``go build -v`` names as it compiles them.

    Parameters
    ----------
    total
        Packages that are not in Go's cache; None if that is not known.
    """

    def __init__(self, what: str, total: int | None, **kwargs: Callable[..., object]) -> None:
        super().__init__(what, **kwargs)  # type: ignore[arg-type]
        self._total = total

    def line(self, text: str) -> None:
        """Count a line that is nothing but an import path."""
        if re.fullmatch(r"[\w./~@+-]+", text.strip()):
            super().line(text)

    def words(self) -> str:
        """Return how many packages of how many are compiled."""
        if self._total is None:
            return f"{self.lines:,} packages compiled"
        done = min(self.lines, self._total)
        linking = ", linking" if done == self._total else ""
        return f"{done:,} of {self._total:,} packages compiled{linking}"


class ImageSteps(Progress):
    """Steps of an image build, as buildah and docker write them, and what the present one wrote last."""

    _BUILDAH = re.compile(r"(?:\[(?P<stage>\d+)/(?P<stages>\d+)\] )?STEP (?P<step>\d+)/(?P<steps>\d+): (?P<text>.*)")
    _DOCKER = re.compile(r"#\d+ \[(?P<stage>[\w-]+) +(?P<step>\d+)/(?P<steps>\d+)\] (?P<text>.*)")

    def __init__(self, what: str, **kwargs: Callable[..., object]) -> None:
        super().__init__(what, **kwargs)  # type: ignore[arg-type]
        self._step = ""

    def line(self, text: str) -> None:
        """Notice a new step; count the lines of the present one."""
        match = self._BUILDAH.match(text) or self._DOCKER.match(text)
        if match is None:
            super().line(text)
            return
        found = match.groupdict()
        stages = f" of {found['stages']}" if found.get("stages") else ""
        stage = f"stage {found['stage']}{stages}, " if found["stage"] else ""
        self._step = f"{stage}step {found['step']} of {found['steps']}: {shortened(found['text'])}"
        self.lines, self.last = 0, ""

    def words(self) -> str:
        """Return the step, and what it wrote last."""
        wrote = f" ({self.lines} lines: {shortened(self.last)})" if self.lines else ""
        return f"{self._step or 'preparing'}{wrote}"


def shortened(text: str) -> str:
    """Return a text of at most 70 characters on one line."""
    text = " ".join(text.split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
