"""Rules for the engine of a replica whose nodes are whole: its job has ended, or it runs and nothing answers."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from deepseek_operator.api.base import read_amount
from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.facts.base import Failure, Known
from deepseek_operator.facts.clock import elapsed, format_time, later, whole_second, young
from deepseek_operator.facts.skypilot import JobState
from deepseek_operator.facts.text import cause
from deepseek_operator.facts.world import Question, QuestionKind
from deepseek_operator.reconcile.actions import Launch, RunAgain
from deepseek_operator.reconcile.replica.findings import AGAIN, loss, replace_nodes, stage, why_silent
from deepseek_operator.reconcile.replica.ledger import SLOW_LOOK_S, count, update
from deepseek_operator.reconcile.replica.view import Finding, View

__all__ = ["engine_gone", "engine_silent", "out_of_reach"]

UNRESPONSIVE_S: Final = 180
"""Seconds for which an engine may be silent while its job runs, before the replica is replaced."""
BLOCKED_S: Final = 60
"""Seconds after its nodes came up until an engine whose connections are dropped is called blocked: routes and the rules
of a firewall may take some to hold."""
JOB_MAX_AGE_S: Final = 15
"""Seconds for which an answer about a running job is used. Asking costs SkyPilot a ``kubectl exec``."""


def engine_gone(view: View) -> Finding | None:
    """The job has ended, or there is none on nodes that are up: the engine is started again."""
    cluster, answer = view.cluster, view.facts.job
    assert cluster is not None
    if not isinstance(answer, Known):
        return None  # the silence of this one question decides nothing; see engine_silent, which asks again
    job = answer.value
    identity = f"job/{cluster.hash[:8]}/{job.id}"
    if job.state is JobState.ACTIVE:
        return None
    if job.state is JobState.NO_CLUSTER:
        return replace_nodes(view, f"lost/{cluster.hash}", loss(view, "SkyPilot has found that its nodes are gone"))
    if job.state is JobState.UNREACHABLE:
        words = f"SkyPilot cannot reach its nodes: {job.status}"
        if view.ledger.silent_since is not None:
            return out_of_reach(view, words)
        return replace_nodes(view, identity, Failure(Reason.LAUNCH_INTERRUPTED, words))
    if job.state is JobState.DRIVER_LOST:
        failure = Failure(Reason.ENGINE_EXITED, "SkyPilot's job driver on the head node died; launching again")
        return replace_nodes(view, identity, failure)
    if view.blocked is not None:
        return stage(view, Phase.PENDING, view.blocked.reason, view.blocked.message)
    if job.state is JobState.NONE:
        # The server died after the nodes came up and before it submitted the job: a launch adopts the nodes.
        adopt = Launch(view.name, read_amount(view.ledger.cost_limit), on_demand=view.ledger.on_demand)
        return stage(view, Phase.LAUNCHING, Reason.LAUNCHING, "the nodes are up without an engine", adopt)
    words = f"the engine ended ({job.status})"
    why = cause(job.log_tail)
    failure = Failure(Reason.ENGINE_EXITED, f"{words}: {why}" if why else words)
    return count(view, view.ledger, identity, failure, RunAgain(view.name), restarts=True)


def out_of_reach(view: View, words: str) -> Finding:
    """Neither SkyPilot nor a probe reaches nodes that are not known to be gone, of an engine that has served.

    The network between here and rented machines may be cut, and all of them would be replaced at once: they get as long
    as an engine that hangs. Pods are in the operator's own network.
    """
    cluster, silent_since = view.cluster, view.ledger.silent_since
    assert cluster is not None
    assert silent_since is not None
    if cluster.on_kubernetes or elapsed(view.now, silent_since) > UNRESPONSIVE_S:
        # Also of a spot machine: SkyPilot would have found one that was taken back to be gone.
        return replace_nodes(view, f"lost/{cluster.hash}", Failure(Reason.INSTANCE_LOST, f"{words}{AGAIN}"))
    return _may_answer_again(view, silent_since, f"{words}, and the engine stopped answering")


def engine_silent(view: View) -> Finding | None:
    """The job runs, as far as is known, and the engine does not answer: it is starting, or it hangs."""
    ledger = view.ledger
    if ledger.silent_since is not None:
        if elapsed(view.now, ledger.silent_since) > UNRESPONSIVE_S:
            words = f"no answer for {UNRESPONSIVE_S} s{why_silent(view)}; launching again"
            return replace_nodes(view, f"silent/{ledger.silent_since}", Failure(Reason.ENGINE_UNRESPONSIVE, words))
        return _may_answer_again(view, ledger.silent_since, "its job runs but the engine stopped answering")
    asks = _due_questions(view)
    started = ledger.starting_since or whole_second(view.now)
    blocked = _port_blocked(view, started)
    if elapsed(view.now, ledger.starting_since) > ledger.startup_seconds:
        words = f"no answer within {ledger.startup_seconds} s of its start{why_silent(view)}; launching again"
        failure = Failure(Reason.ENGINE_START_TIMED_OUT, words)
        return replace_nodes(view, f"slow/{ledger.starting_since}", blocked or failure)
    until = format_time(later(started, ledger.startup_seconds))
    if blocked is not None:
        message = f"{blocked.message}; its nodes are torn down if it does not answer by {until}"
        finding = stage(view, Phase.STARTING, blocked.reason, message, asks=asks)
    else:
        message = f"{_loading(view)}; it has time until {until}"
        finding = stage(view, Phase.STARTING, Reason.ENGINE_STARTING, message, asks=asks, next_look_s=SLOW_LOOK_S)
    return replace(finding, ledger=update(ledger, starting_since=started))


def _loading(view: View) -> str:
    if view.ledger.port is None and view.plan is None:
        # The operator ended between the launch and its note, and the port is one of the plan.
        return "the nodes are up; the port of the engine is not known before the spec can be planned again"
    where = f" at {view.address}" if view.address else ""
    return f"the nodes are up and the engine loads the model; no answer yet{where}"


def _may_answer_again(view: View, silent_since: datetime, words: str) -> Finding:
    message = f"{words}{why_silent(view)}; it is replaced if it does not answer by "
    message += format_time(later(silent_since, UNRESPONSIVE_S))
    look_s = min(SLOW_LOOK_S, UNRESPONSIVE_S - elapsed(view.now, silent_since) + 0.5)
    return stage(
        view, Phase.STARTING, Reason.ENGINE_UNRESPONSIVE, message, asks=_due_questions(view), next_look_s=look_s
    )


def _port_blocked(view: View, started: datetime) -> Failure | None:
    """Say who keeps connections from the port of an engine that starts; None if nobody seems to."""
    cluster = view.cluster
    assert cluster is not None  # else an earlier rule has a finding
    if not view.dropped or elapsed(view.now, started) < BLOCKED_S:
        return None
    who = "a NetworkPolicy" if cluster.on_kubernetes else "a security group or a firewall"
    words = f"connections to {view.address} are dropped, neither accepted nor refused, as {who} does"
    return Failure(Reason.ENGINE_PORT_BLOCKED, words)


def _due_questions(view: View) -> tuple[Question, ...]:
    """Ask what the job does, unless an answer is young enough."""
    job = view.facts.job
    if isinstance(job, Known) and young(view.now, job.at, JOB_MAX_AGE_S):
        return ()
    return (Question(QuestionKind.JOB, str(view.name)),)
