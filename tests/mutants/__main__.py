"""Try every mutant: ``python -m tests.mutants [FILE ...]``."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from tests.mutants.mutations import Mutant, mutants
from tests.mutants.results import Results, Verdict, killed_before, listed, table
from tests.mutants.trial import Trials

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "operator" / "deepseek_operator"
EQUIVALENT: Final = Path(__file__).parent / "equivalent.txt"
SUITES: Final = {
    "reconcile": ("tests/unit/reconcile", "tests/unit/facts"),
    "facts": ("tests/unit/reconcile", "tests/unit/facts", "tests/unit/skypilot/test_failures.py"),
    "launch": (
        *("tests/unit/launch", "tests/unit/planning/test_expected.py", "tests/unit/planning/test_nodes.py"),
        *("tests/unit/kube/test_write.py", "tests/unit/reconcile/test_proxy.py"),
    ),
    "planning": ("tests/unit/planning",),
    "engines": (
        *("tests/unit/engines", "tests/unit/launch"),
        *("tests/unit/planning/test_bad_input.py", "tests/unit/planning/test_expected.py"),
    ),
}
"""Unit tests of each room."""
SLOW: Final = "tests/simulation"
SIMULATED: Final = (f"{SLOW}/test_films.py", f"{SLOW}/test_scenarios.py")
LOOPS: Final = ("reconcile", "facts")
"""Rooms of the control loop, whose survivors meet films and scenarios too."""


def main() -> int:
    """Return 1 if a mutant survived that is not listed as equivalent."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument(
        "files", nargs="*", type=Path, help="files or folders of the package; default: the control loop"
    )
    parser.add_argument("--unit-only", action="store_true", help="leave out the simulation, which takes longer")
    parser.add_argument(
        "--resume", action="store_true", help="keep what earlier runs killed in functions that are the same"
    )
    parser.add_argument("--results", type=Path, default=ROOT / ".mutants.jsonl", help="file of the verdicts")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="a sample: each Nth mutant")
    options = parser.parse_args()
    every = _mutants(options.files or [PACKAGE / room for room in LOOPS])[:: options.every]
    if not options.resume:
        options.results.unlink(missing_ok=True)
    run = _Run(every, Results(options.results))
    suites = {suite for mutant in every for suite in SUITES[mutant.path.relative_to(PACKAGE).parts[0]]}
    if not options.unit_only and any(mutant.path.relative_to(PACKAGE).parts[0] in LOOPS for mutant in every):
        suites.update(SIMULATED)
    if run.waiting:
        _try(run, sorted(suites), options.jobs)
    return run.finish()


def _mutants(paths: Sequence[Path]) -> list[Mutant]:
    files = [file for path in paths for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    return [mutant for file in files for mutant in mutants(file.resolve())]


def _try(run: "_Run", suites: Sequence[str], jobs: int) -> None:
    settings.register_profile("mutants", derandomize=True, database=None, deadline=None, max_examples=30)
    settings.load_profile("mutants")
    trials = Trials(PACKAGE, run.waiting, lambda test: test.startswith(SLOW), run.report, jobs=jobs)
    options = ["-q", "--no-header", "--no-summary", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    code = pytest.main([*options, *(str(ROOT / suite) for suite in suites)], plugins=[trials])
    if code:
        sys.exit(f"pytest: {pytest.ExitCode(code).name}")


class _Run:
    """The mutants of a run and what is known of them."""

    def __init__(self, every: Sequence[Mutant], results: Results) -> None:
        self._every, self._results, self._began = every, results, time.monotonic()
        self._equivalent = listed(EQUIVALENT.read_text(encoding="utf-8"))
        earlier = results.read()
        self._verdicts = {
            key: verdict
            for mutant in every
            if (verdict := killed_before(earlier, key := mutant.key(PACKAGE), mutant.digest)) is not None
        }
        self.waiting = [mutant for mutant in every if mutant.key(PACKAGE) not in self._verdicts]
        self._left = len(self.waiting)
        files = len({mutant.path for mutant in every})
        print(f"{len(every)} mutants of {files} files, {self._left} to try", flush=True)

    def report(self, mutant: Mutant, killer: str) -> None:
        """Keep a verdict, and say how far the run is."""
        key = mutant.key(PACKAGE)
        self._verdicts[key] = verdict = Verdict(key, mutant.digest, killer)
        self._results.add(verdict)
        self._left -= 1
        if not killer and key not in self._equivalent:
            print(f"SURVIVED  line {mutant.line}  {key}", flush=True)
        done = len(self.waiting) - self._left
        if done % 50 == 0 or not self._left:
            passed = time.monotonic() - self._began
            print(f"{done} of {len(self.waiting)}, {passed:.0f} s, {passed / done * self._left:.0f} s left", flush=True)

    def finish(self) -> int:
        """Print the table; return 1 if something survived."""
        found = list(self._verdicts.values())
        print(table(found, self._equivalent, SLOW))
        print(f"{time.monotonic() - self._began:.0f} s")
        return 1 if any(not one.killer and one.key not in self._equivalent for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
