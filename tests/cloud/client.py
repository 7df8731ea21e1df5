"""A client in the cluster, as any program of a user: a pod that is fit for the profile ``restricted``, with Python."""

import json
from typing import Any, Final

from tests.system.kubectl import Kubectl
from tests.system.wait import eventually

__all__ = ["Client"]

_NAME: Final = "client"
_ASK: Final = """
import json, sys, urllib.error, urllib.request
url, body, headers, within = json.loads(sys.argv[1])
request = urllib.request.Request(url, body.encode(), headers)
try:
    with urllib.request.urlopen(request, timeout=within) as answer:
        print(json.dumps([answer.status, json.load(answer)]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, None]))
"""
_STREAM: Final = """
import json, sys, time, urllib.request
url, body, headers, within = json.loads(sys.argv[1])
pieces, whole = 0, False
try:
    with urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers), timeout=within) as answer:
        for line in answer:
            pieces += line.startswith(b"data: ")
            whole = whole or b"[DONE]" in line
except Exception:
    pass
print(json.dumps([pieces, whole, time.time()]))
"""


class Client:
    """Sends requests by exec, one at a time.

    Parameters
    ----------
    image
        One with ``python3``.
    """

    def __init__(self, kubectl: Kubectl, image: str) -> None:
        self._kubectl = kubectl
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": _NAME},
            "spec": restricted(image, ["python3", "-c", "import signal; signal.pause()"]),
        }
        kubectl.apply(pod)
        eventually(self._runs, within=120, what="the client's pod runs")

    def post(self, url: str, body: dict[str, Any], *, key: str | None = None, within: float = 30.0) -> tuple[int, Any]:
        """Send a POST; return status and answer, which is given so many seconds."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        status, answer = json.loads(self._run(_ASK, url, body, headers, within))
        return status, answer

    def stream(self, url: str, body: dict[str, Any]) -> tuple[int, bool, float]:
        """Read a stream to its end; return its pieces, whether it was whole, and when it ended (seconds since 1970)."""
        pieces, whole, at = json.loads(self._run(_STREAM, url, body | {"stream": True}, {}, 120.0))
        return pieces, whole, at

    def remove(self) -> None:
        """Delete the pod."""
        self._kubectl("delete", "pod", _NAME, "--grace-period=0", "--force")

    def _run(self, script: str, url: str, body: dict[str, Any], headers: dict[str, str], within: float) -> str:
        words = json.dumps([url, json.dumps(body), {"Content-Type": "application/json"} | headers, within])
        return self._kubectl("exec", _NAME, "--", "python3", "-c", script, words, timeout=within + 60)

    def _runs(self) -> bool:
        pod = self._kubectl.get("pod", _NAME)
        return bool(pod and pod["status"].get("phase") == "Running")


def restricted(image: str, command: list[str]) -> dict[str, Any]:
    """Return the spec of a pod that the profile ``restricted`` admits."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
