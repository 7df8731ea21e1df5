"""The tool that measures the tests: what it changes, and how a change is named."""

import textwrap
from pathlib import Path
from types import FunctionType

import pytest

from tests.mutants.mutations import Mutant, mutants


def found(folder: Path, source: str) -> list[Mutant]:
    path = folder / "example.py"
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    return list(mutants(path))


def runs(mutant: Mutant, *arguments: object) -> object:
    return FunctionType(mutant.code, {})(*arguments)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("if x:\n  return 1", ["`if x` is always True", "`if x` is always False"]),
        ("return 1 if x else 2", ["`if x` is always True", "`if x` is always False"]),
        ("return [y for y in x if y]", ["`if y` is always True", "`if y` is always False"]),
        ("return x and y or 2", ["without `or x and y`", "without `and x`", "without `and y`", "without `or 2`"]),
        ("return x < 2", ["`x < 2` is inverted"]),
        ("return not x", ["`not x` is inverted"]),
        ("if x < 2:\n  pass", ["`if x < 2` is always True", "`if x < 2` is always False"]),
        ("return x + 1", []),
    ],
)
def test_what_is_changed(tmp_path: Path, body: str, expected: list[str]) -> None:
    source = "def f(x, y=None):\n" + textwrap.indent(body, "  ")
    assert sorted(mutant.what for mutant in found(tmp_path, source)) == sorted(expected)


def test_a_mutant_does_what_it_says_and_only_that(tmp_path: Path) -> None:
    always, never, *_ = found(tmp_path, "def f(x):\n  if x:\n    return 'a'\n  return 'b' if not x else 'c'")
    assert (runs(always, False), runs(never, True)) == ("a", "c")


def test_the_same_change_at_two_places_of_a_function_has_two_names(tmp_path: Path) -> None:
    source = """
    def f(x):
      return (x and 1, x and 1)
    class C:
      def f(self, x):
        return x and 1
    """
    assert [mutant.key(tmp_path) for mutant in found(tmp_path, source) if mutant.what == "without `and x`"] == [
        "example.py: f: without `and x`",
        "example.py: f: without `and x` #2",
        "example.py: C.f: without `and x`",
    ]


def test_a_change_in_an_inner_function_is_one_of_the_outer_one(tmp_path: Path) -> None:
    source = """
    class C:
      @property
      def f(self):
        def g(x):
          return x > 1
        return g(2)
    """
    (mutant,) = found(tmp_path, source)
    assert (mutant.function, mutant.line) == ("C.f", 6)
    assert runs(mutant, None) is False


def test_the_digest_changes_with_the_function_and_with_nothing_else(tmp_path: Path) -> None:
    digests = [
        {mutant.digest for mutant in found(tmp_path, source)}
        for source in (
            "def f(x):\n  return x > 1",
            "# more\n\ndef f(x):\n    return x > 1",
            "def f(x):\n  return x > 2",
        )
    ]
    assert digests[0] == digests[1] != digests[2]


def test_what_runs_at_import_is_not_changed(tmp_path: Path) -> None:
    assert found(tmp_path, "A = 1 if __debug__ else 2\ndef f(x=A > 1):\n  return x") == []


def test_a_mutant_keeps_the_lines_by_which_its_function_is_found(tmp_path: Path) -> None:
    path = tmp_path / "example.py"
    path.write_text("X = 1\n\n\ndef f(x):\n  return x > 1\n", encoding="utf-8")
    scope: dict[str, FunctionType] = {}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), scope)
    (mutant,) = mutants(path)
    live = scope["f"].__code__
    assert mutant.id == (live.co_filename, live.co_qualname, live.co_firstlineno)
    scope["f"].__code__ = mutant.code
    assert scope["f"](5) is False
