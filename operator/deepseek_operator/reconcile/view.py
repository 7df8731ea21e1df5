"""What the rules for one replica read and write: its part of the world, and what was made of it."""

from dataclasses import dataclass
from datetime import datetime

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Instance, Phase
from deepseek_operator.reconcile.actions import Action
from deepseek_operator.reconcile.naming import ClusterName
from deepseek_operator.reconcile.world import (
    ClusterRow,
    Failure,
    Job,
    LaunchedService,
    Outcome,
    Pod,
    Probe,
    Request,
    RequestKind,
)

__all__ = ["Assessment", "View"]


@dataclass(frozen=True)
class View:
    """One replica's part of the world.

    Attributes
    ----------
    blocked
        Why nothing may be launched now (a missing Secret, say).
    startup_seconds
        How long its engine may take from the start of its job to its first answer.
    retry
        Whether a failed launch is tried again.
    """

    now: datetime
    name: ClusterName
    nodes: int
    startup_seconds: int
    provision_timeout_seconds: int
    retry: bool
    reachable: bool
    unreachable_because: str
    blocked: Failure | None = None
    previous: Instance | None = None
    row: ClusterRow | None = None
    requests: tuple[Request, ...] = ()
    outcome: Outcome | None = None
    job: Job | None = None
    pods: tuple[Pod, ...] = ()
    services: tuple[LaunchedService, ...] = ()
    address: str | None = None
    probe: Probe | None = None

    def in_flight(self, *kinds: RequestKind) -> Request | None:
        """Return the oldest request of these kinds that has not ended."""
        return next((request for request in self.requests if request.kind in kinds), None)

    @property
    def exists(self) -> bool:
        """Whether anything of it is known to SkyPilot or seen in Kubernetes."""
        return bool(self.row or self.requests or self.pods or self.services)


@dataclass(frozen=True)
class Assessment:
    """What a rule says of a replica.

    Attributes
    ----------
    next_look_s
        Seconds until somebody must look again although nothing may have announced itself.
    counted
        Identity of the failure counted last, so that none is counted twice.
    final
        A failure that is not tried again.
    """

    phase: Phase
    reason: Reason
    message: str
    actions: tuple[Action, ...] = ()
    next_look_s: float | None = None
    counted: str = ""
    attempts: int = 0
    restarts: int = 0
    retry_after: datetime | None = None
    final: bool = False
