"""Rules for a replica that is no longer wanted: drain it, tear it down, and be certain that nothing is left."""

from dataclasses import replace
from typing import Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.facts.base import Failure, Known
from deepseek_operator.facts.clock import elapsed
from deepseek_operator.facts.skypilot import RequestKind
from deepseek_operator.facts.world import Question, QuestionKind
from deepseek_operator.reconcile.actions import Action, ClearRemains, TearDown
from deepseek_operator.reconcile.replica.findings import in_words, passing
from deepseek_operator.reconcile.replica.ledger import BUSY_LOOK_S, SLOW_LOOK_S, count
from deepseek_operator.reconcile.replica.remains import (
    going_on_costing,
    launches_to_cancel,
    names_on_cloud,
    unaccounted_words,
)
from deepseek_operator.reconcile.replica.stuck import stuck_teardown
from deepseek_operator.reconcile.replica.view import Finding, Health, Rule, View

__all__ = ["LEAVING", "draining", "gone"]

_ASKING: Final = "asking SkyPilot to tear its nodes down"
DRAIN_MIN_S: Final = 5
"""Seconds that every replica stays after it has left the Service: kube-proxy needs a moment on each node. The ledger
keeps whole seconds, so one of them may be missing."""
DRAIN_UNKNOWN_S: Final = 10
"""Seconds that a replica stays whose engine does not say how many requests it has."""


def gone(view: View) -> bool:
    """Return whether it is certain that nothing of the replica is left.

    "Unknown to SkyPilot" is not "gone": its database can be lost while pods or machines run.
    """
    return isinstance(view.facts.skypilot, Known) and not view.exists and not view.unaccounted


def draining(view: View) -> bool:
    """Return whether the replica still answers requests that were sent to it before it left the Service."""
    if view.deleting or view.health is Health.SILENT or view.ledger.teardown_at is not None:
        return False
    if view.published:
        return True
    since = view.ledger.unpublished_since
    seconds = elapsed(view.now, since)
    if seconds < _drain_least_s(view):
        return True
    if view.running is None:
        return seconds < DRAIN_UNKNOWN_S
    return view.running > 0 and seconds < view.ledger.drain_seconds + view.lag_s


def _drain_least_s(view: View) -> float:
    """Return the seconds for which it stays whatever its engine says: somebody may not have heard yet."""
    return max(DRAIN_MIN_S, view.lag_s)


def _drain(view: View) -> Finding | None:
    if not draining(view):
        return None
    count_of = f" ({view.running} left)" if view.running else ""
    message = f"takes no new requests; its nodes are torn down when its running requests have ended{count_of}"
    return _terminating(view, Reason.TERMINATING, message, next_look_s=_drain_look_s(view))


def _drain_look_s(view: View) -> float:
    """Return the seconds until the replica may have drained. The probe wakes us when its requests have ended."""
    seconds = elapsed(view.now, view.ledger.unpublished_since)
    least_s = _drain_least_s(view)
    limit_s = least_s if seconds < least_s else DRAIN_UNKNOWN_S
    if view.published or (seconds >= least_s and view.running is not None):
        return 1.0
    return max(limit_s - seconds, 0.05)


def _skypilot_unknown(view: View) -> Finding | None:
    if isinstance(view.facts.skypilot, Known):
        return None
    if view.facts.skypilot.since is None:
        return passing(_terminating(view, Reason.TERMINATING, "waiting for SkyPilot to show the teardown"))
    return _terminating(view, Reason.SKYPILOT_UNAVAILABLE, view.facts.skypilot.why)


def _being_torn_down(view: View) -> Finding | None:
    if view.in_flight(RequestKind.DOWN) is None:
        return None
    return _terminating(view, Reason.TERMINATING, "SkyPilot tears its nodes down", next_look_s=SLOW_LOOK_S)


def _may_still_be_heard(view: View) -> Finding | None:
    """Wait for a request without an answer.

    A teardown is not sent a second time meanwhile, whatever SkyPilot lists: of two that are under way, the one that is
    heard last could tear down what was launched under the name since.
    """
    if not view.ledger.unanswered:
        return None
    if view.ledger.unanswered != RequestKind.DOWN and (view.cluster or view.requests):
        return None
    what = in_words(view.ledger.unanswered)
    message = (
        f"SkyPilot did not answer when asked for a {what} and may still carry it out; waiting until that is certain"
    )
    return _terminating(view, Reason.TERMINATING, message)


def _tear_down(view: View) -> Finding | None:
    if view.cluster is None and not view.requests:
        return None
    remove = TearDown(view.name, launches_to_cancel(view))
    if view.ledger.teardown_at is None:
        return _terminating(view, Reason.TERMINATING, _ASKING, remove)
    if not isinstance(view.facts.outcome, Known):
        asks = (Question(QuestionKind.OUTCOME, str(view.name)),)
        return passing(_terminating(view, Reason.TERMINATING, "asking SkyPilot how the teardown ended", asks=asks))
    outcome = view.facts.outcome.value
    down = outcome if outcome is not None and outcome.kind is RequestKind.DOWN else None
    identity, words = f"teardown/{view.ledger.teardown_at}", "SkyPilot still lists it after its teardown"
    if down is not None and down.failure is not None:
        identity, words = f"request/{down.request_id}", down.failure.message
    failure = Failure(
        Reason.TEARDOWN_FAILED, f"SkyPilot could not tear its nodes down{going_on_costing(view)}: {words}"
    )
    found = count(view, view.ledger, identity, failure, remove, phase=Phase.TERMINATING, first_at_once=down is None)
    if down is not None or not found.actions:
        return found
    # What was asked for before has cancelled a launch, or was forgotten with the server: no teardown has failed.
    return replace(found, reason=Reason.TERMINATING, message=_ASKING)


def _clear_remains(view: View) -> Finding | None:
    if not (view.facts.pods or view.facts.services):
        return None
    names = [pod.name for pod in view.facts.pods] + [service.name for service in view.facts.services]
    message = f"SkyPilot does not know {view.name}; deleting what is left of it: {', '.join(names[:6])}"
    return _terminating(view, Reason.TERMINATING, message, ClearRemains(view.name, names_on_cloud(view)))


def _account(view: View) -> Finding | None:
    if asks := view.asks_about_machines:
        words = "asking SkyPilot whether its machines were terminated"
        return passing(_terminating(view, Reason.TERMINATING, words, asks=asks))
    return _terminating(view, Reason.MACHINES_UNACCOUNTED, unaccounted_words(view, [view.name]))


LEAVING: Final[tuple[tuple[Rule, str], ...]] = (
    (_drain, "Requests that run are finished first; that needs no SkyPilot."),
    (_skypilot_unknown, "Without a snapshot newer than our last request, the rules below would read old facts."),
    (stuck_teardown, "A teardown that does not end costs money, and nothing else would notice."),
    (_being_torn_down, "One teardown at a time is enough."),
    (_may_still_be_heard, "A launch that was sent may still make something, and a teardown may still end it."),
    (_tear_down, "SkyPilot deletes what it knows, with everything around it."),
    (_clear_remains, "What SkyPilot does not know is deleted by label."),
    (_account, "What is left are machines that neither SkyPilot nor Kubernetes shows."),
)
"""Rules in order, each with why it stands where it stands."""


def _terminating(
    view: View,
    reason: Reason,
    message: str,
    *actions: Action,
    asks: tuple[Question, ...] = (),
    next_look_s: float = BUSY_LOOK_S,
) -> Finding:
    return Finding(Phase.TERMINATING, reason, message, view.ledger, actions, asks, next_look_s)
