"""The rules for one replica, as a table: its nodes: there, whole, or lost."""

from dataclasses import replace

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.facts.kubernetes import LaunchedService
from deepseek_operator.facts.world import NOT_ASKED, QuestionKind
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.replica_table import (
    AT,
    CLEAR,
    DOWN,
    HALF,
    LAUNCHED,
    R1,
    READY,
    RENTED,
    RENTED_AT,
    SILENT,
    STARTING,
    Case,
    check,
    ended_launch,
)

CASES = [
    Case(
        "INIT without a launch under way is torn down, for no launch is resumed",
        b.facts(R1, skypilot=b.seen(b.row(R1, "INIT")), pods=(b.pod(R1),)),
        LAUNCHED,
        Phase.FAILED,
        Reason.LAUNCH_INTERRUPTED,
        (DOWN,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "UP after a failed launch is not believed: its nodes are torn down",
        b.up(R1, outcome=b.failed_launch(Reason.LAUNCH_FAILED, "kubectl exec failed")),
        LAUNCHED,
        Phase.FAILED,
        Reason.LAUNCH_FAILED,
        (DOWN,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "pods that were not probed since a restart are not deleted, whatever SkyPilot has forgotten",
        b.facts(R1, pods=(b.pod(R1),)),
        STARTING,
        Phase.STARTING,
        Reason.ENGINE_STARTING,
    ),
    Case(
        "pods that SkyPilot does not know are deleted before anything is launched",
        b.facts(R1, pods=(b.pod(R1),)),
        READY,
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (CLEAR,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "a replica whose pod is gone while SkyPilot says UP is torn down",
        replace(b.up(R1), pods=()),
        READY,
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (DOWN,),
    ),
    Case(
        "a replica that lost one of its machines is torn down although its head answers",
        b.facts(R1, skypilot=b.seen(HALF)),
        RENTED,
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (DOWN,),
        message="not all of its 2 nodes are there; launching again",
        world={"probes": b.answering(RENTED_AT)},
    ),
    Case(
        "a spot machine of several that was taken back is named as such, too",
        b.facts(R1, skypilot=b.seen(replace(HALF, spot=True))),
        RENTED,
        Phase.FAILED,
        Reason.PREEMPTED,
        (DOWN,),
        world={"probes": b.answering(RENTED_AT)},
    ),
    Case(
        "a Service that SkyPilot has forgotten is deleted before anything is launched",
        b.facts(R1, services=(LaunchedService("s", str(R1), f"{R1}-d5ee9000"),)),
        LAUNCHED,
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (CLEAR,),
    ),
    Case(
        "pods that outlive a teardown of a replica that is wanted again are a loss of their own",
        b.facts(R1, pods=(b.pod(R1),)),
        b.ledger(teardown_at=b.ago(8)),
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (CLEAR,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "pods that outlive the teardown for a failure keep showing that failure, and are not deleted every second",
        b.facts(R1, pods=(b.pod(R1),)),
        b.ledger(counted="slow/1", failure_reason="EngineStartTimedOut", attempts=1, teardown_at=b.ago(8)),
        Phase.FAILED,
        Reason.ENGINE_START_TIMED_OUT,
        world={"probes": b.silent(AT)},
    ),
    Case(
        "pods that outlive a teardown for long are deleted again",
        b.facts(R1, pods=(b.pod(R1),)),
        b.ledger(counted="slow/1", failure_reason="EngineStartTimedOut", attempts=1, teardown_at=b.ago(31)),
        Phase.FAILED,
        Reason.ENGINE_START_TIMED_OUT,
        (CLEAR,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "a loss after an earlier failure is a new failure",
        b.facts(R1, pods=(b.pod(R1),)),
        b.ledger(counted="job/g1/1", failure_reason="EngineExited", attempts=1),
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (CLEAR,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "before nodes are judged SkyPilot is asked how the last request ended",
        b.up(R1, outcome=NOT_ASKED),
        LAUNCHED,
        Phase.LAUNCHING,
        Reason.LAUNCHING,
        asks=(QuestionKind.OUTCOME,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "while SkyPilot is asked about an engine that stopped answering, that is what is shown",
        b.up(R1, outcome=NOT_ASKED),
        SILENT,
        Phase.STARTING,
        Reason.ENGINE_UNRESPONSIVE,
        message="the engine stopped answering: connection refused",
        asks=(QuestionKind.OUTCOME,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "INIT without pods is a launch that was cut off, not a loss",
        b.facts(R1, skypilot=b.seen(b.row(R1, "INIT", detail="no room"))),
        LAUNCHED,
        Phase.FAILED,
        Reason.LAUNCH_INTERRUPTED,
        (DOWN,),
        message="SkyPilot reports it as INIT and no launch is under way: no room",
    ),
    Case(
        "nodes that are not up any more after their engine has served are lost",
        replace(b.up(R1), skypilot=b.seen(b.row(R1, "STOPPED"))),
        SILENT,
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (DOWN,),
        message="SkyPilot reports it as STOPPED",
        world={"probes": b.silent(AT)},
    ),
    Case(
        "pods may be late after the end of a launch",
        replace(b.up(R1, outcome=ended_launch(29)), pods=()),
        LAUNCHED,
        Phase.LAUNCHING,
        Reason.LAUNCHING,
        message="waiting for Kubernetes to show its pods",
    ),
    Case(
        "pods that have not come long after the end of a launch are gone",
        replace(b.up(R1, outcome=ended_launch(31)), pods=()),
        b.ledger(launched_at=b.ago(10)),
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (DOWN,),
    ),
    Case(
        "pods of an engine that has stopped answering are not late but gone",
        replace(b.up(R1, outcome=ended_launch(5)), pods=()),
        SILENT,
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (DOWN,),
    ),
    Case(
        "pods may be late after a launch that SkyPilot does not remember",
        replace(b.up(R1), pods=()),
        b.ledger(launched_at=b.ago(29)),
        Phase.LAUNCHING,
        Reason.LAUNCHING,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.says for case in CASES])
def test_nodes_are_found_to_be_whole_or_lost(case: Case) -> None:
    check(case)
