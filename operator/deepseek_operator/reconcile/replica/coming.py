"""Rules for a replica that is wanted and does not serve yet, or no longer serves.

The chain is read from top to bottom like an on-call checklist: can SkyPilot be asked; is something already under way;
is anything there at all; is the cluster whole; what does the engine's job say. The first rule that returns a finding
decides. :data:`COMING` says of each rule why it stands where it stands.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from deepseek_operator.api.base import read_amount
from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.api.v1alpha1 import ANNOTATION_ABANDON
from deepseek_operator.facts.base import Failure, Known
from deepseek_operator.facts.clock import elapsed
from deepseek_operator.facts.skypilot import (
    JobState,
    Outcome,
    RequestKind,
    RequestState,
    SkyPilotClusterState,
    SkyPilotRequest,
)
from deepseek_operator.facts.text import cause
from deepseek_operator.facts.world import Question, QuestionKind
from deepseek_operator.reconcile.actions import Action, ClearRemains, Launch, RunAgain, TearDown
from deepseek_operator.reconcile.replica.ledger import BUSY_LOOK_S, count, update
from deepseek_operator.reconcile.replica.places import EXCLUDED_S, exclude, excluded_now
from deepseek_operator.reconcile.replica.stuck import stuck_teardown
from deepseek_operator.reconcile.replica.view import Finding, Health, View

__all__ = ["COMING", "Rule", "about_its_machines", "names_on_cloud", "unaccounted_words", "waiting_requests"]

UNRESPONSIVE_S: Final = 180
"""Seconds for which an engine may be silent while its job runs, before the replica is replaced."""
LAUNCH_GRACE_S: Final = 3600
"""Seconds besides the provision timeout that a launch may take: pulling a 15 GB image is slow, not stuck."""
MACHINES_S: Final = 1500
"""Seconds besides the provision timeout that machines of one place may take to come up. SkyPilot gives SSH 600 s and
sets up in 60 s; the rest pulls an image of 15 GB at 20 MB/s. SkyPilot alone waits up to an hour for a machine that
stays pending."""
STUCK_S: Final = 5
"""Seconds after which a launch whose pods cannot start gives its worker to a launch that waits for one."""
TEARDOWN_AGAIN_S: Final = 30
"""Seconds after which a teardown that did not end is requested again."""
PODS_LATE_S: Final = 30
"""Seconds after the end of a launch for which its pods may be missing here: a watch can be late, or have a gap."""
JOB_MAX_AGE_S: Final = 15
"""Seconds for which an answer about a running job is used. Asking costs SkyPilot a ``kubectl exec``."""

_LEFT_OUT: Final = f"; the place is left out for {EXCLUDED_S // 60} minutes if resources.infra has another one"

_AGAIN: Final = "; launching again"
"""How the words of a loss end, where the replica is launched again."""
_OF_THE_PLACE: Final = frozenset({Reason.LAUNCH_TIMED_OUT, Reason.LAUNCH_FAILED})
"""Failures of machines for which another place may help; another region does not mend credentials."""

Rule = Callable[[View], Finding | None]


def _skypilot_unknown(view: View) -> Finding | None:
    if isinstance(view.facts.skypilot, Known):
        return None
    unknown = view.facts.skypilot
    if view.ledger.launched_at is not None and unknown.since is None:
        # Asked for nodes a moment ago, or this process has just started: the next snapshot will show it.
        return _passing(_stage(view, Phase.LAUNCHING, Reason.LAUNCHING, "waiting for SkyPilot to show the launch"))
    reason = Reason.STARTING if unknown.since is None else Reason.SKYPILOT_UNAVAILABLE
    if view.ledger.silent_since is not None:
        message = f"the engine stopped answering{_detail(view)}; SkyPilot cannot be asked why: {unknown.why}"
        return _stage(view, Phase.STARTING, Reason.ENGINE_UNRESPONSIVE, message)
    return _stage(view, Phase.PENDING, reason, unknown.why)


def _may_still_be_heard(view: View) -> Finding | None:
    if not view.ledger.unanswered:
        return None
    message = (
        f"SkyPilot did not answer a {view.ledger.unanswered} request and may still carry it out; nothing else is sent "
        "until that is certain"
    )
    return _stage(view, Phase.LAUNCHING, Reason.SKYPILOT_UNAVAILABLE, message)


def _being_torn_down(view: View) -> Finding | None:
    if view.in_flight(RequestKind.DOWN) is None:
        return None
    if view.ledger.counted:
        # A wanted replica is torn down only to be launched again; the failure that caused this stays visible.
        return _stage(view, Phase.FAILED, view.ledger.failure_reason, view.ledger.failure_message)
    return _stage(view, Phase.TERMINATING, Reason.TERMINATING, "its nodes are torn down before it is launched again")


def _under_way(view: View) -> Finding | None:
    request = view.in_flight(RequestKind.LAUNCH, RequestKind.EXEC)
    if request is None:
        return None
    timeout = view.plan.provision_timeout_seconds if view.plan is not None else 0
    limit, age = timeout + LAUNCH_GRACE_S, elapsed(view.now, request.created_at)
    if request.state is RequestState.RUNNING and age > limit:
        failure = Failure(Reason.LAUNCH_TIMED_OUT, f"the launch did not end within {limit} s and is torn down")
        return _replace_nodes(view, f"request/{request.id}", failure)
    if (mute := _machines_late(view, request)) is not None:
        return mute
    trouble = next((pod.trouble for pod in view.facts.pods if pod.trouble), None)
    if trouble is not None:
        if view.launches_waiting and age > STUCK_S and request.state is RequestState.RUNNING:
            return _replace_nodes(view, f"request/{request.id}", trouble)
        return _stage(view, Phase.LAUNCHING, trouble.reason, trouble.message)
    if request.state is RequestState.PENDING:
        message = "waits for a free launch worker of the SkyPilot server"
        return _stage(view, Phase.LAUNCHING, Reason.QUEUED, message)
    detail = (view.cluster.detail if view.cluster else "") or request.detail or "SkyPilot is looking for nodes"
    return _stage(view, Phase.LAUNCHING, Reason.LAUNCHING, detail)


def _machines_late(view: View, request: SkyPilotRequest) -> Finding | None:
    """Give up machines that neither come up nor fail: they cost money, and SkyPilot waits for them very long."""
    ledger = view.ledger
    if request.kind is not RequestKind.LAUNCH or request.state is not RequestState.RUNNING:
        return None
    limit = (view.plan.provision_timeout_seconds if view.plan is not None else 0) + MACHINES_S
    if elapsed(view.now, ledger.place_since) <= limit:
        return None
    words = f"{ledger.place}: no machine answered within {limit} s, and what there is of it is torn down{_LEFT_OUT}"
    return _given_up(view, _replace_nodes(view, f"request/{request.id}", Failure(Reason.LAUNCH_TIMED_OUT, words)))


def _machines_unaccounted(view: View) -> Finding | None:
    if view.exists or not view.unaccounted:
        return None
    if asks := about_its_machines(view):
        return replace(_ask(view, QuestionKind.HISTORY, "asking SkyPilot what became of its machines"), asks=asks)
    if view.health is Health.UNKNOWN:
        return _not_probed_yet(view)
    return _stage(view, Phase.FAILED, Reason.MACHINES_UNACCOUNTED, unaccounted_words(view))


def _nothing_there(view: View) -> Finding | None:
    if view.exists:
        return None
    ledger = view.ledger
    if ledger.launched_at is not None and not isinstance(view.facts.outcome, Known):
        return _ask(view, QuestionKind.OUTCOME, "asking SkyPilot how the last request ended")
    if view.blocked is not None:
        if view.blocked.reason is not Reason.AWAITING_APPROVAL:
            return _stage(view, Phase.PENDING, view.blocked.reason, view.blocked.message)
        # An approval is an event, and may take days, in which somebody wants to know what has happened.
        lost = _why_gone(view)
        was = f"{lost[1].message.removesuffix(_AGAIN)}; " if lost is not None else ""
        finding = _stage(view, Phase.PENDING, view.blocked.reason, was + view.blocked.message)
        return replace(finding, next_look_s=None)
    launch = Launch(view.name, view.cost_limit, excluded_now(ledger, view.now), view.on_demand_only)
    gone = _why_gone(view)
    if gone is None:
        if not view.may_launch:
            message = "waits until the rollout has room for it (spec.updateStrategy.maxSurge)"
            return _stage(view, Phase.PENDING, Reason.ROLLING_OUT, message)
        return _stage(view, Phase.LAUNCHING, Reason.LAUNCHING, "asking SkyPilot for nodes", launch)
    identity, failure = gone
    launch_failed = identity.startswith("request/")
    final = launch_failed and view.plan is not None and not view.plan.retry
    return count(view, ledger, identity, failure, launch, at_once=not launch_failed, launches=True, final=final)


def _why_gone(view: View) -> tuple[str, Failure] | None:
    """Return the failure because of which nothing is there; None if this is no failure."""
    ledger = view.ledger
    if (failed := _failed_launch(view)) is not None:
        assert failed.failure is not None
        return f"request/{failed.request_id}", failed.failure
    if ledger.counted.startswith("request/") and (ledger.final or ledger.retry_after is not None):
        # Counted since the last launch, and forgotten by the server since, which keeps requests for hours only.
        return ledger.counted, _counted(view)
    if ledger.teardown_at is not None:
        if not ledger.counted:
            return None  # it was not wanted for a while
        return ledger.counted, _counted(view)
    if ledger.ready_since or ledger.silent_since or ledger.starting_since:
        return f"lost/{ledger.launched_at}", _lost(view, "its nodes are gone")
    if ledger.launched_at is not None:
        words = "SkyPilot no longer knows the launch, as after a restart of its server; launching again"
        return f"interrupted/{ledger.launched_at}", Failure(Reason.LAUNCH_INTERRUPTED, words)
    return None


def _not_probed_yet(view: View) -> Finding | None:
    if view.health is not Health.UNKNOWN:
        return None
    words = f"the engine at {view.address} has not been asked yet"
    finding = _stage(view, Phase.STARTING, Reason.ENGINE_STARTING, words)
    # Its first probe takes milliseconds, but for one over TLS, which waits for the certificate of its authority.
    return finding if view.encrypted else _passing(finding)


def _forgotten_by_skypilot(view: View) -> Finding | None:
    if view.cluster is not None:
        return None
    failure = Failure(Reason.INSTANCE_LOST, "SkyPilot no longer knows its pods; they are deleted before a new launch")
    identity = f"forgotten/{view.ledger.launched_at}"
    clear = ClearRemains(view.name, names_on_cloud(view))
    if view.ledger.counted and view.ledger.teardown_at is not None:
        identity, failure = view.ledger.counted, _counted(view)
    return _at_once(view, identity, failure, clear)


def _broken_cluster(view: View) -> Finding | None:
    """INIT without a request in flight is a launch that failed or was cut off: SkyPilot never resumes a launch."""
    cluster = view.cluster
    assert cluster is not None  # else the rule before has a finding
    if not isinstance(view.facts.outcome, Known):
        return _ask(view, QuestionKind.OUTCOME, "asking SkyPilot how the last request ended")
    if (failed := _failed_launch(view)) is not None and view.ledger.silent_since is None:
        assert failed.failure is not None
        # Its machines are there and did not come up; where there were none, nothing would be left of the cluster.
        return _given_up(view, _replace_nodes(view, f"request/{failed.request_id}", failed.failure))
    if view.halved:
        return _replace_nodes(
            view, f"lost/{cluster.hash}", _lost(view, f"not all of its {cluster.nodes} nodes are there")
        )
    running = sum(pod.running for pod in view.facts.pods)
    if cluster.on_kubernetes and cluster.state is SkyPilotClusterState.UP and running < cluster.nodes:
        if not _pods_should_be_seen(view):
            return _stage(view, Phase.LAUNCHING, Reason.LAUNCHING, "waiting for Kubernetes to show its pods")
        lost = _lost(view, f"{cluster.nodes - running} of its {cluster.nodes} pods are gone")
        return _replace_nodes(view, f"lost/{cluster.hash}", lost)
    if cluster.state is SkyPilotClusterState.UP:
        return None
    if view.ledger.silent_since is not None:
        return _replace_nodes(view, f"lost/{cluster.hash}", _lost(view, f"SkyPilot reports it as {cluster.state}"))
    words = f"SkyPilot reports it as {cluster.state} and no launch is under way"
    failure = Failure(Reason.LAUNCH_INTERRUPTED, f"{words}: {cluster.detail}" if cluster.detail else words)
    return _replace_nodes(view, f"row/{cluster.hash}/{cluster.state}", failure)


def _engine_gone(view: View) -> Finding | None:
    cluster, answer = view.cluster, view.facts.job
    assert cluster is not None
    if not isinstance(answer, Known):
        return None  # the silence of this one question decides nothing; see _engine_silent, which asks again
    job = answer.value
    identity = f"job/{cluster.hash[:8]}/{job.id}"
    if job.state is JobState.ACTIVE:
        return None
    if job.state is JobState.UNREACHABLE:
        words = f"SkyPilot cannot reach its nodes: {job.status}"
        if view.ledger.silent_since is not None:
            return _replace_nodes(view, f"lost/{cluster.hash}", _lost(view, words))
        return _replace_nodes(view, identity, Failure(Reason.LAUNCH_INTERRUPTED, words))
    if job.state is JobState.DRIVER_LOST:
        failure = Failure(Reason.ENGINE_EXITED, "SkyPilot's job driver on the head node died; launching again")
        return _replace_nodes(view, identity, failure)
    if view.blocked is not None:
        return _stage(view, Phase.PENDING, view.blocked.reason, view.blocked.message)
    if job.state is JobState.NONE:
        # The server died after the nodes came up and before it submitted the job: a launch adopts the nodes.
        adopt = Launch(view.name, read_amount(view.ledger.cost_limit), on_demand=view.ledger.on_demand)
        return _stage(view, Phase.LAUNCHING, Reason.LAUNCHING, "the nodes are up without an engine", adopt)
    words = f"the engine ended ({job.status})"
    why = cause(job.log_tail)
    failure = Failure(Reason.ENGINE_EXITED, f"{words}: {why}" if why else words)
    return count(view, view.ledger, identity, failure, RunAgain(view.name), restarts=True)


def _engine_silent(view: View) -> Finding | None:
    """The job runs, as far as is known, and the engine does not answer: it is starting, or it hangs."""
    ledger = view.ledger
    asks = _due_questions(view)
    if ledger.silent_since is not None:
        if elapsed(view.now, ledger.silent_since) > UNRESPONSIVE_S:
            words = f"no answer for {UNRESPONSIVE_S} s{_detail(view)}; launching again"
            return _replace_nodes(
                view, f"silent/{ledger.silent_since}", Failure(Reason.ENGINE_UNRESPONSIVE, words), at_once=True
            )
        message = f"its job runs but the engine stopped answering{_detail(view)}"
        return _stage(view, Phase.STARTING, Reason.ENGINE_UNRESPONSIVE, message, asks=asks)
    if elapsed(view.now, ledger.starting_since) > ledger.startup_seconds:
        words = f"no answer within {ledger.startup_seconds} s of its start{_detail(view)}; launching again"
        failure = Failure(Reason.ENGINE_START_TIMED_OUT, words)
        return _replace_nodes(view, f"slow/{ledger.starting_since}", failure)
    where = f" at {view.address}" if view.address else ""
    message = f"the nodes are up and the engine loads the model; no answer yet{where}"
    started = ledger.starting_since or view.now.replace(microsecond=0)
    finding = _stage(view, Phase.STARTING, Reason.ENGINE_STARTING, message, asks=asks)
    return replace(finding, ledger=update(ledger, starting_since=started))


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
    (_engine_gone, "An engine that has ended is started again on the same nodes, which is cheaper than new ones."),
    (_engine_silent, "What is left: the job runs and the engine loads its model, or hangs. Always has a finding."),
)
"""Rules in order, each with why it stands where it stands."""


# --- shared by the rules -----------------------------------------------------------------------------------------


def names_on_cloud(view: View) -> tuple[str, ...]:
    """Return the names under which pods and Services of the replica are labelled."""
    pods = (pod.cluster_name_on_cloud for pod in view.facts.pods)
    services = (service.cluster_name_on_cloud for service in view.facts.services)
    return tuple(sorted({*pods, *services} - {""}))


def about_its_machines(view: View) -> tuple[Question, ...]:
    """Return what has to be asked to know whether machines of a lost record were terminated."""
    known = ((QuestionKind.OUTCOME, view.facts.outcome), (QuestionKind.HISTORY, view.facts.terminated))
    return tuple(Question(kind, str(view.name)) for kind, fact in known if not isinstance(fact, Known))


def unaccounted_words(view: View) -> str:
    """Return what somebody has to do about machines of a lost record."""
    return (
        f"SkyPilot has lost its record of {view.name} on {view.infra} without terminating it, so machines may "
        f"still run and cost money. Terminate the instances tagged skypilot-cluster-name={view.name}-*, then say so: "
        f"kubectl annotate dsd NAME --overwrite {ANNOTATION_ABANDON}={view.name}"
    )


def waiting_requests(view: View) -> tuple[str, ...]:
    """Return the launches that wait for a worker and have no cluster yet, which only a cancellation ends."""
    if view.cluster is not None:
        return ()
    return tuple(request.id for request in view.requests if request.state is RequestState.PENDING)


def _stage(
    view: View,
    phase: Phase,
    reason: Reason | str,
    message: str,
    *actions: Action,
    asks: tuple[Question, ...] = (),
) -> Finding:
    return Finding(phase, reason, message, view.ledger, actions, asks, BUSY_LOOK_S)


def _passing(finding: Finding) -> Finding:
    return replace(finding, passing=True)


def _ask(view: View, kind: QuestionKind, message: str) -> Finding:
    """Wait for an answer, and keep showing what led here."""
    asks = (Question(kind, str(view.name)),)
    if view.ledger.silent_since is not None:
        words = f"the engine stopped answering{_detail(view)}"
        return _passing(_stage(view, Phase.STARTING, Reason.ENGINE_UNRESPONSIVE, words, asks=asks))
    return _passing(_stage(view, Phase.LAUNCHING, Reason.LAUNCHING, message, asks=asks))


def _due_questions(view: View) -> tuple[Question, ...]:
    """Ask what the job does, unless an answer is young enough."""
    job = view.facts.job
    if isinstance(job, Known) and elapsed(view.now, job.at) < JOB_MAX_AGE_S:
        return ()
    return (Question(QuestionKind.JOB, str(view.name)),)


def _replace_nodes(view: View, identity: str, failure: Failure, *, at_once: bool = True) -> Finding:
    return _at_once(view, identity, failure, TearDown(view.name, waiting_requests(view)))


def _given_up(view: View, finding: Finding) -> Finding:
    """Leave the place of a launch out of the next ones, once for each failure."""
    if finding.ledger.counted == view.ledger.counted or not view.rented or finding.reason not in _OF_THE_PLACE:
        return finding
    return replace(finding, ledger=exclude(finding.ledger, view.now))


def _at_once(view: View, identity: str, failure: Failure, recovery: Action) -> Finding:
    """Count a failure and stop its costs now; the launch that follows waits for the backoff."""
    finding = count(view, view.ledger, identity, failure, recovery, at_once=True)
    asked_at = view.ledger.teardown_at
    due = view.ledger.counted != identity or asked_at is None or elapsed(view.now, asked_at) > TEARDOWN_AGAIN_S
    return replace(finding, actions=(recovery,) if due else (), next_look_s=BUSY_LOOK_S)


def _pods_should_be_seen(view: View) -> bool:
    """Return whether pods that are not seen running are gone, and not merely news that has not arrived."""
    if view.ledger.silent_since is not None:
        return True
    outcome = view.facts.outcome.value if isinstance(view.facts.outcome, Known) else None
    ended = outcome.finished_at if outcome is not None else view.ledger.launched_at
    return elapsed(view.now, ended) > PODS_LATE_S


def _failed_launch(view: View) -> Outcome | None:
    outcome = view.facts.outcome.value if isinstance(view.facts.outcome, Known) else None
    if outcome is None or outcome.failure is None or outcome.kind is RequestKind.DOWN:
        return None
    return outcome


def _counted(view: View) -> Failure:
    reason = view.ledger.failure_reason
    known = Reason(reason) if reason in Reason.__members__.values() else Reason.LAUNCH_FAILED
    return Failure(known, view.ledger.failure_message)


def _lost(view: View, words: str) -> Failure:
    """Return the failure of nodes that are gone; of a spot machine it is the provider who took them back."""
    if view.ledger.spot:  # SkyPilot drops the row as soon as it sees that the machines are gone
        return Failure(Reason.PREEMPTED, f"the provider took its spot machines back ({words}){_AGAIN}")
    return Failure(Reason.INSTANCE_LOST, f"{words}{_AGAIN}")


def _detail(view: View) -> str:
    return f": {view.detail}" if view.detail else ""
