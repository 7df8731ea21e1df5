"""Building programs, with a Go that only notes what it is asked."""

import json
from pathlib import Path

import pytest

from tests.cluster import build

GO = """#!/usr/bin/env python3
import json, os, pathlib, sys
words = sys.argv[1:]
with open(os.environ["NOTES"], "a") as notes:
    notes.write(json.dumps([os.path.basename(os.getcwd()), words[0], "-f" in words]) + "\\n")
if words[:2] == ["env", "GOVERSION"]:
    print("go1.26.0")
if words[0] == "build":
    folder, module = pathlib.Path(words[words.index("-o") + 1]), os.path.basename(os.getcwd())
    for name in ["server", "etcdctl"] if module == "etcd" else [module]:
        (folder / name).touch()
"""


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    program = tmp_path / "bin" / "go"
    program.parent.mkdir()
    program.write_text(GO)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/local/bin:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    return tmp_path / "notes"


def asked(notes: Path) -> list[tuple[str, str, bool]]:
    """Return folder and command of each call, and whether it was to count."""
    return [tuple(json.loads(line)) for line in notes.read_text().splitlines()]


def test_modules_of_later_programs_are_fetched_while_the_first_one_is_built(notes: Path) -> None:
    folder = build.build(["pause", "etcd", "coredns"])
    assert sorted(path.name for path in folder.iterdir()) == ["coredns", "etcd", "etcdctl", "pause"]
    fetched = [module for module, command, counts in asked(notes) if command == "list" and not counts]
    assert fetched == ["etcd", "coredns"]
    assert [module for module, command, _ in asked(notes) if command == "build"] == ["pause", "etcd", "coredns"]


def test_nothing_is_fetched_for_what_is_built(notes: Path) -> None:
    build.build(["pause", "etcd"])
    notes.unlink()
    build.build(["pause", "etcd"])
    assert [command for _, command, _ in asked(notes)] == ["env"]
