"""Films: one deployment through one story, frame by frame, as text that a person reads and a diff shows changes of.

The dice always fall on the middle, so that a film changes only when the operator behaves differently. Revisions are
letters in the order in which they were launched: ``A0`` is the first replica of the first revision.
"""

import random
import re
from collections.abc import Sequence
from typing import TypeVar

from tests.simulation.play import play
from tests.simulation.schedule import Event, Schedule

__all__ = ["film"]

T = TypeVar("T")

_NAME = re.compile(r"(?:[ab]-0000000\d-)?([0-9a-f]{8})-(\d)")


class Steady(random.Random):
    """Dice that always fall on the middle."""

    def uniform(self, a: float, b: float) -> float:
        """Return the middle."""
        return (a + b) / 2

    def random(self) -> float:
        """Return one half."""
        return 0.5

    def choice(self, seq: Sequence[T]) -> T:  # type: ignore[override]
        """Return the first."""
        return seq[0]


def film(events: Sequence[Event], *, replicas: int, rented: bool = False) -> str:
    """Return what happens to one deployment, a line per change, seconds in front: to ``a``, or to ``b`` if rented.

    Raises
    ------
    AssertionError
        If a promise was broken.
    """
    played = play(
        Schedule(0, tuple(events), (0, replicas) if rented else (replicas, 0), rented=rented),
        traced=True,
        dice=Steady(),
    )
    assert played.violations == ()
    frames: list[str] = []
    letters: dict[str, str] = {}

    def name(match: re.Match[str]) -> str:
        revision = letters.setdefault(match[1], "ABCDEFGH"[len(letters) % 8])
        return f"{revision}{match[2]}"

    last = ""
    for line in played.trace:
        moment, words = line[:8].strip(), line[10:]
        if words.startswith("EVENT"):
            words = _event(words)
        words = _NAME.sub(name, words).replace("status a: ", "").replace("status b: ", "")
        if words != last and not words.startswith("operator starts"):
            frames.append(f"{float(moment):6.0f}  {words}")
        if "Ready=" in words:
            last = words
    return "\n".join(frame for frame in frames if not frame.endswith("faults stop")) + "\n"


def _event(words: str) -> str:
    found = re.match(r"EVENT Event\([\d.]+, '([^']+)', '[^']*', ([-\d.]+)\)", words)
    assert found is not None, words
    return f"--- {found[1].replace('-', ' ')}{'' if found[2] == '0' else ' ' + found[2]}"
