"""DeepSeekDeployments and pods as the API server shows them, written by the operator's own models."""

from typing import Any

from deepseek_operator.api.status import Condition, Cost, DeepSeekDeploymentStatus, EndpointStatus, Instance, Phase
from deepseek_operator.api.v1alpha1 import API_VERSION, KIND, LABEL_NAME, LABEL_UID
from deepseek_operator.reconcile.status import dump_status

UID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
CLUSTER = "r1-0a1b2c3d-9f8e7d6c"
USER = "d5ee9000"
THEN = "2026-11-24T11:00:00Z"


def condition(kind: str, status: str, reason: str, message: str = "") -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message, last_transition_time=THEN)


def instance(ordinal: int = 0, phase: Phase = Phase.READY, reason: str = "Ready", **fields: Any) -> Instance:
    values = {"name": f"{CLUSTER}-{ordinal}", "infra": "kubernetes", "hourly_cost": "0.00", "since": THEN, **fields}
    return Instance(phase=phase, reason=reason, **values)


def deployment(
    *instances: Instance,
    ready: Condition | None = None,
    conditions: tuple[Condition, ...] = (),
    name: str = "r1",
    namespace: str = "default",
    uid: str = UID,
    url: str | None = None,
    deleting: bool = False,
    unseen: bool = False,
    cost: str = "0.00",
    **spec: Any,
) -> dict[str, Any]:
    """A deployment; its status is what the operator would store."""
    answering = sum(one.phase is Phase.READY for one in instances)
    status = DeepSeekDeploymentStatus(
        ready_replicas=answering,
        replicas=len(instances),
        endpoint=EndpointStatus(url=url, internal_url=f"http://{name}.{namespace}.svc:8000/v1") if answering else None,
        cost=Cost(hourly=cost),
        instances=instances,
        conditions=(ready or condition("Ready", "True", "Ready", "all replicas answer"), *conditions),
    )
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "uid": uid, "creationTimestamp": THEN}
    if deleting:
        metadata["deletionTimestamp"] = THEN
    body = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata,
        "spec": {"model": {"name": "deepseek-ai/DeepSeek-R1"}, "replicas": max(1, len(instances)), **spec},
    }
    return body if unseen else body | {"status": dump_status(status)}


def pod(
    ordinal: int = 0,
    rank: int = 0,
    *,
    phase: str = "Running",
    machine: str | None = "gpu-1",
    ip: str | None = "10.0.0.1",
    deleting: bool = False,
    uid: str = UID,
    name: str = "r1",
    namespace: str = "default",
    **status: Any,
) -> dict[str, Any]:
    """A pod as SkyPilot names and labels it."""
    cluster = f"{CLUSTER}-{ordinal}"
    on_cloud = f"{cluster}-{USER}"
    metadata: dict[str, Any] = {
        "name": f"{on_cloud}-head" if rank == 0 else f"{on_cloud}-worker{rank}",
        "namespace": namespace,
        "creationTimestamp": THEN,
        "labels": {
            LABEL_UID: uid,
            LABEL_NAME: name,
            "skypilot-cluster-name": on_cloud,
            "skypilot-head-node": "1" if rank == 0 else "0",
        },
        "annotations": {"skypilot-cluster-name": cluster},
    }
    if deleting:
        metadata["deletionTimestamp"] = THEN
    spec = {"nodeName": machine} if machine is not None else {}
    shown = {"phase": phase, **({"podIP": ip} if ip is not None else {}), **status}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": shown}
