"""What a decision can ask for. Each action is idempotent: asked for twice, it is done once."""

from dataclasses import dataclass

__all__ = [
    "Action",
    "AddFinalizer",
    "ApplyService",
    "ApplyServiceAccount",
    "ClearRemains",
    "Launch",
    "PublishEndpoints",
    "RemoveFinalizer",
    "RunAgain",
    "TearDown",
]


@dataclass(frozen=True)
class AddFinalizer:
    """Hold the object until teardown is complete. Before the first launch."""


@dataclass(frozen=True)
class RemoveFinalizer:
    """Let the object go: nothing that costs money is left."""


@dataclass(frozen=True)
class ApplyServiceAccount:
    """Make the account without rights under which the pods run."""


@dataclass(frozen=True)
class Launch:
    """Ask SkyPilot for the cluster, unless a launch of this name is in flight already."""

    cluster_name: str
    revision: str


@dataclass(frozen=True)
class RunAgain:
    """Start the engine again on the machines that are there."""

    cluster_name: str
    revision: str


@dataclass(frozen=True)
class TearDown:
    """Ask SkyPilot to give the cluster back, whatever state it is in."""

    cluster_name: str


@dataclass(frozen=True)
class ClearRemains:
    """Delete pods and Services of a cluster that SkyPilot does not know (any more)."""

    cluster_name: str


@dataclass(frozen=True)
class ApplyService:
    """Make the Service, or bring it back to what the spec says."""

    port: int
    target_port: int
    type: str


@dataclass(frozen=True)
class PublishEndpoints:
    """Let the Service lead to exactly these hosts."""

    hosts: tuple[str, ...]
    port: int


Action = (
    AddFinalizer
    | RemoveFinalizer
    | ApplyServiceAccount
    | Launch
    | RunAgain
    | TearDown
    | ClearRemains
    | ApplyService
    | PublishEndpoints
)
