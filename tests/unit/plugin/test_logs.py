"""``logs``; the script runs for real, in home directories laid out as SkyPilot 0.14.1 lays them out."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deepseek_operator.api.status import Phase
from tests.fakes.kubectl import FakeKubectl
from tests.unit.plugin.builders import condition, deployment, instance, pod
from tests.unit.plugin.conftest import Run


def write(kubectl: FakeKubectl, body: dict[str, object], path: str, text: str) -> Path:
    """Append to a log on the node of a pod."""
    file = kubectl.home(str(body["metadata"]["name"])) / "sky_logs" / path  # type: ignore[index]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as log:
        log.write(text)
    return file


@pytest.fixture
def two_nodes(kubectl: FakeKubectl) -> FakeKubectl:
    """One replica of two nodes."""
    head, worker = pod(0, 0), pod(0, 1)
    kubectl.put(deployment(instance(0, nodes=2)), head, worker)
    write(kubectl, head, "1-r1/run.log", "(head, rank=0, pid=7) everything twice\n")
    write(kubectl, head, "1-r1/tasks/0-head.log", "head one\nhead two\nhead three\n")
    write(kubectl, worker, "1-r1/tasks/1-worker1.log", "worker one\n")
    return kubectl


def test_head_and_worker_are_shown_each_line_with_its_node(two_nodes: FakeKubectl, run: Run) -> None:
    code, out, err = run("logs", "r1", "--tail", "2")
    assert (code, err) == (0, "")
    assert out.splitlines() == ["[0/head]    head two", "[0/head]    head three", "[0/worker1] worker one"]


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (("--node", "0"), ["head one", "head two", "head three"]),
        (("--node", "head", "--tail", "1"), ["head three"]),
        (("--node", "worker1"), ["worker one"]),
        (("--node", "1", "--replica", "0", "--tail", "-1"), ["worker one"]),
        (("--replica", "r1-0a1b2c3d-9f8e7d6c-0", "--node", "1"), ["worker one"]),
        (("--node", "1", "--tail", "0"), []),
    ],
)
def test_one_node_is_shown_without_its_name(
    two_nodes: FakeKubectl, run: Run, words: tuple[str, ...], lines: list[str]
) -> None:
    assert run("logs", "r1", *words)[1].splitlines() == lines


def test_json_says_whose_line_it_is(two_nodes: FakeKubectl, run: Run) -> None:
    found = [json.loads(line) for line in run("logs", "r1", "--tail", "1", "-o", "json")[1].splitlines()]
    assert [(one["node"], one["line"]) for one in found] == [("head", "head three"), ("worker1", "worker one")]
    assert found[0]["replica"] == "r1-0a1b2c3d-9f8e7d6c-0"


def test_the_newest_job_counts_by_number_and_setup_does_not(kubectl: FakeKubectl, run: Run) -> None:
    body = pod(0)
    kubectl.put(deployment(instance(0)), body)
    for job, text in ((2, "second"), (10, "tenth"), (9, "ninth")):
        write(kubectl, body, f"{job}-r1/tasks/run.log", f"{text}\n")
    write(kubectl, body, "11-r1/tasks/setup.log", "setting up\n")
    write(kubectl, body, "sky-2026-11-27-00-00-00/run.log", "not a job\n")
    assert run("logs", "r1")[1] == "tenth\n"


PROBED = """\
Application startup complete.
INFO:     10.0.0.1:4711 - "GET /health HTTP/1.1" 200 OK
INFO:     10.0.0.1:4711 - "GET /metrics HTTP/1.1" 200 OK
INFO:     10.0.0.1:4711 - "GET /health HTTP/1.1" 503 Service Unavailable
INFO:     10.0.0.9:4242 - "POST /v1/chat/completions HTTP/1.1" 200 OK
INFO:     10.0.0.1:4711 - "GET /health HTTP/1.1" 200 OK
"""


@pytest.mark.parametrize(
    ("words", "shown"),
    [((), [0, 3, 4]), (("--tail", "2"), [3, 4]), (("--probes",), range(6)), (("--probes", "--tail", "1"), [5])],
)
def test_probes_that_were_answered_are_left_out_unless_asked_for(
    kubectl: FakeKubectl, run: Run, words: tuple[str, ...], shown: Iterable[int]
) -> None:
    body = pod(0)
    kubectl.put(deployment(instance(0)), body)
    write(kubectl, body, "1-r1/run.log", PROBED)
    lines = PROBED.splitlines()
    assert run("logs", "r1", *words)[1].splitlines() == [lines[number] for number in shown]


def test_an_engine_that_has_only_been_probed_shows_nothing_and_that_is_no_error(kubectl: FakeKubectl, run: Run) -> None:
    body = pod(0)
    kubectl.put(deployment(instance(0)), body)
    write(kubectl, body, "1-r1/run.log", PROBED.splitlines(keepends=True)[1])
    assert run("logs", "r1") == (0, "", "")


def test_before_the_engine_starts_what_skypilot_writes_is_shown(kubectl: FakeKubectl, run: Run) -> None:
    body = pod(0)
    kubectl.put(deployment(instance(0)), body)
    write(kubectl, body, "1-r1/run.log", "waiting for resources\n")
    assert run("logs", "r1")[1] == "waiting for resources\n"


def test_a_home_with_spaces_is_no_trouble(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl = FakeKubectl(tmp_path / "two words")
    monkeypatch.setenv("PATH", f"{kubectl.write()}:{os.environ['PATH']}")
    body = pod(0)
    kubectl.put(deployment(instance(0)), body)
    write(kubectl, body, "1-r1/tasks/run.log", "fine\n")
    assert run("logs", "r1")[1] == "fine\n"


def test_what_cannot_be_shown_is_named_with_why(kubectl: FakeKubectl, run: Run) -> None:
    pulling: dict[str, Any] = {
        "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no image"}}}]
    }
    kubectl.put(
        deployment(
            instance(0),
            instance(1, Phase.LAUNCHING, "ImagePullFailed"),
            instance(2, infra="aws", region="us-east-1"),
        ),
        pod(0),
        pod(1, phase="Pending", ip=None, **pulling),
    )
    kubectl.home(pod(0)["metadata"]["name"])
    code, out, err = run("logs", "r1")
    assert (code, out) == (1, "")
    assert "r1-0a1b2c3d-9f8e7d6c-2 is on aws/us-east-1, where kubectl does not reach" in err
    assert "1/head is Pending ImagePullBackOff: no image\n" in err
    assert "0/head: no engine has written a log on this node yet\n" in err


def test_a_pod_that_has_just_gone_is_named(kubectl: FakeKubectl, run: Run) -> None:
    kubectl.put(deployment(instance(0)), pod(0))
    code, _, err = run("logs", "r1")
    assert code == 1
    assert "not found" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--replica", "7"), "r1 has no replica 7; there is: 0 (r1-0a1b2c3d-9f8e7d6c-0)"),
        (("--node", "2"), "replica 0 of r1 has no node 2; there is: 0 (head), 1 (worker1)"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(
    two_nodes: FakeKubectl, run: Run, words: tuple[str, ...], message: str
) -> None:
    assert run("logs", "r1", *words) == (1, "", f"Error: {message}\n")


def test_a_deployment_without_nodes_says_why(kubectl: FakeKubectl, run: Run) -> None:
    kubectl.put(deployment(ready=condition("Ready", "False", "DoesNotFit", "too large")))
    assert run("logs", "r1") == (1, "", "r1 has no nodes: DoesNotFit: too large\n")


@contextmanager
def following(*words: str) -> Iterator["subprocess.Popen[str]"]:
    script = "import sys; from deepseek_operator.plugin.main import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "logs", "r1", "-f", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def next_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def test_following_shows_new_lines_and_the_next_start_of_the_engine(kubectl: FakeKubectl) -> None:
    body = pod(0)
    kubectl.put(deployment(instance(0)), body)
    log = write(kubectl, body, "1-r1/tasks/run.log", "old\nfirst\n")
    with following("--tail", "1") as process:
        assert next_line(process) == "first"
        write(kubectl, body, "1-r1/tasks/run.log", "second\n")
        assert next_line(process) == "second"
        write(kubectl, body, "2-r1/tasks/run.log", "again\nand on\n")
        assert [next_line(process), next_line(process)] == ["again", "and on"]
    assert readers(log.parents[2]) == [], "something is left on the node"


@pytest.mark.parametrize(("words", "shown"), [((), [0, 3, 4]), (("--probes",), range(6))])
def test_following_leaves_probes_out_of_what_is_there_and_of_what_comes(
    kubectl: FakeKubectl, words: tuple[str, ...], shown: Iterable[int]
) -> None:
    body = pod(0)
    kubectl.put(deployment(instance(0)), body)
    write(kubectl, body, "1-r1/tasks/run.log", f"{PROBED}the be")
    lines = PROBED.splitlines()
    with following(*words) as process:
        for number in shown:
            assert next_line(process) == lines[number]
        write(kubectl, body, "1-r1/tasks/run.log", f"ginning\n{PROBED}")
        assert next_line(process) == "the beginning"
        for number in shown:
            assert next_line(process) == lines[number]


def test_following_waits_for_a_log(kubectl: FakeKubectl) -> None:
    body = pod(0)
    kubectl.put(deployment(instance(0)), body)
    kubectl.home(body["metadata"]["name"])
    with following() as process:
        time.sleep(1)
        write(kubectl, body, "1-r1/tasks/run.log", "here\n")
        assert next_line(process) == "here"


def readers(home: Path) -> list[str]:
    """Processes that have a file below ``home`` open, or run in it; those that end get 5 s for it."""
    for _ in range(50):
        found = [process for process in map(str, Path("/proc").glob("[0-9]*")) if _touches(Path(process), home)]
        if not found:
            return []
        time.sleep(0.1)
    return found


def _touches(process: Path, home: Path) -> bool:
    try:
        links = [process / "cwd", *(process / "fd").iterdir()]
        return any(os.readlink(link).startswith(str(home)) for link in links)
    except OSError:
        return False
