"""What an object has spent: to the cent, however often anybody looks, through restarts and a clock set back."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Cost, Instance, Ledger
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address, Known
from deepseek_operator.facts.world import QuestionKind, World
from deepseek_operator.planning import Planned, Refused
from deepseek_operator.reconcile.replica.view import View
from deepseek_operator.reconcile.spend import accrue, amount, instance_cost, rate_of
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


def test_a_new_rate_begins_where_the_count_ends_although_the_clock_was_set_back() -> None:
    before = accrue(None, Decimal("10"), None, b.NOW)
    after = accrue(before, Decimal("20"), None, b.NOW - timedelta(hours=1))
    assert (after.hourly, after.spent, after.spent_at) == ("20.00", "0.000000", before.spent_at)


@pytest.mark.parametrize(
    ("value", "text"), [("0", "0.00"), ("0.8048", "0.8048"), ("0.805", "0.805"), ("9", "9.00"), ("12.3", "12.30")]
)
def test_amounts_have_two_to_four_decimals(value: str, text: str) -> None:
    assert amount(Decimal(value)) == text


@pytest.mark.parametrize(
    "broken",
    [
        {"spent": "much"},
        {"spent": "NaN"},
        {"spent": "Infinity"},
        {"hourly": "?"},
        {"hourly": "NaN"},
        {"spentAt": "yesterday"},
    ],
)
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
    gone = replace(rented(settled(), now=later, skypilot=b.seen(), terminated=b.TERMINATED), probes=b.silent(AT))
    _, status = b.step(gone)
    assert status.cost is not None
    assert (status.cost.hourly, status.cost.spent) == ("0.00", "1.609600")
    assert status.cost.spent_until(later + timedelta(days=9)) == Decimal("1.6096")


def test_nodes_of_ones_own_cluster_cost_nothing_and_leave_no_amount() -> None:
    _, status = b.step(b.serving(b.deployment()))
    assert status.cost == Cost(hourly="0.00")


OTHER = replace(b.planned(DSD).candidates[0], hourly_cost=Decimal("1.5"), on_demand_cost=Decimal("2.5"))
PLAN = replace(b.planned(DSD), hourly_cost=Decimal("7"), on_demand_cost=Decimal("9"), candidates=(OTHER,))
NO_PRICE = replace(PLAN, hourly_cost=None, candidates=())
BEFORE = Instance(name=str(R1), revision="r", hourly_cost="4.00")
UNPRICED = replace(PLAN, candidates=(replace(OTHER, hourly_cost=None),))
SAME = b.seen(b.row(R1, cloud="AWS", accelerators=str(OTHER.accelerator)))
ELSE = b.seen(b.row(R1, cloud="AWS", accelerators="H100:8"))


@pytest.mark.parametrize(
    ("says", "skypilot", "ledger", "plan", "previous", "current", "expected"),
    [
        ("nodes of the cluster", b.seen(b.row(R1)), b.ledger(price="3"), PLAN, BEFORE, True, "0.00"),
        ("nowhere yet", b.seen(), b.ledger(infra=None, price="3"), PLAN, BEFORE, True, "4.00"),
        ("nowhere yet, and new", b.seen(), b.ledger(infra=None), PLAN, None, True, None),
        ("SkyPilot's price", SAME, b.ledger(price="3"), PLAN, BEFORE, True, "3.00"),
        ("the price of the same GPUs", SAME, b.ledger(), PLAN, BEFORE, True, "1.50"),
        ("the price of the same GPUs on demand", SAME, b.ledger(on_demand=True), PLAN, BEFORE, True, "2.50"),
        ("the plan's price on demand for others", ELSE, b.ledger(on_demand=True), PLAN, BEFORE, True, "9.00"),
        ("the price of the plan where the same GPUs have none", SAME, b.ledger(), UNPRICED, BEFORE, True, "7.00"),
        ("the price of the plan for others", ELSE, b.ledger(), PLAN, BEFORE, True, "7.00"),
        ("the price of the plan for what is not seen", b.seen(), b.ledger(infra="aws"), PLAN, BEFORE, True, "7.00"),
        ("no price", ELSE, b.ledger(), NO_PRICE, BEFORE, True, "4.00"),
        ("no price, and new", ELSE, b.ledger(), NO_PRICE, None, True, None),
        ("an older revision", SAME, b.ledger(), PLAN, BEFORE, False, "4.00"),
        ("no plan", SAME, b.ledger(), Refused(Reason.DOES_NOT_FIT, "no"), BEFORE, True, "4.00"),
    ],
)
def test_what_a_replica_costs(
    says: str, skypilot: Any, ledger: Ledger, plan: Planned | Refused, previous: Instance | None,
    current: bool, expected: str | None,
) -> None:  # fmt: skip
    view = View(b.NOW, b.facts(R1, skypilot=skypilot), ledger)
    assert instance_cost(view, plan, previous, current=current) == expected, says


def test_the_rate_counts_what_is_rented_as_far_as_prices_are_known() -> None:
    instances = [
        BEFORE.model_copy(update={"ledger": b.ledger(renting=renting), "hourly_cost": cost})
        for renting, cost in ((True, "4.00"), (False, "2.00"), (True, None), (True, "a lot"))
    ]
    assert rate_of(instances) == 4


@pytest.mark.parametrize(
    "before",
    [None, Cost(hourly="1.00", spent="2.00"), Cost(hourly="1.00", spent_at="2026-11-24T11:00:00Z")],
    ids=["new", "without its time", "without its amount"],
)
def test_spending_begins_with_the_first_rate(before: Cost | None) -> None:
    assert accrue(before, Decimal(0), "9", b.NOW) == Cost(hourly="0.00", max_hourly="9")
    begun = accrue(before, Decimal(1), None, b.NOW)
    assert (begun.spent, begun.spent_at) == ("0.00", "2026-11-24T12:00:00Z")


def test_another_cap_changes_no_amount() -> None:
    before = Cost(hourly="1.00", spent="2.00", spent_at="2026-11-24T11:00:00Z", max_hourly="3")
    assert accrue(before, Decimal(1), "9", b.NOW) == before.model_copy(update={"max_hourly": "9"})
