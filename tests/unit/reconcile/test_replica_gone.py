"""The rules for one replica, as a table: nothing is left of it, it is torn down, or SkyPilot cannot be asked."""

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.facts.base import Known
from deepseek_operator.facts.skypilot import Outcome, RequestKind
from deepseek_operator.facts.world import NOT_ASKED, QuestionKind
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.replica_table import (
    AT,
    LAUNCH,
    LAUNCHED,
    NEW,
    R1,
    READY,
    RENTED,
    RENTED_AT,
    SILENT,
    STARTING,
    Case,
    check,
)

CASES = [
    Case(
        "a rented replica that SkyPilot has terminated does not serve at an address that may be a stranger's",
        b.facts(R1, terminated=Known(b.NOW, b.NOW), outcome=Known(None, b.NOW)),
        RENTED,
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (LAUNCH,),
        world={"probes": b.answering(RENTED_AT)},
    ),
    Case(
        "nothing is launched while SkyPilot is away",
        b.facts(R1, skypilot=b.AWAY),
        NEW,
        Phase.PENDING,
        Reason.SKYPILOT_UNAVAILABLE,
        message="does not answer",
        world={"skypilot": b.AWAY},
    ),
    Case(
        "right after a start nothing looks broken",
        b.facts(R1, skypilot=NOT_ASKED),
        NEW,
        Phase.PENDING,
        Reason.STARTING,
        world={"skypilot": NOT_ASKED},
    ),
    Case(
        "a ready replica whose nodes vanished is launched again at once",
        b.facts(R1),
        READY,
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (LAUNCH,),
    ),
    Case(
        "a ready replica that vanished is launched again even if launches are not to be retried",
        b.facts(R1),
        READY,
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (LAUNCH,),
        world={"deployment": {"resources": {**b.CPU_SPEC["resources"], "retryUntilUp": False}}},
    ),
    Case(
        "a replica that is torn down to be launched again keeps showing why",
        b.facts(R1, skypilot=b.seen(b.row(R1), b.request(R1, "down"))),
        b.ledger(counted="lost/g1", failure_reason="InstanceLost", failure_message="1 pod is gone"),
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        message="1 pod is gone",
    ),
    Case(
        "a replica that is torn down says something even where its status has lost why",
        b.facts(R1, skypilot=b.seen(b.row(R1), b.request(R1, "down"))),
        b.ledger(counted="lost/g1"),
        Phase.FAILED,
        Reason.LAUNCH_FAILED,
    ),
    Case(
        "a replica torn down for its failure is launched again after its backoff",
        b.facts(R1, outcome=Known(Outcome("req-3", RequestKind.DOWN, b.NOW), b.NOW)),
        b.ledger(
            counted="lost/g1",
            failure_reason="InstanceLost",
            attempts=1,
            retry_after=b.ago(1),
            teardown_at=b.ago(20),
        ),
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (LAUNCH,),
    ),
    Case(
        "a launch that was sent is named while SkyPilot is away",
        b.facts(R1, skypilot=b.AWAY),
        LAUNCHED,
        Phase.PENDING,
        Reason.SKYPILOT_UNAVAILABLE,
        world={"skypilot": b.AWAY},
    ),
    Case(
        "an engine that stops answering while SkyPilot is away is named as the cause",
        b.facts(R1, skypilot=b.AWAY, pods=(b.pod(R1),)),
        SILENT,
        Phase.STARTING,
        Reason.ENGINE_UNRESPONSIVE,
        message="connection refused; SkyPilot cannot be asked why: the SkyPilot API server does not answer",
        world={"probes": b.silent(AT), "skypilot": b.AWAY},
    ),
    Case(
        "a replica that is wanted again waits until its teardown has ended",
        b.facts(R1, skypilot=b.seen(b.row(R1), b.request(R1, "down"))),
        LAUNCHED,
        Phase.TERMINATING,
        Reason.TERMINATING,
    ),
    Case(
        "nodes that vanish while the engine loads are lost",
        b.facts(R1),
        STARTING,
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (LAUNCH,),
    ),
    Case(
        "nodes that vanish while their engine waits to be started again are lost",
        b.facts(R1),
        b.ledger(
            counted="job/g1/1",
            failure_reason="EngineExited",
            attempts=1,
            retry_after=b.ago(-5),
            starting_since=b.ago(60),
        ),
        Phase.FAILED,
        Reason.INSTANCE_LOST,
    ),
    Case(
        "nodes that vanish after a launch that was repeated are lost, whatever had failed before it",
        b.facts(R1),
        b.ledger(counted="request/req-9", failure_reason="Unschedulable", attempts=1, starting_since=b.ago(60)),
        Phase.FAILED,
        Reason.INSTANCE_LOST,
    ),
    Case(
        "a rented replica whose record is gone after a restart was lost, not interrupted",
        b.facts(R1, terminated=b.TERMINATED),
        RENTED,
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (LAUNCH,),
    ),
    Case(
        "a rented replica without a record is not launched again before its machines are accounted for",
        b.facts(R1),
        RENTED,
        Phase.LAUNCHING,
        Reason.LAUNCHING,
        asks=(QuestionKind.HISTORY,),
    ),
    Case(
        "nor before its engine was asked",
        b.facts(R1, terminated=Known(None, b.NOW)),
        RENTED,
        Phase.STARTING,
        Reason.ENGINE_STARTING,
    ),
    Case(
        "a replica that was scaled away and is wanted again is launched like a new one",
        b.facts(R1),
        b.ledger(leaving_since=b.ago(60), teardown_at=b.ago(50)),
        Phase.LAUNCHING,
        Reason.LAUNCHING,
        (LAUNCH,),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.says for case in CASES])
def test_a_replica_is_found_to_be_where_its_requests_are(case: Case) -> None:
    check(case)
