"""When a failed launch is repeated: what passes is tried again soon and often, what must be mended rarely."""

from datetime import timedelta

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Ledger, Phase
from deepseek_operator.facts.base import Failure, Known
from deepseek_operator.facts.skypilot import JobState, Outcome, RequestKind
from deepseek_operator.reconcile.actions import Launch, TearDown
from deepseek_operator.reconcile.replica.retry import WAITING, retry_of
from tests.unit.reconcile import builders as b

DSD = b.deployment()
R1 = b.name(DSD)
MENDING = [Reason.QUOTA_EXCEEDED, Reason.CREDENTIALS_INVALID, Reason.NOT_AUTHORIZED, Reason.NOT_OFFERED]


@pytest.mark.parametrize(
    ("reason", "waits"),
    [
        (Reason.NO_CAPACITY, [10, 20, 40, 80, 120, 120]),
        (Reason.UNSCHEDULABLE, [10, 20, 40, 80, 120, 120]),
        (Reason.QUOTA_EXCEEDED, [30, 60, 120, 240, 480, 600]),
        (Reason.CREDENTIALS_INVALID, [30, 60, 120, 240, 480, 600]),
        (Reason.NOT_AUTHORIZED, [30, 60, 120, 240, 480, 600]),
        (Reason.NOT_OFFERED, [60, 120, 240, 480, 960, 1800]),
    ],
)
def test_each_reason_has_its_own_waits(reason: Reason, waits: list[int]) -> None:
    assert [retry_of(reason).wait_s(attempts) for attempts in range(1, 7)] == waits
    ledger, found = b.ledger(), []
    for number, wait in enumerate(waits):
        known = b.facts(R1, outcome=b.failed_launch(reason, request_id=f"req-{number}"))
        _, status = b.step(b.world(b.remembering(DSD, {R1: ledger}), known))
        ledger = status.instances[0].ledger
        assert ledger.retry_after is not None
        found.append((ledger.retry_after - b.NOW).total_seconds() == wait)
        ledger = ledger.model_copy(update={"retry_after": None})
    assert all(found)


@pytest.mark.parametrize("reason", MENDING)
def test_what_must_be_mended_is_torn_down_at_once_and_not_launched_again_at_once(reason: Reason) -> None:
    left = b.facts(R1, skypilot=b.seen(b.row(R1, "INIT", cloud="AWS")), outcome=b.failed_launch(reason))
    decision, status = b.step(b.world(b.remembering(DSD, {R1: b.ledger(infra="aws")}), left))
    assert [action for _, action in decision.actions] == [TearDown(R1)]
    (instance,) = status.instances
    assert (instance.phase, instance.reason) == (Phase.FAILED, reason)
    assert instance.ledger.retry_after == b.NOW + timedelta(seconds=retry_of(reason).first_s)

    gone, _ = b.step(b.world(b.remembering(DSD, {R1: instance.ledger}), b.facts(R1, terminated=b.TERMINATED)))
    assert gone.actions == (), "its wait is not over"


def test_a_capacity_failure_that_left_machines_is_launched_again_without_a_wait() -> None:
    left = b.facts(R1, skypilot=b.seen(b.row(R1, "INIT", cloud="AWS")), outcome=b.failed_launch(Reason.NO_CAPACITY))
    _, status = b.step(b.world(b.remembering(DSD, {R1: b.ledger(infra="aws")}), left))
    torn_down = b.facts(R1, terminated=b.TERMINATED)
    gone, _ = b.step(b.world(b.remembering(DSD, {R1: status.instances[0].ledger}), torn_down))
    assert [action for _, action in gone.actions] == [Launch(R1)]


@pytest.mark.parametrize("retry", [True, False])
def test_a_failure_that_the_server_has_forgotten_is_still_the_reason_and_not_tried_again_earlier(retry: bool) -> None:
    """It forgets ended requests after two hours, and a new process asks again."""
    of = b.deployment(resources={**b.CPU_SPEC["resources"], "retryUntilUp": retry})
    _, status = b.step(
        b.world(b.remembering(of, {b.name(of): b.ledger()}), b.facts(b.name(of), outcome=b.failed_launch()))
    )
    for now, launched in ((b.NOW, False), (b.NOW + timedelta(hours=3), retry)):
        world = b.world(of.model_copy(update={"status": status}), b.facts(b.name(of)), now=now)
        decision, after = b.step(world)
        assert [type(action) for _, action in decision.actions] == [Launch] * launched
        assert after.instances[0].ledger.attempts == 1
        assert after.instances[0].reason == Reason.UNSCHEDULABLE


def test_an_engine_that_could_not_be_started_again_was_no_attempt_to_launch() -> None:
    """``retryUntilUp: false`` ends after a launch that fails, and a place is left out whose machines do not come up."""
    of = b.rented_deployment("aws/us-east-1", "gcp", resources={"retryUntilUp": False})
    name, asked = b.name(of), {"secrets": b.API_KEY_EXISTS, "clouds": b.CLOUDS_ENABLED}
    row = b.row(name, cloud="AWS", region="us-east-1")
    refused = Outcome("req-5", RequestKind.EXEC, b.ago(5), Failure(Reason.LAUNCH_FAILED, "no job fits"))
    up = b.facts(name, skypilot=b.seen(row), job=b.job(JobState.ENDED), outcome=Known(refused, b.NOW))
    kept = b.ledger(infra="aws", renting=True, place="aws/us-east-1", counted="job/g1/1", attempts=1)
    decision, status = b.step(b.world(b.remembering(of, {name: kept}), up, **asked))
    assert [action for _, action in decision.actions] == [TearDown(name)]
    assert (status.instances[0].reason, status.instances[0].ledger.excluded) == (Reason.LAUNCH_FAILED, ())
    for outcome in (refused, Outcome("req-6", RequestKind.DOWN, b.NOW)):
        gone = b.facts(name, outcome=Known(outcome, b.NOW), terminated=b.TERMINATED)
        later = b.world(of.model_copy(update={"status": status}), gone, now=b.NOW + timedelta(minutes=3), **asked)
        assert [action for _, action in b.step(later)[0].actions] == [Launch(name)]


def test_an_engine_whose_start_does_not_end_is_launched_again() -> None:
    of = b.deployment(resources={**b.CPU_SPEC["resources"], "retryUntilUp": False})
    late = b.facts(R1, skypilot=b.seen(b.row(R1), b.request(R1, "exec", since=3721)), pods=(b.pod(R1),))
    decision, status = b.step(b.world(b.remembering(of, {R1: b.ledger()}), late))
    assert [action for _, action in decision.actions] == [TearDown(R1)]
    again = b.world(of.model_copy(update={"status": status}), b.facts(R1), now=b.NOW + timedelta(minutes=3))
    assert [action for _, action in b.step(again)[0].actions] == [Launch(R1)]


def test_a_clock_that_was_set_back_does_not_prolong_a_wait_beyond_its_cap() -> None:
    kept = b.ledger(
        counted="request/req-9",
        attempts=9,
        failure_reason="QuotaExceeded",
        retry_after=b.NOW + timedelta(hours=3),
    )
    known = b.facts(R1, outcome=b.failed_launch(Reason.QUOTA_EXCEEDED))
    _, status = b.step(b.world(b.remembering(DSD, {R1: kept}), known))
    assert status.instances[0].ledger.retry_after == b.NOW + timedelta(seconds=600)


def test_a_change_of_the_spec_never_waits() -> None:
    edited = b.deployment(engine={"name": "VLLM", "image": "localhost/engine:2"})
    old = b.ledger(counted="request/req-9", attempts=5, retry_after=b.NOW + timedelta(seconds=500))
    world = b.world(b.remembering(edited, {R1: old}), b.facts(R1, outcome=b.failed_launch(Reason.NOT_OFFERED)))
    decision, _ = b.step(world)
    assert Launch(b.name(edited)) in [action for _, action in decision.actions]


def test_an_unknown_reason_of_an_older_ledger_waits_like_any_other() -> None:
    assert retry_of("AccessDenied") == WAITING == retry_of(Ledger().failure_reason)
