"""Writes in Kubernetes: server-side applies under one field manager, and deletions by label.

Everything made here carries the labels of its deployment and an owner reference, so that it goes with the object. None
of it carries the label ``skypilot-cluster-name``: ``sky down`` deletes every Service that does.
"""

import hashlib
from datetime import datetime
from typing import Any, TypeVar, cast

from lightkube import ApiError, AsyncClient
from lightkube.resources.core_v1 import Pod, Service, ServiceAccount
from lightkube.resources.discovery_v1 import EndpointSlice
from lightkube.resources.events_v1 import Event
from lightkube.types import PatchType

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.api.status import DeepSeekDeploymentStatus
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.kube.read import SKYPILOT_LABEL
from deepseek_operator.kube.resources import FIELD_MANAGER, DeploymentResource
from deepseek_operator.reconcile.events import EventNote
from deepseek_operator.reconcile.naming import service_account_name

__all__ = ["ClusterWriter", "dump_status"]

_Applied = TypeVar("_Applied", ServiceAccount, Service, EndpointSlice)


def dump_status(status: DeepSeekDeploymentStatus) -> dict[str, Any]:
    """Return the status as it is stored: camelCase, without what is unset."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


class ClusterWriter:
    """Writes of the Kubernetes cluster that holds the deployments.

    Parameters
    ----------
    instance
        Name of this operator's pod, shown in Events.
    """

    def __init__(self, client: AsyncClient, instance: str) -> None:
        self._client, self._instance = client, instance

    async def set_finalizer(self, deployment: DeepSeekDeployment, *, present: bool) -> None:
        """Add or remove the operator's finalizer and nobody else's; a conflict raises, and the next pass looks anew."""
        metadata = deployment.metadata
        others = [name for name in metadata.finalizers if name != api.FINALIZER]
        finalizers = [*others, api.FINALIZER] if present else others
        body = {"metadata": {"resourceVersion": metadata.resource_version, "finalizers": finalizers}}
        await self._client.patch(
            DeploymentResource, metadata.name, body, namespace=metadata.namespace, patch_type=PatchType.MERGE
        )

    async def apply_status(self, deployment: DeepSeekDeployment, status: DeepSeekDeploymentStatus) -> None:
        """Write the status with one server-side apply."""
        metadata = deployment.metadata
        body = {
            "apiVersion": api.API_VERSION,
            "kind": api.KIND,
            "metadata": {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid},
            "status": dump_status(status),
        }
        resource = DeploymentResource.Status.from_dict(body)
        await self._client.apply(
            resource, metadata.name, namespace=metadata.namespace, field_manager=FIELD_MANAGER, force=True
        )

    async def apply_service_account(self, deployment: DeepSeekDeployment) -> None:
        """Make the account of the pods: no rights, no token mounted."""
        body = _owned(deployment, "v1", "ServiceAccount", service_account_name(deployment))
        await self._apply(ServiceAccount, {**body, "automountServiceAccountToken": False})

    async def apply_service(self, deployment: DeepSeekDeployment, *, port: int, target_port: int, type_: str) -> None:
        """Make the Service. It has no selector: pods are ready for Kubernetes long before their engine answers."""
        body = _owned(deployment, "v1", "Service", deployment.metadata.name)
        ports = [{"name": "http", "port": port, "targetPort": target_port, "protocol": "TCP", "appProtocol": "http"}]
        wanted = {**body, "spec": {"type": type_, "ports": ports}}
        try:
            await self._apply(Service, wanted)
        except ApiError as error:
            if error.status.code != 422:
                raise
            # A port that somebody else wrote stays beside the applied one, and the two share a name: put ours instead.
            name, namespace = deployment.metadata.name, deployment.metadata.namespace
            change = {"spec": {"ports": ports}}
            await self._client.patch(Service, name, change, namespace=namespace, patch_type=PatchType.MERGE)
            await self._apply(Service, wanted)

    async def publish_endpoints(self, deployment: DeepSeekDeployment, hosts: tuple[str, ...], port: int) -> None:
        """Let the Service lead to exactly ``hosts``."""
        name = deployment.metadata.name
        body = _owned(deployment, "discovery.k8s.io/v1", "EndpointSlice", name)
        body["metadata"]["labels"] |= {
            "kubernetes.io/service-name": name,
            "endpointslice.kubernetes.io/managed-by": api.GROUP,
        }
        endpoints = [{"addresses": [host], "conditions": {"ready": True}} for host in hosts]
        ports = [{"name": "http", "port": port, "protocol": "TCP", "appProtocol": "http"}]
        await self._apply(EndpointSlice, {**body, "addressType": "IPv4", "endpoints": endpoints, "ports": ports})

    async def clear_remains(self, namespace: str, name_on_cloud: str) -> None:
        """Delete pods and Services of a cluster that SkyPilot does not know."""
        labels: dict[str, Any] = {SKYPILOT_LABEL: name_on_cloud}
        async for pod in self._client.list(Pod, namespace=namespace, labels=labels):
            await self._delete(Pod, str(pod.metadata and pod.metadata.name), namespace)
        async for service in self._client.list(Service, namespace=namespace, labels=labels):
            await self._delete(Service, str(service.metadata and service.metadata.name), namespace)

    async def post_event(self, deployment: DeepSeekDeployment, note: EventNote, now: datetime) -> None:
        """Record an Event on the object; the same event told twice is one."""
        metadata = deployment.metadata
        digest = hashlib.sha256(f"{metadata.uid}{note}{now.isoformat()}".encode()).hexdigest()[:16]
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata.name}.{digest}", "namespace": metadata.namespace},
            "type": note.type,
            "reason": note.reason,
            "action": note.reason,
            "note": note.message.encode()[:1024].decode(errors="ignore"),  # the limit is in bytes
            "eventTime": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "reportingController": api.GROUP,
            "reportingInstance": self._instance[:128],
            "regarding": {
                "apiVersion": api.API_VERSION,
                "kind": api.KIND,
                "name": metadata.name,
                "namespace": metadata.namespace,
                "uid": metadata.uid,
            },
        }
        await self._client.create(cast(Event, Event.from_dict(body)))

    async def _apply(self, kind: type[_Applied], body: dict[str, Any]) -> None:
        resource = cast(_Applied, kind.from_dict(body))
        await self._client.apply(resource, field_manager=FIELD_MANAGER, force=True)

    async def _delete(self, kind: type[Pod] | type[Service], name: str, namespace: str) -> None:
        try:
            await self._client.delete(kind, name, namespace=namespace, grace_period=0 if kind is Pod else None)
        except ApiError as error:
            if error.status.code != 404:
                raise


def _owned(deployment: DeepSeekDeployment, api_version: str, kind: str, name: str) -> dict[str, Any]:
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
