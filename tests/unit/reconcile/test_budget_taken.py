"""What replicas take of ``maxHourlyCost``: their price, what their launch may cost, and what nobody remembers."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Ledger
from deepseek_operator.facts.base import Fact, Known
from deepseek_operator.facts.world import NOT_ASKED, QuestionKind, Seen
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.budget import Budget
from deepseek_operator.reconcile.replica.view import Health, View
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.rented import capped, launches, priced

LISTED_FIRST = capped("4", infra=("kubernetes", "aws"))
FIRST = b.name(LISTED_FIRST)


@pytest.mark.parametrize(
    ("says", "skypilot", "ledger", "second"),
    [
        ("SkyPilot looks in the cluster", b.seen(b.row(FIRST, "INIT"), b.request(FIRST)), {}, "0.5"),
        ("its pods came before a snapshot", NOT_ASKED, {}, "0.5"),
        ("its launch has ended there", b.seen(b.row(FIRST)), {}, "2"),
        ("its engine loads there", NOT_ASKED, {"starting_since": b.ago(60)}, "2"),
        ("its engine answers there", NOT_ASKED, {"ready_since": b.ago(60)}, "2"),
        ("its engine has stopped there", NOT_ASKED, {"silent_since": b.ago(60)}, "2"),
        ("no launch of it is known", NOT_ASKED, {"launched_at": None}, "2"),
        ("it is given back", NOT_ASKED, {"teardown_at": b.ago(5)}, "2"),
    ],
)
def test_a_launch_that_begins_in_the_cluster_may_still_rent_what_it_was_allowed_to(
    says: str, skypilot: Fact[Seen], ledger: dict[str, Any], second: str
) -> None:
    """SkyPilot goes on to the clouds of the list where the cluster has no room."""
    known = b.facts(FIRST, skypilot=skypilot, pods=(b.pod(FIRST),), outcome=NOT_ASKED)
    remembered = b.remembering(LISTED_FIRST, {FIRST: b.ledger(infra=None, cost_limit="3.5", **ledger)})
    world = b.world(remembered, known, secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED)
    assert launches(b.step(world)[0]) == [Decimal(second)], says


ON_DEMAND = replace(priced("7"), on_demand_cost=Decimal(9))
MIXED = replace(priced("1"), on_demand_cost=Decimal(2), base=1)
R1 = b.name(capped("9"))
LISTED = b.seen(b.row(R1, cloud="AWS"))
LOOKING = b.seen(b.row(R1, "INIT", cloud="AWS"), b.request(R1))
LOOKING_HERE = b.seen(b.row(R1, "INIT"), b.request(R1))


@pytest.mark.parametrize(
    ("says", "known", "ledger", "shown", "plan", "expected"),
    [
        ("pods", {"pods": (b.pod(R1),)}, b.ledger(cost_limit="2"), None, priced("7"), "0"),
        ("nothing", {}, b.ledger(infra="aws", cost_limit="2"), None, priced("7"), "0"),
        ("machines without a record", {}, b.ledger(infra="aws", renting=True, price="3"), None, priced("7"), "3"),
        ("machines", {"skypilot": LISTED}, b.ledger(renting=True, price="3", cost_limit="4"), None, priced("7"), "3"),
        ("a price of before", {"skypilot": LISTED}, b.ledger(price="3", cost_limit="4"), None, priced("7"), "4"),
        ("no price yet", {"skypilot": LISTED}, b.ledger(renting=True, cost_limit="4"), Decimal(6), priced("7"), "4"),
        (
            "a price of this moment",
            {"skypilot": LISTED, "price": Known(Decimal(5), b.NOW)},
            b.ledger(),
            None,
            priced("7"),
            "5",
        ),
        (
            "SkyPilot does not say",
            {"skypilot": LISTED, "price": Known(None, b.NOW)},
            b.ledger(),
            None,
            priced("7"),
            "7",
        ),
        ("no limit either", {"skypilot": LISTED}, b.ledger(), Decimal(6), priced("7"), "6"),
        ("nobody remembers its launch", {"skypilot": LOOKING}, Ledger(), Decimal(3), priced("2"), "4.5"),
        ("nor that of a dear one", {"skypilot": LOOKING}, Ledger(), Decimal(6), priced("2"), "6"),
        ("nor whether it is on demand", {"skypilot": LOOKING}, Ledger(), None, MIXED, "6"),
        ("nor that it may leave the cluster", {"skypilot": LOOKING_HERE}, Ledger(), None, priced("2"), "4.5"),
        ("nor is there a plan", {"skypilot": LOOKING}, Ledger(), None, None, "0"),
        ("its launch had no limit", {"skypilot": LOOKING}, b.ledger(infra=None), None, priced("2"), "2"),
        ("what the status shows is unknown too", {"skypilot": LISTED}, b.ledger(), None, priced("7"), "7"),
        ("its price on demand", {"skypilot": LISTED}, b.ledger(on_demand=True), None, ON_DEMAND, "9"),
        ("nothing is known of any price", {"skypilot": LISTED}, b.ledger(), None, priced(None), "0"),
        ("no plan", {"skypilot": LISTED}, b.ledger(), None, None, "0"),
    ],
)
def test_a_replica_takes_of_the_budget(
    says: str, known: dict[str, Any], ledger: Ledger, shown: Decimal | None, plan: Planned | None, expected: str
) -> None:
    view = View(b.NOW, b.facts(R1, **known), ledger, shown_cost=shown)
    assert Budget.of(plan, "9", [view]).committed == Decimal(expected), says


LOST = capped("4", replicas=1)
"""A dear replica of an older revision serves, and the status that remembered it is lost."""
UP = b.seen(b.row(b.older(LOST), cloud="AWS"))
INIT = b.seen(b.row(b.older(LOST), "INIT", cloud="AWS"))
REQUESTED = b.seen(b.request(b.older(LOST)))
DOWN = b.seen(b.row(b.older(LOST), cloud="AWS"), b.request(b.older(LOST), "down"))


@pytest.mark.parametrize(
    ("says", "skypilot", "price", "ledger", "shown", "limit"),
    [
        ("its price is being asked", UP, NOT_ASKED, Ledger(), Reason.PLANNING, None),
        ("it leaves too little", UP, Known(Decimal("3.9"), b.NOW), Ledger(), Reason.MAX_HOURLY_COST_REACHED, None),
        ("it leaves enough", UP, Known(Decimal("1.9"), b.NOW), Ledger(), Reason.LAUNCHING, "2.1"),
        ("pods have none", b.seen(b.row(b.older(LOST))), NOT_ASKED, Ledger(), Reason.LAUNCHING, "4"),
        ("SkyPilot knows no price", UP, Known(None, b.NOW), Ledger(), Reason.LAUNCHING, "3.1952"),
        ("SkyPilot cannot say", UP, b.AWAY, Ledger(), Reason.PLANNING, None),
        ("what it may cost is remembered", UP, NOT_ASKED, Ledger(cost_limit="2"), Reason.LAUNCHING, "2"),
        ("one that goes may cost its share", DOWN, NOT_ASKED, Ledger(), Reason.MAX_HOURLY_COST_REACHED, None),
        ("so may one that comes", INIT, NOT_ASKED, Ledger(), Reason.MAX_HOURLY_COST_REACHED, None),
        ("and one for which no row is there yet", REQUESTED, NOT_ASKED, Ledger(), Reason.MAX_HOURLY_COST_REACHED, None),
        ("it was launched without a limit", INIT, NOT_ASKED, b.ledger(infra=None), Reason.LAUNCHING, "3.1952"),
    ],
)
def test_machines_of_which_nobody_remembers_the_price_leave_nothing_that_they_may_cost(
    says: str, skypilot: Known[Seen], price: Fact[Decimal | None], ledger: Ledger, shown: Reason, limit: str | None
) -> None:
    known = b.facts(b.older(LOST), skypilot=skypilot, price=price)
    asked = {"secrets": b.API_KEY_EXISTS, "clouds": b.CLOUDS_ENABLED}
    decision, status = b.step(b.world(b.remembering(LOST, {b.older(LOST): ledger}), known, **asked))
    assert launches(decision) == ([] if limit is None else [Decimal(limit)]), says
    assert next(one.reason for one in status.instances if one.name == str(b.name(LOST))) == shown, says
    if shown is Reason.PLANNING:
        assert QuestionKind.PRICE in [question.kind for question in decision.asks]


@pytest.mark.parametrize(("health", "cost"), [(Health.ANSWERS, "3"), (Health.UNKNOWN, "3"), (Health.SILENT, "0")])
def test_a_machine_that_answers_is_not_free_because_its_user_says_so(health: Health, cost: str) -> None:
    """``status.cost`` counts it as long, too."""
    rented = b.ledger(infra="aws", renting=True, price="3")
    view = View(b.NOW, b.facts(R1), rented, health=health, abandoned=True)
    assert Budget.of(priced("7"), "9", [view]).committed == Decimal(cost)
