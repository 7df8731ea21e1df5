"""What became of an action is in the finding and the ledger before the status is written."""

from datetime import timedelta
from decimal import Decimal

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Ledger, Phase
from deepseek_operator.facts.base import Failure
from deepseek_operator.reconcile.actions import Action, AddFinalizer, ClearRemains, Launch, RunAgain, TearDown
from deepseek_operator.reconcile.decide import Decision
from deepseek_operator.reconcile.replica.rules import leave, want
from deepseek_operator.reconcile.replica.view import Finding, Replica, View
from deepseek_operator.reconcile.results import QUEUED_LOOK_S, Result, ResultKind, with_refused_finalizer, with_results
from tests.unit.reconcile import builders as b

DSD = b.deployment()
R1 = b.name(DSD)
PLAN = b.planned(DSD)
LEDGER = b.ledger(infra="aws", address="54.0.0.1:8000", price="1.21", spot=True, place="aws/us-east-1")
LATER = b.NOW + timedelta(seconds=3)


def after(action: Action, kind: ResultKind, *, phase: Phase = Phase.LAUNCHING, ledger: Ledger = LEDGER) -> Finding:
    finding = Finding(phase, Reason.LAUNCHING, "words", ledger, (action,))
    replica = Replica(R1, True, View(b.NOW, b.facts(R1)), finding)
    decision = Decision(replicas=(replica,), actions=((R1, action),))
    (found,) = with_results(decision, [Result(R1, action, kind, "why")], PLAN, LATER).replicas
    return found.finding


def test_a_finalizer_that_is_refused_concerns_what_was_to_come_next() -> None:
    found = [
        Finding(Phase.READY, Reason.READY, "it answers", LEDGER),
        Finding(Phase.PENDING, Reason.PLANNING, "", LEDGER),
    ]
    replicas = tuple(Replica(R1, True, View(b.NOW, b.facts(R1)), finding) for finding in found)
    why = Failure(Reason.KUBERNETES_REFUSED, "the finalizer cannot be added")
    after = with_refused_finalizer(Decision(replicas=replicas, finalizer=AddFinalizer()), why)
    assert [(one.finding.reason, one.finding.message) for one in after.replicas] == [
        (Reason.READY, "it answers"),
        (Reason.KUBERNETES_REFUSED, "the finalizer cannot be added"),
    ]
    assert (after.finalizer, after.blocked) == (None, why)


def test_a_launch_that_was_accepted_begins_a_new_life() -> None:
    ledger = after(Launch(R1), ResultKind.DONE).ledger
    assert (ledger.launched_at, ledger.infra, ledger.address) == (LATER, "kubernetes", None)
    assert (ledger.price, ledger.spot, ledger.place) == (None, False, None)
    assert ledger.unanswered == ""


def test_what_a_launch_may_cost_is_remembered_until_the_next_one() -> None:
    assert after(Launch(R1, Decimal("1.5")), ResultKind.DONE).ledger.cost_limit == "1.5"
    before = b.ledger(cost_limit="2")
    assert after(Launch(R1), ResultKind.DONE, ledger=before).ledger.cost_limit is None
    assert after(RunAgain(R1), ResultKind.DONE, ledger=before).ledger.cost_limit == "2"


def test_an_engine_that_was_started_again_keeps_its_nodes() -> None:
    ledger = after(RunAgain(R1), ResultKind.DONE).ledger
    assert (ledger.launched_at, ledger.infra, ledger.address) == (b.ago(600), "aws", "54.0.0.1:8000")
    assert (ledger.price, ledger.spot, ledger.place) == ("1.21", True, "aws/us-east-1")


def test_a_launch_that_may_go_to_a_cloud_has_no_place_yet() -> None:
    finding = Finding(Phase.LAUNCHING, Reason.LAUNCHING, "words", LEDGER, (Launch(R1),))
    decision = Decision(replicas=(Replica(R1, True, View(b.NOW, b.facts(R1)), finding),))
    plan = b.planned(b.rented_deployment("kubernetes", "aws"))
    (found,) = with_results(decision, [Result(R1, Launch(R1), ResultKind.DONE)], plan, LATER).replicas
    assert found.finding.ledger.infra is None


@pytest.mark.parametrize("action", [TearDown(R1), ClearRemains(R1, ("x",))])
def test_after_a_teardown_its_absence_is_no_surprise(action: Action) -> None:
    ledger = after(action, ResultKind.DONE).ledger
    assert (ledger.teardown_at, ledger.launched_at) == (LATER, b.ago(600))


@pytest.mark.parametrize(("action", "kind"), [(Launch(R1), "launch"), (RunAgain(R1), "exec"), (TearDown(R1), "down")])
def test_a_request_without_an_answer_may_still_be_carried_out(action: Action, kind: str) -> None:
    ledger = after(action, ResultKind.UNANSWERED).ledger
    assert (ledger.unanswered, ledger.unanswered_at) == (kind, LATER)


def test_a_launch_that_waits_for_a_slot_is_queued_and_nothing_is_remembered() -> None:
    finding = after(Launch(R1), ResultKind.QUEUED)
    assert (finding.phase, finding.reason, finding.message) == (Phase.PENDING, Reason.QUEUED, "why")
    assert finding.next_look_s == QUEUED_LOOK_S  # its turn is announced
    assert finding.ledger.launched_at == b.ago(600)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("launch", "launch"), ("exec", "restart of the engine"), ("down", "teardown"), ("stop", "stop")],
)
def test_a_request_without_an_answer_is_told_in_words(kind: str, words: str) -> None:
    waits = b.ledger(unanswered=kind, unanswered_at=b.NOW)
    for rule in (want, leave):
        finding = rule(View(b.NOW, b.facts(R1), waits))
        assert finding is not None
        assert finding.message.startswith(f"SkyPilot did not answer when asked for a {words} and may")


def test_a_request_that_failed_says_which_and_nothing_is_remembered() -> None:
    finding = after(TearDown(R1), ResultKind.FAILED, phase=Phase.TERMINATING)
    assert (finding.phase, finding.reason) == (Phase.TERMINATING, Reason.SKYPILOT_UNAVAILABLE)
    assert finding.message == "SkyPilot could not be asked for a teardown: why"
    assert finding.ledger.teardown_at is None
    assert after(Launch(R1), ResultKind.FAILED).phase is Phase.PENDING


@pytest.mark.parametrize("reason", [Reason.NAME_CONFLICT, Reason.KUBERNETES_REFUSED])
def test_what_kubernetes_refuses_is_no_fault_of_skypilot(reason: Reason) -> None:
    finding = Finding(Phase.LAUNCHING, Reason.LAUNCHING, "words", LEDGER)
    decision = Decision(replicas=(Replica(R1, True, View(b.NOW, b.facts(R1)), finding),))
    words = "a Secret r1-ca exists and was not made for this deployment"
    result = Result(R1, Launch(R1), ResultKind.FAILED, words, reason)
    (found,) = with_results(decision, [result], PLAN, LATER).replicas
    assert (found.finding.phase, found.finding.reason) == (Phase.PENDING, reason)
    assert found.finding.message == words
    assert found.finding.ledger == LEDGER


def test_a_failure_that_waits_for_its_retry_stays_visible() -> None:
    finding = after(Launch(R1), ResultKind.FAILED, phase=Phase.FAILED)
    assert (finding.phase, finding.reason, finding.message) == (Phase.FAILED, Reason.LAUNCHING, "words")


def test_other_replicas_are_left_as_they_are() -> None:
    finding = Finding(Phase.PENDING, Reason.SERVICE_CONFLICT, "words", b.ledger())
    replica = Replica(R1, True, View(b.NOW, b.facts(R1), blocked=Failure(Reason.SERVICE_CONFLICT, "x")), finding)
    decision = Decision(replicas=(replica,))
    assert with_results(decision, [Result(b.name(DSD, 1), Launch(R1), ResultKind.DONE)], PLAN, LATER) == decision
