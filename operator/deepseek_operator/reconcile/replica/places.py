"""Where rented machines are coming up, for how long, and which places are left out for a while because they did not."""

from datetime import datetime
from typing import Final

from deepseek_operator.api.status import ExcludedPlace, Ledger
from deepseek_operator.facts.clock import later, whole_second
from deepseek_operator.facts.skypilot import RequestKind
from deepseek_operator.reconcile.replica.view import View

__all__ = ["EXCLUDED_S", "coming_up", "exclude", "excluded_now"]

EXCLUDED_S: Final = 900
"""Seconds for which a place is left out: a zone with broken machines has some for longer than one launch takes."""
_MOST: Final = 8
"""Places that are remembered, the newest."""


def coming_up(view: View, ledger: Ledger) -> dict[str, object]:
    """Return the place where SkyPilot is bringing up machines now, and since when; each place has its own time."""
    row = view.cluster
    if row is None or not row.cloud or row.on_kubernetes or view.in_flight(RequestKind.LAUNCH) is None:
        return {}
    if row.place == ledger.place and ledger.place_since is not None and ledger.place_since <= view.now:
        return {}
    return {"place": row.place, "place_since": whole_second(view.now)}


def exclude(ledger: Ledger, now: datetime) -> Ledger:
    """Return the ledger with the place of its last launch left out for a while; unchanged if none is known."""
    if ledger.place is None:
        return ledger
    others = tuple(one for one in ledger.excluded if one.place != ledger.place and _holds(one, now))
    new = ExcludedPlace(place=ledger.place, until=later(now, EXCLUDED_S))
    return ledger.model_copy(update={"excluded": (*others, new)[-_MOST:]})


def excluded_now(ledger: Ledger, now: datetime) -> tuple[str, ...]:
    """Return the places that a launch now leaves out."""
    return tuple(sorted(one.place for one in ledger.excluded if _holds(one, now)))


def _holds(one: ExcludedPlace, now: datetime) -> bool:
    # A clock that was set back must not leave a place out for hours.
    return 0 < (one.until - now).total_seconds() <= EXCLUDED_S
