"""The operator and SkyPilot on the test cluster, installed by Helm as users install them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.api import Cluster
from tests.cluster.images import inputs_key
from tests.system.kubectl import CommandError, Kubectl
from tests.system.wait import eventually

__all__ = ["RELEASE", "Stack", "install", "uninstall"]

RELEASE = "deepseek-operator"
SYSTEM_NAMESPACE = "deepseek-system"
CHART = Path(__file__).parents[2] / "charts" / "deepseek-operator"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Stack:
    """An installed release.

    Attributes
    ----------
    engine_image
        Reference of the CPU engine's image on the nodes.
    """

    kubectl: Kubectl
    engine_image: str

    @property
    def system(self) -> Kubectl:
        """kubectl in the namespace of the release."""
        return self.kubectl.within(SYSTEM_NAMESPACE)

    def skypilot_get(self, path: str) -> Any:
        """Return the JSON of a GET of the SkyPilot server, asked from inside its container."""
        return json.loads(self._curl(path))

    def skypilot_post(self, path: str, body: dict[str, Any]) -> str:
        """POST to the SkyPilot server from inside its container and return the request id."""
        headers = self._curl(
            path, "-D", "-", "-o", "/dev/null", "-H", "Content-Type: application/json", "-d", json.dumps(body)
        )
        return next(
            line.split(":", 1)[1].strip()
            for line in headers.splitlines()
            if line.lower().startswith("x-skypilot-request-id")
        )

    def skypilot_clusters(self) -> list[dict[str, Any]]:
        """Return every cluster that SkyPilot knows."""
        body = {"all_users": True, "include_credentials": False, "include_handle": False}
        answer = self.skypilot_get(f"/api/get?request_id={self.skypilot_post('/status', body)}")
        clusters: list[dict[str, Any]] = json.loads(answer["return_value"])
        return clusters

    def skypilot_requests(self, cluster_name: str) -> list[dict[str, Any]]:
        """Return every request for a cluster name that the server remembers."""
        requests: list[dict[str, Any]] = self.skypilot_get(f"/api/status?all_status=true&cluster_name={cluster_name}")
        return requests

    def _curl(self, path: str, *options: str) -> str:
        url = f"http://127.0.0.1:46580{path}"
        command = ["exec", f"deploy/{RELEASE}", "-c", "skypilot", "--", "curl", "-s", "-m", "30", *options, url]
        return self.system(*command)


def install(cluster: Cluster, say: Progress) -> Stack:
    """Load the images, install the chart, and return once operator and SkyPilot are ready."""
    images = {}
    wanted = ("operator", "skypilot", "proxy", "engine-cpu")
    for number, image in enumerate(wanted, 1):
        say(f"image {image} ({number} of {len(wanted)}): building what is missing, then loading it")
        images[image] = cluster.load_image(image)
    kubectl = Kubectl(cluster.kubeconfig, cluster.bin_dir)
    values = [
        *_image("operator", images["operator"]),
        *_image("skypilot", images["skypilot"]),
        *_image("proxy", images["proxy"]),
        "skypilot.memoryLimitGB=6",
        "skypilot.resources.limits.memory=6Gi",
        "skypilot.resources.requests.cpu=100m",
        "skypilot.resources.requests.memory=1Gi",
        "skypilot.persistence.size=2Gi",
        # The references stay the same when an image is built again; the pod must not.
        f"podAnnotations.inputs={inputs_key('operator')}-{inputs_key('skypilot')}",
    ]
    say("helm install deepseek-operator")
    settings = [part for value in values for part in ("--set", value)]
    kubectl.within(SYSTEM_NAMESPACE).helm(
        "upgrade",
        "--install",
        RELEASE,
        str(CHART),
        "--create-namespace",
        "--take-ownership",
        "--force-conflicts",
        "--wait",
        "--timeout",
        "5m",
        *settings,
    )
    return Stack(kubectl, images["engine-cpu"])


def uninstall(cluster: Cluster) -> None:
    """Delete every deployment, so that nothing is leaked, and then the release; missing things are fine."""
    kubectl = Kubectl(cluster.kubeconfig, cluster.bin_dir)
    try:
        for left in json.loads(kubectl("get", "dsd", "--all-namespaces", "-o", "json"))["items"]:
            metadata = left["metadata"]
            kubectl.within(metadata["namespace"])("delete", "dsd", metadata["name"], "--timeout=120s", timeout=150)
        kubectl.within(SYSTEM_NAMESPACE).helm("uninstall", RELEASE, "--ignore-not-found", "--wait")
    except CommandError as error:
        print(f"while uninstalling: {error}")


def wait_ready(kubectl: Kubectl, name: str, *, within: float, changed: Callable[[str, str], None]) -> dict[str, Any]:
    """Return the object once it is ready; every new Reason on the way is told with its message."""
    seen: list[tuple[str, str]] = []

    def look() -> dict[str, Any] | None:
        body = kubectl.get("dsd", name)
        ready = next((c for c in (body.get("status") or {}).get("conditions", []) if c["type"] == "Ready"), None)
        if ready is not None and (not seen or seen[-1] != (ready["reason"], ready["message"])):
            seen.append((ready["reason"], ready["message"]))
            changed(ready["reason"], ready["message"])
        return body if ready is not None and ready["status"] == "True" else None

    found = eventually(look, within=within, what=f"{name} is Ready", every=0.5)
    assert found is not None
    return found


def _image(component: str, reference: str) -> list[str]:
    repository, _, tag = reference.rpartition(":")
    return [f"{component}.image.repository={repository}", f"{component}.image.tag={tag}"]
