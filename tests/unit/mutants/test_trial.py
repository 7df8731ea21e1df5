"""Mutants in a pytest process: what notices them, and that nothing is left of them."""

import subprocess
import sys
import textwrap
from pathlib import Path

MODULE = """
from functools import lru_cache

@lru_cache
def sign(x):
    return -1 if x < 0 else 1

def endless(x):
    while x:
        x -= 1
    return x or None
"""
TESTS = """
from package.module import endless, sign

def test_sign():
    assert sign(-2) == -1

def test_endless():
    assert endless(0) is None
"""
RUN = """
import sys
from pathlib import Path
import pytest
from tests.mutants.mutations import mutants
from tests.mutants.trial import Trials

package = Path("package").resolve()
every = list(mutants(package / "module.py"))
told = lambda mutant, killer: print("->", mutant.what, "|", killer)
trials = Trials(package, every, lambda test: False, told, jobs=2, patience_s=2)
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "test_module.py"], plugins=[trials]))
"""


def test_each_mutant_meets_the_tests_that_call_its_function(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    for name, text in (("package/module.py", MODULE), ("test_module.py", TESTS), ("run.py", RUN)):
        (tmp_path / name).write_text(textwrap.dedent(text), encoding="utf-8")
    path = [str(tmp_path), str(Path(__file__).parents[3])]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; exec(open('run.py').read())"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = dict(line[3:].split(" | ") for line in done.stdout.splitlines() if line.startswith("->"))
    assert told == {
        "`if x < 0` is always True": "",
        "`if x < 0` is always False": "test_module.py::test_sign",
        "`if x` is always True": "time-out",
        "`if x` is always False": "",
        "without `or x`": "",
        "without `or None`": "test_module.py::test_endless",
    }
