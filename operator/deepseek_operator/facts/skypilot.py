"""What a SkyPilot API server knows: clusters, requests, and how the last request for a cluster ended."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from deepseek_operator.api.places import KUBERNETES
from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.base import Failure

__all__ = [
    "Job",
    "JobState",
    "Outcome",
    "PlaceTried",
    "RequestKind",
    "RequestState",
    "SkyPilotCluster",
    "SkyPilotClusterState",
    "SkyPilotRequest",
]


class SkyPilotClusterState(StrEnum):
    """``status`` of a cluster in SkyPilot's table. UP says nothing about the engine."""

    INIT = "INIT"
    UP = "UP"
    STOPPED = "STOPPED"
    AUTOSTOPPING = "AUTOSTOPPING"
    OTHER = "OTHER"


@dataclass(frozen=True)
class SkyPilotCluster:
    """One cluster as SkyPilot knows it.

    Attributes
    ----------
    name
        Display name, the one that the operator chose.
    detail
        SkyPilot's own words on what it is doing (``init_status_reason`` or ``last_event``), cleaned.
    hash
        ``cluster_hash``: changes when a cluster of the same name is created again.
    user
        The 8 hexadecimal digits of the installation that launched it.
    spot
        Whether its machines are spot machines, which the provider may take back.
    incomplete
        Whether SkyPilot has found fewer nodes than it launched; False where it could not find out.
    """

    name: str
    state: SkyPilotClusterState
    detail: str = ""
    cloud: str = ""
    region: str = ""
    accelerators: str = ""
    nodes: int = 1
    hash: str = ""
    user: str = ""
    spot: bool = False
    incomplete: bool = False

    @property
    def on_kubernetes(self) -> bool:
        """Whether its nodes are pods."""
        return self.infra == KUBERNETES

    @property
    def infra(self) -> str:
        """Its cloud as a user writes it, ``kubernetes`` or ``aws``; empty until SkyPilot has chosen one."""
        return self.cloud.lower()

    @property
    def place(self) -> str:
        """Where it is, as a user writes it: ``kubernetes`` or ``aws/us-east-1``; empty until SkyPilot has chosen."""
        return f"{self.infra}/{self.region}" if self.region and not self.on_kubernetes else self.infra


class RequestKind(StrEnum):
    """Kinds of requests that matter to a decision."""

    LAUNCH = "launch"
    EXEC = "exec"
    DOWN = "down"


class RequestState(StrEnum):
    """State of a request that has not ended. PENDING: no worker yet. WAITING: parked by SkyPilot."""

    PENDING = "PENDING"
    WAITING = "WAITING"
    RUNNING = "RUNNING"


@dataclass(frozen=True)
class SkyPilotRequest:
    """A request in flight at the SkyPilot server."""

    id: str
    kind: RequestKind
    cluster_name: str
    state: RequestState
    created_at: datetime
    detail: str = ""


@dataclass(frozen=True)
class PlaceTried:
    """A place at which a launch found no machines, and why.

    Attributes
    ----------
    place
        As a user writes it: ``aws/us-east-1``.
    code
        The provider's own code, such as ``InsufficientInstanceCapacity``; empty where it gave none.
    words
        What was said, cleaned.
    """

    place: str
    reason: Reason
    code: str = ""
    words: str = ""


@dataclass(frozen=True)
class Outcome:
    """How the last launch, exec or teardown of a cluster name ended, as far as the server remembers.

    Attributes
    ----------
    found
        False for a teardown that found no cluster of this name: it has terminated nothing.
    tried
        The places that a launch has tried in vain, in order. One that succeeded found its machines after them.
    """

    request_id: str
    kind: RequestKind
    finished_at: datetime
    failure: Failure | None = None
    found: bool = True
    tried: tuple[PlaceTried, ...] = ()


class JobState(StrEnum):
    """State of the newest job on a cluster: the engine's process on all nodes.

    NONE: there is no job. UNREACHABLE: SkyPilot cannot ask the cluster. NO_CLUSTER: it has found that the nodes are
    gone.
    """

    NONE = "NONE"
    ACTIVE = "ACTIVE"
    ENDED = "ENDED"
    DRIVER_LOST = "DRIVER_LOST"
    UNREACHABLE = "UNREACHABLE"
    NO_CLUSTER = "NO_CLUSTER"


@dataclass(frozen=True)
class Job:
    """The newest job of a cluster, with the last lines of its log once it ended."""

    id: int
    state: JobState
    status: str = ""
    log_tail: str = ""
