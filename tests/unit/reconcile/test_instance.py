"""The rules for one replica, as a table: what is seen, what is said, what is done."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.reconcile.actions import ClearRemains, Launch, RunAgain, TearDown
from deepseek_operator.reconcile.decide import decide
from deepseek_operator.reconcile.world import ClusterState, Failure, JobState, Probe, RequestKind, RequestState
from tests.unit.reconcile import builders as b

DSD = b.deployment()
R1 = b.name(DSD)
LAUNCH, AGAIN, DOWN, CLEAR = Launch(R1, R1.revision), RunAgain(R1, R1.revision), TearDown(R1), ClearRemains(R1)


@dataclass
class Case:
    """One line of the table."""

    says: str
    seen: dict[str, Any]
    phase: Phase
    reason: Reason
    does: tuple[Any, ...] = ()
    before: dict[str, Any] = field(default_factory=dict)
    message: str = ""


def before(phase: Phase, reason: Reason, **fields: Any) -> dict[str, Any]:
    return {"phase": phase, "reason": reason, **fields}


UP_AND_RUNNING = {"skypilot": b.skypilot(b.row(R1)), "pods": (b.pod(R1),), "addresses": {R1: "10.88.0.5:8000"}}
CASES = [
    Case("a new replica is launched", {}, Phase.LAUNCHING, Reason.LAUNCHING, (LAUNCH,)),
    Case(
        "a launch without a worker says that it queues",
        {"skypilot": b.skypilot(b.request(R1, state=RequestState.PENDING))},
        Phase.LAUNCHING,
        Reason.QUEUED,
    ),
    Case(
        "a launch under way speaks SkyPilot's words",
        {"skypilot": b.skypilot(b.request(R1), b.row(R1, ClusterState.INIT, detail="Instances launched"))},
        Phase.LAUNCHING,
        Reason.LAUNCHING,
        message="Instances launched",
    ),
    Case(
        "a pod that no node takes is told while the launch still waits",
        {
            "skypilot": b.skypilot(b.request(R1)),
            "pods": (b.pod(R1, phase="Pending", trouble=Failure(Reason.UNSCHEDULABLE, "0/1 nodes are available")),),
        },
        Phase.LAUNCHING,
        Reason.UNSCHEDULABLE,
        message="0/1 nodes are available",
    ),
    Case(
        "a launch that never ends is taken down",
        {"skypilot": b.skypilot(b.request(R1, since=4000))},
        Phase.FAILED,
        Reason.LAUNCH_TIMED_OUT,
        (DOWN,),
    ),
    Case(
        "a failed launch waits before it is tried again",
        {"outcomes": {R1: b.failed_launch()}},
        Phase.FAILED,
        Reason.UNSCHEDULABLE,
        (),
        before(Phase.LAUNCHING, Reason.LAUNCHING),
    ),
    Case(
        "a failed launch is tried again when its time has come",
        {"outcomes": {R1: b.failed_launch()}},
        Phase.FAILED,
        Reason.UNSCHEDULABLE,
        (LAUNCH,),
        before(Phase.FAILED, Reason.UNSCHEDULABLE, failure="request/req-9", attempts=1, retry_after=b.ago(1)),
    ),
    Case(
        "a launch that the server forgot is launched again at once",
        {},
        Phase.FAILED,
        Reason.LAUNCH_INTERRUPTED,
        (LAUNCH,),
        before(Phase.LAUNCHING, Reason.LAUNCHING),
    ),
    Case(
        "INIT without a launch under way is torn down, for no launch is resumed",
        {"skypilot": b.skypilot(b.row(R1, ClusterState.INIT)), "pods": (b.pod(R1),)},
        Phase.FAILED,
        Reason.LAUNCH_INTERRUPTED,
        (DOWN,),
        before(Phase.LAUNCHING, Reason.LAUNCHING),
    ),
    Case(
        "UP after a failed launch is not believed: its nodes are given back",
        {**UP_AND_RUNNING, "outcomes": {R1: b.failed_launch(Reason.LAUNCH_FAILED, "kubectl exec failed")}},
        Phase.FAILED,
        Reason.LAUNCH_FAILED,
        (DOWN,),
        before(Phase.LAUNCHING, Reason.LAUNCHING),
    ),
    Case(
        "UP without a job is launched again, which adopts the nodes",
        {**UP_AND_RUNNING, "jobs": {R1: b.job(JobState.NONE)}},
        Phase.LAUNCHING,
        Reason.LAUNCHING,
        (LAUNCH,),
        before(Phase.LAUNCHING, Reason.LAUNCHING),
    ),
    Case(
        "UP with a job that runs is an engine that starts",
        {**UP_AND_RUNNING, "jobs": {R1: b.job(JobState.ACTIVE)}},
        Phase.STARTING,
        Reason.ENGINE_STARTING,
        (),
        before(Phase.LAUNCHING, Reason.LAUNCHING),
    ),
    Case(
        "UP is not ready while the engine refuses",
        {
            **UP_AND_RUNNING,
            "jobs": {R1: b.job(JobState.ACTIVE)},
            "probes": {"10.88.0.5:8000": Probe(False, b.NOW, "connection refused")},
        },
        Phase.STARTING,
        Reason.ENGINE_STARTING,
        (),
        before(Phase.STARTING, Reason.ENGINE_STARTING),
    ),
    Case(
        "an engine that answers is ready",
        {**UP_AND_RUNNING, "probes": b.healthy()},
        Phase.READY,
        Reason.READY,
        (),
        before(Phase.STARTING, Reason.ENGINE_STARTING),
    ),
    Case(
        "an engine that answers while SkyPilot is away stays ready",
        {
            "skypilot": b.skypilot(b.row(R1), reachable=False, message="connection refused"),
            "pods": (b.pod(R1),),
            "addresses": {R1: "10.88.0.5:8000"},
            "probes": b.healthy(),
        },
        Phase.READY,
        Reason.READY,
        (),
        before(Phase.READY, Reason.READY),
    ),
    Case(
        "an engine that answers although SkyPilot forgot it is left alone",
        {"pods": (b.pod(R1),), "addresses": {R1: "10.88.0.5:8000"}, "probes": b.healthy()},
        Phase.READY,
        Reason.READY,
        (),
        before(Phase.READY, Reason.READY),
    ),
    Case(
        "nothing is launched while SkyPilot is away",
        {"skypilot": b.skypilot(reachable=False, message="connection refused")},
        Phase.PENDING,
        Reason.SKYPILOT_UNAVAILABLE,
        message="connection refused",
    ),
    Case(
        "pods that SkyPilot does not know are removed before anything is launched",
        {"pods": (b.pod(R1),)},
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (CLEAR,),
        before(Phase.READY, Reason.READY),
    ),
    Case(
        "a ready replica whose nodes vanished is launched again at once",
        {},
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (LAUNCH,),
        before(Phase.READY, Reason.READY),
    ),
    Case(
        "a replica whose pod is gone while SkyPilot says UP is torn down",
        {"skypilot": b.skypilot(b.row(R1))},
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (DOWN,),
        before(Phase.READY, Reason.READY),
    ),
    Case(
        "an engine that exits waits before it runs again, and its last lines are shown",
        {**UP_AND_RUNNING, "jobs": {R1: b.job(JobState.ENDED, log_tail="ValueError: no such model\n")}},
        Phase.FAILED,
        Reason.ENGINE_EXITED,
        (),
        before(Phase.STARTING, Reason.ENGINE_STARTING),
        "ValueError: no such model",
    ),
    Case(
        "an engine that exited runs again on the same nodes",
        {**UP_AND_RUNNING, "jobs": {R1: b.job(JobState.ENDED)}},
        Phase.FAILED,
        Reason.ENGINE_EXITED,
        (AGAIN,),
        before(Phase.FAILED, Reason.ENGINE_EXITED, failure="job/g1/1", attempts=1, retry_after=b.ago(1)),
    ),
    Case(
        "the third exit in a row is a crash loop",
        {**UP_AND_RUNNING, "jobs": {R1: b.job(JobState.ENDED, id=3)}},
        Phase.FAILED,
        Reason.ENGINE_CRASH_LOOP,
        (),
        before(Phase.STARTING, Reason.ENGINE_STARTING, failure="job/g1/2", attempts=2),
    ),
    Case(
        "an exit after ten good minutes is the first again",
        {**UP_AND_RUNNING, "jobs": {R1: b.job(JobState.ENDED, id=3)}},
        Phase.FAILED,
        Reason.ENGINE_EXITED,
        (),
        before(Phase.READY, Reason.READY, since=601, failure="job/g1/2", attempts=2),
    ),
    Case(
        "nodes that SkyPilot cannot reach are given back",
        {**UP_AND_RUNNING, "jobs": {R1: b.job(JobState.UNREACHABLE)}},
        Phase.FAILED,
        Reason.LAUNCH_INTERRUPTED,
        (DOWN,),
        before(Phase.STARTING, Reason.ENGINE_STARTING),
    ),
    Case(
        "an engine that stopped answering gets time",
        {**UP_AND_RUNNING, "jobs": {R1: b.job(JobState.ACTIVE)}},
        Phase.STARTING,
        Reason.ENGINE_UNRESPONSIVE,
        (),
        before(Phase.READY, Reason.READY),
    ),
    Case(
        "an engine that stays silent is replaced",
        {**UP_AND_RUNNING, "jobs": {R1: b.job(JobState.ACTIVE)}},
        Phase.FAILED,
        Reason.ENGINE_UNRESPONSIVE,
        (DOWN,),
        before(Phase.STARTING, Reason.ENGINE_UNRESPONSIVE, since=181),
    ),
    Case(
        "an engine that never answers is started anew",
        {**UP_AND_RUNNING, "jobs": {R1: b.job(JobState.ACTIVE)}},
        Phase.FAILED,
        Reason.ENGINE_START_TIMED_OUT,
        (DOWN,),
        before(Phase.STARTING, Reason.ENGINE_STARTING, since=100_000),
    ),
    Case(
        "a replica being torn down to be made anew keeps showing why",
        {"skypilot": b.skypilot(b.row(R1), b.request(R1, RequestKind.DOWN))},
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (),
        before(Phase.FAILED, Reason.INSTANCE_LOST, failure="lost/g1", attempts=1, message="1 pod is gone"),
        "1 pod is gone",
    ),
    Case(
        "a missing Secret is said before anything is launched",
        {"missing_secrets": ("Secret hf does not exist",)},
        Phase.PENDING,
        Reason.SECRET_NOT_FOUND,
        message="Secret hf does not exist",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.says for case in CASES])
def test_a_replica(case: Case) -> None:
    of = b.with_instances(DSD, b.instance(R1, **case.before)) if case.before else DSD
    decision = decide(b.world(of, **case.seen))
    assert decision.status is not None
    (said,) = decision.status.instances
    acts = tuple(
        action for action in decision.actions if isinstance(action, Launch | RunAgain | TearDown | ClearRemains)
    )
    assert (said.phase, said.reason, acts) == (case.phase, case.reason, case.does)
    assert case.message in said.message


def test_a_failure_is_counted_once_however_often_it_is_seen() -> None:
    seen = {"outcomes": {R1: b.failed_launch()}}
    of = b.with_instances(DSD, b.instance(R1, Phase.LAUNCHING, Reason.LAUNCHING))
    for _ in range(3):
        status = decide(b.world(of, **seen)).status
        assert status is not None
        assert status.instances[0].attempts == 1
        of = of.model_copy(update={"status": status})


def test_backoff_doubles_up_to_two_minutes() -> None:
    waits = []
    for attempts in range(8):
        of = b.with_instances(DSD, b.instance(R1, Phase.LAUNCHING, Reason.LAUNCHING, attempts=attempts, failure="x"))
        decision = decide(b.world(of, outcomes={R1: b.failed_launch()}))
        waits.append(decision.next_look_s)
    assert waits == [10, 20, 40, 80, 120, 120, 120, 120]


def test_a_launch_that_must_not_be_repeated_is_stalled() -> None:
    of = b.deployment(resources={**b.CPU_SPEC["resources"], "retryUntilUp": False})
    cluster = b.name(of)
    of = b.with_instances(of, b.instance(cluster, Phase.LAUNCHING, Reason.LAUNCHING))
    decision = decide(b.world(of, outcomes={cluster: b.failed_launch()}))
    assert decision.status is not None
    conditions = {c.type: (c.status, c.reason) for c in decision.status.conditions}
    assert conditions["Stalled"] == ("True", "Unschedulable")
    assert decision.actions == ()
    assert decision.next_look_s is None
