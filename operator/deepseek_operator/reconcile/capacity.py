"""``resources.capacity``: which of the next launches rent on-demand machines only.

Replicas are counted, not named: as long as fewer than ``onDemandBase`` of the current revision are on demand, the next
launch is. So a change of the number replaces nobody, and a replica that found no spot machine and is on demand counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from deepseek_operator.facts.skypilot import SkyPilotClusterState
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.replica.view import View

__all__ = ["Base", "on_demand"]


def on_demand(view: View) -> bool:
    """Return whether no provider takes a replica's machines back: it is on demand, or in one's own cluster.

    While SkyPilot looks for machines its row does not say yet what they are.
    """
    if view.ledger.on_demand:
        return True
    row = view.facts.last_seen.cluster
    return row is not None and row.state is SkyPilotClusterState.UP and not row.spot


@dataclass(frozen=True)
class Base:
    """How many replicas are still to be launched on demand."""

    missing: int = 0

    @classmethod
    def of(cls, plan: Planned | None, kept: Iterable[View]) -> "Base":
        """Return what is missing beside the replicas of the current revision that exist."""
        if plan is None or not plan.rents:
            return cls()
        there = sum(view.exists and on_demand(view) for view in kept)
        return cls(max(0, plan.prices.base - there))

    def admit(self, view: View) -> "tuple[View, Base]":
        """Return a view of a replica that may be launched, and what is missing then."""
        if not self.missing or view.exists:
            return view, self
        return replace(view, on_demand_only=True), Base(self.missing - 1)
