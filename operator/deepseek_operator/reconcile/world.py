"""What one pass knows: a frozen picture of Kubernetes, SkyPilot and the engines at one moment.

Nothing in here is a wish; wishes are in the spec. A field that could not be observed says so (``reachable``, ``None``)
and is never replaced by a default that might match by accident.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.planning import Plan

__all__ = [
    "ClusterRow",
    "ClusterState",
    "Failure",
    "Job",
    "JobState",
    "LaunchedService",
    "Outcome",
    "Pod",
    "Probe",
    "Request",
    "RequestKind",
    "RequestState",
    "SkyPilotView",
    "World",
]


class ClusterState(StrEnum):
    """``status`` of a row of SkyPilot's cluster table. UP says nothing about the engine."""

    INIT = "INIT"
    UP = "UP"
    STOPPED = "STOPPED"
    AUTOSTOPPING = "AUTOSTOPPING"
    OTHER = "OTHER"


@dataclass(frozen=True)
class ClusterRow:
    """One cluster as SkyPilot knows it.

    Attributes
    ----------
    name
        Display name, the one that the operator chose.
    detail
        SkyPilot's own words on what it is doing (``init_status_reason`` or ``last_event``), cleaned.
    generation
        ``cluster_hash``: changes when a cluster of the same name is made anew.
    """

    name: str
    state: ClusterState
    detail: str = ""
    cloud: str = ""
    region: str = ""
    accelerators: str = ""
    nodes: int = 1
    generation: str = ""

    @property
    def on_kubernetes(self) -> bool:
        """Whether its nodes are pods."""
        return self.cloud.lower() == "kubernetes"


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
class Request:
    """A request in flight at the SkyPilot server."""

    id: str
    kind: RequestKind
    cluster_name: str
    state: RequestState
    created_at: datetime
    detail: str = ""


@dataclass(frozen=True)
class Failure:
    """Why something failed, in our word and the provider's own."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Outcome:
    """How the last launch or teardown of a cluster name ended, as far as the server remembers."""

    request_id: str
    kind: RequestKind
    finished_at: datetime
    failure: Failure | None = None


class JobState(StrEnum):
    """State of the newest job on a cluster: the engine's process on all nodes.

    NONE: there is no job. UNREACHABLE: SkyPilot cannot ask the cluster.
    """

    NONE = "NONE"
    ACTIVE = "ACTIVE"
    ENDED = "ENDED"
    DRIVER_LOST = "DRIVER_LOST"
    UNREACHABLE = "UNREACHABLE"


@dataclass(frozen=True)
class Job:
    """The newest job of a cluster, with the last lines of its log once it ended."""

    id: int
    state: JobState
    status: str = ""
    log_tail: str = ""


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
class LaunchedService:
    """A Service that SkyPilot made for a cluster."""

    name: str
    cluster_name: str
    cluster_name_on_cloud: str


@dataclass(frozen=True)
class Probe:
    """Whether an engine answers at an address, and since when."""

    healthy: bool
    since: datetime
    detail: str = ""


@dataclass(frozen=True)
class SkyPilotView:
    """The shared snapshot of the SkyPilot server, cut down to one deployment."""

    reachable: bool
    message: str = ""
    rows: Mapping[str, ClusterRow] = field(default_factory=dict)
    requests: Mapping[str, tuple[Request, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedService:
    """The deployment's own Service and what it leads to.

    Attributes
    ----------
    foreign
        A Service of this name exists and is not ours.
    addresses
        ``host`` of each endpoint in its EndpointSlice, sorted.
    """

    exists: bool = False
    foreign: bool = False
    cluster_ip: str | None = None
    external_host: str | None = None
    port: int | None = None
    type: str | None = None
    addresses: tuple[str, ...] = ()
    target_port: int | None = None


@dataclass(frozen=True)
class World:
    """Everything that one decision is made from.

    Attributes
    ----------
    plan
        What the planner made of the spec; None when ``plan_failure`` says why there is none.
    missing_secrets
        A sentence per Secret or key that the spec refers to and that does not exist.
    outcomes, jobs
        Per cluster name, looked up only where the snapshot leaves a question open.
    probes
        Per ``host:port``.
    """

    now: datetime
    deployment: DeepSeekDeployment
    skypilot: SkyPilotView
    plan: Plan | None = None
    plan_failure: Failure | None = None
    missing_secrets: tuple[str, ...] = ()
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)
    pods: tuple[Pod, ...] = ()
    launched_services: tuple[LaunchedService, ...] = ()
    service_account_exists: bool = False
    service: PublishedService = PublishedService()
    probes: Mapping[str, Probe] = field(default_factory=dict)
