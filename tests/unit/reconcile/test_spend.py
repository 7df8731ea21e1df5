"""What an object has spent: to the cent, however often anybody looks, through restarts and a clock set back."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_operator.api.status import Cost
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address, Known
from deepseek_operator.facts.world import QuestionKind, World
from deepseek_operator.reconcile.spend import accrue, amount
from deepseek_operator.reconcile.status import dump_status
from tests.unit.reconcile import builders as b

PRICE = Decimal("0.8048")
RATES = st.sampled_from([Decimal(text) for text in ("0", "0.8048", "12.29", "98.32", "1000000", "0.0001")])
STEPS = st.lists(st.tuples(st.integers(1, 10**7), RATES), max_size=30)
"""Seconds, and the rate from then on."""


def played(steps: Sequence[tuple[int, Decimal]], *, looks: int = 0, restarts: bool = False) -> tuple[Cost, datetime]:
    """The cost after these changes of the rate, seen by passes of which ``looks`` more fall between any two."""
    cost, now, rate = accrue(None, Decimal(0), None, b.NOW), b.NOW, Decimal(0)
    for seconds, new in steps:
        for look in range(looks):
            cost = accrue(cost, rate, None, now + timedelta(seconds=seconds * look / (looks + 1)))
        now, rate = now + timedelta(seconds=seconds), new
        cost = accrue(cost, rate, None, now)
        if restarts:  # all that a new process knows is what the API server has stored
            cost = Cost.model_validate(cost.model_dump(mode="json", by_alias=True))
    return cost, now


def true_sum(steps: Sequence[tuple[int, Decimal]]) -> Decimal:
    """Rate times time, added up exactly; nothing is spent before the first step ends."""
    total, rate = Decimal(0), Decimal(0)
    for seconds, new in steps:
        total, rate = total + rate * seconds / 3600, new
    return total


@settings(deadline=None)
@given(STEPS)
def test_the_sum_is_rate_times_time_to_the_cent(steps: list[tuple[int, Decimal]]) -> None:
    cost, now = played(steps)
    assert abs(cost.spent_until(now) - true_sum(steps)) < Decimal("0.005")


@settings(deadline=None)
@given(STEPS, st.integers(1, 5), st.booleans())
def test_the_sum_depends_neither_on_how_often_passes_happen_nor_on_restarts(
    steps: list[tuple[int, Decimal]], looks: int, restarts: bool
) -> None:
    assert played(steps, looks=looks, restarts=restarts) == played(steps)


@settings(deadline=None)
@given(STEPS, st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_clock_that_is_set_back_and_forth_between_two_changes_changes_nothing(
    steps: list[tuple[int, Decimal]], back: int, again: int
) -> None:
    cost, now = played(steps)
    for moment in (now - timedelta(seconds=back), now, now - timedelta(seconds=back + again), now):
        seen = accrue(cost, Decimal(cost.hourly or 0), None, moment)
        assert seen == cost
        assert cost.spent_until(moment) <= cost.spent_until(now)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-10_000, 10_000), RATES), max_size=30))
def test_no_clock_makes_the_sum_smaller_or_counts_a_moment_twice(steps: list[tuple[int, Decimal]]) -> None:
    cost, now, highest, clock = accrue(None, Decimal(0), None, b.NOW), b.NOW, Decimal(0), [b.NOW]
    for seconds, rate in steps:
        now += timedelta(seconds=seconds)
        clock.append(now)
        highest = max(highest, rate)
        after = accrue(cost, rate, None, now)
        assert Decimal(after.spent or 0) >= Decimal(cost.spent or 0)
        cost = after
    most = highest * int((max(clock) - min(clock)).total_seconds()) / 3600
    assert Decimal(cost.spent or 0) <= most + Decimal("0.005")


def test_a_day_and_a_clock_set_back_by_an_hour_in_it_read_as_a_day() -> None:
    start = accrue(None, Decimal("10"), None, b.NOW)
    set_back = accrue(start, Decimal("10"), None, b.NOW + timedelta(hours=5))
    over = accrue(set_back, Decimal(0), None, b.NOW + timedelta(hours=24))
    assert (over.spent, over.hourly) == ("240.000000", "0.00")


@pytest.mark.parametrize(
    ("value", "text"), [("0", "0.00"), ("0.8048", "0.8048"), ("0.805", "0.805"), ("9", "9.00"), ("12.3", "12.30")]
)
def test_amounts_have_two_to_four_decimals(value: str, text: str) -> None:
    assert amount(Decimal(value)) == text


@pytest.mark.parametrize("broken", [{"spent": "much"}, {"hourly": "?"}, {"spentAt": "yesterday"}])
def test_an_amount_that_cannot_be_read_breaks_nothing(broken: dict[str, str]) -> None:
    stored = Cost.model_validate({"hourly": "1.00", "spent": "2.00", "spentAt": "2026-11-24T11:00:00Z"} | broken)
    assert stored.spent_until(b.NOW) >= 0
    assert accrue(stored, Decimal(3), None, b.NOW).hourly == "3.00"


# --- in passes ----------------------------------------------------------------------------------------------------

DSD = b.rented_deployment("aws")
R1 = b.name(DSD)
AT = Address("54.0.0.1", 8000)
ROW = b.row(R1, cloud="AWS", region="us-east-1", accelerators="L4:1")
RENTING = b.ledger(infra="aws", renting=True, price=str(PRICE), ready_since=b.ago(60), address=str(AT))


def rented(of: DeepSeekDeployment = DSD, *, now: datetime = b.NOW, **fields: Any) -> World:
    known = b.facts(R1, **{"skypilot": b.seen(ROW), "price": Known(PRICE, b.NOW), **fields})
    return replace(
        b.world(of, known, probes=b.answering(AT, b.SERVICE), endpoints=(b.endpoints(AT),), secrets=b.API_KEY_EXISTS),
        now=now,
        clouds=b.CLOUDS_ENABLED,
    )


def settled() -> DeepSeekDeployment:
    """A deployment whose replica has been rented for a while, with the status that says so."""
    _, status = b.step(rented(b.remembering(DSD, {R1: RENTING})))
    return DSD.model_copy(update={"status": status})


def test_a_settled_object_is_not_written_because_its_spend_grows() -> None:
    of = settled()
    for hours in (1, 24, 8760):
        _, status = b.step(rented(of, now=b.NOW + timedelta(hours=hours)))
        assert dump_status(status) == dump_status(of.status)
        assert status.cost is not None
        assert status.cost.spent_until(b.NOW + timedelta(hours=hours)) == PRICE * hours


def test_the_price_is_asked_once_and_the_estimate_holds_until_then() -> None:
    of = b.remembering(DSD, {R1: RENTING.model_copy(update={"price": None, "renting": False})})
    decision, status = b.step(rented(of, price=b.AWAY))
    assert QuestionKind.PRICE in [question.kind for question in decision.asks]
    assert status.instances[0].hourly_cost == amount(b.planned(DSD).hourly_cost or Decimal(-1))
    decision, status = b.step(rented(DSD.model_copy(update={"status": status}), price=Known(Decimal("1.21"), b.NOW)))
    assert (status.instances[0].hourly_cost, status.cost and status.cost.hourly) == ("1.21", "1.21")
    decision, _ = b.step(rented(DSD.model_copy(update={"status": status})))
    assert QuestionKind.PRICE not in [question.kind for question in decision.asks]


@pytest.mark.parametrize(
    ("says", "fields", "hourly"),
    [
        ("a machine that serves", {}, "0.8048"),
        ("SkyPilot is away", {"skypilot": b.AWAY}, "0.8048"),
        ("SkyPilot has lost its record while the engine answers", {"skypilot": b.seen()}, "0.8048"),
        ("it is being torn down", {"skypilot": b.seen(ROW, b.request(R1, "down"))}, "0.8048"),
    ],
)
def test_a_machine_costs_as_long_as_it_may_run(says: str, fields: dict[str, Any], hourly: str) -> None:
    _, status = b.step(rented(settled(), **fields))
    assert status.cost is not None
    assert status.cost.hourly == hourly, says


def test_a_machine_that_is_gone_costs_nothing_more_and_what_it_cost_stays() -> None:
    later = b.NOW + timedelta(hours=2)
    gone = replace(rented(settled(), now=later, skypilot=b.seen()), probes=b.silent(AT))
    _, status = b.step(gone)
    assert status.cost is not None
    assert (status.cost.hourly, status.cost.spent) == ("0.00", "1.609600")
    assert status.cost.spent_until(later + timedelta(days=9)) == Decimal("1.6096")


def test_nodes_of_ones_own_cluster_cost_nothing_and_leave_no_amount() -> None:
    _, status = b.step(b.serving(b.deployment()))
    assert status.cost == Cost(hourly="0.00")
