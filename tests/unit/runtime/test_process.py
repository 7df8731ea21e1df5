"""The real process with a SkyPilot server over HTTP, and without any Kubernetes: what it serves to a kubelet and to
Prometheus.
"""

import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.fakes.skypilot import FakeSkyPilot
from tests.system.wait import eventually
from tests.unit.exported import exported

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Served(NamedTuple):
    """Ports of a process."""

    health: int
    readiness: int
    metrics: int


def get(port: int, path: str) -> tuple[int, str]:
    """Return status and body; status 0 while nobody answers."""
    try:
        with OPENER.open(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def kubeconfig_of(port: int, folder: Path) -> Path:
    """Return a kubeconfig of an API server on loopback."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "away", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "away", "user": {"token": "none"}}],
        "contexts": [{"name": "away", "context": {"cluster": "away", "user": "away"}}],
        "current-context": "away",
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return file


@pytest.fixture
def skypilot() -> Iterator[FakeSkyPilot]:
    """Return a server that is not up yet, as a sidecar that starts."""
    with FakeSkyPilot() as server:
        server.stop()
        yield server


@pytest.fixture
def process(tmp_path: Path, skypilot: FakeSkyPilot) -> Iterator[Served]:
    """Run an operator whose API server is away, as after a restart of the node."""
    nobody, *ports = free_ports(4)
    served = Served(*ports)
    kubeconfig = kubeconfig_of(nobody, tmp_path)
    flags = [
        f"--skypilot-endpoint={skypilot.url}",
        f"--health-address=127.0.0.1:{served.health}",
        f"--readiness-address=127.0.0.1:{served.readiness}",
        f"--metrics-port={served.metrics}",
        "--lease=system/operator",
    ]
    program = Path(sys.executable).with_name("deepseek-operator")
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(
            [program, "run", *flags], env={"KUBECONFIG": str(kubeconfig), "NO_PROXY": "*"}, stdout=log, stderr=log
        )
    yield served
    running.terminate()
    assert running.wait(30) == 0, (tmp_path / "log").read_text()[-2000:]


def test_the_pod_becomes_ready_when_skypilot_answers_and_every_documented_metric_is_served(
    process: Served, skypilot: FakeSkyPilot
) -> None:
    def unready() -> str:
        status, words = get(process.readiness, "/readyz")
        return words if status == 503 and "not been asked" not in words else ""

    assert f"{skypilot.url} does not answer" in eventually(unready, within=60, what="unready", every=0.2)
    assert get(process.health, "/healthz")[0] == 200  # a restart would not help
    skypilot.start()
    eventually(lambda: get(process.readiness, "/readyz") == (200, "ok\n"), within=60, what="ready", every=0.2)
    status, text = get(process.metrics, "/metrics")
    assert status == 200
    described = {line.split(" ")[2] for line in text.splitlines() if line.startswith("# HELP ")}
    assert {one.name for one in exported()} <= described
    assert "_created" not in text
    eventually(
        lambda: "\ndeepseek_operator_skypilot_reachable 1.0\n" in get(process.metrics, "/metrics")[1],
        within=60,
        what="the metric says that SkyPilot answers",
    )


def test_a_library_that_only_rented_machines_need_is_not_loaded_before() -> None:
    code = "import sys, deepseek_operator.cli.main\nprint('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "False"


BROKEN = """
import asyncio
from deepseek_operator.runtime.operator import Operator, run
from deepseek_operator.runtime.settings import Settings

Operator.trouble = lambda self: "a pass has been running for 181 s"
settings = Settings(
    skypilot_endpoint="http://127.0.0.1:9", lease_name="operator", health_address="{}", metrics_port=None
)
asyncio.run(run(settings))
"""


NAMELESS = """
import asyncio
import getpass
from deepseek_operator.runtime.operator import run
from deepseek_operator.runtime.settings import Settings

def unknown():
    raise KeyError("getpwuid(): uid not found: 1000650000")

getpass.getuser = unknown
asyncio.run(run(Settings(skypilot_endpoint="http://127.0.0.1:9", health_address="{}", metrics_port=None)))
"""


def test_a_user_whom_the_cluster_chose_needs_no_name(tmp_path: Path) -> None:
    """OpenShift runs pods as a user that no image has heard of."""
    port, nobody = free_ports(2)
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(
            [sys.executable, "-c", NAMELESS.format(f"127.0.0.1:{port}")],
            env={"KUBECONFIG": str(kubeconfig_of(nobody, tmp_path)), "NO_PROXY": "*"},
            stdout=log,
            stderr=log,
        )
    try:
        eventually(lambda: get(port, "/healthz") == (200, "ok\n"), within=60, what="200", every=0.2)
    finally:
        running.kill()
        running.wait()


def test_the_liveness_probe_fails_at_once_and_not_by_a_time_out(tmp_path: Path) -> None:
    port, nobody = free_ports(2)
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(
            [sys.executable, "-c", BROKEN.format(f"127.0.0.1:{port}")],
            env={"KUBECONFIG": str(kubeconfig_of(nobody, tmp_path)), "NO_PROXY": "*"},
            stdout=log,
            stderr=log,
        )
    try:
        eventually(lambda: get(port, "/healthz")[0] == 503, within=60, what="503", every=0.2)
    finally:
        running.kill()
        running.wait()


class _Refuses(BaseHTTPRequestHandler):
    """An API server that knows nobody."""

    def do_GET(self) -> None:
        body = b'{"kind": "Status", "status": "Failure", "reason": "Unauthorized", "code": 401}'
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


def test_credentials_that_have_expired_end_the_process_with_a_sentence(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refuses) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        kubeconfig = kubeconfig_of(server.server_address[1], tmp_path)
        program = Path(sys.executable).with_name("deepseek-operator")
        flags = ["--skypilot-endpoint=http://127.0.0.1:9", "--health-address=127.0.0.1:0", "--metrics-port=0"]
        done = subprocess.run(
            [program, "run", *flags],
            env={"KUBECONFIG": str(kubeconfig), "NO_PROXY": "*"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        server.shutdown()
    assert done.returncode == 2
    said = "Error: the Kubernetes API server refuses the credentials: they have expired or are wrong"
    assert done.stderr.splitlines()[-1] == said
