"""What became of the actions of a pass, written into the findings before the status is computed from them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Ledger, Phase
from deepseek_operator.facts.base import Failure
from deepseek_operator.facts.clock import whole_second
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.facts.skypilot import RequestKind
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.actions import Action, ApplyProxy, Launch, RunAgain, TearDown
from deepseek_operator.reconcile.decide import Decision
from deepseek_operator.reconcile.replica.findings import in_words
from deepseek_operator.reconcile.replica.ledger import launched, sent, update
from deepseek_operator.reconcile.replica.view import Finding, Replica

__all__ = ["REQUEST_KINDS", "Result", "ResultKind", "with_failed_publish", "with_refused_finalizer", "with_results"]

REQUEST_KINDS: Final[Mapping[type[Action], RequestKind]] = {
    Launch: RequestKind.LAUNCH,
    RunAgain: RequestKind.EXEC,
    TearDown: RequestKind.DOWN,
}
"""What each action asks of SkyPilot."""

QUEUED_LOOK_S: Final = 60.0
"""Seconds until the next look at a replica that waits for a launch slot. Whose turn it is is woken before that; if all
that wait looked every few seconds, a long line would cost more than the launches."""


class ResultKind(StrEnum):
    """How an action ended."""

    DONE = "done"
    """Done, or accepted by SkyPilot. A launch that SkyPilot refused for good is done, too: its outcome is known."""
    QUEUED = "queued"
    """Not sent: all launch workers of the SkyPilot server are busy."""
    FAILED = "failed"
    """Certainly not done."""
    UNANSWERED = "unanswered"
    """Sent, and no answer came: it may still be carried out."""


@dataclass(frozen=True)
class Result:
    """How one action on a replica ended.

    Attributes
    ----------
    reason
        Who or what was in the way of an action that failed.
    """

    name: ClusterName
    action: Action
    kind: ResultKind
    error: str = ""
    reason: Reason = Reason.SKYPILOT_UNAVAILABLE


def with_results(decision: Decision, results: Iterable[Result], plan: Planned | None, now: datetime) -> Decision:
    """Return the decision with findings and ledgers as they are after the actions."""
    by_name = {result.name: result for result in results}
    replicas = tuple(
        _after(replica, by_name[replica.name], plan, now) if replica.name in by_name else replica
        for replica in decision.replicas
    )
    return replace(decision, replicas=replicas)


def with_failed_publish(decision: Decision, failed: Iterable[tuple[Action, Failure]]) -> Decision:
    """Return the decision with the reason why its proxy cannot be made, if one of these actions should have made it.

    Parameters
    ----------
    failed
        Actions of ``publish`` that failed, each with why.
    """
    why = next((failure for action, failure in failed if isinstance(action, ApplyProxy)), None)
    return replace(decision, proxy_failure=why)


def with_refused_finalizer(decision: Decision, why: Failure) -> Decision:
    """Return the decision with the reason why nothing of it that needs the finalizer comes next, as had been said."""
    replicas = tuple(
        replace(one, finding=replace(one.finding, reason=why.reason, message=why.message))
        if one.finding.reason is Reason.PLANNING
        else one
        for one in decision.replicas
    )
    return replace(decision, replicas=replicas, finalizer=None, blocked=why)


def _after(replica: Replica, result: Result, plan: Planned | None, now: datetime) -> Replica:
    finding = replica.finding
    if result.kind is ResultKind.QUEUED:
        waits = replace(_not_done(finding, Reason.QUEUED, result.error), next_look_s=QUEUED_LOOK_S)
        return replace(replica, finding=waits)
    if result.kind is ResultKind.FAILED:
        words = result.error
        if result.reason is Reason.SKYPILOT_UNAVAILABLE:
            words = f"SkyPilot could not be asked for a {in_words(REQUEST_KINDS[type(result.action)])}: {words}"
        return replace(replica, finding=_not_done(finding, result.reason, words, finding.phase))
    ledger = _ledger_after(finding.ledger, result.action, plan, now)
    if result.kind is ResultKind.UNANSWERED:
        ledger = sent(ledger, REQUEST_KINDS[type(result.action)], now)
    return replace(replica, finding=replace(finding, ledger=ledger))


def _not_done(finding: Finding, reason: Reason, message: str, phase: Phase = Phase.PENDING) -> Finding:
    """Say that nothing was sent. A failure that is waiting for its retry stays visible."""
    if finding.phase is Phase.FAILED:
        return finding
    shown = Phase.TERMINATING if phase is Phase.TERMINATING else Phase.PENDING
    return replace(finding, phase=shown, reason=reason, message=message)


def _ledger_after(ledger: Ledger, action: Action, plan: Planned | None, now: datetime) -> Ledger:
    if isinstance(action, Launch | RunAgain):
        assert plan is not None  # without one nothing is launched
        ledger = launched(ledger, plan, now, again=isinstance(action, RunAgain))
        if isinstance(action, Launch):
            limit = action.cost_limit
            limited = str(limit) if limit is not None else None
            ledger = update(ledger, cost_limit=limited, on_demand=action.on_demand)
        return ledger
    # A teardown, by SkyPilot or by label: from now on, its absence is no surprise.
    return update(ledger, teardown_at=whole_second(now))
