"""Live prices: what SkyPilot's own catalogs say a machine costs, in the form of ours."""

import math
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from typing import Any

from deepseek_operator.catalog import LIVE_PRICE, PriceInfo
from deepseek_operator.planning.offers import Offer

__all__ = ["hourly_price", "read_offers", "read_prices"]

_MILL = Decimal("0.0001")


def read_prices(value: Mapping[str, Iterable[Iterable[Any]]] | None, day: date) -> tuple[PriceInfo, ...]:
    """Return the prices of ``POST /list_accelerators``.

    Its rows are SkyPilot's ``InstanceTypeInfo``: cloud, instance type, accelerator, count, vCPUs, GPU memory, memory,
    price, spot price (US dollars an hour, NaN where unknown), region. Rows without an instance type (a GPU priced apart
    from its machine), with a part of a GPU, or without any price say nothing about a machine and are left out.

    Parameters
    ----------
    day
        Day on which they were asked for.
    """
    return tuple(offer.price for offer in read_offers(value, day))


def read_offers(value: Mapping[str, Iterable[Iterable[Any]]] | None, day: date) -> tuple[Offer, ...]:
    """Return the same with the size of each machine."""
    offers: list[Offer] = []
    for rows in (value or {}).values():
        for cloud, instance_type, name, count, cpus, _gpu_memory, memory, price, spot, region in rows:
            # Rounded up: a launch that may cost our price is to find the machine at SkyPilot's.
            on_demand, on_spot = _dollars(price, ROUND_CEILING), _dollars(spot, ROUND_CEILING)
            if not instance_type or count != int(count) or (on_demand is None and on_spot is None):
                continue
            found = PriceInfo(
                cloud=str(cloud).lower(),
                instance_type=str(instance_type),
                region=str(region) if region else None,
                accelerators=f"{name}:{int(count)}",
                on_demand=on_demand,
                spot=on_spot,
                as_of=day,
                source=LIVE_PRICE,
            )
            offers.append(Offer(found, _number(cpus), _number(memory)))
    return tuple(offers)


def hourly_price(rows: Iterable[Mapping[str, Any]] | None, cluster_name: str) -> Decimal | None:
    """Return what a living cluster costs in US dollars an hour, from ``POST /cost_report``; None if it does not say.

    No field of SkyPilot holds the price. Its total is the catalog's price, times the nodes, times the seconds of
    ``duration``, so that their ratio is the price of the very machines that it has rented.
    """
    for row in rows or ():
        seconds, total = float(row.get("duration") or 0), _dollars(row.get("total_cost"))
        if row.get("name") == cluster_name and row.get("status") and seconds > 0 and total is not None:
            return _dollars(float(row["total_cost"]) / seconds * 3600)
    return None


def _dollars(value: Any, rounding: str = ROUND_HALF_EVEN) -> Decimal | None:
    if value is None or not math.isfinite(float(value)) or float(value) <= 0:
        return None
    # The sum of two floats has a tail that is no part of a price.
    return Decimal(f"{float(value):.9f}").quantize(_MILL, rounding=rounding)


def _number(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(float(value)) else None
