"""What people want of each deployment, and since when."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from tests.simulation.approvals import Approvals, Terms
from tests.simulation.promises.scene import Body

__all__ = ["LATE_S", "Wish", "Wishes"]

LATE_S: Final = 10.0
"""Seconds for which a decision may still be made from an older spec: watches, kills and stalls delay the news."""


@dataclass
class Wish:
    """What somebody wanted of a deployment from some moment on."""

    since: float
    replicas: int
    surge: int
    unavailable: int
    terms: Terms
    cap: Decimal | None = None
    base: int = 0


@dataclass
class Wishes:
    """All of them, by the UID of the deployment."""

    now: Callable[[], float]
    approvals: Approvals = field(default_factory=Approvals)
    _of: dict[str, list[Wish]] = field(default_factory=dict)

    def note(self, body: Body) -> None:
        """Note what the spec of a deployment wants from now on."""
        spec, metadata = body["spec"], body["metadata"]
        gone = bool(spec.get("suspend") or metadata.get("deletionTimestamp"))
        replicas = 0 if gone else int(spec.get("replicas", 1))
        strategy = spec.get("updateStrategy") or {}
        surge, unavailable = int(strategy.get("maxSurge", 1)), int(strategy.get("maxUnavailable", 0))
        cap = spec["resources"].get("maxHourlyCost")
        terms, limit = self.approvals.wish(body), Decimal(cap) if cap is not None else None
        base = min(replicas, int((spec["resources"].get("capacity") or {}).get("onDemandBase", 0)))
        wish = Wish(self.now(), replicas, surge, unavailable, terms, limit, base)
        self._of.setdefault(metadata["uid"], []).append(wish)

    def api_back(self, since: float) -> None:
        """Note that the API server answers again: what was wished while it was away is told from now on, in order."""
        for uid, wishes in self._of.items():
            self._of[uid] = [replace(one, since=self.now()) if one.since >= since else one for one in wishes]

    def recent(self, uid: str) -> list[Wish]:
        """Return what an operator may still believe that somebody wants."""
        return self.since(uid, self.now() - LATE_S)

    def since(self, uid: str, moment: float) -> list[Wish]:
        """Return everything that was wanted from a moment on."""
        wishes = self._of.get(uid, [])
        older = [wish for wish in wishes if wish.since <= moment]
        return [*older[-1:], *(wish for wish in wishes if wish.since > moment)]

    def last(self, uid: str) -> Wish:
        """Return what is wanted now."""
        return self._of[uid][-1]
