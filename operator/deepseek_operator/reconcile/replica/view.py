"""What the rules of one replica read and return."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property

from deepseek_operator.api.places import KUBERNETES
from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Ledger, Phase
from deepseek_operator.facts.base import Address, Failure, Known
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.facts.skypilot import RequestKind, SkyPilotCluster, SkyPilotClusterState, SkyPilotRequest
from deepseek_operator.facts.world import Question, QuestionKind, ReplicaFacts
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.actions import Action

__all__ = ["Finding", "Health", "Replica", "Rule", "View", "terminated"]

CLOCKS_S = 300
"""Seconds by which the clock of the SkyPilot server may be behind that of the operator."""
RENEW_S = 30 * 86_400
"""Seconds before the end of its certificate at which a replica is replaced."""


class Health(StrEnum):
    """Whether the engine of a replica answers."""

    ANSWERS = "Answers"
    SILENT = "Silent"
    """The last probe had no answer, or there is no address to probe."""
    UNKNOWN = "Unknown"
    """No probe has ended since this process started. Not a reason to take anything away."""


@dataclass(frozen=True)
class View:
    """One replica's part of the world.

    Attributes
    ----------
    published
        The Service led to its address before this pass.
    dropped
        Connections to its address are neither accepted nor refused.
    running
        Requests in its engine; None if unknown.
    owner
        The arguments with which kubectl names its deployment.
    abandoned
        Its user has said that machines of which nothing is known any more are gone.
    plan
        What a launch would use; None where nothing may be launched because there is no valid plan.
    blocked
        Why nothing may be launched now (a missing Secret, say).
    may_launch
        The rollout has room for it.
    cost_limit
        US dollars an hour that its launch may cost; None: no limit.
    why_no_cloud
        Why its launch may use no cloud, although one is listed beside the cluster; empty if it may.
    on_demand_only
        Its launch is to rent on-demand machines, whatever the others are.
    shown_cost
        What the status says that it costs, in US dollars an hour.
    launches_waiting
        Launches of other deployments wait for a free launch worker.
    lag_s
        Seconds until everybody has noticed that the Service no longer leads to it, kube-proxy apart.
    """

    now: datetime
    facts: ReplicaFacts
    ledger: Ledger = field(default_factory=Ledger)
    address: Address | None = None
    health: Health = Health.SILENT
    detail: str = ""
    dropped: bool = False
    running: int | None = None
    published: bool = False
    deleting: bool = False
    owner: str = "NAME -n NAMESPACE"
    abandoned: bool = False
    plan: Planned | None = None
    blocked: Failure | None = None
    may_launch: bool = True
    cost_limit: Decimal | None = None
    why_no_cloud: str = ""
    on_demand_only: bool = False
    shown_cost: Decimal | None = None
    launches_waiting: bool = False
    lag_s: float = 0.0

    @property
    def name(self) -> ClusterName:
        """Name of its SkyPilot cluster."""
        return self.facts.name

    @property
    def cluster(self) -> SkyPilotCluster | None:
        """The cluster in SkyPilot's table, as far as SkyPilot can be asked."""
        return self.facts.skypilot.value.cluster if isinstance(self.facts.skypilot, Known) else None

    @property
    def requests(self) -> tuple[SkyPilotRequest, ...]:
        """Requests in flight, as far as SkyPilot can be asked."""
        return self.facts.skypilot.value.requests if isinstance(self.facts.skypilot, Known) else ()

    def in_flight(self, *kinds: RequestKind) -> SkyPilotRequest | None:
        """Return the oldest request of these kinds that has not ended."""
        for request in self.requests:
            if request.kind in kinds:
                return request
        return None

    @cached_property
    def infra(self) -> str | None:
        """Where it runs, once that is known."""
        seen = self.facts.last_seen.cluster
        if seen is not None and seen.cloud:
            return seen.infra
        return KUBERNETES if self.facts.pods else self.ledger.infra

    @cached_property
    def rented(self) -> bool:
        """Whether it runs on machines outside the Kubernetes cluster."""
        return self.infra not in (None, KUBERNETES)

    @property
    def goes_on_renting(self) -> bool:
        """Whether machines that it has rented still count, also without a record of SkyPilot's.

        They do until they are accounted for and their engine was asked in vain.
        """
        return self.ledger.renting and (self.unaccounted or self.health is not Health.SILENT)

    @property
    def price(self) -> Decimal | None:
        """US dollars an hour of all its nodes, as SkyPilot tells; None if it was not asked or does not know."""
        return self.facts.price.value if isinstance(self.facts.price, Known) else None

    @property
    def lacks_price(self) -> bool:
        """Whether its machines are up, and SkyPilot has still to say what they cost."""
        up = self.cluster is not None and self.cluster.state is SkyPilotClusterState.UP and not self.requests
        return self.rented and up and self.ledger.price is None and not isinstance(self.facts.price, Known)

    @cached_property
    def encrypted(self) -> bool:
        """Whether its engine answers over TLS: on every rented machine, unless an older operator launched it.

        A replica that is not remembered counts as launched by this one.
        """
        return self.rented and (self.ledger.certificate_until is not None or self.ledger.launched_at is None)

    @property
    def may_be_encrypted(self) -> bool:
        """Whether its launch has not shown yet where it runs, and may rent a machine."""
        return self.infra is None and self.ledger.certificate_until is not None

    @property
    def unaccounted(self) -> bool:
        """Whether rented machines may run although SkyPilot does not know the cluster.

        A successful teardown that is remembered, or SkyPilot's history of terminated clusters, accounts for them.
        """
        if not self.rented or self.abandoned or terminated(self.facts, self.ledger):
            return False
        outcome = self.facts.outcome.value if isinstance(self.facts.outcome, Known) else None
        if outcome is None or outcome.kind is not RequestKind.LAUNCH or outcome.failure is None:
            return True
        # A launch that failed for good deletes what it made.
        return not _of_this_launch(outcome.finished_at, self.ledger)

    @property
    def written_off(self) -> bool:
        """Whether another replica takes its place, because nobody can tell what became of its machines.

        A launch under its name might find them, cannot log in to them, and may rent others elsewhere.
        """
        silent = self.health is Health.SILENT
        return silent and self._without_record and self.unaccounted and not self.asks_about_machines

    @property
    def abandoned_and_gone(self) -> bool:
        """Whether its machines are gone by the word of its user, and its engine does not say otherwise.

        Its name is not used again: the user's word would cover the machines of another launch under it.
        """
        return self.abandoned and self._without_record and not self.serving

    @property
    def takes_room(self) -> bool:
        """Whether it takes a place among the replicas of the rollout: also while SkyPilot is asked about its machines.

        Until SkyPilot answers, its machines may still cost money, and ``maxHourlyCost`` may hold a successor back.
        """
        return self.exists or (self.unaccounted and bool(self.asks_about_machines))

    @property
    def asks_about_machines(self) -> tuple[Question, ...]:
        """What is still to be asked to know whether machines of a lost record were terminated."""
        known = ((QuestionKind.OUTCOME, self.facts.outcome), (QuestionKind.HISTORY, self.facts.terminated))
        return tuple(Question(kind, str(self.name)) for kind, fact in known if not isinstance(fact, Known))

    @property
    def _without_record(self) -> bool:
        """Whether it was rented, and SkyPilot shows nothing of it."""
        return self.rented and isinstance(self.facts.skypilot, Known) and not self.exists

    @property
    def renewing(self) -> bool:
        """Whether the certificate of its engine ends soon, so that another replica has to take its place."""
        until = self.ledger.certificate_until
        return self.encrypted and until is not None and (until - self.now).total_seconds() < RENEW_S

    @cached_property
    def exists(self) -> bool:
        """Whether anything of it is known to SkyPilot, seen in Kubernetes, or may still come of a request."""
        seen = self.facts.last_seen
        # While SkyPilot cannot be asked, a replica that was launched counts as there: its nodes may be on their way.
        asked_for = self.ledger.launched_at is not None and self.ledger.teardown_at is None
        in_skypilot = bool(seen.cluster or seen.requests) or asked_for
        if isinstance(self.facts.skypilot, Known):
            in_skypilot = bool(self.cluster or self.requests)
        return bool(in_skypilot or self.facts.pods or self.facts.services or self.ledger.unanswered)

    @cached_property
    def lacks_nodes(self) -> bool:
        """Whether a node of several is gone, although the head may answer: its health says nothing of the others.

        SkyPilot counts them; where it has lost its record of them, Kubernetes shows how many pods are left.
        """
        if self.cluster is not None:
            return self.cluster.nodes > 1 and self.cluster.incomplete
        if not isinstance(self.facts.skypilot, Known) or self.requests:
            return False
        return 0 < sum(pod.running for pod in self.facts.pods) < self.ledger.nodes

    @cached_property
    def serving(self) -> bool:
        """Whether the Service should lead to it.

        While it is unknown whether it answers, the Service keeps what it has. A launch in flight means that the job
        which answers may not be the one that stays, unless the replica has served already.
        """
        if self.in_flight(RequestKind.DOWN) or self.ledger.unanswered == RequestKind.DOWN:
            return False
        if self.lacks_nodes:
            return False  # requests to it would hang
        if self.ledger.teardown_at is not None and self.cluster is None:
            # Its teardown was requested, and is done, or nobody can say. What answers there may be another's by now.
            return False
        if self.health is Health.UNKNOWN:
            return self.published
        if self.health is Health.SILENT:
            return False
        return self.ledger.ready_since is not None or self.in_flight(RequestKind.LAUNCH, RequestKind.EXEC) is None


@dataclass(frozen=True)
class Finding:
    """What a rule says of a replica.

    Attributes
    ----------
    ledger
        The replica's memory after this pass, before the effects of ``actions``.
    asks
        What the rule has to know before it can say more.
    next_look_s
        Seconds until the next look although nothing may have announced itself; None if only an event can change this.
    final
        It is not tried again until its user changes something.
    passing
        Nothing new is known, and will be in a moment: the status goes on saying what it says.
    still
        Reasons with which it goes on as well, where it has one of them and the same phase.
    """

    phase: Phase
    reason: Reason | str
    message: str
    ledger: Ledger
    actions: tuple[Action, ...] = ()
    asks: tuple[Question, ...] = field(default=())
    next_look_s: float | None = None
    final: bool = False
    passing: bool = False
    still: frozenset[Reason] = frozenset()


Rule = Callable[[View], Finding | None]
"""A rule of a chain; None: the next one is asked."""


@dataclass(frozen=True)
class Replica:
    """A replica with what was found of it.

    Attributes
    ----------
    current
        As in :class:`~deepseek_operator.reconcile.rollout.Existing`: an update does not replace it.
    view
        From before this pass; ``finding.ledger`` is what its status will remember.
    """

    name: ClusterName
    current: bool
    view: View
    finding: Finding

    @property
    def ready(self) -> bool:
        """Whether the Service leads to it after this pass."""
        return self.finding.phase is Phase.READY


def terminated(facts: ReplicaFacts, ledger: Ledger) -> bool:
    """Return whether SkyPilot remembers that the machines of the last launch are gone, and not those of an earlier one.

    A name is launched again and again, and a server whose database came from a backup remembers only what was before.
    """
    outcome = facts.outcome.value if isinstance(facts.outcome, Known) else None
    if outcome is not None and outcome.kind is RequestKind.DOWN and outcome.failure is None and outcome.found:
        return _of_this_launch(outcome.finished_at, ledger)
    gone_at = facts.terminated.value if isinstance(facts.terminated, Known) else None
    return gone_at is not None and _of_this_launch(gone_at, ledger)


def _of_this_launch(moment: datetime, ledger: Ledger) -> bool:
    """Return whether what happened at a moment of the SkyPilot server's clock may concern the last launch."""
    return ledger.launched_at is None or (ledger.launched_at - moment).total_seconds() < CLOCKS_S
