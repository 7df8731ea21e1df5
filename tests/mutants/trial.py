"""Trying mutants in forks of one pytest process, which has imported the operator and collected its tests once."""

import gc
import os
import pickle
import resource
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import _lru_cache_wrapper
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any, Final, NoReturn

import pytest
from _pytest.runner import runtestprotocol

from tests.mutants.mutations import FunctionId, Mutant

__all__ = ["SURVIVED", "TIMED_OUT", "Trials"]

SURVIVED: Final = ""
TIMED_OUT: Final = "time-out"
_MEMORY: Final = 4 << 30
"""Bytes of address space of a mutant: an endless loop must not take those of everyone."""


@dataclass
class _Baseline:
    """What the tests do without a mutant: who calls what, and how long it takes."""

    calls: dict[FunctionId, set[str]] = field(default_factory=lambda: defaultdict(set))
    seconds: dict[str, float] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


class Trials:
    """A pytest plugin that runs the collected tests against mutants, instead of once.

    Parameters
    ----------
    package
        Folder of the code whose calls are recorded.
    mutants
        What is tried.
    slow
        Whether a test, by its id, is for what all others let through.
    jobs
        Forks at a time.
    patience_s
        Seconds that a test may take besides ten times as long as without a mutant.
    report
        Called with each mutant and the id of the test that failed, :data:`TIMED_OUT` or :data:`SURVIVED`.
    """

    def __init__(
        self,
        package: Path,
        mutants: Sequence[Mutant],
        slow: Callable[[str], bool],
        report: Callable[[Mutant, str], None],
        *,
        jobs: int,
        patience_s: int = 20,
    ) -> None:
        self._package, self._mutants, self._slow, self._report = package, mutants, slow, report
        self._jobs, self._patience_s = jobs, patience_s

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Record what the tests call, then try every mutant."""
        if session.testsfailed:
            raise session.Interrupted(f"{session.testsfailed} files of tests cannot be imported")
        items = {item.nodeid: item for item in session.items}
        quick = [item for item in session.items if not self._slow(item.nodeid)]
        baseline: _Baseline = _Fork(lambda: self._record(quick)).result()
        if baseline.broken:
            raise pytest.UsageError(f"without any mutant these fail: {', '.join(baseline.broken)}")
        live = _live_functions(str(self._package))
        if missing := sorted({mutant.id for mutant in self._mutants} - live.keys()):
            # Never take that for surviving: nothing would be changed.
            raise pytest.UsageError(f"not imported by any test, or changed since the start: {missing[0]}")
        order = sorted(baseline.seconds, key=baseline.seconds.__getitem__)
        slow = [item.nodeid for item in session.items if self._slow(item.nodeid)]
        killers: dict[Path, Counter[str]] = defaultdict(Counter)
        running: dict[int, tuple[Mutant, _Fork]] = {}
        waiting = iter(self._mutants)
        while True:
            while len(running) < self._jobs and (mutant := next(waiting, None)) is not None:
                callers = baseline.calls.get(mutant.id, set())
                kills = killers[mutant.path]  # what noticed most of a file's mutants is likely to notice the next one
                ids = sorted((one for one in order if one in callers), key=lambda one: -kills[one]) + slow
                tests = [(items[one], self._patience_s + int(10 * baseline.seconds.get(one, 60))) for one in ids]
                fork = _Fork(_trial(mutant, live.get(mutant.id, ()), tests))
                running[fork.pid] = (mutant, fork)
            if not running:
                return True
            pid, _ = os.wait()
            mutant, fork = running.pop(pid)
            killer = fork.answer(TIMED_OUT)
            killers[mutant.path][killer] += 1
            self._report(mutant, killer)

    def _record(self, items: Sequence[pytest.Item]) -> _Baseline:
        baseline, package = _Baseline(), str(self._package)
        current = ""

        def called(frame: FrameType, event: str, _: Any) -> None:
            code = frame.f_code
            if event == "call" and code.co_filename.startswith(package):
                baseline.calls[code.co_filename, code.co_qualname, code.co_firstlineno].add(current)

        caches = _caches()
        for item in items:
            for cache in caches:
                cache.cache_clear()  # it would hide who calls what
            current, began = item.nodeid, time.perf_counter()
            sys.setprofile(called)
            failed = _fails(item)
            sys.setprofile(None)
            baseline.seconds[current] = time.perf_counter() - began
            if failed:
                baseline.broken.append(current)
        baseline.calls = dict(baseline.calls)
        return baseline


def _trial(
    mutant: Mutant, functions: Iterable[FunctionType], tests: Sequence[tuple[pytest.Item, int]]
) -> Callable[[], str]:
    """Return what a fork does: put the mutant in and run tests until one fails."""

    def run() -> str:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        for function in functions:
            function.__code__ = mutant.code
        for cache in _caches():
            cache.cache_clear()
        for item, limit_s in tests:
            signal.alarm(limit_s)  # ends the fork, which counts as noticed
            if _fails(item):
                return item.nodeid
        return SURVIVED

    return run


def _caches() -> "list[_lru_cache_wrapper[Any]]":
    """Return the caches that could hide a mutant; those of the catalog, which is not tried, are slow to fill."""
    found = (one for one in gc.get_objects() if isinstance(one, _lru_cache_wrapper))
    return [one for one in found if one.__module__.startswith("deepseek_operator") and "catalog" not in one.__module__]


def _live_functions(package: str) -> dict[FunctionId, list[FunctionType]]:
    """Return every function of the package, wherever a decorator or a table has put it."""
    found: dict[FunctionId, list[FunctionType]] = defaultdict(list)
    for one in gc.get_objects():
        if isinstance(one, FunctionType) and one.__code__.co_filename.startswith(package):
            code = one.__code__
            found[code.co_filename, code.co_qualname, code.co_firstlineno].append(one)
    return found


def _fails(item: pytest.Item) -> bool:
    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


class _Fork:
    """A function that runs in a copy of this process."""

    def __init__(self, function: Callable[[], Any]) -> None:
        reading, writing = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reading)
            _run_and_leave(function, writing)
        os.close(writing)
        self._reading = reading

    def result(self) -> Any:
        """Wait for the end, and return what the function returned."""
        with os.fdopen(self._reading, "rb") as pipe:
            data = pipe.read()
        os.waitpid(self.pid, 0)
        if not data:
            raise RuntimeError("the tests ended the process that ran them")
        return pickle.loads(data)

    def answer(self, otherwise: str) -> str:
        """Return what the function returned, after the end; ``otherwise`` if it ended in another way."""
        with os.fdopen(self._reading, "rb") as pipe:
            data = pipe.read()
        return str(pickle.loads(data)) if data else otherwise


def _run_and_leave(function: Callable[[], Any], writing: int) -> NoReturn:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    try:
        data = pickle.dumps(function())
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(data)
    finally:
        os._exit(0)
