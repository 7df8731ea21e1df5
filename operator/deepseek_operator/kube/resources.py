"""Paths of the kinds that the operator reads and writes."""

from dataclasses import dataclass
from typing import Final

from deepseek_operator.api import v1alpha1 as api

__all__ = [
    "APP_DEPLOYMENTS",
    "CONFIG_MAPS",
    "DEPLOYMENTS",
    "DISRUPTION_BUDGETS",
    "ENDPOINT_SLICES",
    "EVENTS",
    "FIELD_MANAGER",
    "LEASES",
    "MANAGED_BY",
    "NAMESPACES",
    "PODS",
    "SECRETS",
    "SELECTORS",
    "SERVICES",
    "SERVICE_ACCOUNTS",
    "SERVICE_NAME",
    "Resource",
]

FIELD_MANAGER: Final = "deepseek-operator"


@dataclass(frozen=True)
class Resource:
    """One kind, by the first part of its path and its plural name."""

    base: str
    plural: str

    def path(self, namespace: str | None = None, name: str | None = None, sub: str | None = None) -> str:
        """Return the path of an object, of a namespace's list, or of the whole cluster's list."""
        place = f"/namespaces/{namespace}" if namespace else ""
        tail = "".join(f"/{part}" for part in (name, sub) if part)
        return f"{self.base}{place}/{self.plural}{tail}"


DEPLOYMENTS: Final = Resource(f"/apis/{api.API_VERSION}", api.PLURAL)
NAMESPACES: Final = Resource("/api/v1", "namespaces")
PODS: Final = Resource("/api/v1", "pods")
SERVICES: Final = Resource("/api/v1", "services")
SERVICE_ACCOUNTS: Final = Resource("/api/v1", "serviceaccounts")
SECRETS: Final = Resource("/api/v1", "secrets")
ENDPOINT_SLICES: Final = Resource("/apis/discovery.k8s.io/v1", "endpointslices")
APP_DEPLOYMENTS: Final = Resource("/apis/apps/v1", "deployments")
CONFIG_MAPS: Final = Resource("/api/v1", "configmaps")
DISRUPTION_BUDGETS: Final = Resource("/apis/policy/v1", "poddisruptionbudgets")
EVENTS: Final = Resource("/apis/events.k8s.io/v1", "events")
LEASES: Final = Resource("/apis/coordination.k8s.io/v1", "leases")

MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
"""Kubernetes copies the labels of SkyPilot's Services, ours among them, to the slices that its own controller makes."""

SERVICE_NAME: Final = "kubernetes.io/service-name"
"""Label of an EndpointSlice: the Service that it belongs to."""

SELECTORS: Final = {
    "pods": api.LABEL_UID,
    "services": api.LABEL_UID,
    "endpointslices": f"{api.LABEL_UID},{MANAGED_BY}={api.GROUP}",
}
"""By kind, the label selector of what was made for a deployment."""
