"""What a decision can ask for. Each action is idempotent: asked for twice, it is done once."""

from dataclasses import dataclass
from decimal import Decimal

from deepseek_operator.facts.base import Address
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.launch.proxy import ProxySpec

__all__ = [
    "Action",
    "AddFinalizer",
    "ApplyProxy",
    "ApplyService",
    "ClearRemains",
    "Launch",
    "PublishEndpoints",
    "RemoveFinalizer",
    "RemoveProxy",
    "RunAgain",
    "TearDown",
    "UnpublishEndpoints",
]


@dataclass(frozen=True)
class AddFinalizer:
    """Hold the object until teardown is complete. Before the first launch."""


@dataclass(frozen=True)
class RemoveFinalizer:
    """Let the object go: nothing that costs money is left."""


@dataclass(frozen=True)
class Launch:
    """Ask SkyPilot for the cluster.

    Attributes
    ----------
    cost_limit
        US dollars an hour that all its nodes together may cost; None: no limit.
    without
        Places to leave out where another one of the spec is left.
    on_demand
        Rent on-demand machines only, whatever ``capacityType`` says.
    """

    name: ClusterName
    cost_limit: Decimal | None = None
    without: tuple[str, ...] = ()
    on_demand: bool = False


@dataclass(frozen=True)
class RunAgain:
    """Start the engine again on the nodes that are there."""

    name: ClusterName


@dataclass(frozen=True)
class TearDown:
    """Ask SkyPilot to tear the cluster down, whatever state it is in.

    Attributes
    ----------
    requests
        What is cancelled instead: launches that SkyPilot has queued and not started, whose cluster a teardown would not
        find yet; or a teardown that does not end. The next one is requested when that is gone.
    """

    name: ClusterName
    requests: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClearRemains:
    """Delete the pods and Services of clusters that SkyPilot does not know."""

    name: ClusterName
    names_on_cloud: tuple[str, ...]


@dataclass(frozen=True)
class ApplyService:
    """Create the Service, or bring it back to what the spec says.

    Attributes
    ----------
    ports
        The wanted port first; then ports on which replicas of older revisions still serve.
    """

    ports: tuple[int, ...]
    type: str
    create: bool = False


@dataclass(frozen=True)
class PublishEndpoints:
    """Let one EndpointSlice lead to exactly these addresses, which share one port.

    Attributes
    ----------
    service
        The Service that it belongs to; None: that of the deployment.
    """

    slice_name: str
    addresses: tuple[Address, ...]
    port_names: tuple[str, ...]
    service: str | None = None


@dataclass(frozen=True)
class UnpublishEndpoints:
    """Delete an EndpointSlice that leads nowhere any more."""

    slice_name: str


@dataclass(frozen=True)
class ApplyProxy:
    """Create the proxy, or bring it back to what it should be, with the Secrets that its pods need.

    Attributes
    ----------
    pending
        Its pods are there and do not start.
    """

    spec: ProxySpec
    pending: bool = False


@dataclass(frozen=True)
class RemoveProxy:
    """Take the proxy away: its running requests end first."""


Action = (
    AddFinalizer
    | RemoveFinalizer
    | Launch
    | RunAgain
    | TearDown
    | ClearRemains
    | ApplyService
    | PublishEndpoints
    | UnpublishEndpoints
    | ApplyProxy
    | RemoveProxy
)
