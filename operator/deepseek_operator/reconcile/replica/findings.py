"""What the rules of :mod:`.coming` return, made in one way: a stage, a question, a failure that is counted."""

from dataclasses import replace
from typing import Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.facts.base import Failure, Known
from deepseek_operator.facts.clock import elapsed
from deepseek_operator.facts.skypilot import Outcome, RequestKind
from deepseek_operator.facts.world import Question, QuestionKind
from deepseek_operator.reconcile.actions import Action, TearDown
from deepseek_operator.reconcile.replica.ledger import BUSY_LOOK_S, count
from deepseek_operator.reconcile.replica.places import exclude
from deepseek_operator.reconcile.replica.remains import launches_to_cancel
from deepseek_operator.reconcile.replica.view import Finding, View

__all__ = [
    "AGAIN",
    "ask",
    "counted_failure",
    "failed_launch",
    "given_up",
    "in_words",
    "loss",
    "passing",
    "recover_now",
    "replace_nodes",
    "stage",
    "why_silent",
]

TEARDOWN_AGAIN_S: Final = 30
"""Seconds after which a teardown that did not end is requested again."""
AGAIN: Final = "; launching again"
"""How the words of a loss end, where the replica is launched again."""

_OF_THE_PLACE: Final = frozenset({Reason.LAUNCH_TIMED_OUT, Reason.LAUNCH_FAILED})
"""Failures of machines for which another place may help; another region does not mend credentials."""


_REQUESTS: Final[dict[str, str]] = {
    RequestKind.LAUNCH: "launch",
    RequestKind.EXEC: "restart of the engine",
    RequestKind.DOWN: "teardown",
}


def in_words(kind: str) -> str:
    """Return what a kind of request to SkyPilot asks for; one that only another version knows stays as it is."""
    return _REQUESTS.get(kind, kind)


def stage(
    view: View,
    phase: Phase,
    reason: Reason | str,
    message: str,
    *actions: Action,
    asks: tuple[Question, ...] = (),
    next_look_s: float = BUSY_LOOK_S,
) -> Finding:
    """Return how far the replica is. Nothing is counted, and the next look is soon."""
    return Finding(phase, reason, message, view.ledger, actions, asks, next_look_s)


def passing(finding: Finding) -> Finding:
    """Let the status go on saying what it says: nothing new is known, and will be in a moment."""
    return replace(finding, passing=True)


def ask(view: View, kind: QuestionKind, message: str) -> Finding:
    """Wait for an answer, and keep showing what led here."""
    asks = (Question(kind, str(view.name)),)
    if view.ledger.silent_since is not None:
        words = f"the engine stopped answering{why_silent(view)}"
        return passing(stage(view, Phase.STARTING, Reason.ENGINE_UNRESPONSIVE, words, asks=asks))
    return passing(stage(view, Phase.LAUNCHING, Reason.LAUNCHING, message, asks=asks))


def replace_nodes(view: View, identity: str, failure: Failure) -> Finding:
    """Count a failure for which the nodes themselves are given back."""
    return recover_now(view, identity, failure, TearDown(view.name, launches_to_cancel(view)))


def given_up(view: View, finding: Finding) -> Finding:
    """Leave the place of a launch out of the next ones, once for each failure."""
    if finding.ledger.counted == view.ledger.counted or not view.rented or finding.reason not in _OF_THE_PLACE:
        return finding
    return replace(finding, ledger=exclude(finding.ledger, view.now))


def recover_now(view: View, identity: str, failure: Failure, recovery: Action) -> Finding:
    """Count a failure and stop its costs now, whatever its backoff: the launch that follows waits for that."""
    finding = count(view, view.ledger, identity, failure, recovery, first_at_once=True)
    asked_at = view.ledger.teardown_at
    due = view.ledger.counted != identity or asked_at is None or elapsed(view.now, asked_at) > TEARDOWN_AGAIN_S
    return replace(finding, actions=(recovery,) if due else (), next_look_s=BUSY_LOOK_S)


def failed_launch(view: View) -> Outcome | None:
    """Return how the last launch or run failed; None where it did not, or nobody knows."""
    outcome = view.facts.outcome.value if isinstance(view.facts.outcome, Known) else None
    if outcome is None or outcome.failure is None or outcome.kind is RequestKind.DOWN:
        return None
    return outcome


def counted_failure(view: View) -> Failure:
    """Return the failure that was counted last, as the ledger remembers it."""
    reason = view.ledger.failure_reason
    known = Reason(reason) if reason in Reason.__members__.values() else Reason.LAUNCH_FAILED
    return Failure(known, view.ledger.failure_message)


def loss(view: View, words: str) -> Failure:
    """Return the failure of nodes that are gone; of a spot machine it is the provider who took them back."""
    if view.ledger.spot:  # SkyPilot drops the row as soon as it sees that the machines are gone
        return Failure(Reason.PREEMPTED, f"the provider took its spot machines back ({words}){AGAIN}")
    return Failure(Reason.INSTANCE_LOST, f"{words}{AGAIN}")


def why_silent(view: View) -> str:
    """Return what the last probe says, to stand after the words for it; empty if it says nothing."""
    return f": {view.detail}" if view.detail else ""
