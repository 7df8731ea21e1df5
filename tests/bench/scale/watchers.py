"""What a watch shows of the deployments and of where their Services lead, with the time of each change."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

from lightkube import Client
from lightkube.resources.discovery_v1 import EndpointSlice

from tests.system.resources import DeploymentResource

__all__ = ["Deployments", "Endpoints", "Watch"]


class Watch(Thread):
    """Calls ``seen`` with the type and body of every event, in a thread of its own."""

    def __init__(self, client: Client, kind: type[Any], namespace: str, seen: Callable[[str, Any], None]) -> None:
        super().__init__(daemon=True)
        self._client, self._kind, self._namespace, self._seen = client, kind, namespace, seen

    def run(self) -> None:
        while True:
            try:
                for type_, body in self._client.watch(self._kind, namespace=self._namespace):
                    self._seen(type_, body)
            except Exception:
                time.sleep(0.2)


@dataclass
class Deployments:
    """The deployments of a namespace.

    Attributes
    ----------
    ready_at, unready_at
        Unix time of the first event that showed Ready=True, and of the last that showed it False after that.
    generation
        The one that the status speaks of.
    """

    ready: set[str] = field(default_factory=set)
    ready_at: dict[str, float] = field(default_factory=dict)
    unready_at: dict[str, float] = field(default_factory=dict)
    generation: dict[str, int] = field(default_factory=dict)
    there: set[str] = field(default_factory=set)

    def watch(self, client: Client, namespace: str) -> None:
        """Start to watch."""
        Watch(client, DeploymentResource, namespace, self._seen).start()

    def _seen(self, type_: str, body: Any) -> None:
        now, metadata = time.time(), body["metadata"]
        name = metadata["name"]
        if type_ == "DELETED":
            self.there.discard(name)
            self.ready.discard(name)
            return
        self.there.add(name)
        status = body.get("status") or {}
        self.generation[name] = status.get("observedGeneration", 0)
        conditions = {condition["type"]: condition["status"] for condition in status.get("conditions") or ()}
        if conditions.get("Ready") == "True":
            self.ready.add(name)
            self.ready_at.setdefault(name, now)
        elif name in self.ready:
            self.ready.discard(name)
            self.unready_at[name] = now


@dataclass
class Endpoints:
    """Addresses that Services lead to, by Service, and when one of them lost its last."""

    addresses: dict[str, frozenset[str]] = field(default_factory=dict)
    emptied: list[tuple[str, float]] = field(default_factory=list)

    def watch(self, client: Client, namespace: str) -> None:
        """Start to watch."""
        Watch(client, EndpointSlice, namespace, self._seen).start()

    def _seen(self, type_: str, body: Any) -> None:
        slice_ = body.to_dict()
        service = (slice_["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")
        endpoints = [] if type_ == "DELETED" else slice_.get("endpoints") or []
        found = frozenset(address for endpoint in endpoints for address in endpoint["addresses"])
        if self.addresses.get(service) and not found:
            self.emptied.append((service, time.time()))
        self.addresses[service] = found
