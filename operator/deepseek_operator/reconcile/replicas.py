"""The replicas of one pass: each with what the rollout wants of it, what holds its launch, and what its rules find."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import DeepSeekDeploymentStatus, Ledger, Phase
from deepseek_operator.facts.base import Fact, Failure, Known
from deepseek_operator.facts.names import ClusterName, cluster_name
from deepseek_operator.facts.world import ReplicaFacts, Seen, World
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.approval import Gate
from deepseek_operator.reconcile.budget import Budget
from deepseek_operator.reconcile.capacity import Base
from deepseek_operator.reconcile.replica.findings import AGAIN, why_silent
from deepseek_operator.reconcile.replica.look import look
from deepseek_operator.reconcile.replica.remains import unaccounted_words
from deepseek_operator.reconcile.replica.rules import leave, want
from deepseek_operator.reconcile.replica.view import Finding, Replica, View
from deepseek_operator.reconcile.rollout import Rollout

__all__ = ["Launches", "find_replicas"]


@dataclass(frozen=True)
class Launches:
    """What holds the launches of one pass; each launch leaves less for the next one.

    Attributes
    ----------
    blocked
        Why nothing at all may be launched.
    waiting
        Launches of other deployments wait for a free launch worker.
    base
        How many are still to be on demand.
    gate
        How many are approved.
    budget
        What is left under ``maxHourlyCost``.
    """

    blocked: Failure | None
    waiting: bool
    base: Base
    gate: Gate
    budget: Budget

    def admit(self, view: View) -> "tuple[View, Launches]":
        """Return a view of a replica that may be launched, held back by whatever holds it; and what is left.

        The base comes first, because a price depends on it, and an approval before money. A replica that waits for its
        next attempt takes its part, too.
        """
        view, base = self.base.admit(replace(view, blocked=self.blocked, may_launch=True))
        view, gate = self.gate.admit(view)
        left = replace(self, base=base, gate=gate)
        if view.blocked is not None and view.blocked.reason is Reason.AWAITING_APPROVAL:
            return view, left  # what waits for an approval takes no money from what does not
        view, budget = self.budget.admit(view)
        return view, replace(left, budget=budget)

    def hold(self, view: View) -> "tuple[View, Launches]":
        """Return a view of a replica that is not launched now, as it runs or there is no room; and what is left."""
        if not self.gate.closed:
            return view, self
        view, gate = self.gate.admit(view)  # says that approval is waited for, too
        return view, replace(self, gate=gate)


def find_replicas(
    world: World,
    views: Mapping[ClusterName, View],
    rollout: Rollout,
    current: frozenset[ClusterName],
    plan: Planned | None,
    launches: Launches,
) -> tuple[Replica, ...]:
    """Return every replica with what its rules find.

    Parameters
    ----------
    current
        Names of the current revision that are not to be replaced.
    """
    replicas = []
    for name in rollout.keep:
        view, launches = (launches.admit if name in rollout.launchable else launches.hold)(views[name])
        replicas.append(Replica(name, True, view, want(view)))
    clouds = [place.cloud for place in plan.places] if plan is not None else []
    for ordinal in rollout.add:
        name = cluster_name(world.deployment, world.revision, ordinal, clouds=clouds)
        facts = ReplicaFacts(name, skypilot=_absent(world))
        view = look(world, facts, Ledger(), plan, current=True, launches_waiting=launches.waiting)
        view, launches = launches.admit(view)
        replicas.append(Replica(name, True, view, want(view)))
    replicas += [Replica(name, name in current, views[name], _unrepaired(views[name], plan)) for name in rollout.serve]
    for name in rollout.retire:
        found = leave(views[name])
        if found is not None:
            replicas.append(Replica(name, name in current, views[name], found))
    return _accounted_together(tuple(_shown(replica, world.deployment.status) for replica in replicas))


def _unrepaired(view: View, plan: Planned | None) -> Finding:
    """Return what is found of a replica that is used while it serves and never repaired.

    A newer revision is to replace it, or nothing can be launched because there is no plan.
    """
    finding = want(view)
    message = finding.message.removesuffix(AGAIN)
    if finding.reason is Reason.ENGINE_UNRESPONSIVE:
        why = ", because a newer revision is to replace it" if plan is not None else " while the spec cannot be planned"
        message = f"the engine stopped answering{why_silent(view)}; it is not repaired{why}"
    return replace(finding, message=message, actions=(), asks=())


def _accounted_together(replicas: tuple[Replica, ...]) -> tuple[Replica, ...]:
    """Let each replica whose machines nobody knows name all of them in what is to be done."""
    lost = [one.name for one in replicas if one.finding.reason == Reason.MACHINES_UNACCOUNTED]
    return tuple(_told(one, unaccounted_words(one.view, lost)) if one.name in lost else one for one in replicas)


def _told(replica: Replica, message: str) -> Replica:
    return replace(replica, finding=replace(replica.finding, message=message))


def _shown(replica: Replica, status: DeepSeekDeploymentStatus) -> Replica:
    """Let a replica go on saying what its status says where nothing new is known of it."""
    finding = replica.finding
    said = next((instance for instance in status.instances if instance.name == str(replica.name)), None)
    if said is None or not said.reason or said.phase is Phase.READY:
        return replica
    if not finding.passing and not (said.reason in finding.still and said.phase is finding.phase):
        return replica
    if (said.phase is Phase.TERMINATING) != (finding.phase is Phase.TERMINATING):
        return replica
    return replace(replica, finding=replace(finding, phase=said.phase, reason=said.reason, message=said.message))


def _absent(world: World) -> Fact[Seen]:
    if isinstance(world.skypilot, Known):
        return Known(Seen(), world.skypilot.at)
    return world.skypilot
