"""One stage: a namespace, a fake SkyPilot, an operator process, and short words for what tests do and ask."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, Final, TypeVar

from lightkube import ApiError, Client
from lightkube.resources.core_v1 import Pod, Service, ServiceAccount
from lightkube.resources.discovery_v1 import EndpointSlice
from lightkube.resources.events_v1 import Event
from lightkube.types import PatchType

from deepseek_operator.api import v1alpha1 as api
from tests.fakes.nodes import NAME_LABEL
from tests.fakes.skypilot import FakeSkyPilot
from tests.system.process import OperatorProcess
from tests.system.resources import DeploymentResource

_T = TypeVar("_T")

DEADLINE_S: Final = 45.0
SPEC: Final[dict[str, Any]] = {
    "model": {"name": "tiny", "path": "/models/tiny"},
    "engine": {"name": "VLLM", "image": "localhost/engine:1"},
    "resources": {"accelerators": [], "cpus": "1+", "memory": "2+"},
}
"""A CPU engine: the smallest deployment that needs no GPU."""


def until(ask: Callable[[], _T], what: str, deadline_s: float = DEADLINE_S) -> _T:
    """Ask again and again until the answer is true; return it. The last answer is in the error."""
    end = time.monotonic() + deadline_s
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s:g} s: {what}; last answer {answer!r}")
        time.sleep(0.1)


@dataclass
class History(Thread):
    """Every version of the deployments of a namespace that a watch shows."""

    client: Client
    namespace: str
    seen: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(name=f"watch-{self.namespace}", daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """Watch until the process ends."""
        while True:
            try:
                for _, found in self.client.watch(DeploymentResource, namespace=self.namespace):
                    self.seen.append(dict(found))
            except Exception:
                time.sleep(0.5)

    def reasons(self, name: str) -> list[str]:
        """Return the Reasons of Ready in the order in which they were told, repetitions left out."""
        told = [ready["reason"] for body in self.of(name) if (ready := condition(body, "Ready"))]
        return [reason for index, reason in enumerate(told) if index == 0 or told[index - 1] != reason]

    def of(self, name: str) -> list[dict[str, Any]]:
        """Return the versions of one deployment."""
        return [body for body in list(self.seen) if body["metadata"]["name"] == name]


@dataclass
class Stage:
    """A namespace with an operator of its own."""

    client: Client
    kubectl: Callable[..., str]
    namespace: str
    skypilot: FakeSkyPilot
    operator: OperatorProcess
    history: History

    # --- what a user does ----------------------------------------------------------------------------------------

    def apply(self, name: str, **spec: Any) -> dict[str, Any]:
        """Create a deployment of the CPU engine, with fields of its spec replaced."""
        body = {
            "apiVersion": api.API_VERSION,
            "kind": api.KIND,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {**SPEC, **spec},
        }
        return dict(self.client.create(DeploymentResource.from_dict(body)))

    def change(self, name: str, **spec: Any) -> None:
        """Merge fields into the spec."""
        self.client.patch(
            DeploymentResource, name, {"spec": spec}, namespace=self.namespace, patch_type=PatchType.MERGE
        )

    def change_all(self, names: Sequence[str], **spec: Any) -> None:
        """Merge fields into the spec of each of ``names``."""
        for name in names:
            self.change(name, **spec)

    def change_metadata(self, name: str, **metadata: Any) -> None:
        """Merge fields into the metadata."""
        body = {"metadata": metadata}
        self.client.patch(DeploymentResource, name, body, namespace=self.namespace, patch_type=PatchType.MERGE)

    def audit(self, *flags: str) -> tuple[int, list[dict[str, Any]]]:
        """Run ``deepseek-operator audit``; return its exit status and what it found."""
        program = Path(sys.executable).with_name("deepseek-operator")
        place = [f"--skypilot-endpoint={self.skypilot.url}", "-o", "json"]
        environment = {
            "KUBECONFIG": str(self.operator.kubeconfig),
            "PATH": os.environ["PATH"],
            "DEEPSEEK_OPERATOR_NAMESPACES": self.namespace,  # as in the operator's pod
        }
        done = subprocess.run([program, "audit", *place, *flags], env=environment, capture_output=True, timeout=120)
        assert done.returncode in (0, 4), done.stderr.decode()
        return done.returncode, list(json.loads(done.stdout)["orphans"])

    def delete(self, *names: str) -> None:
        """Ask for deletion."""
        for name in names:
            self.client.delete(DeploymentResource, name, namespace=self.namespace)

    # --- what a user sees ----------------------------------------------------------------------------------------

    def get(self, name: str) -> dict[str, Any] | None:
        """Return a deployment, or None if it is gone."""
        try:
            return dict(self.client.get(DeploymentResource, name, namespace=self.namespace))
        except ApiError as error:
            if error.status.code != 404:
                raise
            return None

    def status(self, name: str) -> dict[str, Any]:
        """Return the status; empty if there is none."""
        return dict((self.get(name) or {}).get("status") or {})

    def ready(self, name: str) -> dict[str, Any]:
        """Return the condition Ready; empty if there is none."""
        return condition(self.get(name) or {}, "Ready") or {}

    def instances(self, name: str) -> list[dict[str, Any]]:
        """Return what the status says of the replicas."""
        return list(self.status(name).get("instances") or [])

    def phases(self, name: str) -> list[str]:
        """Return the phase of each replica."""
        return [instance["phase"] for instance in self.instances(name)]

    def until_ready(self, name: str, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """Wait for Ready=True of the newest generation, with nothing left to do; return the object."""

        def settled() -> dict[str, Any] | None:
            body = self.get(name) or {}
            current = body.get("status", {}).get("observedGeneration") == body["metadata"]["generation"]
            ready, moving = condition(body, "Ready"), condition(body, "Reconciling")
            fine = (
                ready is not None and ready["status"] == "True" and moving is not None and moving["status"] == "False"
            )
            return body if current and fine else None

        try:
            return until(settled, f"{name} ready", deadline_s) or {}
        except AssertionError as error:
            raise AssertionError(f"{error}: {json.dumps(self.status(name), indent=1)}") from None

    def until_reason(self, name: str, reason: str, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """Wait until Ready carries a Reason; return the condition."""
        until(lambda: self.ready(name).get("reason") == reason, f"{name}: Ready with reason {reason}", deadline_s)
        return self.ready(name)

    def until_gone(self, name: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until a deployment is gone, and see that nothing is left of it anywhere."""
        until(lambda: self.get(name) is None, f"{name} gone", deadline_s)
        assert self.skypilot.of(name) == []
        # The API server's garbage collector takes what has an owner some seconds later.
        until(lambda: self.left(name) == [], f"nothing left of {name}")

    def left(self, name: str) -> list[str]:
        """Return what Kubernetes still has of a deployment, by the label that everything of it carries."""
        labels: dict[str, Any] = {api.LABEL_NAME: name}
        kinds: tuple[type[Any], ...] = (Pod, Service, EndpointSlice, ServiceAccount)
        return [
            f"{kind.__name__}/{found.metadata.name}"
            for kind in kinds
            for found in self.client.list(kind, namespace=self.namespace, labels=labels)
        ]

    def pods(self, name: str) -> list[str]:
        """Return the names of the pods that run for a deployment."""
        labels: dict[str, Any] = {api.LABEL_NAME: name}
        found = self.client.list(Pod, namespace=self.namespace, labels=labels)
        return [str(pod.metadata.name) for pod in found if pod.metadata is not None]

    def events(self, name: str) -> list[tuple[str, str, str]]:
        """Return type, reason and note of the Events of a deployment, oldest first."""
        found = [
            event
            for event in self.client.list(Event, namespace=self.namespace)
            if event.regarding is not None and event.regarding.name == name and event.regarding.kind == api.KIND
        ]
        found.sort(key=lambda event: str(event.eventTime))
        return [(str(event.type), str(event.reason), str(event.note)) for event in found]

    def service(self, name: str) -> dict[str, Any]:
        """Return the deployment's Service."""
        return dict(self.client.get(Service, name, namespace=self.namespace).to_dict())

    def published(self, name: str) -> list[str]:
        """Return the addresses that the Service leads to; empty if there is no EndpointSlice."""
        return sorted(
            address
            for body in self.slices(name)
            for endpoint in body.get("endpoints") or ()
            for address in endpoint["addresses"]
        )

    def slices(self, name: str) -> list[dict[str, Any]]:
        """Return the EndpointSlices of the deployment's Service."""
        labels: dict[str, Any] = {"kubernetes.io/service-name": name}
        return [body.to_dict() for body in self.client.list(EndpointSlice, namespace=self.namespace, labels=labels)]

    def url(self, name: str) -> str:
        """Return the health URL through the Service's address, as a client in the cluster uses it."""
        spec = self.service(name)["spec"]
        return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}/health"

    def answers(self, name: str) -> bool:
        """Ask the engine through the Service."""
        return http_ok(self.url(name))

    def skypilots_services(self, name: str) -> list[str]:
        """Return the Services that SkyPilot made for a deployment."""
        return [
            str(found.metadata.name)
            for found in self.client.list(Service, namespace=self.namespace, labels={api.LABEL_NAME: name})
            if found.metadata is not None and NAME_LABEL in (found.metadata.labels or {})
        ]


def condition(body: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """Return a condition of an object."""
    found = (body.get("status") or {}).get("conditions") or ()
    return next((dict(each) for each in found if each["type"] == kind), None)


def http_ok(url: str) -> bool:
    """Say whether a URL answers with 200 within a second."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False
