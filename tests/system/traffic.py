"""A pod that sends requests to a model all the time, and what became of them."""

import json
from pathlib import Path
from typing import Any

from tests.system.kubectl import Kubectl
from tests.system.wait import eventually

__all__ = ["Traffic", "expect_no_failures"]

SCRIPT = Path(__file__).with_name("traffic_client.py")
KINDS = {"new connections", "kept connections", "streams"}


class Traffic:
    """Requests from a pod of the cluster, through the Service's DNS name."""

    def __init__(self, kubectl: Kubectl, image: str, name: str, port: int, model: str) -> None:
        self.kubectl, self.pod = kubectl, f"traffic-{name}-{port}"
        host = f"{name}.{kubectl.namespace}.svc"
        command = ["python3", "-c", SCRIPT.read_text(encoding="utf-8"), host, str(port), model]
        container = {
            "name": "client",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": command,
        }
        spec = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
        kubectl("delete", "pod", self.pod, "--ignore-not-found", "--now")  # an earlier client of the same Service
        kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": self.pod}, "spec": spec})
        eventually(lambda: "started" in self.log() or None, within=60, what="the client sends requests")

    def log(self) -> str:
        """What it has printed so far."""
        try:
            return self.kubectl("logs", self.pod)
        except Exception:
            return ""

    def stop(self) -> dict[str, Any]:
        """Let it end; return what became of its requests."""
        self.kubectl("exec", self.pod, "--", "kill", "-TERM", "1")
        eventually(lambda: "summary" in self.log() or None, within=120, what="the client has ended")
        summary: dict[str, Any] = json.loads(self.log().strip().splitlines()[-1])["summary"]
        print(f"{self.pod}: {json.dumps(summary)}")
        return summary


def expect_no_failures(traffic: Traffic) -> None:
    """Expect that every request was answered whole."""
    summary = traffic.stop()
    assert set(summary) == KINDS
    for kind, found in summary.items():
        assert found["requests"] > 10, f"{kind}: too few to say anything"
        assert found["failures"] == 0, f"{kind}: {traffic.log()[-2000:]}"
