"""What a user reads while nothing is wanted or something goes: suspended, scaled to zero, deleted, or one too many."""

from dataclasses import replace

import pytest

from deepseek_operator.facts.base import Known
from deepseek_operator.facts.skypilot import Outcome, RequestKind
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.condition_table import (
    FIRST,
    Case,
    after,
    check,
    failed_teardown,
    stuck,
    with_a_failed_teardown,
)
from tests.unit.reconcile.decisions import NO_PLAN

TERMINATING = b.facts(FIRST, skypilot=b.seen(b.row(FIRST), b.request(FIRST, "down")))
SUSPENDED = b.deployment(suspend=True)
GONE = b.deployment(deleting=True)

CASES = [
    Case("suspended with nothing left", b.world(SUSPENDED), "Ready", ("False", "Suspended"), "nothing is rented"),
    Case(
        "suspended and still tearing down",
        b.world(SUSPENDED, replace(TERMINATING, name=b.name(SUSPENDED))),
        "Ready",
        ("False", "Suspended"),
        "all nodes are being torn down",
    ),
    Case(
        "suspended and tearing down is under way",
        b.world(SUSPENDED, replace(TERMINATING, name=b.name(SUSPENDED))),
        "Reconciling",
        ("True", "Terminating"),
    ),
    Case("suspended with nothing left is settled", b.world(SUSPENDED), "Reconciling", ("False", "Suspended")),
    Case(
        "no replicas wanted",
        b.world(b.deployment(replicas=0)),
        "Ready",
        ("False", "ScaledToZero"),
        "spec.replicas is 0",
    ),
    Case("no replicas wanted is settled", b.world(b.deployment(replicas=0)), "Reconciling", ("False", "ScaledToZero")),
    Case(
        "a deleted object says what holds it",
        b.world(b.deployment(deleting=True), replace(TERMINATING, name=b.name(b.deployment()))),
        "Ready",
        ("False", "Terminating"),
        "SkyPilot tears its nodes down",
    ),
    Case(
        "a deleted object of which nobody can say what is left",
        b.world(b.deployment(deleting=True), skypilot=b.AWAY),
        "Ready",
        ("False", "Terminating"),
        "its nodes are being torn down",
    ),
    Case(
        "suspended, and a teardown fails",
        b.world(stuck(SUSPENDED), failed_teardown(SUSPENDED)),
        "Ready",
        ("False", "TeardownFailed"),
        f"spec.suspend is true; {b.name(SUSPENDED)}: SkyPilot could not tear",
    ),
    Case(
        "no replicas wanted, and a teardown fails",
        b.world(stuck(b.deployment(replicas=0)), failed_teardown(b.deployment(replicas=0))),
        "Ready",
        ("False", "TeardownFailed"),
        f"spec.replicas is 0; {b.name(b.deployment())}: SkyPilot could not tear",
    ),
    Case(
        "everything that is wanted serves, and the teardown of one too many fails",
        with_a_failed_teardown(b.serving(b.deployment())),
        "Reconciling",
        ("True", "TeardownFailed"),
        f"{b.older(b.deployment())}: SkyPilot could not tear",
    ),
    Case(
        "of several that a deleted object still has, the one whose teardown fails speaks for all",
        with_a_failed_teardown(b.world(GONE, replace(TERMINATING, name=b.name(GONE)))),
        "Ready",
        ("False", "TeardownFailed"),
        "AuthFailure",
    ),
    Case(
        "no replicas wanted and one is still there",
        b.world(b.deployment(replicas=0), replace(TERMINATING, name=b.name(b.deployment()))),
        "Reconciling",
        ("True", "Terminating"),
    ),
    Case(
        "a deleted object does not stall for its plan",
        b.world(b.deployment(deleting=True), replace(TERMINATING, name=b.name(b.deployment()))),
        "Stalled",
        ("False", "Planned"),
        "",
        NO_PLAN,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.says for case in CASES])
def test_a_condition(case: Case) -> None:
    check(case)


def test_a_teardown_that_succeeded_is_no_failure_of_the_launch_before() -> None:
    done = Known(Outcome("req-3", RequestKind.DOWN, b.NOW), b.NOW)
    of = b.remembering(b.deployment(), {b.name(b.deployment()): b.ledger(teardown_at=b.ago(9))})
    assert after(b.world(of, b.facts(b.name(of), outcome=done))).instances[0].reason == "Launching"
