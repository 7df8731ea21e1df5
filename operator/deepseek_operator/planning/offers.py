"""Where a plan could go and what it costs there: each place of the spec against the offers of a SkyPilot server."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from deepseek_operator.api.places import WITHOUT_SPOT, Place
from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.catalog import PriceInfo
from deepseek_operator.planning.result import Plan, dollars

__all__ = ["NOT_ASKED", "Considered", "Offer", "consider"]

NOT_ASKED = "not known: machines without GPUs are not asked for"
"""Why a place is not taken whose machines without GPUs, and what they cost, are not known."""
_REGIONS_NAMED = 6
"""Regions that a sentence names at most."""


@dataclass(frozen=True)
class Offer:
    """A machine type in one region, as a SkyPilot server lists it.

    Attributes
    ----------
    vcpus, memory_gb
        Of one machine; None where its catalog does not say.
    """

    price: PriceInfo
    vcpus: float | None
    memory_gb: float | None

    def amount(self, *, spot: bool) -> Decimal | None:
        """Return US dollars an hour; None where it is not offered so."""
        return self.price.spot if spot else self.price.on_demand


@dataclass(frozen=True)
class Considered:
    """One entry of the launch: a place, GPUs, and how they are paid.

    Attributes
    ----------
    place
        As in ``resources.infra``.
    offer
        The cheapest machine there; None in one's own cluster, and where there is none.
    hourly_cost
        US dollars an hour of all nodes of one replica; None where there is no offer.
    chosen
        A launch asks for it first.
    why_not
        Why not; empty if it is chosen.
    """

    place: Place
    accelerators: str
    spot: bool
    offer: Offer | None = None
    hourly_cost: Decimal | None = None
    chosen: bool = False
    why_not: str = ""

    @property
    def label(self) -> str:
        """Place, GPUs and kind, in words."""
        return f"{self.place} {self.accelerators or 'CPUs'}{' (spot)' if self.spot else ''}"


def consider(
    spec: DeepSeekDeploymentSpec, plan: Plan, offers: Iterable[Offer], refused: Mapping[str, str]
) -> tuple[Considered, ...]:
    """Return every entry that a launch of one replica has, in its order, and why those not chosen are not.

    The order is SkyPilot's for the task that the operator sends: the user's where ``infra`` names several places or
    spot comes before on-demand, else that of the price.

    Parameters
    ----------
    refused
        By cloud: why the server cannot use it.
    """
    known = list(offers)
    given = [Place.parse(text) for text in spec.resources.infra]
    places = given or [Place(cloud) for cloud in sorted({offer.price.cloud for offer in known})]
    ordered = spec.resources.ordered
    found = [_look(entry, plan, spec, known, refused) for entry in _entries(spec, plan, places)]
    able = [entry for entry in found if not entry.why_not]
    if not able:
        return tuple(found)
    first = able[0] if ordered else min(able, key=lambda entry: entry.hourly_cost or Decimal(0))
    judged = [
        replace(entry, chosen=True)
        if entry is first
        else entry
        if entry.why_not
        else replace(entry, why_not=_after(entry, first, ordered=ordered))
        for entry in found
    ]
    if ordered:
        return tuple(judged)
    return tuple(sorted(judged, key=lambda one: (one.hourly_cost is None, one.hourly_cost or Decimal(0))))


def _entries(spec: DeepSeekDeploymentSpec, plan: Plan, places: list[Place]) -> Iterator[Considered]:
    for place in places:
        for spot in (False,) if place.is_kubernetes else spec.resources.capacity_type.spot:
            for accelerators in plan.accelerators or ("",):
                yield Considered(place, accelerators, spot)


def _look(
    entry: Considered, plan: Plan, spec: DeepSeekDeploymentSpec, offers: list[Offer], refused: Mapping[str, str]
) -> Considered:
    """Return the entry with the cheapest machine there is for it, or why there is none."""
    place = entry.place
    if place.is_kubernetes:
        return replace(entry, hourly_cost=Decimal(0))
    same = [
        offer
        for offer in offers
        if offer.price.cloud == place.cloud and offer.price.accelerators.lower() == entry.accelerators.lower()
    ]
    here = [offer for offer in same if place.region is None or offer.price.region == place.region]
    priced = [(amount, offer) for offer in here if (amount := offer.amount(spot=entry.spot)) is not None]
    amount = None
    if priced:
        amount, offer = min(priced, key=lambda pair: (pair[0], pair[1].price.instance_type, pair[1].price.region or ""))
        entry = replace(entry, offer=offer, hourly_cost=amount * plan.nodes)
    if place.cloud in refused:
        return replace(entry, why_not=refused[place.cloud])
    if amount is None:
        return replace(entry, why_not=_none_there(entry, same, here, offers))
    limit = plan.max_instance_hourly_cost
    if limit is not None and amount > limit:
        cap = spec.resources.max_hourly_cost
        why = (
            f"{dollars(amount, round_up=True)} $/h for a machine; resources.maxHourlyCost {cap} leaves {dollars(limit)}"
        )
        return replace(entry, why_not=why)
    return entry


def _none_there(entry: Considered, same: list[Offer], here: list[Offer], offers: list[Offer]) -> str:
    """Return why the catalog has no machine for an entry: the region, the GPUs, or the kind."""
    place, what = entry.place, entry.accelerators
    if not what:
        return NOT_ASKED
    regions = {offer.price.region for offer in offers if offer.price.cloud == place.cloud}
    if place.region is not None and place.region not in regions and regions:
        return (
            f"SkyPilot's catalog of {place.cloud} has no region {place.region} with GPUs{_named(same or offers, place)}"
        )
    if here:
        if entry.spot and place.cloud in WITHOUT_SPOT:
            return f"{place.cloud} has no spot machines"
        return f"SkyPilot's catalog has no {'spot' if entry.spot else 'on-demand'} price of {what} there"
    return f"SkyPilot's catalog has no {what} there{_named(same, place)}"


def _named(offers: list[Offer], place: Place) -> str:
    """Return in which regions of the cloud there are such machines."""
    regions = sorted({offer.price.region or "" for offer in offers if offer.price.cloud == place.cloud} - {""})
    if not regions:
        return ""
    more = f" and {len(regions) - _REGIONS_NAMED} more" if len(regions) > _REGIONS_NAMED else ""
    return f"; there are some in {', '.join(regions[:_REGIONS_NAMED])}{more}"


def _after(entry: Considered, first: Considered, *, ordered: bool) -> str:
    cost = (entry.hourly_cost or Decimal(0)) - (first.hourly_cost or Decimal(0))
    dearer = f"{dollars(abs(cost))} $/h {'more' if cost > 0 else 'less'}" if cost else "the same price"
    if ordered:
        why = "spot machines come first" if entry.place == first.place and first.spot > entry.spot else "in your order"
        return f"comes after {first.label}, {why}; {dearer}"
    return f"{dearer} than {first.label}" if cost else f"{dearer} as {first.label}, which is named first"
