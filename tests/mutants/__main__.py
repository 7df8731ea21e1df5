"""Try every mutant: ``python -m tests.mutants [FILE ...]``."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree
from typing import Final

from tests.mutants.mutations import Mutant, mutants

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "operator" / "deepseek_operator"
ROOMS: Final = ("reconcile", "facts")
UNIT: Final = ("tests/unit/reconcile", "tests/unit/facts")
SIMULATED: Final = ("tests/simulation/test_films.py", "tests/simulation/test_scenarios.py")
LIMIT_S: Final = 300


def main() -> int:
    """Return 1 if a mutant survived that is not listed as equivalent."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="files below the package; default: reconcile and facts")
    parser.add_argument("--unit-only", action="store_true", help="leave out the simulation, which takes longer")
    options = parser.parse_args()
    files = options.files or [path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py"))]
    every = [mutant for path in files for mutant in mutants(path.resolve())]
    known = set((Path(__file__).parent / "equivalent.txt").read_text(encoding="utf-8").splitlines())
    suites = [UNIT] if options.unit_only else [UNIT, SIMULATED]
    print(f"{len(every)} mutants of {len(files)} files", flush=True)
    began, survived, caught = time.monotonic(), [], [0] * len(suites)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, by in zip(every, pool.map(lambda one: _caught_by(one, suites), every), strict=True):
            if by is not None:
                caught[by] += 1
                continue
            survived.append(mutant)
            equivalent = _key(mutant) in known
            print(f"{'equivalent' if equivalent else 'SURVIVED'}  {mutant}", flush=True)
    new = [mutant for mutant in survived if _key(mutant) not in known]
    score = 100 * (1 - len(new) / len(every)) if every else 100.0
    print(f"{len(every)} mutants, caught by unit tests {caught[0]}, by the simulation {sum(caught[1:])}, equivalent")
    print(f"{len(survived) - len(new)}, survived {len(new)}: {score:.1f} % in {time.monotonic() - began:.0f} s")
    return 1 if new else 0


def _key(mutant: Mutant) -> str:
    """Return what names a mutant in equivalent.txt, whatever its line."""
    return f"{mutant.path.relative_to(PACKAGE)}: {mutant.what}"


def _caught_by(mutant: Mutant, suites: Sequence[Sequence[str]]) -> int | None:
    """Return the index of the first suite that fails with the mutant; None if all pass."""
    with tempfile.TemporaryDirectory(prefix="dsd-mutant-") as folder:
        copy = Path(folder) / "deepseek_operator"
        copytree(PACKAGE, copy, symlinks=True, ignore=lambda *_: ["__pycache__"])
        (copy / mutant.path.relative_to(PACKAGE)).write_text(mutant.source, encoding="utf-8")
        for index, suite in enumerate(suites):
            if not _passes(Path(folder), suite):
                return index
    return None


def _passes(folder: Path, suite: Sequence[str]) -> bool:
    options = ["-x", "-q", "-p", "no:cacheprovider", "-o", f"pythonpath={folder} ."]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", *options, *suite]
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
