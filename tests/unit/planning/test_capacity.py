"""``resources.capacity``: replicas on demand and others have two prices, and both count."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_operator.catalog import parse_accelerator
from deepseek_operator.planning import Plan, PlanInputError
from deepseek_operator.planning.money import Prices
from tests.unit.planning.builders import CATALOG, plan_for

GPUS = "A100:8"


def catalog_price(*, spot: bool) -> Decimal:
    """The cheapest machine of AWS with these GPUs."""
    found = CATALOG.cheapest(parse_accelerator(GPUS), spot=spot, clouds=["aws"])
    assert found is not None
    amount = found.spot if spot else found.on_demand
    assert amount is not None
    return amount


SPOT, DEAR = catalog_price(spot=True), catalog_price(spot=False)


def plan(base: int, replicas: int, kind: str = "Spot", cap: Decimal | None = None, **fields: Any) -> Plan:
    resources = {"infra": ["aws"], "accelerators": [GPUS], "capacityType": kind, "capacity": {"onDemandBase": base}}
    if cap is not None:
        resources["maxHourlyCost"] = str(cap)
    return plan_for("r1-8b", resources={**resources, **fields}, replicas=replicas)


def test_the_total_counts_the_base_on_demand_and_the_others_as_spot() -> None:
    found = plan(1, 3)
    assert found.prices.total == DEAR + 2 * SPOT
    assert found.to_status().total_hourly_cost == f"{DEAR + 2 * SPOT:.2f}"
    assert found.to_status().hourly_cost == f"{SPOT:.2f}"
    assert f"On demand: 1 of 3 for {DEAR:.2f} $/h each; Spot: 2 for {SPOT:.2f} $/h each" in found.reason


def test_without_a_base_the_total_is_the_price_times_the_replicas() -> None:
    assert plan(0, 3).prices.total == 3 * SPOT
    assert plan(0, 0).prices.total == 0
    assert plan(0, 3).prices.on_demand is None


def test_on_ones_own_cluster_replicas_on_demand_cost_nothing_either() -> None:
    assert plan(1, 3, infra=["kubernetes"]).to_status().total_hourly_cost == "0.00"


def test_without_a_price_on_demand_the_total_is_not_known() -> None:
    assert plan(1, 3, accelerators=["B200:2"]).prices.total is None


def test_a_fallback_to_on_demand_counts_as_on_demand() -> None:
    assert plan(1, 3, "SpotThenOnDemand").prices.total == 3 * DEAR


def test_a_base_above_the_replicas_makes_all_on_demand_and_says_so() -> None:
    found = plan(5, 2)
    assert found.prices.total == 2 * DEAR
    assert "resources.capacity.onDemandBase 5 is more than the 2 of spec.replicas: all are on demand" in found.reason


@pytest.mark.parametrize(
    ("base", "replicas", "fields", "words"),
    [
        (3, 3, {}, f"On demand: 3 of 3 for {DEAR:.2f} $/h each; Spot: 0: {3 * DEAR:.2f} $/h together."),
        (1, 3, {"accelerators": ["L4:1"]}, "On demand: 1 of 3 for 0.80 $/h each; Spot: 2."),
        (1, 3, {"accelerators": ["L4:1"], "infra": ["runpod"]}, "On demand: 1 of 3; Spot: 2."),
    ],
)
def test_what_costs_nothing_or_nobody_knows_what_has_no_price(
    base: int, replicas: int, fields: dict[str, Any], words: str
) -> None:
    assert plan(base, replicas, **fields).reason.endswith(words)


@pytest.mark.parametrize("fields", [{"infra": ["kubernetes"]}, {"accelerators": ["T4:1"]}])
def test_kinds_of_machines_are_not_told_where_none_is_rented(fields: dict[str, Any]) -> None:
    assert "On demand:" not in plan(1, 3, **fields).reason


def test_a_cap_between_all_spot_and_all_on_demand_holds_for_the_mix() -> None:
    enough = DEAR + 2 * SPOT
    assert plan(1, 3, cap=(enough + Decimal("0.01")).quantize(Decimal("0.0001"))).launchable
    with pytest.raises(PlanInputError, match=rf"3 replicas of 1.A100:8 \(1 on demand\) on aws for {enough:.2f}"):
        plan(1, 3, cap=(enough - Decimal("0.01")).quantize(Decimal("0.0001")))


_PRICE = st.decimals("0.01", 100, places=4)


@given(st.integers(1, 9), st.integers(0, 9), _PRICE, _PRICE, _PRICE)
def test_the_shares_of_all_replicas_come_to_the_cap(
    replicas: int, base: int, each: Decimal, dear: Decimal, cap: Decimal
) -> None:
    prices = Prices(replicas, min(base, replicas), each, dear)
    shares = prices.base * prices.share(cap, on_demand=True)
    shares += (replicas - prices.base) * prices.share(cap, on_demand=False)
    assert abs(shares - cap) < Decimal("1e-9")


@given(st.integers(2, 9), st.data(), _PRICE, _PRICE)
def test_what_can_be_afforded_together_can_be_afforded_one_by_one(
    replicas: int, data: st.DataObject, each: Decimal, dear: Decimal
) -> None:
    prices = Prices(replicas, data.draw(st.integers(1, replicas - 1)), each, dear)
    assert prices.total is not None
    cap = prices.total + Decimal("0.01")
    assert prices.share(cap, on_demand=True) >= dear
    assert prices.share(cap, on_demand=False) >= each


@pytest.mark.parametrize("prices", [Prices(3, 1, None, Decimal(2)), Prices(3, 1, Decimal(1), None)])
def test_an_unknown_price_makes_the_total_unknown_and_the_shares_equal(prices: Prices) -> None:
    assert prices.total is None
    assert prices.share(Decimal(6), on_demand=True) == prices.share(Decimal(6), on_demand=False) == 2


def test_the_total_is_known_where_nobody_needs_the_price_that_is_not() -> None:
    assert Prices(2, 2, None, Decimal(3)).total == 6


def test_a_price_of_nothing_still_lets_a_replica_cost_its_equal_part() -> None:
    assert Prices(3, 1, Decimal(0), Decimal(2)).share(Decimal(6), on_demand=False) == 2


def test_where_all_replicas_are_on_demand_each_may_cost_an_equal_part() -> None:
    prices = Prices(2, 2, Decimal(1), Decimal(3))
    assert prices.share(Decimal(6), on_demand=True) == prices.share(Decimal(6), on_demand=False) == 3


def test_spot_machines_are_refused_only_where_every_place_is_a_cloud_that_has_none() -> None:
    assert plan_for("r1-8b", resources={"capacityType": "Spot"}).launchable
    with pytest.raises(PlanInputError, match="lambda and cudo have no spot machines that SkyPilot rents"):
        plan_for("r1-8b", resources={"infra": ["lambda", "cudo"], "capacityType": "Spot"})


@pytest.mark.parametrize("amount", ["101", "lots"])
def test_a_surge_that_is_no_number_of_replicas_is_refused(amount: str) -> None:
    with pytest.raises(PlanInputError, match=rf"updateStrategy.maxSurge: {amount}: must be a number of replicas"):
        plan_for("r1-8b", updateStrategy={"maxSurge": amount})
