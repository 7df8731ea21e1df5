"""Rules for a replica that is wanted and does not serve yet, or no longer serves.

The chain is read from top to bottom like an on-call checklist: can SkyPilot be asked; is something already under way;
is anything there at all; is the cluster whole; what does the engine's job say. The first rule that returns a finding
decides. :data:`COMING` says of each rule why it stands where it stands.
"""

from dataclasses import replace
from typing import Final

from deepseek_operator.api.places import KUBERNETES
from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.facts.base import Failure, Known
from deepseek_operator.facts.clock import elapsed
from deepseek_operator.facts.skypilot import (
    RequestKind,
    RequestState,
    SkyPilotClusterState,
    SkyPilotRequest,
)
from deepseek_operator.facts.world import QuestionKind
from deepseek_operator.reconcile.actions import ClearRemains, Launch
from deepseek_operator.reconcile.replica.engine import engine_gone, engine_silent, out_of_reach
from deepseek_operator.reconcile.replica.findings import (
    AGAIN,
    ask,
    counted_failure,
    failed_launch,
    given_up,
    in_words,
    loss,
    passing,
    recover_now,
    replace_nodes,
    stage,
    why_silent,
)
from deepseek_operator.reconcile.replica.ledger import SLOW_LOOK_S, count
from deepseek_operator.reconcile.replica.places import EXCLUDED_S, excluded_now
from deepseek_operator.reconcile.replica.remains import (
    names_on_cloud,
    unaccounted_words,
)
from deepseek_operator.reconcile.replica.stuck import stuck_teardown
from deepseek_operator.reconcile.replica.view import Finding, Health, Rule, View

__all__ = ["COMING"]

LAUNCH_GRACE_S: Final = 3600
"""Seconds besides the provision timeout that a launch may take: pulling a 15 GB image is slow, not stuck."""
MACHINES_S: Final = 1500
"""Seconds besides the provision timeout that machines of one place may take to come up. SkyPilot gives SSH 600 s and
sets up in 60 s; the rest pulls an image of 15 GB at 20 MB/s. SkyPilot alone waits up to an hour for a machine that
stays pending."""
IDLE_S: Final = 180
"""Seconds for which a worker of SkyPilot may have a launch without listing a cluster for it, which takes moments. One
that needs longer hangs: a worker whose launch before was cancelled can keep a lock for ever."""
PICKED_UP_S: Final = 5
"""Seconds within which a free launch worker takes a launch. One that waits for longer waits for a worker."""
STUCK_S: Final = 5
"""Seconds after which a launch whose pods cannot start gives its worker to a launch that waits for one."""
GIVEN_BACK: Final = 2
"""Launches in a row that do so where the spec lists a cloud, too. The next one keeps its worker until SkyPilot goes
on to the cloud, or a busy line would keep it from there for ever."""
PODS_LATE_S: Final = 30
"""Seconds after the end of a launch for which its pods may be missing here: a watch can be late, or have a gap."""

_OF_PODS: Final = frozenset({Reason.UNSCHEDULABLE, Reason.IMAGE_PULL_FAILED, Reason.POD_REJECTED})
"""What is wrong with pods that do not start."""
_LEFT_OUT: Final = f"; the place is left out for {EXCLUDED_S // 60} minutes if resources.infra has another one"


def _skypilot_unknown(view: View) -> Finding | None:
    if isinstance(view.facts.skypilot, Known):
        return None
    unknown = view.facts.skypilot
    if view.ledger.launched_at is not None and unknown.since is None:
        # Asked for nodes a moment ago, or this process has just started: the next snapshot will show it.
        return passing(stage(view, Phase.LAUNCHING, Reason.LAUNCHING, "waiting for SkyPilot to show the launch"))
    reason = Reason.STARTING if unknown.since is None else Reason.SKYPILOT_UNAVAILABLE
    if view.ledger.silent_since is not None:
        message = f"the engine stopped answering{why_silent(view)}; SkyPilot cannot be asked why: {unknown.why}"
        return stage(view, Phase.STARTING, Reason.ENGINE_UNRESPONSIVE, message)
    return stage(view, Phase.PENDING, reason, unknown.why)


def _may_still_be_heard(view: View) -> Finding | None:
    if not view.ledger.unanswered:
        return None
    what = in_words(view.ledger.unanswered)
    message = (
        f"SkyPilot did not answer when asked for a {what} and may still carry it out; nothing else is sent until that "
        "is certain"
    )
    return stage(view, Phase.LAUNCHING, Reason.SKYPILOT_UNAVAILABLE, message)


def _being_torn_down(view: View) -> Finding | None:
    if view.in_flight(RequestKind.DOWN) is None:
        return None
    if view.ledger.counted:
        # A wanted replica is torn down only to be launched again; the failure that caused this stays visible.
        failure = counted_failure(view)
        return stage(view, Phase.FAILED, failure.reason, failure.message, next_look_s=SLOW_LOOK_S)
    words = "its nodes are torn down before it is launched again"
    return stage(view, Phase.TERMINATING, Reason.TERMINATING, words, next_look_s=SLOW_LOOK_S)


def _under_way(view: View) -> Finding | None:
    request = view.in_flight(RequestKind.LAUNCH, RequestKind.EXEC)
    if request is None:
        return None
    timeout = view.plan.provision_timeout_seconds if view.plan is not None else 0
    limit, age = timeout + LAUNCH_GRACE_S, elapsed(view.now, request.created_at)
    if request.state is RequestState.RUNNING and age > limit:
        failure = Failure(Reason.LAUNCH_TIMED_OUT, f"the launch did not end within {limit} s and is torn down")
        return replace_nodes(view, _identity(request.kind, request.id), failure)
    if (late := _worker_hangs(view, request) or _machines_late(view, request)) is not None:
        return late
    trouble = next((pod.trouble for pod in view.facts.pods if pod.trouble), None)
    if trouble is not None:
        keeps = view.plan is not None and view.plan.rents and view.ledger.attempts >= GIVEN_BACK
        if view.launches_waiting and age > STUCK_S and request.state is RequestState.RUNNING and not keeps:
            return replace_nodes(view, _identity(request.kind, request.id), trouble)
        return stage(view, Phase.LAUNCHING, trouble.reason, trouble.message)
    if request.state is RequestState.PENDING:
        if age <= PICKED_UP_S:
            message = "the SkyPilot server has the launch"
            return stage(view, Phase.LAUNCHING, Reason.LAUNCHING, message, next_look_s=PICKED_UP_S)
        message = "waits for a free launch worker of the SkyPilot server"
        return stage(view, Phase.LAUNCHING, Reason.QUEUED, message, next_look_s=SLOW_LOOK_S)
    detail = (view.cluster.detail if view.cluster else "") or request.detail or "SkyPilot is looking for nodes"
    finding = stage(view, Phase.LAUNCHING, Reason.LAUNCHING, detail, next_look_s=SLOW_LOOK_S)
    # SkyPilot deletes pods that do not start before it ends their launch, which then says why they did not.
    return replace(finding, still=_OF_PODS) if view.infra == KUBERNETES and not view.facts.pods else finding


def _worker_hangs(view: View, request: SkyPilotRequest) -> Finding | None:
    """Cancel a launch with which its worker has not even begun."""
    if elapsed(view.now, view.ledger.begun_at) <= IDLE_S:
        return None
    words = (
        f"a worker of the SkyPilot server has had the launch for {IDLE_S // 60} minutes and has not begun to look for "
        "nodes; the launch is cancelled and asked for again. If that does not help, restart the SkyPilot server; its "
        f"request is {request.id}"
    )
    return replace_nodes(view, f"request/{request.id}", Failure(Reason.LAUNCH_TIMED_OUT, words))


def _machines_late(view: View, request: SkyPilotRequest) -> Finding | None:
    """Give up machines that neither come up nor fail: they cost money, and SkyPilot waits for them very long."""
    ledger = view.ledger
    if request.kind is not RequestKind.LAUNCH or request.state is not RequestState.RUNNING:
        return None
    limit = (view.plan.provision_timeout_seconds if view.plan is not None else 0) + MACHINES_S
    if elapsed(view.now, ledger.place_since) <= limit:
        return None
    words = f"{ledger.place}: no machine answered within {limit} s, and what there is of it is torn down{_LEFT_OUT}"
    return given_up(view, replace_nodes(view, f"request/{request.id}", Failure(Reason.LAUNCH_TIMED_OUT, words)))


def _machines_unaccounted(view: View) -> Finding | None:
    if view.exists or not view.unaccounted:
        return None
    if asks := view.asks_about_machines:
        return replace(ask(view, QuestionKind.HISTORY, "asking SkyPilot what became of its machines"), asks=asks)
    if view.health is Health.UNKNOWN:
        return _not_probed_yet(view)
    return stage(view, Phase.FAILED, Reason.MACHINES_UNACCOUNTED, unaccounted_words(view, [view.name]))


def _nothing_there(view: View) -> Finding | None:
    if view.exists:
        return None
    ledger = view.ledger
    if ledger.launched_at is not None and not isinstance(view.facts.outcome, Known):
        return ask(view, QuestionKind.OUTCOME, "asking SkyPilot how the last request ended")
    if view.blocked is not None:
        if view.blocked.reason is not Reason.AWAITING_APPROVAL:
            return stage(view, Phase.PENDING, view.blocked.reason, view.blocked.message)
        # An approval is an event, and may take days, in which somebody wants to know what has happened.
        lost = _why_gone(view)
        was = f"{lost[1].message.removesuffix(AGAIN)}; " if lost is not None else ""
        finding = stage(view, Phase.PENDING, view.blocked.reason, was + view.blocked.message)
        return replace(finding, next_look_s=None)
    launch = Launch(view.name, view.cost_limit, excluded_now(ledger, view.now), view.on_demand_only)
    gone = _why_gone(view)
    if gone is None:
        if not view.may_launch:
            message = "waits until the rollout has room for it (spec.updateStrategy.maxSurge)"
            return stage(view, Phase.PENDING, Reason.ROLLING_OUT, message)
        return stage(view, Phase.LAUNCHING, Reason.LAUNCHING, "asking SkyPilot for nodes", launch)
    identity, failure = gone
    launch_failed = identity.startswith("request/")
    final = launch_failed and view.plan is not None and not view.plan.retry
    found = count(view, ledger, identity, failure, launch, first_at_once=not launch_failed, launches=True, final=final)
    return (
        replace(found, message=f"{found.message}; no cloud is asked: {view.why_no_cloud}")
        if view.why_no_cloud
        else found
    )


def _why_gone(view: View) -> tuple[str, Failure] | None:
    """Return the failure because of which nothing is there; None if this is no failure."""
    ledger = view.ledger
    if (failed := failed_launch(view)) is not None:
        assert failed.failure is not None
        identity = _identity(failed.kind, failed.request_id)
        # One that was counted before it ended was ended because of that.
        counted = identity == ledger.counted and ledger.failure_reason
        return identity, counted_failure(view) if counted else failed.failure
    if ledger.counted.startswith("request/") and (ledger.final or ledger.retry_after is not None):
        # Counted since the last launch, and forgotten by the server since, which keeps requests for hours only.
        return ledger.counted, counted_failure(view)
    if ledger.teardown_at is not None:
        if not ledger.counted:
            return None  # it was not wanted for a while
        return ledger.counted, counted_failure(view)
    if ledger.ready_since or ledger.silent_since or ledger.starting_since:
        return f"lost/{ledger.launched_at}", loss(view, "its nodes are gone")
    if ledger.launched_at is not None:
        words = "SkyPilot no longer knows the launch, as after a restart of its server; launching again"
        return f"interrupted/{ledger.launched_at}", Failure(Reason.LAUNCH_INTERRUPTED, words)
    return None


def _not_probed_yet(view: View) -> Finding | None:
    if view.health is not Health.UNKNOWN:
        return None
    words = f"the engine at {view.address} has not been asked yet"
    finding = stage(view, Phase.STARTING, Reason.ENGINE_STARTING, words)
    # Its first probe takes milliseconds, but for one over TLS, which waits for the certificate of its authority.
    return finding if view.encrypted else passing(finding)


def _forgotten_by_skypilot(view: View) -> Finding | None:
    if view.cluster is not None:
        return None
    failure = Failure(Reason.INSTANCE_LOST, "SkyPilot no longer knows its pods; they are deleted before a new launch")
    identity = f"forgotten/{view.ledger.launched_at}"
    clear = ClearRemains(view.name, names_on_cloud(view))
    if view.ledger.counted and view.ledger.teardown_at is not None:
        identity, failure = view.ledger.counted, counted_failure(view)
    return recover_now(view, identity, failure, clear)


def _broken_cluster(view: View) -> Finding | None:
    """INIT without a request in flight is a launch that failed or was cut off: SkyPilot never resumes a launch."""
    cluster = view.cluster
    assert cluster is not None  # else the rule before has a finding
    if not isinstance(view.facts.outcome, Known):
        return ask(view, QuestionKind.OUTCOME, "asking SkyPilot how the last request ended")
    if (failed := failed_launch(view)) is not None and view.ledger.silent_since is None:
        assert failed.failure is not None
        replaced = replace_nodes(view, _identity(failed.kind, failed.request_id), failed.failure)
        # Its machines are there and did not come up; where there were none, nothing would be left of the cluster.
        return given_up(view, replaced) if failed.kind is RequestKind.LAUNCH else replaced
    if view.lacks_nodes:
        return replace_nodes(
            view, f"lost/{cluster.hash}", loss(view, f"not all of its {cluster.nodes} nodes are there")
        )
    running = sum(pod.running for pod in view.facts.pods)
    if cluster.on_kubernetes and cluster.state is SkyPilotClusterState.UP and running < cluster.nodes:
        if not _pods_should_be_seen(view):
            return stage(view, Phase.LAUNCHING, Reason.LAUNCHING, "waiting for Kubernetes to show its pods")
        lost = loss(view, f"{cluster.nodes - running} of its {cluster.nodes} pods are gone")
        return replace_nodes(view, f"lost/{cluster.hash}", lost)
    if cluster.state is SkyPilotClusterState.UP:
        return None
    if view.ledger.silent_since is not None:
        words = f"SkyPilot reports it as {cluster.state}"
        if cluster.state is SkyPilotClusterState.INIT:
            return out_of_reach(view, words)
        return replace_nodes(view, f"lost/{cluster.hash}", loss(view, words))
    words = f"SkyPilot reports it as {cluster.state} and no launch is under way"
    failure = Failure(Reason.LAUNCH_INTERRUPTED, f"{words}: {cluster.detail}" if cluster.detail else words)
    return replace_nodes(view, f"row/{cluster.hash}/{cluster.state}", failure)


COMING: Final[tuple[tuple[Rule, str], ...]] = (
    (_skypilot_unknown, "Without a snapshot newer than our last request, every rule below would read old facts."),
    (_may_still_be_heard, "A second request beside one that is still on its way would be a second job or a leak."),
    (stuck_teardown, "A teardown that does not end costs money, and nothing else would notice."),
    (_being_torn_down, "A launch during a teardown would be torn down with it."),
    (_under_way, "While a launch runs, missing pods and silent engines are normal."),
    (_machines_unaccounted, "A launch would pay for machines beside those that may still run."),
    (_nothing_there, "Only now is it certain that nothing exists that a launch would duplicate."),
    (_not_probed_yet, "The rules below take things away, and an engine that was not asked yet may answer."),
    (_forgotten_by_skypilot, "A launch would adopt these pods and start a second engine in them."),
    (_broken_cluster, "Nodes that are not whole are replaced before anyone asks about a job on them."),
    (engine_gone, "An engine that has ended is started again on the same nodes, which is cheaper than new ones."),
    (engine_silent, "What is left: the job runs and the engine loads its model, or hangs. Always has a finding."),
)
"""Rules in order, each with why it stands where it stands."""


def _identity(kind: RequestKind, request_id: str) -> str:
    """Return what tells the failure of a request from others. That of a launch alone may be final."""
    return f"{'request' if kind is RequestKind.LAUNCH else kind}/{request_id}"


def _pods_should_be_seen(view: View) -> bool:
    """Return whether pods that are not seen running are gone, and not merely news that has not arrived."""
    if view.ledger.silent_since is not None:
        return True
    outcome = view.facts.outcome.value if isinstance(view.facts.outcome, Known) else None
    ended = outcome.finished_at if outcome is not None else view.ledger.launched_at
    return elapsed(view.now, ended) > PODS_LATE_S
