"""Teardowns that SkyPilot accepted and does not end."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.reconcile.actions import TearDown
from deepseek_operator.reconcile.replica.rules import leave, want
from deepseek_operator.reconcile.replica.stuck import TEARDOWN_S
from deepseek_operator.reconcile.replica.view import View
from tests.unit.reconcile import builders as b

DSD = b.rented_deployment()
R1 = b.name(DSD)
ROW = b.row(R1, cloud="AWS")
LATE = TEARDOWN_S + 60
CANCEL = TearDown(R1, ("req-1",))


def view(state: str = "RUNNING", *, since: float = LATE, asked: float | None = LATE, **ledger: Any) -> View:
    """A replica whose teardown is under way."""
    down = b.request(R1, "down", state, since=since)
    kept = b.ledger(infra="aws", teardown_at=b.ago(asked) if asked is not None else None, **ledger)
    return View(b.NOW, b.facts(R1, skypilot=b.seen(ROW, down)), kept)


@pytest.mark.parametrize("rule", [want, leave])
@pytest.mark.parametrize(
    ("says", "seen", "late", "cancelled"),
    [
        ("in time", view(since=TEARDOWN_S - 1), False, False),
        ("late", view(), True, True),
        ("late, and cancelled a moment ago", view(asked=60), True, False),
        ("late, and nobody remembers when it was requested", view(asked=None), True, False),
        ("cancelled half an hour ago in vain", view(since=3 * LATE, counted="stuck/req-1", attempts=1), True, True),
        ("waits for a worker", view("PENDING"), True, False),
        ("a clock set back", view(since=-3600, asked=-3600), False, False),
    ],
)
def test_a_teardown_has_a_deadline(rule: Any, says: str, seen: View, late: bool, cancelled: bool) -> None:
    found = rule(seen)
    assert (found.reason == Reason.TEARDOWN_FAILED) is late, says
    assert (found.actions == (CANCEL,)) is cancelled, says
    assert found.phase is Phase.TERMINATING
    assert found.ledger.attempts == int(late)
    assert ("restart the SkyPilot server" in found.message) is late


def test_it_says_what_the_machines_cost() -> None:
    shown = replace(view(), shown_cost=Decimal("0.4"))
    for seen, cost in ((view(price="0.81"), "0.81 $/h"), (shown, "0.40 $/h"), (view(), "money")):
        found = leave(seen)
        assert found is not None
        assert f"within 30 minutes, and they may go on costing {cost}." in found.message


def test_of_nodes_of_the_cluster_it_says_no_cost() -> None:
    down = b.request(R1, "down", "RUNNING", since=LATE)
    found = leave(View(b.NOW, b.facts(R1, skypilot=b.seen(b.row(R1), down)), b.ledger(teardown_at=b.ago(LATE))))
    assert found is not None
    assert "within 30 minutes. Every" in found.message


def test_after_the_cancellation_another_teardown_is_requested() -> None:
    found = leave(view())
    assert found is not None
    cancelled = b.failed_teardown("the request was cancelled", request_id="req-1")
    known = b.facts(R1, skypilot=b.seen(ROW), outcome=cancelled)
    after = found.ledger.model_copy(update={"teardown_at": b.NOW})
    waits = leave(View(b.NOW, known, after))
    assert waits is not None
    assert waits.reason == Reason.TEARDOWN_FAILED
    later = leave(replace(View(b.NOW, known, waits.ledger), now=b.NOW + timedelta(minutes=2)))
    assert later is not None
    assert later.actions == (TearDown(R1),)


def test_a_wanted_replica_is_launched_again_although_its_spec_says_once() -> None:
    once = b.rented_deployment(resources={"retryUntilUp": False})
    assert not b.planned(once).retry
    counted = want(view()).ledger
    gone = View(b.NOW, b.facts(R1, terminated=b.TERMINATED), counted, plan=b.planned(once))
    found = want(gone)
    assert not found.final
    assert [type(action).__name__ for action in found.actions] == ["Launch"]
