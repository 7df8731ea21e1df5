"""Live prices, from rows as SkyPilot 0.14.1 sends them."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.catalog import load_catalog
from deepseek_operator.planning import plan
from deepseek_operator.skypilot.prices import hourly_price, read_prices

DAY = date(2026, 11, 24)
ROWS: dict[str, list[list[Any]]] = {
    "L4": [
        ["AWS", "g6.xlarge", "L4", 1.0, 4.0, 22.0, 16.0, 0.8048, 0.3, "us-east-1"],
        ["GCP", None, "L4", 1.0, None, 24.0, None, 0.56, 0.2, "us-east4"],
        ["AWS", "g6f.large", "L4", 0.125, 2.0, 3.0, 8.0, 0.2, float("nan"), "us-east-1"],
    ],
    "H200": [["AWS", "p5e.48xlarge", "H200", 8.0, 192.0, 141.0, 2048.0, float("nan"), 18.74, "us-east-2"]],
    "T4": [["AWS", "g4dn.xlarge", "T4", 1.0, 4.0, 16.0, 16.0, float("nan"), float("nan"), "us-east-1"]],
}


def test_rows_that_name_a_whole_machine_and_a_price_are_taken() -> None:
    prices = {price.instance_type: price for price in read_prices(ROWS, DAY)}
    assert set(prices) == {"g6.xlarge", "p5e.48xlarge"}
    assert (prices["g6.xlarge"].cloud, prices["g6.xlarge"].accelerators) == ("aws", "L4:1")
    assert (prices["g6.xlarge"].on_demand, prices["g6.xlarge"].as_of) == (Decimal("0.8048"), DAY)
    assert (prices["p5e.48xlarge"].on_demand, prices["p5e.48xlarge"].spot) == (None, Decimal("18.74"))


def test_a_plan_is_made_with_the_live_price() -> None:
    dear = [["AWS", "g6.xlarge", "L4", 1.0, 4.0, 22.0, 16.0, 9.99, 5.0, "us-east-1"]]
    catalog = load_catalog().with_prices(read_prices({"L4": dear}, DAY))
    spec = DeepSeekDeploymentSpec.model_validate(
        {
            "model": {"name": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"},
            "resources": {"accelerators": ["L4:1"], "infra": ["aws"]},
            "endpoint": {"apiKeySecretRef": {"name": "key"}},
        }
    )
    assert plan(spec, catalog).hourly_cost == Decimal("9.99")


def test_a_price_of_more_decimals_is_never_rounded_below_it() -> None:
    """SkyPilot compares the limit of a launch with its own figure: at ours it must find the machine."""
    rows = [["AWS", "g6.xlarge", "L4", 1.0, 4.0, 22.0, 16.0, 0.88528, 0.35412, "us-west-2"]]
    (price,) = read_prices({"L4": rows}, DAY)
    assert (price.on_demand, price.spot) == (Decimal("0.8853"), Decimal("0.3542"))
    rows[0][7:9] = [0.1 + 0.2, 0.28]
    (price,) = read_prices({"L4": rows}, DAY)
    assert (price.on_demand, price.spot) == (Decimal("0.3000"), Decimal("0.2800")), (
        "0.1 + 0.2 is a little more as floats"
    )


def test_no_answer_is_no_price() -> None:
    assert read_prices(None, DAY) == ()


COST = {"name": "r1", "status": "UP", "duration": 7200, "total_cost": 0.8048 * 2 * 2}


@pytest.mark.parametrize(
    ("says", "rows", "price"),
    [
        ("two nodes of 0.8048 for two hours", [COST], "1.6096"),
        ("another cluster's", [{**COST, "name": "r2"}], None),
        ("one of the same name that is gone", [{**COST, "status": None}], None),
        ("the living one of two", [{**COST, "status": None, "total_cost": 9}, COST], "1.6096"),
        ("one that has just begun", [{**COST, "duration": 0}], None),
        ("one without a price", [{**COST, "total_cost": 0.0}], None),
        ("an answer of another form", [{"name": "r1"}], None),
        ("none", None, None),
    ],
)
def test_the_price_of_a_cluster_is_what_it_has_cost_by_the_time_it_was_up(
    says: str, rows: list[dict[str, Any]] | None, price: str | None
) -> None:
    assert hourly_price(rows, "r1") == (Decimal(price) if price else None), says
