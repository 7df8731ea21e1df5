"""A real SkyPilot server in a pod of the test cluster, with the rights that the chart gives it."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from deepseek_operator.skypilot.client import SkyPilotClient
from tests.cluster import Cluster, select
from tests.cluster.providers import DEFAULT_NAME
from tests.fakes.skypilot import EVERY, FakeSkyPilot

NAMESPACE: Final = "dsd-contract"
USER_ID: Final = "d5ee9000"
_RELEASE: Final = "dsd-contract"
_CHART: Final = Path(__file__).parents[2] / "charts/deepseek-operator"
_READY: Final = "curl -sf -m 3 http://127.0.0.1:46580/api/health"


@contextmanager
def fake() -> Iterator[str]:
    """A fake server whose launches never end by themselves, as those of pods that no scheduler serves."""
    with FakeSkyPilot(workers=1, launch_seconds=0.1, held={EVERY}) as server:
        yield server.url


@contextmanager
def real() -> Iterator[str]:
    """A real server, removed with its namespace."""
    cluster = select(DEFAULT_NAME)
    image = cluster.load_image("skypilot")
    _kubectl(cluster, "delete", "namespace", NAMESPACE, "--ignore-not-found")
    try:
        _kubectl(cluster, "create", "namespace", NAMESPACE)
        _kubectl(cluster, "apply", "-f", "-", stdin=_rights(cluster))
        _kubectl(cluster, "apply", "-f", "-", stdin=yaml.safe_dump(_pod(image)))
        _kubectl(cluster, "wait", "pod/sky", f"--namespace={NAMESPACE}", "--for=condition=Ready", "--timeout=150s")
        with _forward(cluster) as url:
            yield url
    finally:
        _kubectl(cluster, "delete", "namespace", NAMESPACE, "--wait=false")
        _kubectl(cluster, "delete", "clusterrole,clusterrolebinding", "-l", f"app.kubernetes.io/instance={_RELEASE}")


def client(url: str) -> SkyPilotClient:
    """Return the operator's client of a server."""
    return SkyPilotClient(url, user_id=USER_ID)


def _kubectl(cluster: Cluster, *arguments: str, stdin: str | None = None) -> None:
    command: list[str | Path] = [cluster.bin_dir / "kubectl", f"--kubeconfig={cluster.kubeconfig}", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"


def _rights(cluster: Cluster) -> str:
    flags = [f"--namespace={NAMESPACE}", "--set", f"watchNamespaces={{{NAMESPACE}}}"]
    shown = ["--show-only=templates/rbac.yaml", "--show-only=templates/serviceaccount.yaml"]
    command: list[str | Path] = [cluster.bin_dir / "helm", "template", _RELEASE, _CHART, *flags, *shown]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _pod(image: str) -> dict[str, Any]:
    # 3 GB: what SkyPilot needs for one launch worker.
    environment = {
        "SKYPILOT_POD_CPU_CORE_LIMIT": "1",
        "SKYPILOT_POD_MEMORY_GB_LIMIT": "3",
        "SKYPILOT_USER_ID": USER_ID,
    }
    container = {
        "name": "skypilot",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "readinessProbe": {"exec": {"command": _READY.split()}, "periodSeconds": 2, "timeoutSeconds": 5},
        "volumeMounts": [{"name": "home", "mountPath": "/home/skypilot"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "sky", "namespace": NAMESPACE},
        "spec": {
            "serviceAccountName": f"{_RELEASE}-deepseek-operator",
            "securityContext": {"runAsNonRoot": True, "fsGroup": 65532},
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [{"name": "home", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
        },
    }


@contextmanager
def _forward(cluster: Cluster) -> Iterator[str]:
    command: list[str | Path] = [
        cluster.bin_dir / "kubectl",
        f"--kubeconfig={cluster.kubeconfig}",
        f"--namespace={NAMESPACE}",
    ]
    forward = [*command, "port-forward", "--address=127.0.0.1", "pod/sky", ":46580"]
    with subprocess.Popen(forward, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        port = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert port, line
        try:
            yield f"http://127.0.0.1:{port[1]}"
        finally:
            process.terminate()
