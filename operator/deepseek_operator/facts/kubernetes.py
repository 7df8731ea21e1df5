"""What Kubernetes shows of a deployment besides the object itself."""

from dataclasses import dataclass
from typing import Final

from deepseek_operator.api.names import GROUP
from deepseek_operator.facts.base import Address, Failure

__all__ = [
    "COMPONENT",
    "PROXY",
    "PROXY_REVISION",
    "Endpoints",
    "LaunchedService",
    "Pod",
    "ProxyPod",
    "PublishedService",
]

COMPONENT: Final = "app.kubernetes.io/component"
"""Label that tells the pods of a proxy from those of replicas."""
PROXY: Final = "proxy"
PROXY_REVISION: Final = f"{GROUP}/proxy-revision"
"""Label of the pods of a proxy: what they were made from."""


@dataclass(frozen=True)
class Pod:
    """A pod of a replica on Kubernetes."""

    name: str
    cluster_name: str
    cluster_name_on_cloud: str
    head: bool
    phase: str
    ip: str | None = None
    deleting: bool = False
    trouble: Failure | None = None

    @property
    def running(self) -> bool:
        """Whether its container runs."""
        return self.phase == "Running" and not self.deleting


@dataclass(frozen=True)
class ProxyPod:
    """A pod of the proxy in front of the replicas.

    Attributes
    ----------
    revision
        What it was made from; see :func:`~deepseek_operator.launch.proxy.proxy_revision`.
    trouble
        What keeps it from running.
    """

    name: str
    revision: str
    ip: str | None = None
    deleting: bool = False
    trouble: Failure | None = None


@dataclass(frozen=True)
class LaunchedService:
    """A Service that SkyPilot created for a cluster."""

    name: str
    cluster_name: str
    cluster_name_on_cloud: str


@dataclass(frozen=True)
class PublishedService:
    """The deployment's own Service.

    Attributes
    ----------
    foreign
        A Service of this name exists and is not ours.
    ports
        Service ports, the wanted one first.
    port_names
        Name of each port, in the order of ``ports``.
    """

    foreign: bool = False
    cluster_ip: str | None = None
    external_host: str | None = None
    ports: tuple[int, ...] = ()
    port_names: tuple[str, ...] = ()
    type: str = "ClusterIP"


@dataclass(frozen=True)
class Endpoints:
    """One EndpointSlice: addresses that share one port.

    Attributes
    ----------
    port_names
        Names of the Service's ports that it serves.
    service
        The Service: that of the deployment, or one by which its proxy finds the engines.
    """

    name: str
    addresses: tuple[Address, ...]
    port_names: tuple[str, ...] = ()
    service: str = ""
