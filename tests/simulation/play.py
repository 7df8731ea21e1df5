"""Play a schedule from start to convergence, and find the smallest one that breaks the same promise."""

import gc
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import structlog

from tests.simulation.clock import VirtualLoop, run_virtually
from tests.simulation.promises import Violation
from tests.simulation.run import Simulation
from tests.simulation.schedule import Schedule

__all__ = ["Played", "play", "shrink", "silence"]


@dataclass(frozen=True)
class Played:
    """What came of a schedule."""

    schedule: Schedule
    violations: tuple[Violation, ...]
    seconds: float
    trace: tuple[str, ...] = ()


def play(schedule: Schedule, *, traced: bool = False, dice: random.Random | None = None) -> Played:
    """Play a schedule from start to convergence; the first broken promise ends it."""
    loop = VirtualLoop()
    random.seed(schedule.seed)
    simulation = Simulation(schedule, loop, traced=traced, dice=dice or random.Random(schedule.seed * 7919 + 1))
    collecting = gc.isenabled()
    gc.disable()
    try:
        with silence():
            seconds = run_virtually(simulation.run(), loop)
    finally:
        if collecting:
            gc.enable()
    return Played(schedule, tuple(simulation.promises.found), seconds, tuple(simulation.lines))


@contextmanager
def silence() -> Iterator[None]:
    """Let the operator log nothing meanwhile."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        yield
    finally:
        structlog.configure(**before)


def shrink(schedule: Schedule, promise: str) -> Schedule:
    """Return the schedule with as few events as still break the same promise."""
    events = list(schedule.events)
    index = 0
    while index < len(events):
        fewer = replace(schedule, events=tuple(events[:index] + events[index + 1 :]))
        if any(violation.promise == promise for violation in play(fewer).violations):
            del events[index]
        else:
            index += 1
    return replace(schedule, events=tuple(events))
