"""From objects of the API server to facts. Pure."""

from typing import Any, Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.v1alpha1 import GROUP, LABEL_UID
from deepseek_operator.facts.base import Address, Failure
from deepseek_operator.facts.kubernetes import (
    COMPONENT,
    PROXY,
    PROXY_REVISION,
    Endpoints,
    LaunchedService,
    Pod,
    ProxyPod,
    PublishedService,
)
from deepseek_operator.facts.names import PORT_NAME
from deepseek_operator.facts.text import clean
from deepseek_operator.kube.resources import MANAGED_BY, SERVICE_NAME

__all__ = [
    "SKYPILOT_LABEL",
    "read_endpoints",
    "read_launched_service",
    "read_pod",
    "read_proxy",
    "read_published_service",
]

SKYPILOT_LABEL: Final = "skypilot-cluster-name"
"""Label of everything that SkyPilot makes: the name on the cloud. As an annotation of pods: the display name."""
_HARMLESS_WAITS: Final = frozenset({"ContainerCreating", "PodInitializing"})


def read_pod(body: dict[str, Any]) -> Pod:
    """Return the part of a pod that decides something, with what keeps it from running."""
    metadata, status = body["metadata"], body.get("status") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    on_cloud = labels.get(SKYPILOT_LABEL, "")
    return Pod(
        name=metadata["name"],
        cluster_name=annotations.get(SKYPILOT_LABEL) or _without_user(on_cloud),
        cluster_name_on_cloud=on_cloud,
        head=labels.get("skypilot-head-node") == "1",
        phase=status.get("phase") or "Unknown",
        ip=status.get("podIP"),
        deleting="deletionTimestamp" in metadata and metadata["deletionTimestamp"] is not None,
        trouble=_trouble(metadata["name"], status),
    )


def read_proxy(body: dict[str, Any]) -> ProxyPod | None:
    """Return a pod of a proxy; None for any other."""
    metadata, status = body["metadata"], body.get("status") or {}
    labels = metadata.get("labels") or {}
    if labels.get(COMPONENT) != PROXY or SKYPILOT_LABEL in labels:
        return None
    running = status.get("phase") == "Running"
    return ProxyPod(
        name=metadata["name"],
        revision=labels.get(PROXY_REVISION, ""),
        ip=status.get("podIP") if running else None,
        deleting=metadata.get("deletionTimestamp") is not None or status.get("phase") in ("Failed", "Succeeded"),
        trouble=_trouble(metadata["name"], status),
    )


def _trouble(name: str, status: dict[str, Any]) -> Failure | None:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return Failure(Reason.UNSCHEDULABLE, clean(condition.get("message") or "no node has room for the pod"))
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason") or ""
        if not reason or reason in _HARMLESS_WAITS:
            continue
        kind = Reason.IMAGE_PULL_FAILED if "Image" in reason else Reason.POD_REJECTED
        return Failure(kind, clean(f"pod {name}: {reason}: {waiting.get('message') or ''}"))
    return None


def read_launched_service(body: dict[str, Any]) -> LaunchedService | None:
    """Return a Service that SkyPilot made for a cluster; None for any other."""
    metadata = body["metadata"]
    on_cloud = (metadata.get("labels") or {}).get(SKYPILOT_LABEL, "")
    if not on_cloud:
        return None
    name = (metadata.get("annotations") or {}).get(SKYPILOT_LABEL) or _without_user(on_cloud)
    return LaunchedService(metadata["name"], name, on_cloud)


def read_published_service(body: dict[str, Any], uid: str) -> PublishedService:
    """Return the Service of the deployment with this UID; ``foreign`` if it was made for something else."""
    if (body["metadata"].get("labels") or {}).get(LABEL_UID) != uid:
        return PublishedService(foreign=True)
    spec = body["spec"]
    ports = sorted(spec.get("ports") or (), key=lambda port: port.get("name") != PORT_NAME)
    ingress = ((body.get("status") or {}).get("loadBalancer") or {}).get("ingress") or [{}]
    return PublishedService(
        cluster_ip=spec.get("clusterIP"),
        external_host=ingress[0].get("ip") or ingress[0].get("hostname"),
        ports=tuple(port["port"] for port in ports),
        port_names=tuple(port.get("name", "") for port in ports),
        type=spec.get("type", "ClusterIP"),
    )


def read_endpoints(body: dict[str, Any]) -> Endpoints | None:
    """Return an EndpointSlice of the operator: all of its ports have the same number. None for any other."""
    if (body["metadata"].get("labels") or {}).get(MANAGED_BY) != GROUP:
        return None
    ports = body.get("ports") or ()
    numbers = {port.get("port") for port in ports}
    number = next(iter(numbers)) if len(numbers) == 1 else None
    hosts = (host for endpoint in body.get("endpoints") or () for host in endpoint["addresses"])
    return Endpoints(
        name=body["metadata"]["name"],
        addresses=tuple(sorted(Address(host, number) for host in hosts)) if number else (),
        port_names=tuple(port.get("name", "") for port in ports),
        service=(body["metadata"].get("labels") or {}).get(SERVICE_NAME, ""),
    )


def _without_user(name_on_cloud: str) -> str:
    """Return the display name of a name on the cloud, which ends in ``-<user id>``; ours are never cut."""
    return name_on_cloud.rsplit("-", 1)[0]
