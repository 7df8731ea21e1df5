"""Rules of a replica that is no longer wanted, each where it decides alone."""

from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Ledger
from deepseek_operator.facts.base import Failure, Known, Unknown
from deepseek_operator.facts.skypilot import Outcome, RequestKind
from deepseek_operator.facts.world import NOT_ASKED, QuestionKind
from deepseek_operator.reconcile.actions import ClearRemains, TearDown
from deepseek_operator.reconcile.replica.leaving import draining, gone
from deepseek_operator.reconcile.replica.rules import leave
from deepseek_operator.reconcile.replica.view import Finding, Health, View
from tests.unit.reconcile import builders as b

DSD = b.deployment()
R1 = b.name(DSD)
RENTED = b.ledger(infra="aws")
LOST = Ledger(infra="aws")
DOWN = TearDown(R1)
FAILURE = Failure(Reason.ENGINE_EXITED, "exit code 1")


def left(ledger: Ledger, **known: Any) -> Finding:
    """What is found of a silent replica on its way out."""
    found = leave(View(b.NOW, b.facts(R1, **known), ledger))
    assert found is not None
    return found


def ended(kind: RequestKind, **fields: Any) -> Known[Outcome | None]:
    return Known(Outcome("r", kind, b.ago(5), **fields), b.NOW)


def down(**fields: Any) -> Known[Outcome | None]:
    return ended(RequestKind.DOWN, **fields)


@pytest.mark.parametrize(
    ("says", "ledger", "known", "view", "expected"),
    [
        ("nothing ever was", Ledger(), {}, {}, True),
        ("nobody can be asked", Ledger(), {"skypilot": b.AWAY}, {}, False),
        ("SkyPilot lists it", b.ledger(), {"skypilot": b.seen(b.row(R1))}, {}, False),
        ("pods that are gone are gone", b.ledger(), {}, {}, True),
        ("machines without a record", RENTED, {}, {}, False),
        ("somebody says that they are gone", RENTED, {}, {"abandoned": True}, True),
        ("they were terminated", RENTED, {"outcome": down()}, {}, True),
        ("they were, and nobody remembers when they were launched", LOST, {"outcome": down()}, {}, True),
        ("that failed", RENTED, {"outcome": b.failed_teardown()}, {}, False),
        ("that found nothing", RENTED, {"outcome": down(found=False)}, {}, False),
        ("their launch failed", RENTED, {"outcome": b.failed_launch()}, {}, True),
        ("their launch succeeded", RENTED, {"outcome": ended(RequestKind.LAUNCH)}, {}, False),
        ("an engine on them failed", RENTED, {"outcome": ended(RequestKind.EXEC, failure=FAILURE)}, {}, False),
        ("nobody knows how it ended", RENTED, {"outcome": Unknown("time-out", b.NOW)}, {}, False),
        ("SkyPilot remembers having terminated them", RENTED, {"terminated": Known(b.NOW, b.NOW)}, {}, True),
        ("SkyPilot remembers not to have", RENTED, {"terminated": Known(None, b.NOW)}, {}, False),
    ],
)  # fmt: skip
def test_it_is_gone_when(says: str, ledger: Ledger, known: Any, view: dict[str, Any], expected: bool) -> None:
    of = View(b.NOW, b.facts(R1, **known), ledger, **view)
    assert gone(of) is expected, says
    assert (leave(of) is None) is expected, says


GOING = b.ledger(unpublished_since=b.ago(20), drain_seconds=60)


@pytest.mark.parametrize(
    ("says", "ledger", "view", "expected"),
    [
        ("requests run", GOING, {"running": 1}, True),
        ("none run", GOING, {"running": 0}, False),
        ("requests run for too long", b.ledger(unpublished_since=b.ago(60), drain_seconds=60), {"running": 1}, False),
        ("clients have not heard yet", b.ledger(unpublished_since=b.ago(4), drain_seconds=60), {"running": 0}, True),
        ("it does not say", b.ledger(unpublished_since=b.ago(9), drain_seconds=60), {}, True),
        ("it does not say for ten seconds", b.ledger(unpublished_since=b.ago(10), drain_seconds=60), {}, False),
        ("the Service leads to it", b.ledger(unpublished_since=b.ago(999)), {"published": True}, True),
        ("the object is deleted", GOING, {"running": 1, "deleting": True}, False),
        ("it is silent", GOING, {"running": 1, "health": Health.SILENT}, False),
        ("it was not asked yet", GOING, {"running": 1, "health": Health.UNKNOWN}, True),
        ("it is torn down", GOING.model_copy(update={"teardown_at": b.NOW}), {"running": 1}, False),
    ],
)
def test_it_drains_when(says: str, ledger: Ledger, view: dict[str, Any], expected: bool) -> None:
    assert draining(View(b.NOW, b.facts(R1), ledger, **{"health": Health.ANSWERS, **view})) is expected, says


def test_while_it_drains_its_running_requests_are_counted() -> None:
    for running, words in ((3, "have ended (3 left)"), (0, "have ended")):
        ledger = b.ledger(unpublished_since=b.ago(1), drain_seconds=60)
        view = View(b.NOW, b.facts(R1, skypilot=b.seen(b.row(R1))), ledger, health=Health.ANSWERS, running=running)
        found = leave(view)
        assert found is not None
        assert found.message.endswith(words)
        assert found.actions == ()


@pytest.mark.parametrize(
    ("seconds", "running", "published", "lag_s", "look_s"),
    [
        (1, 3, False, 0.0, 4.0),
        (1, 3, True, 0.0, 1.0),
        (6, 3, False, 0.0, 1.0),
        (6, None, False, 0.0, 4.0),
        (4, None, False, 0.0, 1.0),
        (12, None, False, 20.0, 8.0),
        (12, 3, False, 20.0, 8.0),
        (21, 3, False, 20.0, 1.0),
    ],
)
def test_while_it_drains_it_is_looked_at_when_that_may_be_over(
    seconds: int, running: int | None, published: bool, lag_s: float, look_s: float
) -> None:
    ledger = b.ledger(unpublished_since=b.ago(seconds), drain_seconds=60)
    known = b.facts(R1, skypilot=b.seen(b.row(R1)))
    view = View(b.NOW, known, ledger, health=Health.ANSWERS, running=running, published=published, lag_s=lag_s)
    found = leave(view)
    assert found is not None
    assert found.next_look_s == look_s


def test_while_skypilot_is_silent_the_status_says_so_but_not_right_after_a_request() -> None:
    away = left(b.ledger(), skypilot=b.AWAY)
    assert (away.reason, away.passing) == (Reason.SKYPILOT_UNAVAILABLE, False)
    unasked = left(b.ledger(), skypilot=NOT_ASKED)
    assert (unasked.reason, unasked.passing) == (Reason.TERMINATING, True)


def test_a_request_that_may_be_heard_is_waited_for_unless_something_is_there_to_tear_down() -> None:
    unheard = b.ledger(unanswered="exec", unanswered_at=b.ago(20))
    assert left(unheard).actions == ()
    assert "may still carry it out" in left(unheard).message
    assert left(unheard, skypilot=b.seen(b.row(R1))).actions == (DOWN,)
    assert left(unheard, skypilot=b.seen(b.request(R1))).actions == (TearDown(R1, ("req-1",)),)


@pytest.mark.parametrize("seen", [(b.row(R1),), (b.request(R1),), (b.row(R1), b.request(R1)), ()])
def test_a_teardown_that_may_still_be_heard_is_not_sent_again(seen: Any) -> None:
    """The last one to be heard would find what was launched under the name meanwhile."""
    unheard = b.ledger(teardown_at=b.ago(20), unanswered="down", unanswered_at=b.ago(20))
    found = left(unheard, skypilot=b.seen(*seen), outcome=b.failed_teardown())
    assert (found.actions, found.reason) == ((), Reason.TERMINATING)
    assert "a teardown and may still carry it out" in found.message


ASKED = b.ledger(teardown_at=b.ago(20), leaving_since=b.ago(30))
LISTED = b.seen(b.row(R1))


def test_before_a_teardown_is_repeated_skypilot_is_asked_how_it_ended() -> None:
    found = left(ASKED, skypilot=LISTED, outcome=NOT_ASKED)
    assert ([question.kind for question in found.asks], found.passing) == ([QuestionKind.OUTCOME], True)
    assert found.actions == ()


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (down(), "still lists it"),
        (b.failed_teardown("AuthFailure"), "AuthFailure"),
    ],
)
def test_a_teardown_that_left_something_is_a_failure(outcome: Known[Outcome | None], words: str) -> None:
    found = left(ASKED, skypilot=LISTED, outcome=outcome)
    assert (found.reason, found.actions) == (Reason.TEARDOWN_FAILED, ())
    assert words in found.message


def test_a_teardown_that_is_repeated_goes_on_saying_why_the_one_before_failed() -> None:
    again = ASKED.model_copy(update={"counted": "request/req-7", "attempts": 1, "retry_after": b.ago(1)})
    found = left(again, skypilot=LISTED, outcome=b.failed_teardown("AuthFailure"))
    assert (found.reason, found.actions) == (Reason.TEARDOWN_FAILED, (DOWN,))


@pytest.mark.parametrize("outcome", [Known(None, b.NOW), b.failed_launch()])
def test_where_no_teardown_has_ended_one_is_asked_for_at_once_but_only_once(outcome: Known[Outcome | None]) -> None:
    """A launch was cancelled before SkyPilot had listed its nodes, or a request was forgotten with the server."""
    found = left(ASKED, skypilot=LISTED, outcome=outcome)
    assert (found.reason, found.actions) == (Reason.TERMINATING, (DOWN,))
    again = b.ledger(teardown_at=b.ago(30), attempts=1, counted=found.ledger.counted)
    found = left(again, skypilot=LISTED, outcome=outcome)
    assert (found.reason, found.actions) == (Reason.TEARDOWN_FAILED, ())
    assert "still lists it" in found.message


def test_a_teardown_of_rented_machines_that_failed_says_what_they_cost() -> None:
    listed = b.seen(b.row(R1, cloud="AWS"))
    for ledger, cost in (({"price": "0.805"}, "0.81 $/h"), ({}, "money")):
        found = left(
            b.ledger(infra="aws", teardown_at=b.ago(60), **ledger), skypilot=listed, outcome=b.failed_teardown()
        )
        assert f"and they may go on costing {cost}: AuthFailure" in found.message
    assert "cost" not in left(ASKED, skypilot=LISTED, outcome=b.failed_teardown()).message


def test_a_first_teardown_needs_no_answer() -> None:
    assert left(b.ledger(), skypilot=LISTED, outcome=NOT_ASKED).actions == (DOWN,)


@pytest.mark.parametrize(
    ("seen", "cancelled"),
    [
        ((b.request(R1, state="PENDING"),), ("req-1",)),
        ((b.request(R1, state="RUNNING"),), ("req-1",)),
        ((b.request(R1, "exec", state="PENDING"),), ("req-1",)),
        ((b.request(R1, state="PENDING"), b.row(R1)), ()),
        ((b.request(R1, state="RUNNING"), b.row(R1, "INIT")), ()),
    ],
)
def test_only_a_launch_that_has_no_cluster_yet_is_cancelled(seen: Any, cancelled: tuple[str, ...]) -> None:
    assert left(b.ledger(), skypilot=b.seen(*seen)).actions == (TearDown(R1, cancelled),)


def test_pods_that_skypilot_does_not_know_are_deleted_by_label() -> None:
    assert left(b.ledger(), pods=(b.pod(R1),)).actions == (ClearRemains(R1, (f"{R1}-d5ee9000",)),)


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        ({"outcome": NOT_ASKED}, [QuestionKind.OUTCOME, QuestionKind.HISTORY]),
        ({}, [QuestionKind.HISTORY]),
        ({"terminated": Known(None, b.NOW)}, []),
    ],
)
def test_what_is_not_known_of_its_machines_is_asked_for(known: dict[str, Any], asked: list[QuestionKind]) -> None:
    found = left(RENTED, **known)
    assert [question.kind for question in found.asks] == asked
    assert found.passing is bool(asked)
    assert found.reason == (Reason.TERMINATING if asked else Reason.MACHINES_UNACCOUNTED)
