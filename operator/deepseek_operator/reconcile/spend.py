"""What an object costs: the rate of what it rents now, and what it has spent.

The status holds an amount, the moment up to which it counts, and the rate since then, so that it is written only when
the rate changes, however long a settled object runs: see :meth:`~deepseek_operator.api.status.Cost.spent_until`.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Final

from deepseek_operator.api.base import read_amount
from deepseek_operator.api.places import KUBERNETES
from deepseek_operator.api.status import Cost, Instance
from deepseek_operator.facts.clock import format_time, whole_second
from deepseek_operator.planning import Planned, Refused
from deepseek_operator.reconcile.replica.view import View

__all__ = ["accrue", "amount", "instance_cost", "rate_of"]

_MICRO: Final = Decimal("0.000001")
"""Amounts are kept in millionths of a dollar: ten thousand changes of the rate are off by less than a cent."""


def amount(value: Decimal) -> str:
    """Return US dollars with two to four decimals, as catalogs have them."""
    text = f"{value:.4f}"
    return text[:-2] if text.endswith("00") else text.removesuffix("0")


def instance_cost(view: View, plan: Planned | Refused, previous: Instance | None, *, current: bool) -> str | None:
    """Return US dollars an hour of all nodes of a replica; None if nobody knows.

    SkyPilot's own price of what it rented comes first; until it is known, the catalog's price of the same GPUs. Nodes
    of the cluster itself are paid for already and count as 0.
    """
    if view.infra == KUBERNETES:
        return "0.00"
    if view.infra is None:
        return previous.hourly_cost if previous is not None else None
    if (price := read_amount(view.ledger.price)) is not None:
        return amount(price)
    row = view.facts.last_seen.cluster
    if current and isinstance(plan, Planned):
        dear, prices = view.ledger.on_demand, plan.prices
        same = [one for one in plan.candidates if row and str(one.accelerator) == row.accelerators]
        costs = (one.on_demand_cost if dear else one.hourly_cost for one in same)
        planned = next((cost for cost in costs if cost), prices.on_demand if dear else prices.each)
        if planned is not None:
            return amount(planned)
    return previous.hourly_cost if previous is not None else None


def rate_of(instances: Iterable[Instance]) -> Decimal:
    """Return US dollars an hour of what is rented now, as far as prices are known."""
    rented = [read_amount(one.hourly_cost) for one in instances if one.ledger.renting]
    return sum((cost for cost in rented if cost is not None), Decimal(0))


def accrue(before: Cost | None, rate: Decimal, maximum: str | None, now: datetime) -> Cost:
    """Return the cost of an object from now on; the same amounts as before while the rate is the same.

    Time that has been counted is never counted again: while the clock is behind ``spentAt`` because somebody set it
    back, nothing is added, and a new rate holds from ``spentAt`` on.
    """
    hourly = amount(rate)
    if before is None or before.spent is None or before.spent_at is None:
        if not rate:
            return Cost.after(before, hourly=hourly, max_hourly=maximum, spent=None, spent_at=None)
        return Cost(hourly=hourly, max_hourly=maximum, spent="0.00", spent_at=format_time(now))
    if before.hourly == hourly:
        return before.model_copy(update={"max_hourly": maximum})
    moment = max(whole_second(now), before.counted_until or whole_second(now))
    return Cost(
        hourly=hourly,
        max_hourly=maximum,
        spent=f"{before.spent_until(moment).quantize(_MICRO):f}",
        spent_at=format_time(moment),
    )
