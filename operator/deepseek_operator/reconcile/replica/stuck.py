"""A teardown that SkyPilot has accepted and does not end, while machines go on costing money."""

from dataclasses import replace
from typing import Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.facts.base import Failure
from deepseek_operator.facts.clock import elapsed
from deepseek_operator.facts.skypilot import RequestKind, RequestState
from deepseek_operator.reconcile.actions import TearDown
from deepseek_operator.reconcile.replica.ledger import BUSY_LOOK_S, count
from deepseek_operator.reconcile.replica.remains import going_on_costing
from deepseek_operator.reconcile.replica.view import Finding, View

__all__ = ["TEARDOWN_S", "stuck_teardown"]

TEARDOWN_S: Final = 1800
"""Seconds that a teardown may take. Providers need minutes for their largest machines."""


def stuck_teardown(view: View) -> Finding | None:
    """Say that a teardown does not end, and cancel it, so that the rules below request another one.

    SkyPilot would run a second teardown beside the first, so the first is ended. One that still waits for a worker is
    left alone: another one would wait behind it.
    """
    request = view.in_flight(RequestKind.DOWN)
    if request is None or elapsed(view.now, request.created_at) <= TEARDOWN_S:
        return None
    minutes = TEARDOWN_S // 60
    words = (
        f"SkyPilot has not torn its nodes down within {minutes} minutes{going_on_costing(view)}. Every {minutes} "
        "minutes the teardown is cancelled and requested again. If that does not help, restart the SkyPilot server; "
        f"its request is {request.id}"
    )
    cancel = TearDown(view.name, (request.id,))
    failure = Failure(Reason.TEARDOWN_FAILED, words)
    # Not "request/": that is a launch, which may be final.
    finding = count(
        view, view.ledger, f"stuck/{request.id}", failure, cancel, phase=Phase.TERMINATING, first_at_once=True
    )
    due = request.state is RequestState.RUNNING and elapsed(view.now, view.ledger.teardown_at) > TEARDOWN_S
    return replace(finding, actions=(cancel,) if due else (), next_look_s=BUSY_LOOK_S)
