"""The rules for one replica, as a table: what SkyPilot was asked for, and how far it is with that."""

from dataclasses import replace

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.facts.base import Failure
from deepseek_operator.facts.world import NOT_ASKED, QuestionKind
from deepseek_operator.reconcile.actions import TearDown
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.replica_table import AT, DOWN, LAUNCH, LAUNCHED, NEW, R1, Case, check

CASES = [
    Case("a new replica is launched", b.facts(R1), NEW, Phase.LAUNCHING, Reason.LAUNCHING, (LAUNCH,)),
    Case(
        "a launch without a worker is queued",
        b.facts(R1, skypilot=b.seen(b.request(R1, state="PENDING"))),
        LAUNCHED,
        Phase.LAUNCHING,
        Reason.QUEUED,
    ),
    Case(
        "a launch that a free worker is about to take is not called queued",
        b.facts(R1, skypilot=b.seen(b.request(R1, state="PENDING", since=5))),
        LAUNCHED,
        Phase.LAUNCHING,
        Reason.LAUNCHING,
        message="the SkyPilot server has the launch",
    ),
    Case(
        "a launch under way is described in SkyPilot's words",
        b.facts(R1, skypilot=b.seen(b.request(R1), b.row(R1, "INIT", detail="Instances launched"))),
        LAUNCHED,
        Phase.LAUNCHING,
        Reason.LAUNCHING,
        message="Instances launched",
    ),
    Case(
        "a pod that no node takes is reported while the launch still waits",
        b.facts(
            R1,
            skypilot=b.seen(b.request(R1)),
            pods=(b.pod(R1, phase="Pending", trouble=Failure(Reason.UNSCHEDULABLE, "0/1 nodes are available")),),
        ),
        LAUNCHED,
        Phase.LAUNCHING,
        Reason.UNSCHEDULABLE,
        message="0/1 nodes are available",
    ),
    Case(
        "a launch that never ends is torn down",
        b.facts(R1, skypilot=b.seen(b.request(R1, since=4000), b.row(R1, "INIT"))),
        LAUNCHED,
        Phase.FAILED,
        Reason.LAUNCH_TIMED_OUT,
        (DOWN,),
    ),
    Case(
        "a launch with which its worker has not begun is cancelled",
        b.facts(R1, skypilot=b.seen(b.request(R1, since=300))),
        b.ledger(begun_at=b.ago(181)),
        Phase.FAILED,
        Reason.LAUNCH_TIMED_OUT,
        (TearDown(R1, ("req-1",)),),
        message="a worker of the SkyPilot server has had the launch for 3 minutes and has not begun to look for nodes; "
        "the launch is cancelled and asked for again. If that does not help, restart the SkyPilot server; its request "
        "is req-1",
    ),
    Case(
        "a worker may need a while to begin",
        b.facts(R1, skypilot=b.seen(b.request(R1, since=300))),
        b.ledger(begun_at=b.ago(180)),
        Phase.LAUNCHING,
        Reason.LAUNCHING,
    ),
    Case(
        "a launch that waited for long has only just begun",
        b.facts(R1, skypilot=b.seen(b.request(R1, since=900))),
        LAUNCHED,
        Phase.LAUNCHING,
        Reason.LAUNCHING,
    ),
    Case(
        "a launch that was cancelled keeps saying why",
        b.facts(R1, outcome=b.failed_launch()),
        b.ledger(
            counted="request/req-9",
            attempts=1,
            retry_after=b.ago(-5),
            failure_reason="LaunchTimedOut",
            failure_message="its worker has not begun",
        ),
        Phase.FAILED,
        Reason.LAUNCH_TIMED_OUT,
        message="its worker has not begun",
    ),
    Case(
        "a launch that failed for another reason than the one before says its own",
        b.facts(R1, outcome=b.failed_launch()),
        b.ledger(counted="request/req-8", attempts=1, failure_reason="NoCapacity", failure_message="no L4 anywhere"),
        Phase.FAILED,
        Reason.UNSCHEDULABLE,
        message="0/1 nodes are available",
    ),
    Case(
        "before anything is repeated SkyPilot is asked how the last launch ended",
        b.facts(R1, outcome=NOT_ASKED),
        LAUNCHED,
        Phase.LAUNCHING,
        Reason.LAUNCHING,
        asks=(QuestionKind.OUTCOME,),
    ),
    Case(
        "a failed launch waits before it is retried",
        b.facts(R1, outcome=b.failed_launch()),
        LAUNCHED,
        Phase.FAILED,
        Reason.UNSCHEDULABLE,
    ),
    Case(
        "a failed launch is retried when its time has come",
        b.facts(R1, outcome=b.failed_launch()),
        b.ledger(counted="request/req-9", attempts=1, retry_after=b.ago(1)),
        Phase.FAILED,
        Reason.UNSCHEDULABLE,
        (LAUNCH,),
    ),
    Case(
        "a launch that the server has forgotten is launched again at once",
        b.facts(R1),
        LAUNCHED,
        Phase.FAILED,
        Reason.LAUNCH_INTERRUPTED,
        (LAUNCH,),
    ),
    Case(
        "a launch that may still be heard is not repeated",
        b.facts(R1),
        b.ledger(launched_at=b.ago(40), unanswered="launch", unanswered_at=b.ago(40)),
        Phase.LAUNCHING,
        Reason.SKYPILOT_UNAVAILABLE,
    ),
    Case(
        "a launch that can no longer be heard is repeated, once the rollout and the budget count it as gone",
        b.facts(R1),
        b.ledger(unanswered="launch", unanswered_at=b.ago(121)),
        Phase.FAILED,
        Reason.LAUNCH_INTERRUPTED,
    ),
    Case(
        "an engine that answers is not ready while its launch has not ended",
        replace(b.up(R1), skypilot=b.seen(b.row(R1), b.request(R1))),
        LAUNCHED,
        Phase.LAUNCHING,
        Reason.LAUNCHING,
        world={"probes": b.answering(AT)},
    ),
    Case(
        "a launch may take an hour besides its timeout",
        b.facts(R1, skypilot=b.seen(b.request(R1, since=3700))),
        LAUNCHED,
        Phase.LAUNCHING,
        Reason.LAUNCHING,
        message="SkyPilot is looking for nodes",
    ),
    Case(
        "a launch that waits for a worker may wait for ever",
        b.facts(R1, skypilot=b.seen(b.request(R1, state="PENDING", since=9999))),
        LAUNCHED,
        Phase.LAUNCHING,
        Reason.QUEUED,
    ),
    Case(
        "the pod in trouble is named, not the one beside it",
        b.facts(
            R1,
            skypilot=b.seen(b.request(R1)),
            pods=(b.pod(R1), b.pod(R1, head=False, trouble=Failure(Reason.IMAGE_PULL_FAILED, "no such tag"))),
        ),
        LAUNCHED,
        Phase.LAUNCHING,
        Reason.IMAGE_PULL_FAILED,
        message="no such tag",
    ),
    Case(
        "a launch is described in the words of its request where its cluster has none",
        b.facts(R1, skypilot=b.seen(b.request(R1, detail="Optimizing"), b.row(R1, "INIT"))),
        LAUNCHED,
        Phase.LAUNCHING,
        Reason.LAUNCHING,
        message="Optimizing",
    ),
    Case(
        "of what was never launched no outcome is asked for",
        b.facts(R1, outcome=NOT_ASKED),
        NEW,
        Phase.LAUNCHING,
        Reason.LAUNCHING,
        (LAUNCH,),
    ),
    Case(
        "a failed teardown is no failed launch",
        b.facts(R1, outcome=b.failed_teardown()),
        LAUNCHED,
        Phase.FAILED,
        Reason.LAUNCH_INTERRUPTED,
        (LAUNCH,),
    ),
    Case(
        "a reason of another version is kept as a failed launch",
        b.facts(R1),
        b.ledger(counted="x/1", failure_reason="AccessDenied", attempts=1, retry_after=b.ago(1), teardown_at=b.ago(9)),
        Phase.FAILED,
        Reason.LAUNCH_FAILED,
        (LAUNCH,),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.says for case in CASES])
def test_a_replica_is_found_to_be_where_its_requests_are(case: Case) -> None:
    check(case)


def test_a_launch_that_nobody_has_taken_is_looked_at_again_when_it_is_queued() -> None:
    """SkyPilot's next snapshot shows the same, and so wakes nobody."""
    pending = b.request(R1, state="PENDING", since=1)
    decision, _ = b.step(b.world(b.remembering(b.deployment(), {R1: LAUNCHED}), b.facts(R1, skypilot=b.seen(pending))))
    assert decision.next_look_s == 5
