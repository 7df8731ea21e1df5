"""Conditions: one function per type, each a pure reading of the findings.

Ready, Reconciling and Stalled follow kstatus: Flux, ``helm --wait`` of Helm 4 and ``kubectl wait`` understand them.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from deepseek_operator.api.reasons import REPLICA_FAILURES, ConditionType, Reason
from deepseek_operator.api.status import Condition, Phase, Verdict
from deepseek_operator.facts.base import Failure
from deepseek_operator.facts.clock import format_time
from deepseek_operator.facts.text import within
from deepseek_operator.facts.world import World
from deepseek_operator.planning import Planned, Refused
from deepseek_operator.reconcile.decide import Decision
from deepseek_operator.reconcile.endpoint import Reachability
from deepseek_operator.reconcile.replica.view import Finding, Replica

__all__ = ["Report", "conditions"]


@dataclass(frozen=True)
class Report:
    """What all conditions are read from."""

    world: World
    plan: Planned | Refused
    decision: Decision
    endpoint: Reachability

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """The replicas, after the actions of the pass."""
        return self.decision.replicas

    @property
    def wanted(self) -> int:
        """Number of replicas that the spec asks for."""
        return self.world.deployment.spec.replicas

    @property
    def ready(self) -> int:
        """Number of replicas that serve."""
        return sum(replica.ready for replica in self.replicas)

    @property
    def updated_ready(self) -> int:
        """Number of replicas of the current revision that serve."""
        return sum(replica.ready and replica.current for replica in self.replicas)


_LONGEST: Final = 4096
"""Characters of a message that a condition may have."""
_WORDS_BEFORE: Final = 300
"""Bytes of the words of an earlier failure; the ledger has all of them."""

_Verdict = tuple[str, Reason | str, str]
"""Status, reason and message of a condition."""


def conditions(report: Report) -> tuple[Condition, ...]:
    """Return all conditions; the time of one changes only when its status does."""
    deployment = report.world.deployment
    before = {condition.type: condition for condition in deployment.status.conditions}
    ready, stalled = _ready(report), _stalled(report)
    found: dict[ConditionType, _Verdict] = {
        ConditionType.READY: ready,
        ConditionType.RECONCILING: _reconciling(report, ready, stalled),
        ConditionType.STALLED: stalled,
        ConditionType.PLANNED: _planned(report),
        ConditionType.ENDPOINT_PUBLISHED: _endpoint(report),
    }
    return tuple(
        _condition(kind, verdict, before.get(kind), deployment.metadata.generation, report.world.now)
        for kind, verdict in found.items()
    )


def _condition(
    kind: ConditionType, verdict: _Verdict, before: Condition | None, generation: int, now: datetime
) -> Condition:
    status, reason, message = verdict
    same = before if before is not None and before.status == status else None
    return Condition.after(
        before,
        type=kind,
        status=status,
        reason=reason,
        message=message if len(message) <= _LONGEST else message[: _LONGEST - 1] + "…",
        observed_generation=generation,
        last_transition_time=same.last_transition_time if same is not None else format_time(now),
    )


def _ready(report: Report) -> _Verdict:
    spec, wanted, ready = report.world.deployment.spec, report.wanted, report.ready
    if report.world.deployment.deleting:
        one = _left_behind(report) or _worst(report)
        if one is None:
            return "False", Reason.TERMINATING, "its nodes are being torn down"
        return "False", one.finding.reason, one.finding.message
    if report.world.unreadable:
        return "False", Reason.INVALID_SPEC, report.world.unreadable
    if spec.suspend or wanted == 0:
        words = "spec.suspend is true" if spec.suspend else "spec.replicas is 0"
        if (left := _left_behind(report)) is not None:
            return "False", left.finding.reason, f"{words}; {left.name}: {left.finding.message}"
        state = "all nodes are being torn down" if report.replicas else "nothing is rented"
        return "False", Reason.SUSPENDED if spec.suspend else Reason.SCALED_TO_ZERO, f"{words}; {state}"
    if ready >= wanted and report.endpoint.answers:
        words = f"{ready} of {wanted} replicas answer" if wanted > 1 else "the model answers"
        failing = _failing_update(report)
        but = f"; the update fails: {_failure(failing)}, see Reconciling" if failing else ""
        return "True", Reason.READY, words + but
    if ready >= wanted:
        return "False", report.endpoint.reason or Reason.PUBLISHING_ENDPOINT, report.endpoint.detail
    worst = _worst(report)
    count = f"{ready} of {wanted} replicas answer; " if wanted > 1 else ""
    if worst is not None:
        who = f"{worst.name}: " if wanted > 1 else ""
        return "False", worst.finding.reason, f"{count}{who}{_with_history(worst.finding, report.world.now)}"
    if report.decision.blocked is not None:
        return "False", report.decision.blocked.reason, report.decision.blocked.message
    return "False", Reason.PLANNING, f"{count}replicas are about to be launched"


def _reconciling(report: Report, ready: _Verdict, stalled: _Verdict) -> _Verdict:
    if stalled[0] == "True":
        return (
            "False",
            Reason.PLANNED if report.decision.blocked is None else report.decision.blocked.reason,
            "see Stalled",
        )
    if (held := _held(report)) is not None:
        return "True", held.reason, held.message
    status, reason, message = ready
    if reason in (Reason.SUSPENDED, Reason.SCALED_TO_ZERO):
        busy = bool(report.replicas)
        return ("True", Reason.TERMINATING, "replicas are being torn down") if busy else ("False", reason, message)
    if status == "False":
        return "True", reason, message
    if (left := _left_behind(report)) is not None:
        return "True", left.finding.reason, f"{left.name}: {left.finding.message}"
    others = sum(not replica.ready or not replica.current for replica in report.replicas)
    if others:
        text = f"{report.updated_ready} of {report.wanted} replicas run the current spec"
        if (failing := _failing_update(report)) is not None:
            words = _with_history(failing.finding, report.world.now)
            return "True", _failure(failing), f"{text}; {failing.name}: {words}"
        return "True", Reason.ROLLING_OUT, f"{text}; others that come or go: {others}"
    return "False", Reason.READY, "nothing is left to do"


def _held(report: Report) -> Failure | None:
    """Return what holds launches back although the deployment may be Ready; somebody who looks at it has to see it."""
    found = {replica.finding.reason: replica.finding.message for replica in report.replicas}
    for reason in (Reason.MAX_HOURLY_COST_REACHED, Reason.AWAITING_APPROVAL):
        if reason in found:
            return Failure(reason, found[reason])
    blocked = report.decision.blocked
    return blocked if blocked is not None and blocked.reason is Reason.AWAITING_APPROVAL else None


def _failing_update(report: Report) -> Replica | None:
    """Return a replica of the current spec that fails while others serve, so that all but the update looks well."""
    coming = (one for one in report.replicas if one.current and not one.ready)
    return next((one for one in coming if one.finding.phase is not Phase.TERMINATING and _failure(one)), None)


def _failure(replica: Replica) -> Reason | str:
    """Return why a replica fails, or failed before the attempt that is under way; empty if it does not.

    A replica that cannot be asked about, or is held back, has not failed.
    """
    finding = replica.finding
    return finding.reason if finding.reason in REPLICA_FAILURES else finding.ledger.failure_reason


def _left_behind(report: Report) -> Replica | None:
    """Return a replica that nobody wants and whose teardown does not just take its time: it may go on costing money."""
    leaving = (replica for replica in report.replicas if replica.finding.phase is Phase.TERMINATING)
    return next((replica for replica in leaving if replica.finding.reason != Reason.TERMINATING), None)


def _stalled(report: Report) -> _Verdict:
    """True: nothing more happens until somebody changes something."""
    plan, blocked = report.plan, report.decision.blocked
    if not report.world.deployment.deleting:
        if isinstance(plan, Refused):
            return "True", plan.reason, plan.message
        if blocked is not None and blocked.reason is Reason.INVALID_SPEC:  # SkyPilot knows no cloud of this name
            return "True", blocked.reason, blocked.message
    final = next((replica for replica in report.replicas if replica.finding.final), None)
    if final is not None:
        return "True", final.finding.reason, _with_history(final.finding, report.world.now)
    if (held := _held(report)) is not None and held.reason is Reason.AWAITING_APPROVAL:
        return "False", held.reason, "waits for somebody's approval, which is no failure"
    return "False", Reason.PLANNED, "the operator can continue without your help"


def _planned(report: Report) -> _Verdict:
    plan = report.plan
    if isinstance(plan, Refused):
        return "False", plan.reason, plan.message
    return "True", Reason.PLANNED, plan.reason or f"verdict {Verdict(plan.verdict)}"


def _endpoint(report: Report) -> _Verdict:
    if report.world.service_conflict:
        name = report.world.deployment.metadata.name
        return "False", Reason.SERVICE_CONFLICT, f"a Service {name} exists and was not made for this deployment"
    if not report.ready:
        return "False", Reason.NO_READY_REPLICAS, "no replica answers"
    if not report.endpoint.answers:
        return "False", report.endpoint.reason or Reason.ENDPOINT_UNREACHABLE, report.endpoint.detail
    return "True", Reason.ENDPOINT_PUBLISHED, "the Service leads to the replicas that answer"


_WORST_FIRST = (Phase.FAILED, Phase.STARTING, Phase.LAUNCHING, Phase.PENDING, Phase.TERMINATING)


def _worst(report: Report) -> Replica | None:
    """Return the replica whose words say best why the deployment is not ready."""
    candidates = [replica for replica in report.replicas if not replica.ready]
    return min(
        candidates,
        key=lambda replica: (not replica.current, _WORST_FIRST.index(replica.finding.phase), replica.name.ordinal),
        default=None,
    )


def _with_history(finding: Finding, now: datetime) -> str:
    """Return the words of a replica with how often it has failed in a row, and whether and when it is launched again.

    While it is launched again it speaks of that, and somebody who looks then has to see what went wrong before.
    """
    ledger = finding.ledger
    often = f"failed {ledger.attempts} times in a row" if ledger.attempts > 1 else ""
    notes = ""
    if finding.final:
        notes = "not retried because resources.retryUntilUp is false: set it to true, or change the spec"
    elif finding.phase is Phase.FAILED and ledger.retry_after is not None:
        at = f"next attempt at {format_time(ledger.retry_after)}" if ledger.retry_after > now else ""
        notes = "; ".join(filter(None, (often, at)))
    elif finding.phase in (Phase.LAUNCHING, Phase.STARTING) and ledger.failure_reason:
        why, _, _ = ledger.failure_message.partition("\n")
        notes = f"{often or 'failed'} before: {ledger.failure_reason}{why and ': '}{within(why, _WORDS_BEFORE)}"
    if not notes:
        return finding.message
    first, newline, log = finding.message.partition("\n")
    return f"{first} ({notes}){newline}{log}"
