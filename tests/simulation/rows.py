"""What a simulated SkyPilot server keeps in its tables, and what a task asks it for."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.facts.skypilot import (
    JobState,
    PlaceTried,
    RequestKind,
    RequestState,
    SkyPilotCluster,
    SkyPilotClusterState,
)

__all__ = ["PRICE", "Request", "Row", "clouds_of", "entries_of", "labels_of", "uid_of"]

PRICE: Final = Decimal("0.8048")
"""US dollars an hour of every machine."""
REGION: Final = "us-east-1"
"""Where every machine is."""
_CLOUDS: Final = {"k8s": "Kubernetes", "aws": "AWS"}

Task = dict[str, Any]


@dataclass
class Row:
    """A cluster."""

    name: str
    hash: str
    cloud: str
    port: int
    state: SkyPilotClusterState = SkyPilotClusterState.INIT
    jobs: list[JobState] = field(default_factory=list)
    spot: bool = False
    accelerators: str = ""
    nodes: int = 1
    incomplete: bool = False

    def shown(self) -> SkyPilotCluster:
        """Return it as a client sees it."""
        return SkyPilotCluster(
            self.name,
            self.state,
            "",
            self.cloud,
            REGION if self.cloud == "AWS" else "",
            self.accelerators,
            self.nodes,
            self.hash,
            incomplete=self.incomplete,
            spot=self.spot and self.state is SkyPilotClusterState.UP,
        )


@dataclass
class Request:
    """A request that has not ended."""

    id: str
    kind: RequestKind
    name: str
    at: datetime
    state: RequestState = RequestState.PENDING
    task: asyncio.Task[None] | None = None
    tried: list[PlaceTried] = field(default_factory=list)
    """Places that have had no machines."""


def entries_of(task: Task) -> list[dict[str, Any]]:
    """Return the places and kinds that a task asks for, in its order."""
    resources = task["resources"]
    return list(resources.get("ordered") or resources.get("any_of") or [resources])


def clouds_of(task: Task) -> dict[str, list[dict[str, Any]]]:
    """Return the entries of a task by their cloud, in the order in which SkyPilot tries those."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in entries_of(task):
        found.setdefault(_CLOUDS[str(entry.get("infra", "k8s")).split("/")[0]], []).append(entry)
    return found


def labels_of(task: Task) -> dict[str, str]:
    """Return the labels of the pods of a task."""
    kubernetes = (task.get("config") or {}).get("kubernetes") or {}
    labels: dict[str, str] = kubernetes.get("custom_metadata", {}).get("labels", {})
    return labels


def uid_of(task: Task) -> str:
    """Return the UID of the deployment that a task is made for; empty where it says none."""
    tagged = (entry.get("labels", {}).get("deepseek-operator-uid", "") for entry in entries_of(task))
    return labels_of(task).get(api.LABEL_UID) or next(filter(None, tagged), "")
