"""The places of a plan as the table that SkyPilot shows before a launch, and why each other one was not taken."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from deepseek_operator.api.places import Place
from deepseek_operator.catalog import Catalog
from deepseek_operator.cli.table import render_table
from deepseek_operator.facts.text import counted
from deepseek_operator.planning import Plan
from deepseek_operator.planning.offers import NOT_ASKED, Considered, Offer
from deepseek_operator.planning.result import dollars

__all__ = ["Ask", "Live", "document", "render"]

_HEADER = ("CLOUD", "INSTANCE", "vCPUs", "Mem(GB)", "ACCELERATORS", "REGION/ZONE", "COST ($)", "CHOSEN")


@dataclass(frozen=True)
class Live:
    """What a SkyPilot server says of its clouds.

    Attributes
    ----------
    url
        Where it was asked.
    refused
        By cloud: why the server cannot use it.
    """

    url: str
    offers: tuple[Offer, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    def priced(self, catalog: Catalog, places: Iterable[Place]) -> Catalog:
        """Return a catalog with the prices of this server, as far as they are of these places; of all if there is none.

        A named cloud of which the server has no prices keeps those of the catalog; one that it cannot use has none if
        another one can be used.
        """
        given = [place for place in places if not place.is_kubernetes]
        there = [offer.price for offer in self.offers if not given or _within(offer, given)]
        usable = [price for price in there if price.cloud not in self.refused]
        prices = usable or there  # where nothing can be had, at least what it would cost
        known = {offer.price.cloud for offer in self.offers}
        kept = {place.cloud for place in given} - known - (self.refused.keys() if usable else set())
        return catalog.with_prices((*(price for price in catalog.prices if price.cloud in kept), *prices))


Ask = Callable[[str, str | None, tuple[str, ...] | None], Live]
"""Asks a server, given its URL, a token, and the clouds that a plan names; None: all that the server can use.

Raises ``OSError`` with a sentence where it cannot be asked.
"""


def _within(offer: Offer, places: Iterable[Place]) -> bool:
    price = offer.price
    return any(price.cloud == place.cloud and place.region in (None, price.region) for place in places)


def render(plan: Plan, considered: tuple[Considered, ...], live: Live) -> str:
    """Return the table, and a line for each place that was not taken."""
    lines = [f"Considered resources ({counted(plan.nodes, 'node')}), by the catalog of {live.url}:"]
    rows = [_row(entry) for entry in considered if entry.hourly_cost is not None]
    if rows:
        lines.append(render_table(_HEADER, rows, right=frozenset({"vCPUs", "Mem(GB)", "COST ($)"})))
    if not any(entry.chosen for entry in considered):
        lines.append(f"Chosen: {_nothing(considered)}")
    reasons: dict[str, list[str]] = {}
    for entry in considered:
        if not entry.chosen:
            reasons.setdefault(entry.why_not, []).append(entry.label)
    if reasons:
        lines.append("Why not there:")
        lines += [f"  {', '.join(labels)}: {why}" for why, labels in reasons.items()]
    return "\n".join(lines)


def _nothing(considered: tuple[Considered, ...]) -> str:
    """Return what it means that no place is taken."""
    if not considered:
        return "none. No place is named in resources.infra, and the server can use no cloud."
    if any(entry.why_not == NOT_ASKED for entry in considered):
        return "not known."
    return "none. A launch would fail now."


def document(considered: tuple[Considered, ...]) -> list[dict[str, Any]]:
    """Return the same for programs."""
    return [
        {
            "place": str(entry.place),
            "instanceType": entry.offer.price.instance_type if entry.offer else None,
            "vcpus": entry.offer.vcpus if entry.offer else None,
            "memoryGB": entry.offer.memory_gb if entry.offer else None,
            "accelerators": entry.accelerators or None,
            "region": entry.offer.price.region if entry.offer else entry.place.region,
            "spot": entry.spot,
            "hourlyCost": dollars(entry.hourly_cost),
            "chosen": entry.chosen,
            "reason": entry.why_not,
        }
        for entry in considered
    ]


def _row(entry: Considered) -> tuple[str, ...]:
    offer = entry.offer
    where = "/".join(part for part in (offer.price.region if offer else entry.place.region, entry.place.zone) if part)
    return (
        entry.place.cloud,
        f"{offer.price.instance_type}{'[Spot]' if entry.spot else ''}" if offer else "-",
        _size(offer.vcpus if offer else None),
        _size(offer.memory_gb if offer else None),
        entry.accelerators or "-",
        where or "-",
        dollars(entry.hourly_cost or Decimal(0)) or "-",
        "\N{HEAVY CHECK MARK}" if entry.chosen else "",
    )


def _size(number: float | None) -> str:
    return "-" if number is None else f"{number:g}"
