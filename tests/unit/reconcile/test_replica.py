"""The rules for one replica, as a table: what is known, what is found, what is done."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Ledger, Phase
from deepseek_operator.facts.base import Address, Failure, Known, Unknown
from deepseek_operator.facts.kubernetes import LaunchedService, Pod
from deepseek_operator.facts.skypilot import JobState, Outcome, RequestKind
from deepseek_operator.facts.world import NOT_ASKED, QuestionKind, ReplicaFacts
from deepseek_operator.reconcile.actions import ClearRemains, Launch, RunAgain, TearDown
from deepseek_operator.reconcile.decide import decide
from deepseek_operator.reconcile.replica.coming import COMING
from deepseek_operator.reconcile.replica.leaving import LEAVING
from deepseek_operator.reconcile.replica.look import look
from deepseek_operator.reconcile.replica.rules import want
from deepseek_operator.reconcile.replica.view import View
from tests.unit.reconcile import builders as b

DSD = b.deployment()
R1 = b.name(DSD)
AT = Address(b.host(), b.PORT)
LAUNCH, AGAIN, DOWN = Launch(R1), RunAgain(R1), TearDown(R1)
CLEAR = ClearRemains(R1, (f"{R1}-d5ee9000",))
NEW, LAUNCHED = Ledger(), b.ledger()
STARTING = b.ledger(starting_since=b.ago(60))
READY = b.ledger(ready_since=b.ago(60), address=str(AT))
SILENT = b.ledger(silent_since=b.ago(20), address=str(AT))


@dataclass
class Case:
    """One line of the table."""

    says: str
    known: ReplicaFacts
    ledger: Ledger
    phase: Phase
    reason: Reason
    does: tuple[Any, ...] = ()
    message: str = ""
    asks: tuple[QuestionKind, ...] = ()
    world: dict[str, Any] = field(default_factory=dict)


HALF = b.row(R1, "INIT", cloud="AWS", nodes=2, incomplete=True)
SPOT = b.row(R1, cloud="AWS", region="us-east-1", spot=True)
RENTED = b.ledger(infra="aws", price="0.8048", renting=True, address="3.4.5.6:8000", ready_since=b.ago(60))
RENTED_AT = Address("3.4.5.6", 8000)


def ended_launch(seconds: float) -> Known[Outcome | None]:
    """The last launch succeeded so many seconds ago."""
    return Known(Outcome("req-2", RequestKind.LAUNCH, b.ago(seconds)), b.NOW)


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
        b.facts(R1, skypilot=b.seen(b.request(R1, since=4000))),
        LAUNCHED,
        Phase.FAILED,
        Reason.LAUNCH_TIMED_OUT,
        (DOWN,),
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
        "UP without a job is launched again, which adopts the nodes",
        b.up(R1, job=b.job(JobState.NONE)),
        LAUNCHED,
        Phase.LAUNCHING,
        Reason.LAUNCHING,
        (LAUNCH,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "UP with a job that runs is an engine that starts",
        b.up(R1),
        LAUNCHED,
        Phase.STARTING,
        Reason.ENGINE_STARTING,
        world={"probes": b.silent(AT)},
    ),
    Case(
        "an old answer about a running job is asked for again",
        b.up(R1, job=b.job(JobState.ACTIVE, age=16)),
        STARTING,
        Phase.STARTING,
        Reason.ENGINE_STARTING,
        asks=(QuestionKind.JOB,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "an engine that answers is ready",
        b.up(R1),
        STARTING,
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(AT)},
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
        "a ready engine stays ready when a late launch turns up",
        replace(b.up(R1), skypilot=b.seen(b.row(R1), b.request(R1))),
        READY,
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(AT)},
    ),
    Case(
        "an engine that answers while SkyPilot is away stays ready",
        b.facts(R1, skypilot=b.AWAY, pods=(b.pod(R1),)),
        READY,
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(AT), "skypilot": b.AWAY},
    ),
    Case(
        "an engine that answers although SkyPilot has forgotten it is left alone",
        b.facts(R1, pods=(b.pod(R1),)),
        READY,
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(AT)},
    ),
    Case(
        "a published engine that was not asked since a restart stays ready",
        b.up(R1),
        READY,
        Phase.READY,
        Reason.READY,
        world={"endpoints": (b.endpoints(AT),)},
    ),
    Case(
        "pods that were not probed since a restart are not deleted, whatever SkyPilot has forgotten",
        b.facts(R1, pods=(b.pod(R1),)),
        STARTING,
        Phase.STARTING,
        Reason.ENGINE_STARTING,
    ),
    Case(
        "a rented replica keeps its address while SkyPilot is away",
        b.facts(R1, skypilot=b.AWAY),
        RENTED,
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(RENTED_AT), "skypilot": b.AWAY},
    ),
    Case(
        "a rented replica that answers although SkyPilot lost its database is left alone",
        b.facts(R1),
        RENTED,
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(RENTED_AT)},
        asks=(QuestionKind.HISTORY,),
    ),
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
        "pods that SkyPilot does not know are deleted before anything is launched",
        b.facts(R1, pods=(b.pod(R1),)),
        READY,
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (CLEAR,),
        world={"probes": b.silent(AT)},
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
        "a single machine that answers is there, whatever SkyPilot says",
        b.facts(R1, skypilot=b.seen(replace(HALF, nodes=1))),
        RENTED,
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(RENTED_AT)},
    ),
    Case(
        "several machines of which SkyPilot could not find out anything go on serving",
        b.facts(R1, skypilot=b.seen(replace(HALF, incomplete=False))),
        RENTED,
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(RENTED_AT)},
    ),
    Case(
        "a spot machine that was taken back is named as such",
        b.facts(R1, skypilot=b.seen(SPOT), job=b.job(JobState.UNREACHABLE)),
        RENTED,
        Phase.FAILED,
        Reason.PREEMPTED,
        (DOWN,),
        world={"probes": b.silent(RENTED_AT)},
    ),
    Case(
        "an engine that exits waits before it runs again, and its last lines are shown",
        b.up(R1, job=b.job(JobState.ENDED, log_tail="ValueError: no such model\n")),
        STARTING,
        Phase.FAILED,
        Reason.ENGINE_EXITED,
        message="ValueError: no such model",
        world={"probes": b.silent(AT)},
    ),
    Case(
        "an engine that exited runs again on the same nodes",
        b.up(R1, job=b.job(JobState.ENDED)),
        b.ledger(counted="job/g1/1", attempts=1, retry_after=b.ago(1)),
        Phase.FAILED,
        Reason.ENGINE_EXITED,
        (AGAIN,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "the third exit in a row is a crash loop",
        b.up(R1, job=b.job(JobState.ENDED, id=3)),
        b.ledger(starting_since=b.ago(9), counted="job/g1/2", attempts=2),
        Phase.FAILED,
        Reason.ENGINE_CRASH_LOOP,
        world={"probes": b.silent(AT)},
    ),
    Case(
        "an exit after ten good minutes is the first again",
        b.up(R1, job=b.job(JobState.ENDED, id=3)),
        b.ledger(ready_since=b.ago(601), counted="job/g1/2", attempts=2),
        Phase.FAILED,
        Reason.ENGINE_EXITED,
        world={"probes": b.silent(AT)},
    ),
    Case(
        "nodes that SkyPilot cannot reach are torn down",
        b.up(R1, job=b.job(JobState.UNREACHABLE)),
        STARTING,
        Phase.FAILED,
        Reason.LAUNCH_INTERRUPTED,
        (DOWN,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "an engine whose job driver died is launched again",
        b.up(R1, job=b.job(JobState.DRIVER_LOST)),
        STARTING,
        Phase.FAILED,
        Reason.ENGINE_EXITED,
        (DOWN,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "an engine that stopped answering gets time",
        b.up(R1),
        READY,
        Phase.STARTING,
        Reason.ENGINE_UNRESPONSIVE,
        world={"probes": b.silent(AT)},
    ),
    Case(
        "a question that SkyPilot does not answer keeps nothing from being seen",
        b.up(R1, job=Unknown("time-out", b.NOW)),
        READY,
        Phase.STARTING,
        Reason.ENGINE_UNRESPONSIVE,
        asks=(QuestionKind.JOB,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "an engine that stays silent is replaced",
        b.up(R1),
        b.ledger(silent_since=b.ago(181)),
        Phase.FAILED,
        Reason.ENGINE_UNRESPONSIVE,
        (DOWN,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "an engine that never answers is launched again",
        b.up(R1),
        b.ledger(starting_since=b.ago(3601)),
        Phase.FAILED,
        Reason.ENGINE_START_TIMED_OUT,
        (DOWN,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "an engine that starts may be out of reach for a moment",
        b.up(R1),
        b.ledger(starting_since=b.ago(59)),
        Phase.STARTING,
        Reason.ENGINE_STARTING,
        world={"probes": b.silent(AT, dropped=True)},
    ),
    Case(
        "an engine whose connections are dropped is blocked by a NetworkPolicy",
        b.up(R1),
        b.ledger(starting_since=b.ago(60)),
        Phase.STARTING,
        Reason.ENGINE_PORT_BLOCKED,
        message=f"connections to {AT} are dropped, neither accepted nor refused, as a NetworkPolicy does; its nodes",
        world={"probes": b.silent(AT, dropped=True)},
    ),
    Case(
        "an engine that was blocked until its time was up is launched again",
        b.up(R1),
        b.ledger(starting_since=b.ago(3601)),
        Phase.FAILED,
        Reason.ENGINE_PORT_BLOCKED,
        (DOWN,),
        world={"probes": b.silent(AT, dropped=True)},
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
        "nodes that vanish while the engine loads are lost",
        b.facts(R1),
        STARTING,
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (LAUNCH,),
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
        "a reason of another version is kept as a failed launch",
        b.facts(R1),
        b.ledger(counted="x/1", failure_reason="AccessDenied", attempts=1, retry_after=b.ago(1), teardown_at=b.ago(9)),
        Phase.FAILED,
        Reason.LAUNCH_FAILED,
        (LAUNCH,),
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
        "an engine that has served did not fail to launch",
        b.up(R1, outcome=b.failed_launch()),
        SILENT,
        Phase.STARTING,
        Reason.ENGINE_UNRESPONSIVE,
        message="its job runs but the engine stopped answering: connection refused",
        world={"probes": b.silent(AT)},
    ),
    Case(
        "rented machines have no pods to miss",
        b.facts(R1, skypilot=b.seen(b.row(R1, cloud="AWS")), job=b.job(JobState.ACTIVE)),
        b.ledger(infra="aws", address="3.4.5.6:8000", price="1", starting_since=b.ago(60)),
        Phase.STARTING,
        Reason.ENGINE_STARTING,
        message="no answer yet at 3.4.5.6:8000",
        world={"probes": b.silent(RENTED_AT)},
    ),
    Case(
        "the engine of a rented machine is blocked by a security group",
        b.facts(R1, skypilot=b.seen(b.row(R1, cloud="AWS")), job=b.job(JobState.ACTIVE)),
        b.ledger(infra="aws", address="3.4.5.6:8000", price="1", starting_since=b.ago(60)),
        Phase.STARTING,
        Reason.ENGINE_PORT_BLOCKED,
        message="connections to 3.4.5.6:8000 are dropped, neither accepted nor refused, as a security group or a fire",
        world={"probes": b.silent(RENTED_AT, dropped=True)},
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
    Case(
        "nodes that SkyPilot cannot reach after their engine has served are lost",
        b.up(R1, job=b.job(JobState.UNREACHABLE)),
        SILENT,
        Phase.FAILED,
        Reason.INSTANCE_LOST,
        (DOWN,),
        world={"probes": b.silent(AT)},
    ),
    Case(
        "a failure that was counted before its teardown could be noted is torn down",
        b.up(R1, job=b.job(JobState.DRIVER_LOST)),
        b.ledger(counted="job/g1/1", attempts=1, starting_since=b.ago(60)),
        Phase.FAILED,
        Reason.ENGINE_EXITED,
        (DOWN,),
        world={"probes": b.silent(AT)},
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
def test_a_wanted_replica_is_what_it_is_found_to_be(case: Case) -> None:
    seen = dict(case.world)
    of = b.deployment(**seen.pop("deployment", {}))
    known, expected = case.known, case.does
    if of is not DSD and b.name(of) != R1:
        known = replace(known, name=b.name(of))
        expected = tuple(replace(action, name=b.name(of)) for action in case.does)
    remembered = of if case.ledger == NEW else b.remembering(of, {known.name: case.ledger})
    decision, status = b.step(b.world(remembered, known, **seen))
    (said,) = status.instances
    assert (said.phase, said.reason) == (case.phase, case.reason)
    assert tuple(action for _, action in decision.actions) == expected
    assert tuple(question.kind for question in decision.asks) == case.asks
    assert case.message in said.message


def test_every_rule_says_why_it_stands_where_it_stands() -> None:
    for rule, why in (*COMING, *LEAVING):
        assert why.endswith("."), rule
        assert len(why.split()) > 6, rule


def test_without_a_log_an_engine_that_ended_is_described_by_its_state() -> None:
    of = b.remembering(DSD, {R1: STARTING})
    _, status = b.step(b.world(of, b.up(R1, job=b.job(JobState.ENDED)), probes=b.silent(AT)))
    assert status.instances[0].message == "the engine ended (FAILED)"


def test_without_a_detail_a_state_is_described_alone() -> None:
    for ledger, words in ((LAUNCHED, "and no launch is under way"), (SILENT, "launching again")):
        of = b.remembering(DSD, {R1: ledger})
        known = b.facts(R1, skypilot=b.seen(b.row(R1, "INIT")))
        assert b.step(b.world(of, known))[1].instances[0].message.rstrip(")").endswith(words)


def test_a_probe_without_a_detail_adds_nothing_to_the_message() -> None:
    of = b.remembering(DSD, {R1: SILENT})
    _, status = b.step(b.world(of, b.up(R1), probes=b.silent(AT, "")))
    assert status.instances[0].message.startswith("its job runs but the engine stopped answering; it is replaced")


def test_an_engine_without_an_address_answers_nowhere_yet() -> None:
    of = b.remembering(DSD, {R1: b.ledger(infra="aws", price="1")})
    _, status = b.step(b.world(of, b.facts(R1, skypilot=b.seen(b.row(R1, cloud="AWS")), job=b.job(JobState.ACTIVE))))
    assert "; no answer yet; it has time until" in status.instances[0].message


def test_an_engine_that_does_not_answer_says_until_when_it_is_waited_for() -> None:
    starting = b.ledger(starting_since=b.ago(60), startup_seconds=600)
    for ledger, until in ((starting, "12:09:00"), (b.ledger(silent_since=b.ago(60)), "12:02:00")):
        of = b.remembering(DSD, {R1: ledger})
        _, status = b.step(b.world(of, b.up(R1), probes=b.silent(AT)))
        assert status.instances[0].message.endswith(f"2026-11-24T{until}Z")


def test_the_start_of_an_engine_is_noted_once() -> None:
    for ledger, since in ((LAUNCHED, b.NOW), (STARTING, b.ago(60))):
        of = b.remembering(DSD, {R1: ledger})
        _, status = b.step(b.world(of, b.up(R1), probes=b.silent(AT)))
        assert status.instances[0].ledger.starting_since == since


def test_a_launch_gives_its_worker_back_only_once_it_has_one_and_time_to_find_nodes() -> None:
    stuck = (b.pod(R1, phase="Pending", trouble=Failure(Reason.UNSCHEDULABLE, "0/1 nodes are available")),)
    for state, since, given_back in (("RUNNING", 6, True), ("RUNNING", 4, False), ("WAITING", 6, False)):
        known = b.facts(R1, skypilot=b.seen(b.request(R1, state=state, since=since)), pods=stuck)
        view = look(b.world(DSD, known), known, LAUNCHED, b.planned(DSD), current=True)
        assert (want(replace(view, launches_waiting=True)).actions == (DOWN,)) is given_back


def test_what_has_no_plan_is_timed_out_without_its_timeout_and_never_final() -> None:
    """As a replica of an older revision."""
    launching = View(b.NOW, b.facts(R1, skypilot=b.seen(b.request(R1, since=3601))), LAUNCHED)
    assert want(launching).reason is Reason.LAUNCH_TIMED_OUT
    rented = b.ledger(infra="aws", place="aws/us-east-1", place_since=b.ago(1501))
    machines = View(b.NOW, b.facts(R1, skypilot=b.seen(b.request(R1), SPOT)), rented)
    assert want(machines).reason is Reason.LAUNCH_TIMED_OUT
    assert not want(View(b.NOW, b.facts(R1, outcome=b.failed_launch()), LAUNCHED)).final


def test_a_failure_is_counted_once_however_often_it_is_seen() -> None:
    of = b.remembering(DSD, {R1: LAUNCHED})
    for _ in range(3):
        _, status = b.step(b.world(of, b.facts(R1, outcome=b.failed_launch())))
        assert status.instances[0].attempts == 1
        of = of.model_copy(update={"status": status})


def test_backoff_doubles_up_to_two_minutes() -> None:
    waits = []
    for attempts in range(8):
        of = b.remembering(DSD, {R1: b.ledger(attempts=attempts, counted="x")})
        decision, _ = b.step(b.world(of, b.facts(R1, outcome=b.failed_launch())))
        waits.append(decision.next_look_s)
    assert waits == [10, 20, 40, 80, 120, 120, 120, 120]


def test_a_clock_that_was_set_back_does_not_stretch_a_backoff() -> None:
    future = b.ago(-3600)
    of = b.remembering(DSD, {R1: b.ledger(counted="request/req-9", attempts=1, retry_after=future)})
    decision, _ = b.step(b.world(of, b.facts(R1, outcome=b.failed_launch())))
    assert decision.next_look_s == 120


def test_a_launch_that_must_not_be_repeated_is_stalled() -> None:
    of = b.deployment(resources={**b.CPU_SPEC["resources"], "retryUntilUp": False})
    cluster = b.name(of)
    of = b.remembering(of, {cluster: LAUNCHED})
    decision, status = b.step(b.world(of, b.facts(cluster, outcome=b.failed_launch())))
    conditions = {c.type: (c.status, c.reason) for c in status.conditions}
    assert conditions["Stalled"] == ("True", "Unschedulable")
    assert decision.actions == ()
    assert decision.next_look_s is None


def test_a_replica_with_a_node_too_few_is_replaced() -> None:
    one_of_two = b.facts(R1, skypilot=b.seen(b.row(R1, nodes=2)), pods=(b.pod(R1),))
    worker_deleted = replace(one_of_two, pods=(b.pod(R1), Pod("w", str(R1), "x", False, "Running", None, True)))
    for known in (one_of_two, worker_deleted):
        of = b.remembering(DSD, {R1: READY})
        decision, status = b.step(b.world(of, known, probes=b.silent(AT)))
        assert (decision.actions, status.instances[0].reason) == (((R1, DOWN),), Reason.INSTANCE_LOST)
        assert "1 of its 2 pods are gone" in status.instances[0].message


@pytest.mark.parametrize("capacity", ["Spot", "SpotThenOnDemand"])
@pytest.mark.parametrize(("spot", "reason"), [(True, Reason.PREEMPTED), (False, Reason.INSTANCE_LOST)])
def test_machines_of_which_skypilot_has_no_record_any_more_were_taken_back_if_they_were_spot(
    capacity: str, spot: bool, reason: Reason
) -> None:
    of = b.rented_deployment(resources={"capacityType": capacity})
    name = b.name(of)
    known = {"secrets": b.API_KEY_EXISTS, "clouds": b.CLOUDS_ENABLED}
    looking = (replace(b.row(name), cloud="AWS", spot=True), b.request(name))
    ledger = RENTED
    for row in (looking, (replace(b.row(name), cloud="AWS", spot=spot),), ()):
        world = b.world(
            b.remembering(of, {name: ledger}), b.facts(name, skypilot=b.seen(*row), terminated=b.TERMINATED), **known
        )
        (found,) = decide(world, b.planned(of)).replicas
        ledger = found.finding.ledger
        assert ledger.spot is (spot and row is not looking)
    assert found.finding.reason is reason
