"""The real kubectl, where there is one, against an API server of a few paths: the fake is not all that is trusted."""

import json
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deepseek_operator.plugin.main import main
from tests.unit.plugin.builders import deployment, instance, pod
from tests.unit.plugin.conftest import Run
from tests.unit.plugin.test_doctor import crd, node

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl on the PATH")
GROUP = "deepseek-operator.io"
HERE = f"/apis/{GROUP}/v1alpha1/namespaces/default/deepseekdeployments"


def resources(group: str, *kinds: tuple[str, str, bool]) -> dict[str, Any]:
    """What discovery says of a group; kinds are plural, kind and whether they are in namespaces."""
    listed = [
        {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": namespaced, "verbs": ["get", "list"]}
        for plural, kind, namespaced in kinds
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": listed}


def group(name: str, version: str) -> dict[str, Any]:
    served = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [served], "preferredVersion": served}


def listing(kind: str, *items: dict[str, Any]) -> dict[str, Any]:
    version = "v1" if kind != "DeepSeekDeploymentList" else f"{GROUP}/v1alpha1"
    return {
        "kind": kind,
        "apiVersion": version,
        "metadata": {},
        "items": [{"apiVersion": version, **item} for item in items],
    }


ANSWERS: dict[str, dict[str, Any]] = {
    "/version": {"gitVersion": "v1.36.3"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/api/v1": resources("v1", ("pods", "Pod", True), ("nodes", "Node", False), ("events", "Event", True)),
    "/apis": {
        "kind": "APIGroupList",
        "groups": [group(GROUP, "v1alpha1"), group("apps", "v1"), group("apiextensions.k8s.io", "v1")],
    },
    f"/apis/{GROUP}/v1alpha1": resources(f"{GROUP}/v1alpha1", ("deepseekdeployments", "DeepSeekDeployment", True)),
    "/apis/apps/v1": resources("apps/v1", ("deployments", "Deployment", True)),
    "/apis/apiextensions.k8s.io/v1": resources(
        "apiextensions.k8s.io/v1", ("customresourcedefinitions", "CustomResourceDefinition", False)
    ),
    f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/deepseekdeployments.{GROUP}": crd(),
    "/api/v1/nodes": listing("NodeList", node()),
    "/api/v1/namespaces/default/pods": listing("PodList", pod(0)),
    "/api/v1/namespaces/default/events": listing("EventList"),
    "/apis/apps/v1/deployments": listing("DeploymentList"),
    "/apis/apps/v1/namespaces/deepseek-system/deployments": listing("DeploymentList"),
    HERE: listing("DeepSeekDeploymentList", deployment(instance(0, address="10.0.0.1:8000"))),
    f"{HERE}/r1": deployment(instance(0, address="10.0.0.1:8000")),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    refuses: tuple[int, str, str] | None = None
    """Code, reason and message of every answer, where there is no other."""

    def do_GET(self) -> None:
        if self.refuses is not None:
            self._failure(*self.refuses)
            return
        path = self.path.partition("?")[0]
        if path in ANSWERS:
            self._answer(200, ANSWERS[path])
        elif "/namespaces/secret/" in path:
            self._failure(403, "Forbidden", 'deepseekdeployments is forbidden: User "jane" cannot list them')
        else:
            self._failure(404, "NotFound", f"{path} not found")

    def do_POST(self) -> None:
        """Answer an access review, which comes as protobuf: everything is allowed but exec."""
        if self.refuses is not None:
            self._failure(*self.refuses)
            return
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        status = {"allowed": b"exec" not in asked}
        self._answer(
            201, {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "status": status}
        )

    def _failure(self, code: int, reason: str, message: str) -> None:
        failure = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
        self._answer(code, {**failure, "reason": reason, "message": message})

    def _answer(self, code: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    kubeconfig = tmp_path / "config"
    config = {
        "kind": "Config",
        "clusters": [{"name": "a", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "users": [{"name": "a", "user": {}}],
        "current-context": "a",
    }
    kubeconfig.write_text(json.dumps(config), encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setenv("KUBECTL", str(KUBECTL))
    monkeypatch.setenv("HOME", str(tmp_path))

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        out, err = capfd.readouterr()
        return code, out, err

    yield run
    server.shutdown()
    server.server_close()


def test_objects_are_read(real: Run) -> None:
    code, out, err = real("status")
    assert (code, err) == (0, "")
    assert [line.split()[1] for line in out.splitlines()[2:]] == ["r1-0a1b2c3d-9f8e7d6c-0", "head"]
    assert real("endpoint", "r1", "--context", "a")[:2] == (0, "http://r1.default.svc:8000/v1\n")
    assert real("events", "r1") == (0, "", "no events; Kubernetes forgets them after an hour\n")


def test_errors_are_understood(real: Run) -> None:
    assert real("status", "nobody") == (1, "", "Error: no deployment nobody in namespace default\n")
    code, _, err = real("status", "-n", "secret")
    assert code == 1
    assert err.startswith('Error: deepseekdeployments is forbidden: User "jane"')


COMMANDS = ["status", "endpoint r1", "events r1", "logs r1", "chat r1 -m hi", "bench r1", "approve r1", "audit"]
NOBODY = (401, "Unauthorized", "Unauthorized")
GATEWAY = (403, "Forbidden", "unknown")


@pytest.mark.parametrize("command", COMMANDS)
def test_credentials_that_are_refused_end_every_command_in_one_sentence(
    command: str, real: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "refuses", NOBODY)
    code, out, err = real(*command.split())
    assert (code, out) == (2 if command == "audit" else 1, "")
    assert re.fullmatch(r"Error: .*You must be logged in to the server.*\n", err)


def test_a_gateway_that_refuses_without_a_word_is_told_from_a_server_that_knows_nothing(
    real: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "refuses", GATEWAY)
    assert real("status") == (1, "", "Error: the API server answered Forbidden and no reason\n")


def test_credentials_that_have_expired_are_told_from_a_network_that_is_away(
    real: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "refuses", NOBODY)
    code, out, _ = real("doctor")
    assert code == 1
    assert "fix: log in again" in out


def test_a_missing_crd_is_understood(real: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ANSWERS, "/apis", {**ANSWERS["/apis"], "groups": ANSWERS["/apis"]["groups"][1:]})
    assert "The CRD is not installed" in real("status")[2]


def test_rights_nodes_and_crd_are_judged(real: Run) -> None:
    code, out, _ = real("doctor", "-o", "json")
    found = {(one["check"], one["level"]): one["message"] for one in json.loads(out)["findings"]}
    assert code == 1
    assert found[("rights", "warning")] == "you may not create pods/exec, needed for logs"
    assert found[("CRD", "ok")] == f"serves {GROUP}/v1alpha1"
    assert found[("GPUs", "ok")] == "nodes: 1 with 8×NVIDIA-H100-80GB-HBM3"
    assert found[("operator", "fault")] == "no Deployment of it was found"


def test_commands_in_a_pod_and_port_forwards_are_spelled_as_kubectl_wants_them(real: Run) -> None:
    # There is no kubelet: kubectl gets as far as asking for the pod, which it would not with a wrong flag.
    assert "not found" in real("logs", "r1")[2]
    code, _, err = real("chat", "r1", "-m", "hi")
    assert code == 1
    assert err.endswith("head not found\n")
