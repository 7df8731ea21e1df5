"""DeepSeekDeployments and their pods as the API server shows them, read for people.

The models of ``api`` are not used: pydantic alone takes longer to import than a command may take to start. Whatever is
missing or of another form is shown as unknown, so that a plugin and an operator of two versions get along.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from deepseek_operator.api.names import LABEL_UID
from deepseek_operator.facts.text import clean

__all__ = ["CONTAINER", "Deployment", "Node", "Replica", "age", "condition", "read_deployment"]

_CLUSTER: Final = "skypilot-cluster-name"
"""Annotation of a pod: name of the SkyPilot cluster that it belongs to. As a label it is the name on the cloud."""
CONTAINER: Final = "ray-node"
"""SkyPilot's name for the container in which the engine runs."""
_HARMLESS: Final = frozenset({"ContainerCreating", "PodInitializing"})
_ORDINAL: Final = re.compile(r"-(\d{1,3})$")
_WORKER: Final = re.compile(r"-worker(\d+)$")


@dataclass(frozen=True)
class Node:
    """One pod of a replica.

    Attributes
    ----------
    rank
        0 for the head, 1 and up for the workers.
    phase
        Of the pod, or ``Terminating``.
    machine
        Kubernetes node that it runs on; None while it has none.
    """

    name: str
    rank: int
    phase: str
    running: bool
    reason: str = ""
    message: str = ""
    machine: str | None = None
    ip: str | None = None
    since: str | None = None

    @property
    def role(self) -> str:
        """``head``, ``worker1`` ..."""
        return "head" if self.rank == 0 else f"worker{self.rank}"


@dataclass(frozen=True)
class Replica:
    """One replica as the operator reports it, with the pods that Kubernetes shows of it."""

    name: str
    ordinal: int
    phase: str
    reason: str
    message: str
    since: str | None
    hourly_cost: str | None
    infra: str | None
    region: str | None
    accelerators: str | None
    node_count: int
    address: str | None
    restarts: int
    attempts: int
    retry_after: str | None
    engine: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What its engine reports of itself, as in the status."""
    nodes: tuple[Node, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether its engine answers."""
        return self.phase == "Ready"

    @property
    def rented(self) -> bool:
        """Whether it is on machines of a cloud, which kubectl cannot reach."""
        return self.infra not in (None, "kubernetes")

    @property
    def where(self) -> str:
        """Place and GPUs, such as ``aws/us-east-1 L4:1``."""
        place = "/".join(part for part in (self.infra, self.region if self.rented else None) if part)
        size = f"×{self.node_count}" if self.node_count > 1 else ""
        return " ".join(part for part in (place, self.accelerators, size) if part)


@dataclass(frozen=True)
class Deployment:
    """One DeepSeekDeployment.

    Attributes
    ----------
    state
        ``Ready``, ``Progressing``, ``Stalled``, ``Idle`` (scaled to zero or suspended), ``Terminating``, or ``Unseen``
        when no operator has written a status.
    wanted, ready
        Numbers of replicas.
    api_key
        Name and key of the Secret that holds the key which requests must bring.
    models
        Names under which requests may ask for the model, as far as the spec has them.
    """

    namespace: str
    name: str
    uid: str
    model: str
    state: str
    reason: str
    message: str
    since: str | None
    wanted: int
    ready: int
    hourly_cost: str | None
    max_hourly_cost: str | None
    url: str | None
    internal_url: str | None
    api_key: Mapping[str, str] | None
    models: tuple[str, ...]
    replicas: tuple[Replica, ...] = field(default=())

    @property
    def endpoint(self) -> str | None:
        """The address from outside if there is one, else the one from inside."""
        return self.url or self.internal_url


def condition(body: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return a condition of an object, or an empty one."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    return next((found for found in conditions if found.get("type") == kind), {})


def read_deployment(body: Mapping[str, Any], pods: Iterable[Mapping[str, Any]] = ()) -> Deployment:
    """Return a deployment with its replicas; ``pods`` may hold those of others."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    uid = str(metadata.get("uid", ""))
    of: dict[str, list[Node]] = {}
    for pod in pods:
        labels, annotations = pod["metadata"].get("labels") or {}, pod["metadata"].get("annotations") or {}
        if labels.get(LABEL_UID) == uid:
            cluster = annotations.get(_CLUSTER) or str(labels.get(_CLUSTER, "")).rpartition("-")[0]
            of.setdefault(cluster, []).append(_node(pod))
    ready = condition(body, "Ready")
    endpoint, cost = status.get("endpoint") or {}, status.get("cost") or {}
    replicas = [_replica(instance, of) for instance in status.get("instances") or () if instance.get("name")]
    state, since = _state(body), ready.get("lastTransitionTime")
    if state == "Unseen":
        since = metadata.get("creationTimestamp")
    elif state == "Terminating":
        since = metadata.get("deletionTimestamp")
    return Deployment(
        namespace=str(metadata.get("namespace", "default")),
        name=str(metadata["name"]),
        uid=uid,
        model=str((spec.get("model") or {}).get("name", "?")),
        state=state,
        reason=str(ready.get("reason", "")),
        message=str(ready.get("message", "")),
        since=since,
        wanted=int(spec.get("replicas", 1)),
        ready=int(status.get("readyReplicas") or 0),
        hourly_cost=cost.get("hourly"),
        max_hourly_cost=cost.get("maxHourly"),
        url=endpoint.get("url"),
        internal_url=endpoint.get("internalURL"),
        api_key=(spec.get("endpoint") or {}).get("apiKeySecretRef"),
        models=tuple(dict.fromkeys(_names(spec))),
        replicas=tuple(sorted(replicas, key=lambda replica: (replica.ordinal, replica.name))),
    )


def _names(spec: Mapping[str, Any]) -> Iterable[str]:
    model = spec.get("model") or {}
    return filter(None, (model.get("name"), *(model.get("servedNames") or ())))


def _state(body: Mapping[str, Any]) -> str:
    if body["metadata"].get("deletionTimestamp"):
        return "Terminating"
    ready = condition(body, "Ready")
    if not ready:
        return "Unseen"
    if ready.get("status") == "True":
        return "Ready"
    if ready.get("reason") in ("Suspended", "ScaledToZero"):
        return "Idle"
    return "Stalled" if condition(body, "Stalled").get("status") == "True" else "Progressing"


def _replica(instance: Mapping[str, Any], nodes: Mapping[str, list[Node]]) -> Replica:
    name = str(instance["name"])
    ordinal = _ORDINAL.search(name)
    return Replica(
        name=name,
        ordinal=int(ordinal[1]) if ordinal else 0,
        phase=str(instance.get("phase") or "Unknown"),
        reason=str(instance.get("reason") or ""),
        message=str(instance.get("message") or ""),
        since=instance.get("since"),
        hourly_cost=instance.get("hourlyCost"),
        infra=instance.get("infra"),
        region=instance.get("region"),
        accelerators=instance.get("accelerators"),
        node_count=int(instance.get("nodes") or 1),
        address=instance.get("address"),
        restarts=int(instance.get("restarts") or 0),
        attempts=int(instance.get("attempts") or 0),
        retry_after=instance.get("retryAfter"),
        engine=instance.get("engine") or {},
        nodes=tuple(sorted(nodes.get(name, ()), key=lambda node: (node.rank, node.name))),
    )


def _node(pod: Mapping[str, Any]) -> Node:
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    worker = _WORKER.search(metadata["name"])
    head = (metadata.get("labels") or {}).get("skypilot-head-node") == "1"
    reason, message = _trouble(status)
    leaving = bool(metadata.get("deletionTimestamp"))
    phase = "Terminating" if leaving else str(status.get("phase") or "Unknown")
    return Node(
        name=metadata["name"],
        rank=0 if head else int(worker[1]) if worker else 1,
        phase=phase,
        running=phase == "Running",
        reason=reason,
        message=message,
        machine=spec.get("nodeName"),
        ip=status.get("podIP"),
        since=status.get("startTime") or metadata.get("creationTimestamp"),
    )


def _trouble(status: Mapping[str, Any]) -> tuple[str, str]:
    """Return what keeps a pod from running, or ended its container, in Kubernetes' words."""
    for found in status.get("conditions") or ():
        if found.get("type") == "PodScheduled" and found.get("status") == "False":
            return str(found.get("reason") or "Unschedulable"), clean(str(found.get("message") or ""))
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        state = container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        if waiting.get("reason") and waiting["reason"] not in _HARMLESS:
            return str(waiting["reason"]), clean(str(waiting.get("message") or ""))
        if ended and ended.get("exitCode"):
            why = str(ended.get("message") or f"exit code {ended['exitCode']}")
            return str(ended.get("reason") or "Error"), clean(why)
    return str(status.get("reason") or ""), clean(str(status.get("message") or ""))


def age(since: str | None, now: datetime) -> str:
    """Return how long ago a time of Kubernetes was, in two units at most: ``45s``, ``3m``, ``2h5m``, ``4d``.

    What cannot be read is ``-``; a time in the future, of a clock that differs, is ``0s``.
    """
    if not since:
        return "-"
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        return "-"
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    left = max(0, int((now - moment).total_seconds()))
    days, hours, minutes = left // 86_400, left // 3600 % 24, left // 60 % 60
    if days:
        return f"{days}d{hours}h" if days < 3 and hours else f"{days}d"
    if hours:
        return f"{hours}h{minutes}m" if hours < 8 and minutes else f"{hours}h"
    if minutes:
        return f"{minutes}m{left % 60}s" if minutes < 10 and left % 60 else f"{minutes}m"
    return f"{left}s"
