"""What one replica is, and what to do about it: an ordered chain of rules, the first that speaks decides.

The chain is read from top to bottom like a checklist on call: does it answer; can SkyPilot be asked; is something
already under way; is anything there at all; is the cluster whole; what does the engine's job say. A rule returns None
when it has nothing to say.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Instance, Phase
from deepseek_operator.reconcile.actions import Action, ClearRemains, Launch, RunAgain, TearDown
from deepseek_operator.reconcile.clock import parse_time
from deepseek_operator.reconcile.retry import BUSY_LOOK_S, carry, failed, older
from deepseek_operator.reconcile.text import cause
from deepseek_operator.reconcile.view import Assessment, View
from deepseek_operator.reconcile.world import ClusterState, Failure, JobState, Outcome, RequestKind, RequestState

__all__ = ["answers", "assess", "retire"]

UNRESPONSIVE_S: Final = 180
"""Seconds for which an engine may be silent while its job runs, before the replica is replaced."""
LAUNCH_GRACE_S: Final = 3600
"""Seconds beside the provision timeout that a launch may take: pulling a 15 GB image is slow, not stuck."""
DRAIN_S: Final = 10
"""Seconds between a replica's leaving the Service and its teardown: no new request comes, those under way end."""


Rule = Callable[[View], Assessment | None]


def assess(view: View) -> Assessment:
    """Return what a wanted replica is and what brings it nearer to answering."""
    for rule in _RULES:
        if (assessment := rule(view)) is not None:
            return carry(view, assessment)
    raise AssertionError(f"no rule speaks for {view!r}")  # the last rule always does


def answers(view: View) -> bool:
    """Return whether the engine answers and nothing is about to take it away.

    A launch or exec in flight means that the job which answers is not yet the one that will stay.
    """
    return view.probe is not None and view.probe.healthy and not view.requests and bool(view.row or view.pods)


def retire(view: View, *, drain: bool = False) -> Assessment | None:
    """Return what takes a replica away that is no longer wanted; None when nothing is left of it.

    "Unknown to SkyPilot" is not "gone": its database can be lost while pods run, so pods and Services count too.

    Parameters
    ----------
    drain
        Whether a replica that answers first leaves the Service, and is torn down :data:`DRAIN_S` later.
    """
    if not view.reachable:
        return _terminating(view, Reason.SKYPILOT_UNAVAILABLE, view.unreachable_because)
    if view.in_flight(RequestKind.DOWN):
        return _terminating(view, Reason.TERMINATING, "SkyPilot gives the nodes back")
    if drain and answers(view) and (seconds := _drain_s(view)) > 0:
        message = "takes no new requests; its nodes are given back when those under way have had time to end"
        return replace(_terminating(view, Reason.TERMINATING, message), next_look_s=seconds)
    if view.row or view.requests:
        return _tear_down(view)
    if view.pods or view.services:
        leftovers = [pod.name for pod in view.pods] + [service.name for service in view.services]
        message = f"SkyPilot does not know {view.name}; removing what is left of it: {', '.join(leftovers[:6])}"
        return _terminating(view, Reason.TERMINATING, message, ClearRemains(view.name))
    return None


# --- rules, in order ---------------------------------------------------------------------------------------------


def _ready(view: View) -> Assessment | None:
    if not answers(view):
        return None
    return Assessment(Phase.READY, Reason.READY, f"answers at {view.address}")


def _skypilot_unavailable(view: View) -> Assessment | None:
    if view.reachable:
        return None
    phase = view.previous.phase if view.previous and view.previous.phase is not Phase.READY else Phase.PENDING
    return Assessment(phase, Reason.SKYPILOT_UNAVAILABLE, view.unreachable_because, next_look_s=BUSY_LOOK_S)


def _being_torn_down(view: View) -> Assessment | None:
    """A replica that is wanted is only torn down to be made anew, so the failure that led here stays on show."""
    if view.in_flight(RequestKind.DOWN) is None:
        return None
    if view.previous and view.previous.failure:
        return Assessment(Phase.FAILED, Reason(view.previous.reason), view.previous.message, next_look_s=BUSY_LOOK_S)
    return Assessment(Phase.TERMINATING, Reason.TERMINATING, "its nodes are given back before it is launched anew")


def _under_way(view: View) -> Assessment | None:
    request = view.in_flight(RequestKind.LAUNCH, RequestKind.EXEC)
    if request is None:
        return None
    limit = view.provision_timeout_seconds + LAUNCH_GRACE_S
    if request.state is RequestState.RUNNING and view.now - request.created_at > timedelta(seconds=limit):
        failure = Failure(Reason.LAUNCH_TIMED_OUT, f"the launch did not end within {limit} s and is taken down")
        return failed(view, f"request/{request.id}", failure, TearDown(view.name), at_once=True)
    trouble = next((pod.trouble for pod in view.pods if pod.trouble), None)
    if trouble is not None:
        return Assessment(Phase.LAUNCHING, trouble.reason, trouble.message, next_look_s=BUSY_LOOK_S)
    if request.state is RequestState.PENDING:
        message = "waits for a free launch worker of the SkyPilot server"
        return Assessment(Phase.LAUNCHING, Reason.QUEUED, message, next_look_s=BUSY_LOOK_S)
    words = (view.row.detail if view.row else "") or request.detail or "SkyPilot is looking for nodes"
    return Assessment(Phase.LAUNCHING, Reason.LAUNCHING, words, next_look_s=BUSY_LOOK_S)


def _nothing_there(view: View) -> Assessment | None:
    if view.exists:
        return None
    if view.blocked is not None:
        return Assessment(Phase.PENDING, view.blocked.reason, view.blocked.message, next_look_s=BUSY_LOOK_S)
    launch = Launch(view.name, view.name.revision)
    if (lost := _failed_launch(view)) is not None:
        return failed(view, f"request/{lost.request_id}", _why(lost), launch)
    previous = view.previous
    if previous is None or previous.phase in (Phase.PENDING, Phase.TERMINATING) or _forgotten(previous):
        return Assessment(Phase.LAUNCHING, Reason.LAUNCHING, "asking SkyPilot for nodes", (launch,), BUSY_LOOK_S)
    if previous.phase in (Phase.READY, Phase.STARTING):
        failure = Failure(Reason.INSTANCE_LOST, "its nodes vanished; it is launched again")
        return failed(view, f"lost/{previous.since}", failure, launch, at_once=True)
    if previous.phase is Phase.LAUNCHING:
        failure = Failure(Reason.LAUNCH_INTERRUPTED, "the SkyPilot server forgot the launch; it is launched again")
        return failed(view, f"interrupted/{previous.since}", failure, launch, at_once=True)
    return failed(view, previous.failure, Failure(Reason(previous.reason), previous.message), launch)


def _remains(view: View) -> Assessment | None:
    """Pods that SkyPilot does not know would be adopted by a launch, and get a second engine beside the first."""
    if view.row is not None:
        return None
    failure = Failure(Reason.INSTANCE_LOST, "SkyPilot does not know its nodes any more; they are removed first")
    counted = f"lost/{view.previous.since if view.previous else ''}"
    if view.previous and view.previous.failure:
        counted, failure = view.previous.failure, Failure(Reason(view.previous.reason), view.previous.message)
    return failed(view, counted, failure, ClearRemains(view.name), at_once=True)


def _broken_cluster(view: View) -> Assessment | None:
    """INIT without a request in flight is a launch that failed or was cut off: no launch is ever resumed."""
    row = view.row
    assert row is not None
    remove = TearDown(view.name)
    if (lost := _failed_launch(view)) is not None:
        return failed(view, f"request/{lost.request_id}", _why(lost), remove, at_once=True)
    if row.on_kubernetes and row.state is ClusterState.UP and sum(pod.running for pod in view.pods) < view.nodes:
        gone = view.nodes - sum(pod.running for pod in view.pods)
        failure = Failure(Reason.INSTANCE_LOST, f"{gone} of its {view.nodes} pods are gone; it is launched anew")
        return failed(view, f"lost/{row.generation}", failure, remove, at_once=True)
    if row.state is ClusterState.UP:
        return None
    words = f": {row.detail}" if row.detail else ""
    failure = Failure(Reason.LAUNCH_INTERRUPTED, f"SkyPilot holds it as {row.state} and no launch is under way{words}")
    return failed(view, f"row/{row.generation}/{row.state}", failure, remove, at_once=True)


def _engine_gone(view: View) -> Assessment | None:
    row, job = view.row, view.job
    assert row is not None
    if job is None or job.state is JobState.ACTIVE:
        return None
    counted = f"job/{row.generation[:8]}/{job.id}"
    if job.state is JobState.NONE:
        # The server died after the nodes came up and before it submitted the job: a launch adopts them.
        if view.blocked is not None:
            return Assessment(Phase.PENDING, view.blocked.reason, view.blocked.message, next_look_s=BUSY_LOOK_S)
        launch = Launch(view.name, view.name.revision)
        return Assessment(
            Phase.LAUNCHING, Reason.LAUNCHING, "the nodes are up without an engine", (launch,), BUSY_LOOK_S
        )
    if job.state is JobState.UNREACHABLE:
        failure = Failure(Reason.LAUNCH_INTERRUPTED, f"SkyPilot cannot reach its nodes: {job.status}")
        return failed(view, counted, failure, TearDown(view.name), at_once=True)
    if job.state is JobState.DRIVER_LOST:
        failure = Failure(Reason.ENGINE_EXITED, "SkyPilot's job driver on the head node died; launched anew")
        return failed(view, counted, failure, TearDown(view.name), at_once=True)
    words = f"the engine ended ({job.status})"
    why = cause(job.log_tail)
    failure = Failure(Reason.ENGINE_EXITED, f"{words}: {why}" if why else words)
    return failed(view, counted, failure, RunAgain(view.name, view.name.revision), restart=True)


def _engine_silent(view: View) -> Assessment | None:
    """The job runs and the engine does not answer: it is starting, or it hangs."""
    previous = view.previous
    was_ready = previous is not None and (
        previous.phase is Phase.READY or previous.reason == Reason.ENGINE_UNRESPONSIVE
    )
    since = parse_time(previous.since) if previous and previous.since else None
    detail = f": {view.probe.detail}" if view.probe and view.probe.detail else ""
    if was_ready:
        assert previous is not None
        if previous.phase is not Phase.READY and older(view, since, UNRESPONSIVE_S):
            failure = Failure(Reason.ENGINE_UNRESPONSIVE, f"no answer for {UNRESPONSIVE_S} s{detail}; launched anew")
            return failed(view, f"silent/{previous.since}", failure, TearDown(view.name), at_once=True)
        message = f"its job runs but it stopped answering{detail}"
        return Assessment(Phase.STARTING, Reason.ENGINE_UNRESPONSIVE, message, next_look_s=BUSY_LOOK_S)
    if previous and previous.phase is Phase.STARTING and older(view, since, view.startup_seconds):
        failure = Failure(
            Reason.ENGINE_START_TIMED_OUT,
            f"no answer within {view.startup_seconds} s of its start{detail}; launched anew",
        )
        return failed(view, f"slow/{previous.since}", failure, TearDown(view.name), at_once=True)
    where = f" at {view.address}" if view.address else ""
    message = f"the nodes are up and the engine loads the model; no answer yet{where}"
    return Assessment(Phase.STARTING, Reason.ENGINE_STARTING, message, next_look_s=BUSY_LOOK_S)


_RULES: Final[tuple[Rule, ...]] = (
    _ready,
    _skypilot_unavailable,
    _being_torn_down,
    _under_way,
    _nothing_there,
    _remains,
    _broken_cluster,
    _engine_gone,
    _engine_silent,
)


# --- shared by the rules -----------------------------------------------------------------------------------------


def _forgotten(previous: Instance) -> bool:
    return previous.phase is Phase.FAILED and not previous.failure


def _failed_launch(view: View) -> Outcome | None:
    outcome = view.outcome
    if outcome is None or outcome.failure is None or outcome.kind is RequestKind.DOWN:
        return None
    return outcome


def _why(outcome: Outcome) -> Failure:
    assert outcome.failure is not None
    return outcome.failure


def _terminating(view: View, reason: Reason, message: str, *actions: Action) -> Assessment:
    assessment = Assessment(Phase.TERMINATING, reason, message, actions, next_look_s=BUSY_LOOK_S)
    return carry(view, assessment)


def _drain_s(view: View) -> float:
    """Return how long a replica that answers stays after it has left the Service."""
    previous = view.previous
    if previous is None or previous.phase is not Phase.TERMINATING or previous.since is None:
        return DRAIN_S
    return DRAIN_S - (view.now - parse_time(previous.since)).total_seconds()


def _tear_down(view: View) -> Assessment:
    outcome, remove = view.outcome, TearDown(view.name)
    if outcome is None or outcome.kind is not RequestKind.DOWN or outcome.failure is None:
        return _terminating(view, Reason.TERMINATING, "SkyPilot is asked to give the nodes back", remove)
    failure = Failure(Reason.TEARDOWN_FAILED, f"SkyPilot could not give the nodes back: {outcome.failure.message}")
    return replace(failed(view, f"request/{outcome.request_id}", failure, remove), phase=Phase.TERMINATING)
