"""``maxHourlyCost`` over the whole object: what a further launch may cost, and whether it is held back.

Only launches are held. Nothing that runs is ever stopped because of a price, however far it is above the cap.

A rented replica counts with its price once SkyPilot says what it is, and until then with what its launch was allowed to
cost: SkyPilot may take any machine up to that. So the sum cannot exceed the cap whatever SkyPilot chooses, but for the
regions of a whole cloud (docs/how-it-works.md, Known limits). Where neither the price nor the limit is known, as after
a lost status, SkyPilot is asked for the price before anything else is launched.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal
from typing import Final

from deepseek_operator.api.base import read_amount
from deepseek_operator.api.places import KUBERNETES
from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.base import Failure, Known
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.facts.skypilot import RequestKind
from deepseek_operator.planning import Planned
from deepseek_operator.planning.result import dollars
from deepseek_operator.reconcile.replica.view import View

__all__ = ["Budget"]

_PRECISION: Final = Decimal("0.0001")
"""SkyPilot's catalogs have prices of four decimals."""
_NEXT_TO_NOTHING: Final = Decimal("0.0001")
"""Limit where only one's own cluster may be used: no machine of a cloud is so cheap."""


@dataclass(frozen=True)
class Budget:
    """What is left under the cap of one object.

    Attributes
    ----------
    cap
        ``spec.resources.maxHourlyCost``; None: no limit, or nothing can be rented.
    committed
        US dollars an hour that its replicas cost, or were allowed to cost.
    unknown
        Replicas of which neither the price nor the limit is known. SkyPilot is asked for the price.
    """

    plan: Planned | None
    cap: Decimal | None
    committed: Decimal = Decimal(0)
    unknown: tuple[ClusterName, ...] = ()

    @classmethod
    def of(cls, plan: Planned | None, cap: str | None, views: Iterable[View]) -> "Budget":
        """Return the budget with what exists already taken off."""
        replicas, limit = tuple(views), read_amount(cap)
        rents = plan is not None and not all(place.is_kubernetes for place in plan.places)
        committed = sum((_cost(view, plan, limit) for view in replicas), Decimal(0))
        unknown = tuple(view.name for view in replicas if view.lacks_price and view.ledger.cost_limit is None)
        return cls(plan, limit if rents else None, committed, unknown)

    def room_for_one(self, *, on_demand: bool) -> bool:
        """Return whether the cheapest machine that fits can be launched once more, on demand or as the others are."""
        return self.cap is None or self._limit(on_demand) >= (self._cheapest(on_demand) or _NEXT_TO_NOTHING)

    def admit(self, view: View) -> "tuple[View, Budget]":
        """Return a view of a replica that may be launched, with its limit or why it is held; and what is left.

        Where one's own cluster will do as well, nothing is held: the clouds of the list are then beyond the limit.
        """
        if self.cap is None:
            return view, self
        assert self.plan is not None  # else there is no cap
        why_not = "" if self.room_for_one(on_demand=view.on_demand_only) else self._words(view.on_demand_only)
        if not why_not or any(place.is_kubernetes for place in self.plan.places):
            if self.unknown and view.blocked is None:
                words = f"asking SkyPilot what {', '.join(map(str, self.unknown))} costs, which maxHourlyCost counts"
                return replace(view, blocked=Failure(Reason.PLANNING, words)), self
            limit = max(self._limit(view.on_demand_only), _NEXT_TO_NOTHING)
            view = replace(view, cost_limit=limit, why_no_cloud=why_not)
            return view, replace(self, committed=self.committed + limit)
        if view.blocked is not None and view.blocked.reason is not Reason.PLANNING:
            return view, self
        # Also while something is being looked up, which passes: a status must not flicker between the two.
        return replace(view, blocked=Failure(Reason.MAX_HOURLY_COST_REACHED, why_not)), self

    def _limit(self, on_demand: bool) -> Decimal:
        """Most that one more replica may cost: its share of the cap, or what the others leave."""
        assert self.cap is not None
        assert self.plan is not None
        share = self.plan.prices.share(self.cap, on_demand=on_demand)
        return min(share, self.cap - self.committed).quantize(_PRECISION, rounding=ROUND_DOWN)

    def _cheapest(self, on_demand: bool) -> Decimal | None:
        """Return the price of the cheapest replica that the plan knows of; None where it knows none."""
        assert self.plan is not None
        prices = self.plan.prices
        found = [one.on_demand_cost if on_demand else one.hourly_cost for one in self.plan.candidates]
        found.append(prices.on_demand if on_demand else prices.each)
        return min((cost for cost in found if cost), default=None)

    def _words(self, on_demand: bool) -> str:
        cheapest = self._cheapest(on_demand)
        kind = " on demand" if on_demand else ""
        taken, price = dollars(self.committed, round_up=True), dollars(cheapest, round_up=True)
        more = f"one more{kind} costs {price} $/h or more" if cheapest else "that leaves nothing for another"
        return (
            f"spec.resources.maxHourlyCost {self.cap}: the replicas that are rented, or being rented, take "
            f"{taken} $/h of it, and {more}; what runs is left alone. Raise maxHourlyCost; "
            "where only a change of the spec waits, updateStrategy.maxUnavailable: 1 lets an old replica make room"
        )


def _cost(view: View, plan: Planned | None, cap: Decimal | None) -> Decimal:
    """Return what a replica takes of the budget in US dollars an hour."""
    ledger = view.ledger
    if view.infra == KUBERNETES:
        allowed = read_amount(ledger.cost_limit) or _share(view, plan, cap)
        return allowed if _may_go_on(view) else Decimal(0)
    if not (view.exists or view.goes_on_renting):
        return Decimal(0)
    if ledger.renting and (price := read_amount(ledger.price)) is not None:
        return price
    if view.price is not None:
        return view.price
    if (limit := read_amount(ledger.cost_limit)) is not None:
        return limit
    prices = plan.prices if plan is not None else None
    planned = (prices.on_demand if ledger.on_demand else prices.each) if prices is not None else None
    return max(view.shown_cost or planned or Decimal(0), _share(view, plan, cap))


def _share(view: View, plan: Planned | None, cap: Decimal | None) -> Decimal:
    """Return what a launch may cost whose limit no status has, because the operator ended before it wrote one.

    No launch under a cap is allowed more than a share of the cap. Of machines that are up, SkyPilot tells the price.
    """
    priced = view.lacks_price or isinstance(view.facts.price, Known)
    if view.ledger.launched_at is not None or priced or plan is None or cap is None:
        return Decimal(0)
    return max(plan.prices.share(cap, on_demand=kind) for kind in (False, True))


def _may_go_on(view: View) -> bool:
    """Return whether a launch that has begun in one's own cluster may go on to a cloud, because there is no room."""
    if isinstance(view.facts.skypilot, Known):
        return view.in_flight(RequestKind.LAUNCH) is not None
    ledger = view.ledger  # pods can be seen before the first snapshot after the launch
    over = ledger.starting_since or ledger.ready_since or ledger.silent_since or ledger.teardown_at
    return ledger.launched_at is not None and over is None
