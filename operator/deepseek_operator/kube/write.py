"""Writes in Kubernetes: server-side applies under one field manager, and deletions by label.

Every write returns the object as the API server stored it, so that the fact store knows it before the watch does.
"""

from datetime import datetime
from functools import partial

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment, Metadata
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.names import members_service, proxy_name, service_account_name
from deepseek_operator.kube.bodies import Body, event_body, members_body, owned, service_body, slice_body
from deepseek_operator.kube.client import APPLY, MERGE, KubeClient
from deepseek_operator.kube.errors import KubeConflictError, KubeNotFoundError, KubeRejectedError
from deepseek_operator.kube.proxy import PROXY_RESOURCES, proxy_objects, refused_pods
from deepseek_operator.kube.read import SKYPILOT_LABEL
from deepseek_operator.kube.resources import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    FIELD_MANAGER,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from deepseek_operator.launch.proxy import ProxySpec

__all__ = ["KubeWriter"]

_APPLIED = {"fieldManager": FIELD_MANAGER, "force": "true"}


class KubeWriter:
    """Writes of the Kubernetes cluster that holds the deployments.

    Parameters
    ----------
    instance
        Name of this operator's pod, shown in Events.
    """

    def __init__(self, client: KubeClient, instance: str) -> None:
        self._client, self._instance = client, instance

    async def set_finalizer(self, deployment: DeepSeekDeployment, *, present: bool) -> Body:
        """Add or remove the operator's finalizer and no other.

        Raises
        ------
        KubeConflictError
            The object has changed since it was read; the next pass looks again.
        """
        metadata = deployment.metadata
        others = [name for name in metadata.finalizers if name != api.FINALIZER]
        finalizers = [*others, api.FINALIZER] if present else others
        body = {"metadata": {"resourceVersion": metadata.resource_version, "finalizers": finalizers}}
        try:
            return await self._client.request(
                "PATCH",
                DEPLOYMENTS.path(metadata.namespace, metadata.name),
                body=body,
                query={"fieldManager": FIELD_MANAGER},
                content_type=MERGE,
            )
        except KubeNotFoundError:
            if present:
                raise
            return {}

    async def apply_status(self, deployment: DeepSeekDeployment, status: Body) -> Body:
        """Write the status with one server-side apply."""
        metadata = deployment.metadata
        body = {
            "apiVersion": api.API_VERSION,
            "kind": api.KIND,
            "metadata": {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid},
            "status": status,
        }
        return await self._apply(DEPLOYMENTS, body, sub="status")

    async def apply_service_account(self, deployment: DeepSeekDeployment) -> Body:
        """Create the account of the pods: no rights, no token mounted.

        Raises
        ------
        KubeConflictError
            An account of that name exists and was not made for this deployment. It may have rights, which an engine
            must never get, so it is not used.
        """
        name = service_account_name(deployment)
        body = owned(deployment, "v1", "ServiceAccount", name) | {"automountServiceAccountToken": False}
        return await self._create(deployment, SERVICE_ACCOUNTS, body)

    async def ensure_secret(self, deployment: DeepSeekDeployment, name: str, type_: str, data: dict[str, str]) -> Body:
        """Create a Secret, or return the one that was made before: what is in it never changes.

        Parameters
        ----------
        data
            Values as base64.

        Raises
        ------
        KubeConflictError
            A Secret of that name exists and was not made for this deployment.
        """
        body = owned(deployment, "v1", "Secret", name) | {"type": type_, "immutable": True, "data": data}
        return await self._create(deployment, SECRETS, body)

    async def apply_service(
        self, deployment: DeepSeekDeployment, ports: tuple[int, ...], type_: str, *, create: bool = False
    ) -> Body:
        """Create the Service, or bring it back to what the spec says.

        Parameters
        ----------
        ports
            Named as :func:`~deepseek_operator.facts.names.port_names` says. Targets are in the slices.

        Raises
        ------
        KubeConflictError
            ``create``: a Service of that name exists and was not made for this deployment.
        """
        wanted = service_body(deployment, ports, type_)
        if create:
            found = await self._create(deployment, SERVICES, wanted)
            if [port["port"] for port in found["spec"].get("ports") or ()] == list(ports):
                return found
        path = SERVICES.path(deployment.metadata.namespace, deployment.metadata.name)
        # All ports are replaced at once. An apply would merge them by number, and two of them could share a name.
        change = {"metadata": {"labels": wanted["metadata"]["labels"]}, "spec": wanted["spec"]}
        return await self._client.request(
            "PATCH", path, body=change, query={"fieldManager": FIELD_MANAGER}, content_type=MERGE
        )

    async def apply_endpoints(
        self,
        deployment: DeepSeekDeployment,
        name: str,
        addresses: tuple[Address, ...],
        port: int,
        port_names: tuple[str, ...],
        *,
        service: str | None = None,
    ) -> Body:
        """Let one EndpointSlice lead to exactly ``addresses``, which all listen on ``port``.

        Parameters
        ----------
        service
            The Service that it belongs to; None: that of the deployment.
        """
        body = slice_body(deployment, name, addresses, port, port_names, service or deployment.metadata.name)
        return await self._apply(ENDPOINT_SLICES, body)

    async def delete_endpoints(self, deployment: DeepSeekDeployment, name: str) -> None:
        """Delete an EndpointSlice."""
        await self._delete(ENDPOINT_SLICES, deployment.metadata.namespace, name)

    async def apply_proxy(self, deployment: DeepSeekDeployment, spec: ProxySpec) -> list[Body]:
        """Create the proxy, or bring it back to what it should be; return the Services by which it finds engines.

        Raises
        ------
        KubeConflictError
            Something of its name exists and was not made for this deployment.
        KubeRejectedError
            It is there, and Kubernetes may not make its pods: a quota, say.
        """
        services = [
            await self._settle(deployment, SERVICES, members_body(deployment, encrypted=encrypted))
            for encrypted in (False, True)
        ]
        for resource, body in proxy_objects(spec, partial(owned, deployment)):
            applied = await self._settle(deployment, resource, body)
            if (refused := refused_pods(applied)) is not None:
                raise KubeRejectedError(f"Deployment {body['metadata']['name']}: {refused}")
        return services

    async def remove_proxy(self, deployment: DeepSeekDeployment) -> None:
        """Delete the proxy; Kubernetes lets its pods finish what they do."""
        metadata = deployment.metadata
        for resource in PROXY_RESOURCES:
            await self._delete_own(deployment, resource, proxy_name(metadata.name))
        for encrypted in (False, True):
            await self._delete_own(deployment, SERVICES, members_service(metadata.name, encrypted=encrypted))

    async def clear_remains(self, namespace: str, name_on_cloud: str) -> None:
        """Delete pods and Services of a cluster that SkyPilot does not know."""
        labels = {"labelSelector": f"{SKYPILOT_LABEL}={name_on_cloud}"}
        for resource in (PODS, SERVICES):
            found = await self._client.request("GET", resource.path(namespace), query=labels)
            for item in found["items"]:
                await self._delete(resource, namespace, item["metadata"]["name"], at_once=resource is PODS)

    async def post_event(self, of: Metadata, type_: str, reason: str, message: str, now: datetime) -> None:
        """Record an Event on a deployment, of which the metadata are enough; the same event posted twice is one."""
        body = event_body(of, self._instance, type_, reason, message, now)
        await self._client.request("POST", EVENTS.path(of.namespace), body=body)

    async def _create(self, deployment: DeepSeekDeployment, resource: Resource, body: Body) -> Body:
        """Create an object, and accept one that was made for this deployment before. No read where nothing is there."""
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        query = {"fieldManager": FIELD_MANAGER}
        try:
            return await self._client.request("POST", resource.path(namespace), body=body, query=query)
        except KubeConflictError as error:
            found = await self._client.request("GET", resource.path(namespace, name))
            if (found["metadata"].get("labels") or {}).get(api.LABEL_UID) != deployment.metadata.uid:
                kind = body["kind"]
                raise KubeConflictError(
                    f"a {kind} {name} exists and was not made for this deployment", error.status
                ) from error
            return found

    async def _settle(self, deployment: DeepSeekDeployment, resource: Resource, body: Body) -> Body:
        """Create an object or bring it back to what it should be, unless it was made for somebody else.

        It is created by an apply, too: what another way of writing has put there, no apply takes away again.
        """
        await self._find_own(deployment, resource, body["metadata"]["name"], body["kind"])
        return await self._apply(resource, body)

    async def _find_own(self, deployment: DeepSeekDeployment, resource: Resource, name: str, kind: str) -> Body | None:
        try:
            found = await self._client.request("GET", resource.path(deployment.metadata.namespace, name))
        except KubeNotFoundError:
            return None
        if (found["metadata"].get("labels") or {}).get(api.LABEL_UID) != deployment.metadata.uid:
            raise KubeConflictError(f"a {kind} {name} exists and was not made for this deployment", 409)
        return found

    async def _delete_own(self, deployment: DeepSeekDeployment, resource: Resource, name: str) -> None:
        try:
            if await self._find_own(deployment, resource, name, resource.plural) is None:
                return
        except KubeConflictError:
            return  # somebody else's
        await self._delete(resource, deployment.metadata.namespace, name)

    async def _apply(self, resource: Resource, body: Body, *, sub: str | None = None) -> Body:
        metadata = body["metadata"]
        path = resource.path(metadata["namespace"], metadata["name"], sub)
        return await self._client.request("PATCH", path, body=body, query=_APPLIED, content_type=APPLY)

    async def _delete(self, resource: Resource, namespace: str, name: str, *, at_once: bool = False) -> None:
        query = {"gracePeriodSeconds": 0} if at_once else None
        try:
            await self._client.request("DELETE", resource.path(namespace, name), query=query)
        except KubeNotFoundError:
            return
