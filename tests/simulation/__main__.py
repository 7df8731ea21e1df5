"""Play many schedules, or one with everything that happens: ``python -m tests.simulation --help``."""

import argparse
import collections
import gc
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from tests.simulation.play import play, shrink
from tests.simulation.schedule import KINDS, draw

CHUNK: Final = 50
"""Schedules that a process plays at a time."""
PROGRESS_S: Final = 60.0


def failures(seeds: range, kinds: tuple[str, ...] = tuple(KINDS)) -> list[tuple[int, str]]:
    """Play the schedules of some seeds; return seed and first violation of those that broke a promise."""
    found = []
    for seed in seeds:
        violations = play(draw(seed, kinds=kinds)).violations
        if violations:
            found.append((seed, str(violations[0])))
    return found


def spread(seeds: range, *, processes: int | None = None) -> Iterable[list[tuple[int, str]]]:
    """Play the schedules of many seeds on all cores; yield what each chunk of them broke."""
    chunks = [range(start, min(start + CHUNK, seeds.stop)) for start in range(seeds.start, seeds.stop, CHUNK)]
    # What every schedule shares, such as the catalog, is not to be looked through for garbage again and again.
    with ProcessPoolExecutor(processes or os.cpu_count(), initializer=gc.freeze) as pool:
        yield from pool.map(failures, chunks)


def main() -> int:
    """Return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0-999", help="first and last seed (default: %(default)s)")
    parser.add_argument("--replay", type=int, metavar="SEED", help="play one schedule and print everything")
    parser.add_argument("--shrink", action="store_true", help="with --replay: leave out the events that do not matter")
    options = parser.parse_args()
    if options.replay is not None:
        return _replay(options.replay, smallest=options.shrink)
    first, last = map(int, options.seeds.split("-"))
    total, played, count, by_promise = last - first + 1, 0, 0, collections.Counter[str]()
    began = said = time.monotonic()
    for found in spread(range(first, last + 1)):
        played = min(played + CHUNK, total)
        if time.monotonic() - said >= PROGRESS_S:
            said = time.monotonic()
            print(f"{played:,} of {total:,} schedules after {said - began:.0f} s, {count} broke a promise", flush=True)
        for seed, words in found:
            count += 1
            by_promise[words.split()[0]] += 1
            print(f"seed {seed}: {words}", flush=True)
    seconds = time.monotonic() - began
    print(f"{total:,} schedules in {seconds:.0f} s, {count} broke a promise: {dict(by_promise)}")
    return 1 if count else 0


def _replay(seed: int, *, smallest: bool) -> int:
    schedule = draw(seed)
    played = play(schedule)
    if played.violations and smallest:
        schedule = shrink(schedule, played.violations[0].promise)
    played = play(schedule, traced=True)
    print("\n".join(played.trace))
    print(f"replicas {schedule.replicas}, rented {schedule.rented}, base {schedule.base}", *schedule.events, sep="\n  ")
    print(*played.violations, sep="\n")
    return 1 if played.violations else 0


if __name__ == "__main__":
    sys.exit(main())
