"""What every check looks at: the simulated world, the moment, and what was found to be broken."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.facts.names import parse_cluster_name, uid_prefix
from deepseek_operator.facts.skypilot import RequestKind
from tests.simulation.ground import Ground
from tests.simulation.kubernetes import SimulatedKubernetes
from tests.simulation.proxies import SimulatedProxies
from tests.simulation.rows import PRICE
from tests.simulation.skypilot import SimulatedSkyPilot

__all__ = ["Body", "Scene", "Violation", "condition", "places", "price", "ready"]

Body = dict[str, Any]


@dataclass(frozen=True)
class Violation:
    """A promise that was broken, when, and what was seen."""

    promise: str
    at: float
    detail: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.promise} at {self.at:.1f} s: {self.detail}"


@dataclass
class Scene:
    """A simulated world, as the checks see it.

    Attributes
    ----------
    found
        What was broken.
    acting
        An operator has been running and the API server answering since then; None if not.
    informed
        SkyPilot answers, and no watch loses anything.
    gap
        From when to when a watch lost events last. What came then, the operator learns with the next full list.
    sent_at
        When what is heard now was sent, if that was a while ago and its sender has given up; None if not.
    secret_gone_at
        When somebody deleted a Secret without which proxies do not start: they are made again after 30 s.
    slices_gone_at
        When somebody deleted the slices of a Service.
    clock_moved_at
        When somebody set the clock, which makes a wait shorter or longer than it should be.
    """

    kubernetes: SimulatedKubernetes
    skypilot: SimulatedSkyPilot
    ground: Ground
    proxies: SimulatedProxies
    now: Callable[[], float]
    found: list[Violation] = field(default_factory=list)
    acting: float | None = None
    informed: bool = True
    gap: tuple[float, float] = (-1.0, -1.0)
    sent_at: float | None = None
    secret_gone_at: float = -1e9
    slices_gone_at: float = -1e9
    clock_moved_at: float = -1e9

    @property
    def late(self) -> bool:
        """Whether what is heard now was sent a while ago."""
        return self.sent_at is not None

    def broken(self, promise: str, detail: str) -> None:
        """Note a broken promise."""
        self.found.append(Violation(promise, self.now(), detail))

    def present(self, uid: str) -> set[str]:
        """Return the names of a deployment of which anything is there, or is being made."""
        names = {nodes.cluster for nodes in self.ground.of(uid)}
        names |= {name for name in self.skypilot.rows if self.skypilot.belongs(name, uid_prefix(uid))}
        requests = [one for one in self.skypilot.requests.values() if one.kind is not RequestKind.DOWN]
        return names | {one.name for one in requests if self.skypilot.belongs(one.name, uid_prefix(uid))}

    def deployment_of(self, cluster: str) -> Body | None:
        """Return the deployment that a cluster was made for; None if it is gone."""
        parsed = parse_cluster_name(cluster)
        for body in self.kubernetes.list(api.PLURAL):
            if parsed is not None and uid_prefix(body["metadata"]["uid"]) == parsed.uid:
                return body
        return None


def price(body: Body) -> Decimal:
    """Return what a rented replica costs, in US dollars an hour."""
    return PRICE * int(body["spec"]["resources"].get("nodes", 1))


def places(body: Body) -> tuple[str, ...]:
    """Return the places that a deployment lists; none are those of its own cluster."""
    return tuple(body["spec"]["resources"].get("infra") or ())


def ready(body: Body) -> Body | None:
    """Return the condition Ready of a deployment."""
    return condition(body, "Ready")


def condition(body: Body, kind: str) -> Body | None:
    """Return a condition of a deployment."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] == kind), None)
