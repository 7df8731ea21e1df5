"""What the operator makes in Kubernetes, in the form in which the API server is given it. Pure.

Everything carries the labels of its deployment and an owner reference, so that it goes with the object. None of it
carries the label ``skypilot-cluster-name``: ``sky down`` deletes every Service that does.
"""

import hashlib
from datetime import datetime
from typing import Any

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.names import PORT_NAME, members_service, port_names
from deepseek_operator.kube.resources import MANAGED_BY, SERVICE_NAME

__all__ = ["Body", "event_body", "members_body", "owned", "service_body", "slice_body"]

Body = dict[str, Any]


def owned(deployment: DeepSeekDeployment, api_version: str, kind: str, name: str) -> Body:
    """Return the head of an object that goes when ``deployment`` goes."""
    metadata = deployment.metadata
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": metadata.namespace,
            "labels": {
                "app.kubernetes.io/name": "deepseek-deployment",
                "app.kubernetes.io/instance": metadata.name,
                "app.kubernetes.io/managed-by": "deepseek-operator",
                api.LABEL_NAME: metadata.name,
                api.LABEL_UID: metadata.uid,
            },
            "ownerReferences": [
                {
                    "apiVersion": api.API_VERSION,
                    "kind": api.KIND,
                    "name": metadata.name,
                    "uid": metadata.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
    }


def service_body(deployment: DeepSeekDeployment, ports: tuple[int, ...], type_: str) -> Body:
    """Return the Service of a deployment.

    It has no selector: pods are ready for Kubernetes long before their engine answers.
    """
    written = [
        {"name": name, "port": port, "targetPort": port, "protocol": "TCP", "appProtocol": "http"}
        for name, port in zip(port_names(ports), ports, strict=True)
    ]
    return owned(deployment, "v1", "Service", deployment.metadata.name) | {"spec": {"type": type_, "ports": written}}


def slice_body(
    deployment: DeepSeekDeployment,
    name: str,
    addresses: tuple[Address, ...],
    port: int,
    names: tuple[str, ...],
    service: str,
) -> Body:
    """Return an EndpointSlice of ``service`` that leads to exactly ``addresses``, which all listen on ``port``.

    Parameters
    ----------
    names
        Names of the Service's ports that lead there.
    """
    body = owned(deployment, "discovery.k8s.io/v1", "EndpointSlice", name)
    body["metadata"]["labels"] |= {SERVICE_NAME: service, MANAGED_BY: api.GROUP}
    return body | {
        "addressType": "IPv6" if addresses and ":" in addresses[0].host else "IPv4",
        "endpoints": [{"addresses": [address.host], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": name, "port": port, "protocol": "TCP", "appProtocol": "http"} for name in names],
    }


def members_body(deployment: DeepSeekDeployment, *, encrypted: bool) -> Body:
    """Return a headless Service by which the proxy finds engines: its SRV records say where those of a kind listen."""
    name = members_service(deployment.metadata.name, encrypted=encrypted)
    ports = [{"name": PORT_NAME, "port": 80, "protocol": "TCP"}]
    spec = {"clusterIP": "None", "type": "ClusterIP", "ports": ports}
    return owned(deployment, "v1", "Service", name) | {"spec": spec}


def event_body(metadata: api.Metadata, instance: str, type_: str, reason: str, message: str, now: datetime) -> Body:
    """Return an Event on a deployment. Its name is derived from all of it, so that the same one is posted only once.

    Parameters
    ----------
    instance
        Name of the process that tells it.
    """
    digest = hashlib.sha256(f"{metadata.uid}{type_}{reason}{message}{now.isoformat()}".encode()).hexdigest()[:16]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata.name}.{digest}", "namespace": metadata.namespace},
        "type": type_,
        "reason": reason,
        "action": reason,
        "note": message.encode()[:1024].decode(errors="ignore"),  # the limit is in bytes
        "eventTime": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "reportingController": api.GROUP,
        "reportingInstance": instance[:128],
        "regarding": {
            "apiVersion": api.API_VERSION,
            "kind": api.KIND,
            "name": metadata.name,
            "namespace": metadata.namespace,
            "uid": metadata.uid,
        },
    }
