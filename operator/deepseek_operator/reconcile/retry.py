"""Failures of one replica: counted once, remembered through the phases that are none, tried again ever later."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.reconcile.actions import Action, Launch
from deepseek_operator.reconcile.clock import later, parse_time
from deepseek_operator.reconcile.view import Assessment, View
from deepseek_operator.reconcile.world import Failure

__all__ = ["BUSY_LOOK_S", "carry", "failed", "older"]

BACKOFF_FIRST_S: Final = 10
BACKOFF_CAP_S: Final = 120
CRASH_LOOP_ATTEMPTS: Final = 3
STEADY_S: Final = 600
"""Seconds of readiness after which earlier failures are forgotten."""
BUSY_LOOK_S: Final = 5
"""Seconds until the next look while something moves that no event announces."""


def failed(
    view: View, counted: str, failure: Failure, recovery: Action, *, at_once: bool = False, restart: bool = False
) -> Assessment:
    """Count a failure once, and recover from it: at once, or when its backoff is over.

    ``at_once`` is for what frees money or costs nobody patience; what could loop (a launch that failed) waits.
    """
    previous = view.previous
    known = previous is not None and bool(counted) and previous.failure == counted
    attempts = (previous.attempts if previous else 0) if known else _attempts_before(view) + 1
    retry_after = parse_time(previous.retry_after) if known and previous and previous.retry_after else None
    if retry_after is None:
        quick = at_once and attempts == 1
        retry_after = view.now if quick else later(view.now, _backoff_s(attempts))
    if failure.reason is Reason.ENGINE_EXITED and attempts >= CRASH_LOOP_ATTEMPTS:
        failure = replace(failure, reason=Reason.ENGINE_CRASH_LOOP)
    final = isinstance(recovery, Launch) and not view.retry
    wait_s = (retry_after - view.now).total_seconds()
    due = (at_once and not isinstance(recovery, Launch)) or wait_s <= 0
    return Assessment(
        phase=Phase.FAILED,
        reason=failure.reason,
        message=failure.message,
        actions=(recovery,) if due and not final else (),
        next_look_s=None if final else max(wait_s, BUSY_LOOK_S if due else 0.5),
        counted=counted,
        attempts=attempts,
        restarts=(previous.restarts if previous else 0) + (1 if restart and not known else 0),
        retry_after=None if final else retry_after,
        final=final,
    )


def carry(view: View, assessment: Assessment) -> Assessment:
    """Keep the memory of earlier failures through the phases that are none."""
    previous = view.previous
    if previous is None or assessment.counted:
        return assessment
    retry_after = parse_time(previous.retry_after) if previous.retry_after else None
    keep = assessment.phase is Phase.FAILED
    return replace(
        assessment,
        counted=previous.failure,
        attempts=previous.attempts,
        restarts=previous.restarts,
        retry_after=retry_after if keep else None,
    )


def _attempts_before(view: View) -> int:
    previous = view.previous
    if previous is None:
        return 0
    if previous.phase is Phase.READY and previous.since and older(view, parse_time(previous.since), STEADY_S):
        return 0
    return previous.attempts


def _backoff_s(attempts: int) -> float:
    return float(min(BACKOFF_FIRST_S * 2 ** min(attempts - 1, 10), BACKOFF_CAP_S))


def older(view: View, since: datetime | None, seconds: float) -> bool:
    """Return whether more than ``seconds`` have passed since a moment; never for no moment at all."""
    return since is not None and view.now - since > timedelta(seconds=seconds)
