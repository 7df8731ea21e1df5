"""Where a plan could go, at the prices of a SkyPilot server, and why it does not go elsewhere."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from deepseek_operator.catalog import LIVE_PRICE, PriceInfo
from deepseek_operator.launch import build_task
from deepseek_operator.planning import Planned, plan
from deepseek_operator.planning.offers import NOT_ASKED, Considered, Offer, consider
from tests.unit.planning.builders import CATALOG, IDENTITY, spec_for

Row = tuple[str, str, str, float | None, float | None]


def offer(cloud: str, region: str | None, accelerators: str, on_demand: float | None, spot: float | None) -> Offer:
    def dollars(amount: float | None) -> Decimal | None:
        return None if amount is None else Decimal(str(amount))

    price = PriceInfo(
        cloud=cloud,
        instance_type=f"{accelerators.partition(':')[0].lower()}.xlarge",
        region=region,
        accelerators=accelerators,
        on_demand=dollars(on_demand),
        spot=dollars(spot),
        as_of=date(2026, 11, 24),
        source=LIVE_PRICE,
    )
    return Offer(price, 4, 16)


OFFERS = [
    offer(*row)
    for row in (
        ("aws", "us-east-1", "L4:1", 0.8, 0.3),
        ("aws", "us-west-2", "L4:1", 0.9, 0.25),
        ("aws", "us-east-1", "A10G:1", 1.0, 0.4),
        ("gcp", "us-central1", "L4:1", 0.7, None),
        ("lambda", "us-east-1", "A10:1", 0.75, None),
    )
]


def considered(
    *infra: str, kind: str = "OnDemand", refused: dict[str, str] | None = None, replicas: int = 1, **resources: Any
) -> tuple[Considered, ...]:
    fields = {"infra": list(infra), "accelerators": ["L4:1"], "capacityType": kind, **resources}
    spec = spec_for("r1-8b", resources=fields, replicas=replicas)
    return consider(spec, plan(spec, CATALOG), OFFERS, refused or {})


def told(found: tuple[Considered, ...]) -> list[tuple[str, str, str]]:
    """Entry, region, and why not; an empty reason is the chosen one."""
    return [
        (entry.label, entry.offer.price.region or "" if entry.offer else "-", "" if entry.chosen else entry.why_not)
        for entry in found
    ]


def test_of_one_cloud_the_cheapest_region_is_taken_for_each_gpu_and_the_rest_by_price() -> None:
    assert told(considered("aws", accelerators=["A10G:1", "L4:1"])) == [
        ("aws L4:1", "us-east-1", ""),
        ("aws A10G:1", "us-east-1", "0.20 $/h more than aws L4:1"),
    ]


def test_without_a_place_every_cloud_of_the_catalog_is_looked_at_and_the_cheapest_taken() -> None:
    assert told(considered()) == [
        ("gcp L4:1", "us-central1", ""),
        ("aws L4:1", "us-east-1", "0.10 $/h more than gcp L4:1"),
        ("lambda L4:1", "-", "SkyPilot's catalog has no L4:1 there"),
    ]


def test_several_places_are_tried_in_the_users_order_although_a_later_one_is_cheaper() -> None:
    assert told(considered("aws/us-west-2", "gcp")) == [
        ("aws/us-west-2 L4:1", "us-west-2", ""),
        ("gcp L4:1", "us-central1", "comes after aws/us-west-2 L4:1, in your order; 0.20 $/h less"),
    ]


def test_spot_comes_before_on_demand_in_each_place_and_what_has_no_spot_price_says_so() -> None:
    assert told(considered("gcp", "aws", kind="SpotThenOnDemand")) == [
        ("gcp L4:1 (spot)", "-", "SkyPilot's catalog has no spot price of L4:1 there"),
        ("gcp L4:1", "us-central1", ""),
        ("aws L4:1 (spot)", "us-west-2", "comes after gcp L4:1, in your order; 0.45 $/h less"),
        ("aws L4:1", "us-east-1", "comes after gcp L4:1, in your order; 0.10 $/h more"),
    ]
    first, second = considered("aws", kind="SpotThenOnDemand")
    assert (first.chosen, second.why_not) == (
        True,
        "comes after aws L4:1 (spot), spot machines come first; 0.55 $/h more",
    )
    *_, elsewhere = considered("aws", "gcp", kind="SpotThenOnDemand")
    assert elsewhere.why_not == "comes after aws L4:1 (spot), in your order; 0.45 $/h more"
    _, other, *_ = considered("aws", kind="SpotThenOnDemand", accelerators=["L4:1", "A10G:1"])
    assert other.why_not == "comes after aws L4:1 (spot), in your order; 0.15 $/h more"


def test_ones_own_cluster_costs_nothing_and_is_taken_where_it_is_named_first() -> None:
    here, there = considered("kubernetes", "aws")
    assert (here.chosen, here.hourly_cost) == (True, Decimal(0))
    assert there.why_not == "comes after kubernetes L4:1, in your order; 0.80 $/h more"


@pytest.mark.parametrize(
    ("infra", "resources", "why"),
    [
        (
            "aws/us-east-9",
            {},
            "SkyPilot's catalog of aws has no region us-east-9 with GPUs; there are some in us-east-1, us-west-2",
        ),
        (
            "aws/us-central1",
            {"accelerators": ["A10G:1"]},
            "SkyPilot's catalog of aws has no region us-central1 with GPUs; there are some in us-east-1",
        ),
        (
            "aws/us-east-9",
            {"accelerators": ["H100:8"]},
            "SkyPilot's catalog of aws has no region us-east-9 with GPUs; there are some in us-east-1, us-west-2",
        ),
        (
            "aws/us-west-2",
            {"accelerators": ["A10G:1"]},
            "SkyPilot's catalog has no A10G:1 there; there are some in us-east-1",
        ),
        ("aws", {"accelerators": ["H100:8"]}, "SkyPilot's catalog has no H100:8 there"),
        ("runpod", {}, "SkyPilot's catalog has no L4:1 there"),
    ],
)
def test_a_place_without_such_machines_says_what_is_missing(infra: str, resources: dict[str, Any], why: str) -> None:
    (entry,) = considered(infra, **resources)
    assert (entry.chosen, entry.hourly_cost, entry.why_not) == (False, None, why)


def test_of_machines_without_gpus_it_is_not_known_whether_a_place_has_them() -> None:
    (there,) = considered("aws/us-east-9", accelerators=[], cpus="8+")
    assert told((there,)) == [("aws/us-east-9 CPUs", "-", NOT_ASKED)]


def test_a_cloud_that_the_server_cannot_use_shows_its_price_and_why() -> None:
    first, second = considered("aws", "gcp", refused={"aws": "no credentials"}, maxHourlyCost="0.75")
    assert (first.why_not, first.hourly_cost) == ("no credentials", Decimal("0.8"))
    assert second.chosen


def test_a_machine_above_the_limit_is_left_out() -> None:
    dear, cheap = considered("aws/us-west-2", "gcp", maxHourlyCost="1.7", replicas=2)
    assert dear.why_not == "0.90 $/h for a machine; resources.maxHourlyCost 1.7 leaves 0.85"
    assert cheap.chosen


def test_a_machine_that_is_dearer_by_a_fraction_of_a_cent_does_not_read_as_if_it_were_not() -> None:
    spec = spec_for("r1-8b", resources={"infra": ["aws"], "accelerators": ["L4:1"], "maxHourlyCost": "0.85"})
    (dear,) = consider(spec, plan(spec, CATALOG), [offer("aws", "us-east-1", "L4:1", 0.8503, None)], {})
    assert dear.why_not == "0.86 $/h for a machine; resources.maxHourlyCost 0.85 leaves 0.85"


def test_the_cost_is_that_of_all_nodes() -> None:
    (entry,) = considered("aws", nodes=2, accelerators=["L4:1"], interconnect="Auto") or (None,)
    assert entry is not None
    assert entry.hourly_cost == Decimal("1.6")


@pytest.mark.parametrize("kind", ["OnDemand", "Spot", "SpotThenOnDemand"])
@pytest.mark.parametrize("infra", [("aws",), ("kubernetes", "aws/us-east-1"), ("gcp", "kubernetes", "aws")])
def test_the_entries_are_those_of_the_task_that_is_sent_in_its_order(kind: str, infra: tuple[str, ...]) -> None:
    resources = {"infra": list(infra), "accelerators": ["L4:1", "A10G:1"], "capacityType": kind}
    spec = spec_for("r1-8b", resources=resources)
    chosen = plan(spec, CATALOG)
    sent = build_task(Planned.of(spec, chosen), IDENTITY).task["resources"]
    entries = sent.get("ordered") or sent.get("any_of") or [sent]
    words = [(e["infra"].replace("k8s", "kubernetes"), e["accelerators"], e.get("use_spot", False)) for e in entries]
    found = consider(spec, chosen, OFFERS, {})
    mine = [(str(entry.place), entry.accelerators, entry.spot) for entry in found]
    assert mine == words if "ordered" in sent else sorted(mine) == sorted(words)


def look(infra: str, offers: list[Offer], kind: str = "OnDemand", accelerators: str = "L4:1") -> str:
    """Why the one place of a spec is not taken; empty if it is."""
    spec = spec_for("r1-8b", resources={"infra": [infra, "gcp"], "accelerators": [accelerators], "capacityType": kind})
    return consider(spec, plan(spec, CATALOG), offers, {})[0].why_not


def test_a_cloud_without_spot_machines_says_so_although_it_has_the_gpus() -> None:
    assert look("lambda", [offer("lambda", "us-east-1", "L4:1", 0.7, None)], "Spot") == "lambda has no spot machines"


@pytest.mark.parametrize("cloud", ["aws", "lambda"])
def test_a_machine_that_is_only_sold_as_spot_has_no_on_demand_price(cloud: str) -> None:
    only = [offer(cloud, "us-east-1", "L4:1", None, 0.3)]
    assert look(cloud, only) == "SkyPilot's catalog has no on-demand price of L4:1 there"


def test_of_many_regions_the_first_are_named_and_the_others_counted() -> None:
    many = [offer("aws", f"region-{number}", "L4:1", 1.0, None) for number in range(8)]
    many.append(offer("aws", None, "L4:1", 1.0, None))
    why = look("aws/nowhere", [*many, offer("gcp", "elsewhere", "L4:1", 1.0, None)])
    assert why.endswith("there are some in region-0, region-1, region-2, region-3, region-4, region-5 and 2 more")


def test_a_region_is_not_called_unknown_where_nothing_is_known_of_its_cloud() -> None:
    assert look("aws/us-east-1", []) == "SkyPilot's catalog has no L4:1 there"


@pytest.mark.parametrize(("regions", "taken"), [(("us-west-2", "us-east-1"), "us-east-1"), (("us-east-1", None), None)])
def test_of_regions_with_one_price_the_first_by_name_is_taken(
    regions: tuple[str | None, ...], taken: str | None
) -> None:
    spec = spec_for("r1-8b", resources={"infra": ["aws"], "accelerators": ["L4:1"]})
    same = [offer("aws", region, "L4:1", 0.8, None) for region in regions]
    (entry,) = consider(spec, plan(spec, CATALOG), same, {})
    assert entry.offer
    assert entry.offer.price.region == taken


def test_the_same_price_is_called_the_same() -> None:
    same = [offer("aws", "us-east-1", name, 1.0, None) for name in ("L4:1", "A10G:1")]
    spec = spec_for("r1-8b", resources={"infra": ["aws"], "accelerators": ["L4:1", "A10G:1"]})
    first, second = consider(spec, plan(spec, CATALOG), same, {})
    assert first.chosen
    assert second.why_not == f"the same price as {first.label}, which is named first"
    ordered = spec_for("r1-8b", resources={"infra": ["aws/us-east-1", "aws"], "accelerators": ["L4:1"]})
    _, later = consider(ordered, plan(ordered, CATALOG), same, {})
    assert later.why_not == "comes after aws/us-east-1 L4:1, in your order; the same price"
