"""What is read of Kubernetes for one deployment, in the types of the decision."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lightkube import ApiError, AsyncClient, operators
from lightkube.resources.core_v1 import Pod as PodResource
from lightkube.resources.core_v1 import Secret, Service, ServiceAccount
from lightkube.resources.discovery_v1 import EndpointSlice

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.api.v1alpha1 import LABEL_UID, DeepSeekDeployment
from deepseek_operator.kube.resources import DeploymentResource
from deepseek_operator.reconcile.naming import service_account_name
from deepseek_operator.reconcile.text import clean
from deepseek_operator.reconcile.world import Failure, LaunchedService, Pod, PublishedService

__all__ = ["ClusterReader", "Observed", "read_pod"]

SKYPILOT_LABEL = "skypilot-cluster-name"
"""Label of everything that SkyPilot makes: the name on the cloud. As an annotation of pods: the display name."""
_HARMLESS_WAITS = frozenset({"ContainerCreating", "PodInitializing"})


@dataclass(frozen=True)
class Observed:
    """Everything in Kubernetes that belongs to a deployment, beside the object itself."""

    pods: tuple[Pod, ...]
    launched_services: tuple[LaunchedService, ...]
    service: PublishedService
    service_account_exists: bool


class ClusterReader:
    """Reads of the Kubernetes cluster that holds the deployments."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def deployment(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Return the stored object, or None if it is gone."""
        try:
            return dict(await self._client.get(DeploymentResource, name, namespace=namespace))
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise

    async def observe(self, deployment: DeepSeekDeployment) -> Observed:
        """Return what belongs to ``deployment``."""
        namespace, uid = deployment.metadata.namespace, deployment.metadata.uid
        ours: dict[str, Any] = {LABEL_UID: uid, SKYPILOT_LABEL: operators.exists()}
        pods = [pod async for pod in self._client.list(PodResource, namespace=namespace, labels=ours)]
        made = [service async for service in self._client.list(Service, namespace=namespace, labels=ours)]
        seen = tuple(read_pod(pod.to_dict()) for pod in pods)
        names = {pod.cluster_name_on_cloud: pod.cluster_name for pod in seen}
        return Observed(
            pods=seen,
            launched_services=tuple(_launched(service.to_dict(), names) for service in made),
            service=await self._service(deployment),
            service_account_exists=await self._exists(ServiceAccount, service_account_name(deployment), namespace),
        )

    async def missing_secrets(self, namespace: str, references: Iterable[SecretKeyRef]) -> tuple[str, ...]:
        """Return a sentence for each reference that leads to nothing. Values are never kept."""
        missing: list[str] = []
        for reference in dict.fromkeys(references):
            try:
                secret = await self._client.get(Secret, reference.name, namespace=namespace)
            except ApiError as error:
                if error.status.code == 404:
                    missing.append(f"Secret {reference.name} does not exist in namespace {namespace}")
                    continue
                if error.status.code == 403:
                    missing.append(f"the operator may not read Secret {reference.name} in namespace {namespace}")
                    continue
                raise
            if reference.key not in (secret.data or {}):
                keys = ", ".join(sorted(secret.data or {})) or "none"
                missing.append(f"Secret {reference.name} has no key {reference.key} (it has: {keys})")
        return tuple(missing)

    async def secret_value(self, namespace: str, reference: SecretKeyRef) -> str:
        """Return the value of a key of a Secret, for a machine that no kubelet serves."""
        secret = await self._client.get(Secret, reference.name, namespace=namespace)
        return base64.b64decode((secret.data or {})[reference.key]).decode()

    async def _service(self, deployment: DeepSeekDeployment) -> PublishedService:
        namespace, name = deployment.metadata.namespace, deployment.metadata.name
        try:
            body = (await self._client.get(Service, name, namespace=namespace)).to_dict()
        except ApiError as error:
            if error.status.code == 404:
                return PublishedService()
            raise
        if (body["metadata"].get("labels") or {}).get(LABEL_UID) != deployment.metadata.uid:
            return PublishedService(exists=True, foreign=True)
        spec = body["spec"]
        hosts, target_port = await self._endpoints(namespace, name)
        ingress = ((body.get("status") or {}).get("loadBalancer") or {}).get("ingress") or [{}]
        return PublishedService(
            exists=True,
            cluster_ip=spec.get("clusterIP"),
            external_host=ingress[0].get("ip") or ingress[0].get("hostname"),
            port=spec["ports"][0]["port"],
            type=spec.get("type"),
            addresses=hosts,
            target_port=target_port,
        )

    async def _endpoints(self, namespace: str, name: str) -> tuple[tuple[str, ...], int | None]:
        try:
            body = (await self._client.get(EndpointSlice, name, namespace=namespace)).to_dict()
        except ApiError as error:
            if error.status.code == 404:
                return (), None
            raise
        hosts = sorted(address for endpoint in body.get("endpoints") or () for address in endpoint["addresses"])
        ports = body.get("ports") or ()
        return tuple(hosts), ports[0]["port"] if ports else None

    async def _exists(self, kind: type[ServiceAccount], name: str, namespace: str) -> bool:
        try:
            await self._client.get(kind, name, namespace=namespace)
        except ApiError as error:
            if error.status.code == 404:
                return False
            raise
        return True


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


def _launched(body: dict[str, Any], names: dict[str, str]) -> LaunchedService:
    metadata = body["metadata"]
    on_cloud = (metadata.get("labels") or {}).get(SKYPILOT_LABEL, "")
    annotated = (metadata.get("annotations") or {}).get(SKYPILOT_LABEL)
    return LaunchedService(metadata["name"], annotated or names.get(on_cloud) or _without_user(on_cloud), on_cloud)


def _without_user(name_on_cloud: str) -> str:
    """Return the display name of a name on the cloud, which ends in ``-<user id>``; ours are never cut."""
    return name_on_cloud.rsplit("-", 1)[0]
