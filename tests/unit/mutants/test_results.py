"""Verdicts: kept between runs, counted in a table."""

from pathlib import Path

from tests.mutants.__main__ import EQUIVALENT, PACKAGE
from tests.mutants.mutations import mutants
from tests.mutants.results import Results, Verdict, killed_before, listed, table

KILLED = Verdict("a.py: f: one", "d1", "tests/unit/test_a.py::test")
SURVIVED = Verdict("a.py: f: two", "d1", "")


def test_the_last_verdict_on_a_mutant_counts(tmp_path: Path) -> None:
    results = Results(tmp_path / "new" / "results.jsonl")
    assert results.read() == {}
    later = Verdict(SURVIVED.key, "d1", KILLED.killer)
    for verdict in (KILLED, SURVIVED, later):
        results.add(verdict)
    assert results.read() == {KILLED.key: KILLED, later.key: later}


def test_what_was_killed_in_the_same_function_is_not_tried_again() -> None:
    known = {verdict.key: verdict for verdict in (KILLED, SURVIVED)}
    assert killed_before(known, KILLED.key, "d1") == KILLED
    assert killed_before(known, KILLED.key, "d2") is None
    assert killed_before(known, SURVIVED.key, "d1") is None
    assert killed_before(known, "a.py: f: three", "d1") is None


def test_the_reasons_in_a_list_are_no_mutants() -> None:
    assert listed("# why\na.py: f: without `or x` #2\n\n") == {"a.py: f: without `or x` #2"}


def test_every_listed_mutant_is_one_that_there_is() -> None:
    """One that stays in the list after its function has moved hides nothing, and says that it does."""
    keys = listed(EQUIVALENT.read_text(encoding="utf-8"))
    files = {PACKAGE / key.partition(":")[0] for key in keys}
    assert [file for file in files if not file.is_file()] == []
    assert sorted(keys - {mutant.key(PACKAGE) for file in files for mutant in mutants(file)}) == []


def test_what_changes_nothing_is_left_out_of_the_score() -> None:
    verdicts = [
        KILLED,
        SURVIVED,
        Verdict("a.py: f: three", "d1", "tests/simulation/test_films.py::test"),
        Verdict("a.py: f: four", "d1", ""),
        Verdict("b.py: g: five", "d1", "time-out"),
    ]
    lines = [line.split() for line in table(verdicts, frozenset({SURVIVED.key}), "tests/simulation").splitlines()]
    assert lines == [
        ["file", "mutants", "simulation", "equivalent", "survived", "score"],
        ["a.py", "4", "1", "1", "1", "66.7%"],
        ["b.py", "1", "0", "0", "0", "100.0%"],
        ["all", "5", "1", "1", "1", "75.0%"],
    ]
