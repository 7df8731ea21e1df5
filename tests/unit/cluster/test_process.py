import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.local.process import Identity, only_child, parse_stat, program_of
from tests.cluster.shell import meanwhile
from tests.system.wait import eventually

_TAIL = "1 2 3 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 {started} 0 0"


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("comm", ["sh", "a b", "x) R 1 (y", "((("])
def test_start_time_is_read_whatever_the_program_is_called(comm: str) -> None:
    assert parse_stat(7, f"7 ({comm}) S {_TAIL.format(started=4242)}") == Identity(7, 4242)


def test_a_zombie_is_no_process() -> None:
    assert parse_stat(7, f"7 (sh) Z {_TAIL.format(started=1)}") is None


def test_a_running_process_is_alive_and_killed(sleeper: "subprocess.Popen[bytes]") -> None:
    identity = Identity.of(sleeper.pid)
    assert identity is not None
    assert identity.alive()
    identity.kill()
    assert sleeper.wait(timeout=10) == -9
    assert not identity.alive()


def test_a_stranger_with_the_same_number_is_spared(sleeper: "subprocess.Popen[bytes]") -> None:
    identity = Identity.of(sleeper.pid)
    assert identity is not None
    earlier = Identity(identity.pid, identity.started - 1)
    assert not earlier.alive()
    earlier.kill()
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(timeout=0.3)


def test_killing_a_process_that_is_gone_does_nothing() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    Identity(process.pid, 1).kill()


def test_identity_survives_the_file(tmp_path: Path) -> None:
    Identity(7, 4242).save(tmp_path / "init.json")
    assert Identity.load(tmp_path / "init.json") == Identity(7, 4242)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": null, "started": 1}'])
def test_a_broken_file_is_no_identity(tmp_path: Path, text: str) -> None:
    (tmp_path / "init.json").write_text(text)
    assert Identity.load(tmp_path / "init.json") is None


def test_a_missing_file_is_no_identity(tmp_path: Path) -> None:
    assert Identity.load(tmp_path / "init.json") is None


def test_child_and_program_are_found() -> None:
    shell = subprocess.Popen(["sh", "-c", "sleep 60; true"])
    try:
        child = None
        while child is None or program_of(child) not in {"sleep", "coreutils"}:
            child = only_child(shell.pid)
    finally:
        for identity in filter(None, map(Identity.of, [p for p in (child, shell.pid) if p])):
            identity.kill()
        shell.wait()
    assert only_child(shell.pid) is None
    assert program_of(shell.pid) is None


def test_what_runs_meanwhile_is_waited_for(tmp_path: Path) -> None:
    with meanwhile(["sh", "-c", f"sleep 0.3; touch {tmp_path / 'done'}"]):
        assert not (tmp_path / "done").exists()
    assert (tmp_path / "done").exists()


def test_what_runs_meanwhile_ends_with_all_that_it_has_started_where_the_body_fails(tmp_path: Path) -> None:
    child = tmp_path / "child"

    def body() -> None:
        with meanwhile(["sh", "-c", f"sleep 600 & echo $! > {child}; wait"]):
            eventually(lambda: child.exists() and child.read_text(), within=10, what="the child runs", every=0.05)
            raise LookupError("the cluster does not start")

    with pytest.raises(LookupError):
        body()
    pid = int(child.read_text())
    eventually(lambda: Identity.of(pid) is None, within=10, what="the child is gone", every=0.05)
