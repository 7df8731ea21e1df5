"""``deepseek-operator verify`` with the real vLLM on CPUs, in a pod of the engine image."""

import io
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster.providers import DEFAULT_NAME, select
from tests.system.kubectl import Kubectl

OPERATOR: Final = Path(__file__).parents[2] / "operator"
POD: Final = "engine-verified"
PROGRAM: Final = (
    "import typer; from deepseek_operator.cli import verify; app = typer.Typer(); verify.register(app); app()"
)
"""The command alone: the engine's environment has all that it imports, and not what the other commands do."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Kubectl]:
    """A pod of the engine image that has the operator's source, and the shared memory that vLLM wants."""
    cluster = select(DEFAULT_NAME)
    cluster.up()
    kubectl = Kubectl(cluster.kubeconfig, cluster.bin_dir)
    kubectl("delete", "pod", POD, "--ignore-not-found", "--now")
    kubectl.apply(_pod(cluster.load_image("engine-cpu")))
    try:
        kubectl("wait", f"pod/{POD}", "--for=condition=Ready", "--timeout=120s", timeout=150)
        unpack = ["exec", "-i", POD, "--", "tar", "--extract", "--directory=/tmp"]
        command: list[str | Path] = [cluster.bin_dir / "kubectl", f"--kubeconfig={cluster.kubeconfig}", *unpack]
        subprocess.run(command, input=_source(), check=True)
        yield kubectl
    finally:
        kubectl("delete", "pod", POD, "--now", "--wait=false")


def test_the_planned_engine_is_started_measured_and_ended(engine: Kubectl) -> None:
    flags = ["--model=r1-1.5b", "--cpu", "--memory=8", "--max-model-len=1024", "--path=/models/tiny-qwen2"]
    short = ["--concurrency=2", "--prompt-tokens=50", "--answer-tokens=20"]
    told = engine("exec", POD, "--", "python", "-c", PROGRAM, *flags, *short, timeout=600)
    rows = [re.split(r" {2,}", line.removeprefix("#").strip()) for line in told.splitlines()]
    figures = {name: cells for name, *cells in rows}
    planned, measured, _ = figures["KV cache tokens"]
    assert int(planned.replace(",", "")) < int(measured.replace(",", "")), "the model is smaller than the one planned"
    assert float(figures["decode tokens/s, 1 request"][1]) > 0
    assert float(figures["decode tokens/s, 2 requests"][1]) > 0
    assert float(figures["seconds to the first answer"][1]) > 0
    left = engine("exec", POD, "--", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "vllm serve" not in left


def _pod(image: str) -> dict[str, Any]:
    container = {
        "name": "engine",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        "env": [
            {"name": "PYTHONPATH", "value": "/tmp"},
            {"name": "PATH", "value": "/opt/vllm/bin:/usr/local/bin:/usr/bin:/bin"},
        ],
        "volumeMounts": [{"name": "shared-memory", "mountPath": "/dev/shm"}],
    }
    volume = {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}
    spec = {
        "containers": [container],
        "volumes": [volume],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD}, "spec": spec}


def _source() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in sorted((OPERATOR / "deepseek_operator").rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                tar.add(path, path.relative_to(OPERATOR))
    return packed.getvalue()
