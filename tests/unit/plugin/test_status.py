"""``status`` over a kubectl that is a real executable."""

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deepseek_operator.api.status import EngineStatus, Phase
from deepseek_operator.plugin.objects import age, read_deployment
from deepseek_operator.plugin.screen import plain
from deepseek_operator.plugin.tree import draw
from tests.fakes.kubectl import FakeKubectl
from tests.unit.plugin.builders import condition, deployment, instance, pod
from tests.unit.plugin.conftest import Run

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
EXPECTED = Path(__file__).parent / "expected" / "status.txt"
PULLING: dict[str, Any] = {
    "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]
}
NO_ROOM: dict[str, Any] = {
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]
}


BUSY = EngineStatus(
    kv_cache_tokens=482_320,
    planned_kv_cache_tokens=471_000,
    tokens_per_second=1200.0,
    running=14,
    waiting=3,
    kv_cache_usage=0.31,
)

ENDED = "the engine ended (FAILED): ValueError: bad{}\nlast lines:\nTraceback"


def story() -> dict[str, str]:
    """One tree for each thing that can be seen."""
    bodies = {
        "two replicas of two nodes, both ready": (
            deployment(
                instance(0, accelerators="H100:8", nodes=2, engine=BUSY),
                instance(1, accelerators="H100:8", nodes=2, engine=EngineStatus(kv_cache_tokens=482_320)),
                url="http://203.0.113.7:8000/v1",
            ),
            [pod(1, 1), pod(0, 0), pod(1, 0), pod(0, 1, machine="gpu-2")],
        ),
        "one ready, one whose image is missing": (
            deployment(
                instance(0),
                instance(
                    1, Phase.FAILED, "ImagePullFailed", message="pod x: ImagePullBackOff: no such image", attempts=2
                ),
                ready=condition("Ready", "False", "ImagePullFailed", "1 of 2 replicas answers"),
            ),
            [pod(0), pod(1, phase="Pending", ip=None, **PULLING)],
        ),
        "no room for a worker": (
            deployment(
                instance(0, Phase.LAUNCHING, "Unschedulable", nodes=2, message="0/3 nodes have room", infra=None),
                ready=condition("Ready", "False", "Unschedulable", "0/3 nodes have room"),
            ),
            [pod(0), pod(0, 1, phase="Pending", machine=None, ip=None, **NO_ROOM)],
        ),
        "rented machines": (
            deployment(
                instance(0, infra="aws", region="us-east-1", accelerators="L4:1", hourly_cost="0.81", restarts=3),
                cost="0.81",
            ),
            [],
        ),
        "an engine that ends again and again": (
            deployment(
                instance(0, Phase.FAILED, "EngineCrashLoop", message=ENDED.format(""), attempts=4, restarts=3),
                ready=condition(
                    "Ready",
                    "False",
                    "EngineCrashLoop",
                    ENDED.format(" (failed 4 times in a row; next attempt at 2026-11-24T12:01:00Z)"),
                ),
            ),
            [pod(0)],
        ),
        "a launch that is not repeated": (
            deployment(
                instance(0, Phase.FAILED, "NoCapacity", message="aws/us-east-1: full", attempts=1, infra=None),
                ready=condition("Ready", "False", "NoCapacity", "aws/us-east-1: full (not retried because ...)"),
                conditions=(condition("Stalled", "True", "NoCapacity"),),
            ),
            [],
        ),
        "one that serves beside one that cannot be torn down": (
            deployment(
                instance(0, infra="aws", region="us-east-1", accelerators="L4:1", hourly_cost="0.81"),
                instance(
                    1,
                    Phase.TERMINATING,
                    "TeardownFailed",
                    message="SkyPilot could not tear its nodes down, and they may go on costing 0.81 $/h: AuthFailure",
                    infra="aws",
                    region="us-east-1",
                    accelerators="L4:1",
                    hourly_cost="0.81",
                ),
                cost="1.62",
                replicas=1,
            ),
            [],
        ),
        "refused by the planner": (
            deployment(
                ready=condition("Ready", "False", "DoesNotFit", "DeepSeek-R1 needs 641 GiB; 8×L4 offer 170 GiB"),
                conditions=(condition("Stalled", "True", "DoesNotFit"),),
            ),
            [],
        ),
        "suspended": (deployment(ready=condition("Ready", "False", "Suspended", "suspended"), suspend=True), []),
        "being deleted": (
            deployment(
                instance(0, Phase.TERMINATING, "Terminating", message="tearing down"),
                ready=condition("Ready", "False", "Terminating", "tearing down"),
                deleting=True,
            ),
            [pod(0, deleting=True)],
        ),
        "never seen by an operator": (deployment(unseen=True), []),
    }
    return {title: "\n".join(plain(draw([read_deployment(body, pods)], NOW))) for title, (body, pods) in bodies.items()}


def test_the_trees_are_these(request: pytest.FixtureRequest) -> None:
    text = "\n\n".join(f"# {title}\n{tree}" for title, tree in story().items()) + "\n"
    if request.config.getoption("--regenerate-expected", default=False):
        EXPECTED.parent.mkdir(exist_ok=True)
        EXPECTED.write_text(text, encoding="utf-8")
    assert text == EXPECTED.read_text(encoding="utf-8"), "pytest tests/unit/plugin --regenerate-expected"


def test_messages_are_broken_at_the_width_of_the_terminal_and_keep_the_tree() -> None:
    body = deployment(
        instance(0, Phase.FAILED, "LaunchFailed", message="word " * 40), instance(1, Phase.LAUNCHING, "Launching")
    )
    lines = plain(draw([read_deployment(body, [pod(0)])], NOW, 80))
    broken = [line for line in lines if "word word" in line]
    assert len(broken) > 2
    assert all(line.startswith("│  │") and len(line) <= 80 for line in broken)


def test_several_deployments_are_summed_up() -> None:
    bodies = [deployment(instance(0), name=name, cost=cost) for name, cost in (("a", "1.25"), ("b", "2.50"))]
    bodies.append(deployment(unseen=True, name="c"))
    assert plain(draw([read_deployment(body) for body in bodies], NOW))[-1] == "3 deployments, 2 ready, 3.75 $/h"


@pytest.mark.parametrize(
    ("since", "words"),
    [
        ("2026-11-24T12:00:00Z", "0s"),
        ("2026-11-24T11:59:15Z", "45s"),
        ("2026-11-24T11:56:55.5Z", "3m4s"),
        ("2026-11-24T11:30:30Z", "29m"),
        ("2026-11-24T09:55:00Z", "2h5m"),
        ("2026-11-24T12:30:00+01:00", "30m"),
        ("2026-11-23T20:10:00Z", "15h"),
        ("2026-11-22T10:00:00Z", "2d2h"),
        ("2026-10-24T12:00:00Z", "31d"),
        ("2026-11-24T12:00:09Z", "0s"),
        ("yesterday", "-"),
        (None, "-"),
    ],
)
def test_ages_read_like_those_of_kubectl(since: str | None, words: str) -> None:
    assert age(since, NOW) == words


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"name": "x"}},
        {"metadata": {"name": "x"}, "spec": {}, "status": {"instances": [{}, {"name": "a"}], "cost": {"hourly": "?"}}},
        {"metadata": {"name": "x"}, "spec": {"model": None}, "status": {"endpoint": None, "conditions": None}},
    ],
)
def test_an_object_of_another_version_is_shown_as_far_as_it_can_be_read(body: dict[str, object]) -> None:
    lines = plain(draw([read_deployment(body), read_deployment(body)], NOW))
    assert lines[1].startswith("default/x")


def test_one_namespace_is_asked_for_by_default_and_a_name_limits_it(kubectl: FakeKubectl, run: Run) -> None:
    kubectl.put(deployment(instance(0)), pod(0), deployment(instance(0), name="other", namespace="prod", uid="u2"))
    code, out, err = run("status")
    assert (code, err) == (0, "")
    assert "default/r1" in out
    assert "prod/other" not in out
    assert "head" in out
    assert "prod/other" in run("status", "other", "-n", "prod")[1]
    assert "prod/other" in run("-n", "prod", "status")[1]


def test_all_namespaces_are_shown_with_their_sum(kubectl: FakeKubectl, run: Run) -> None:
    kubectl.put(deployment(instance(0)), deployment(instance(0), name="other", namespace="prod", uid="u2"))
    assert run("status", "-A")[1].splitlines()[-1] == "2 deployments, 2 ready, 0.00 $/h"


def test_flags_of_kubectl_are_handed_on(kubectl: FakeKubectl, run: Run) -> None:
    run("status", "--context", "prod", "--as", "jane", "--kubeconfig", "/k", "--request-timeout", "3s")
    assert kubectl.calls
    for call in kubectl.calls:
        assert call[:6] == ["--kubeconfig", "/k", "--context", "prod", "--as", "jane"]
        assert "--request-timeout=3s" in call


def test_json_has_every_figure_of_the_tree(kubectl: FakeKubectl, run: Run) -> None:
    kubectl.put(deployment(instance(0, nodes=2, region="ctx")), pod(0), pod(0, 1))
    (found,) = json.loads(run("status", "r1", "-o", "json")[1])["deployments"]
    assert (found["state"], found["ready"], found["hourlyCost"]) == ("Ready", 1, "0.00")
    assert found["internalURL"] == "http://r1.default.svc:8000/v1"
    (replica,) = found["replicas"]
    assert (replica["nodeCount"], replica["since"]) == (2, "2026-11-24T11:00:00Z")
    assert [node["rank"] for node in replica["nodes"]] == [0, 1]


def test_without_the_right_to_see_pods_the_replicas_are_still_shown(kubectl: FakeKubectl, run: Run) -> None:
    kubectl.forbidden = [("list", "pods")]
    kubectl.put(deployment(instance(0)), pod(0))
    code, out, err = run("status")
    assert code == 0
    assert "r1-0a1b2c3d-9f8e7d6c-0" in out
    assert "nodes are not shown: pods is forbidden" in err


def test_what_goes_wrong_is_said_as_kubectl_says_it(kubectl: FakeKubectl, run: Run) -> None:
    assert run("status", "x") == (1, "", "Error: no deployment x in namespace default\n")
    elsewhere = deployment(instance(0))
    elsewhere["metadata"]["namespace"] = "prod"
    kubectl.put(elsewhere)
    for command in ("status", "endpoint"):
        assert run(command, "r1")[2] == "Error: no deployment r1 in namespace default; there is one in prod: -n prod\n"
    assert run("status")[2] == "no deployments in this namespace; -A shows all\n"
    kubectl.missing = ["DeepSeekDeployment"]
    kubectl.save()
    assert "The CRD is not installed" in run("status")[2]
    kubectl.away = "E1127 00:11:22.3 memcache.go:265] dial\nUnable to connect to the server: no route to host"
    kubectl.save()
    assert run("status") == (1, "", "Error: Unable to connect to the server: no route to host\n")


def test_without_kubectl_it_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "put kubectl on the PATH" in run("status")[2]


def test_a_kubectl_that_hangs_is_given_up(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("KUBECTL", str(slow))
    monkeypatch.setattr("deepseek_operator.plugin.kubectl.GRACE_S", 0.1)
    began = time.monotonic()
    code, _, err = run("status", "--request-timeout", "0.2")
    assert (code, err) == (1, "Error: kubectl did not answer within 0.3 s\n")
    assert time.monotonic() - began < 10


def test_a_command_line_that_is_wrong_ends_with_2(run: Run) -> None:
    assert run()[0] == 2
    assert run("status", "--request-timeout", "-1")[0] == 2
    assert run("nonsense")[0] == 2


@contextmanager
def watching(*words: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", "import sys; from deepseek_operator.plugin.main import main; sys.exit(main())"]
    process = subprocess.Popen([*command, "status", "--watch", *words], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_watch_writes_a_document_for_each_change_and_nothing_in_between(kubectl: FakeKubectl) -> None:
    kubectl.put(
        deployment(instance(0, Phase.STARTING, "EngineStarting"), ready=condition("Ready", "False", "EngineStarting"))
    )
    with watching("-o", "json") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        kubectl.away = "Unable to connect to the server: it restarts"
        kubectl.save()
        time.sleep(2.5)
        kubectl.away = ""
        kubectl.put(deployment(instance(0)))
        second = json.loads(process.stdout.readline())
    assert [document["deployments"][0]["state"] for document in (first, second)] == ["Progressing", "Ready"]


def test_watch_into_a_file_is_a_film_with_times(kubectl: FakeKubectl) -> None:
    kubectl.put(deployment(instance(0)))
    with watching() as process:
        assert process.stdout is not None
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", process.stdout.readline())
        assert process.stdout.readline().startswith("NAME")


def test_a_terminal_gets_colours_and_lines_that_fit(kubectl: FakeKubectl) -> None:
    kubectl.put(deployment(instance(0, Phase.FAILED, "LaunchFailed", message="word " * 60)), pod(0))
    screen = on_terminal("status", columns=70)
    assert "\x1b[" in screen
    visible = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen)
    assert "Failed" in visible
    assert max(len(line) for line in visible.splitlines()) <= 70


def on_terminal(*words: str, columns: int) -> str:
    """Run the plugin on a pseudo-terminal; return what it wrote there."""
    main_end, other_end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-c", "import sys; from deepseek_operator.plugin.main import main; sys.exit(main())"]
    process = subprocess.Popen([*command, *words], stdout=other_end, stdin=other_end, env=environment)
    os.close(other_end)
    written = b""
    try:
        while piece := os.read(main_end, 65_536):
            written += piece
    except OSError:
        pass
    finally:
        process.wait(30)
        os.close(main_end)
    return written.decode()
