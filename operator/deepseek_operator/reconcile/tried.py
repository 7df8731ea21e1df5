"""Which places a replica's launches have tried: the newest ten, for ``kubectl describe``. No rule reads them."""

from typing import Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Instance, Ledger, PlaceTriedStatus
from deepseek_operator.facts.base import Known
from deepseek_operator.facts.clock import format_time
from deepseek_operator.facts.skypilot import Outcome, PlaceTried, RequestKind
from deepseek_operator.reconcile.replica.view import View

__all__ = ["KEPT", "tried_places"]

KEPT: Final = 10
"""Places in a status. A place that fails again in the same way is listed once, with its newest time."""


def tried_places(previous: Instance | None, view: View, ledger: Ledger) -> tuple[PlaceTriedStatus, ...]:
    """Return the places tried up to now, newest last.

    Parameters
    ----------
    previous
        The replica in the stored status; its ledger tells which failure has been listed already.
    ledger
        Its ledger after this pass.
    """
    before = previous.places_tried if previous is not None else ()
    counted = previous.ledger.counted if previous is not None else ""
    outcome = view.facts.outcome.value if isinstance(view.facts.outcome, Known) else None
    if ledger.counted == counted or not ledger.counted.startswith("request/"):
        # No failure; a launch that succeeded may have tried other places first.
        if outcome is None or outcome.failure is not None or _listed(before, outcome):
            return before
        found, at = outcome.tried, format_time(outcome.finished_at)
    elif outcome is not None and f"request/{outcome.request_id}" == ledger.counted:
        found, at = _of_launch(outcome, view, ledger), format_time(outcome.finished_at)
    else:  # a launch that has not ended, and that the operator gives up
        found, at = _where_it_was(view, ledger), format_time(view.now)
    new = tuple(
        PlaceTriedStatus(place=one.place[:253], reason=str(one.reason), code=one.code[:128], time=at) for one in found
    )
    again = {(one.place, one.reason, one.code) for one in new}
    return (*(one for one in before if (one.place, one.reason, one.code) not in again), *new)[-KEPT:]


def _listed(before: tuple[PlaceTriedStatus, ...], outcome: Outcome) -> bool:
    """Return whether an outcome has been listed, or is older than what has been."""
    return bool(before) and before[-1].time >= format_time(outcome.finished_at)


def _of_launch(outcome: Outcome, view: View, ledger: Ledger) -> tuple[PlaceTried, ...]:
    if outcome.kind is not RequestKind.LAUNCH or outcome.failure is None:
        return ()
    where = _where_it_was(view, ledger)
    if view.cluster is not None:
        # Its last place had machines, so that its log holds no error of the provider; but they did not come up.
        return (*(one for one in outcome.tried if one.place not in {last.place for last in where}), *where)
    return outcome.tried or where


def _where_it_was(view: View, ledger: Ledger) -> tuple[PlaceTried, ...]:
    """Return the place of the cluster that SkyPilot was making, with the failure that was counted."""
    row = view.facts.last_seen.cluster
    place = ledger.infra or ""
    if row is not None and row.cloud:
        place = row.place
    elif not place and view.plan is not None and len(view.plan.places) == 1:
        place = str(view.plan.places[0])
    return (PlaceTried(place, _reason(ledger)),) if place else ()


def _reason(ledger: Ledger) -> Reason:
    known = ledger.failure_reason in Reason.__members__.values()
    return Reason(ledger.failure_reason) if known else Reason.LAUNCH_FAILED
