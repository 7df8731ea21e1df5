"""Entry to the three chains: serving, coming, leaving."""

from dataclasses import replace

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.reconcile.replica.coming import COMING
from deepseek_operator.reconcile.replica.leaving import LEAVING, gone
from deepseek_operator.reconcile.replica.ledger import BUSY_LOOK_S, advance
from deepseek_operator.reconcile.replica.view import Finding, Health, View

__all__ = ["leave", "want"]


def want(view: View) -> Finding:
    """Return what a wanted replica is, and what brings it nearer to serving."""
    view = _advanced(view, wanted=True)
    if view.serving:
        message = f"answers at {view.address}"
        if view.health is Health.UNKNOWN:
            message = f"answered at {view.address}; this operator has not asked it yet"
        # A request that may still be carried out is waited for; nothing announces that it never will be.
        look = BUSY_LOOK_S if view.ledger.unanswered else None
        return Finding(Phase.READY, Reason.READY, message, view.ledger, next_look_s=look)
    for rule, _ in COMING:
        if (finding := rule(view)) is not None:
            return finding
    raise AssertionError(f"no rule has a finding for {view!r}")  # the last rule always has


def leave(view: View) -> Finding | None:
    """Return what takes a replica away that is no longer wanted; None when nothing is left of it."""
    view = _advanced(view, wanted=False)
    if gone(view):
        return None
    for rule, _ in LEAVING:
        if (finding := rule(view)) is not None:
            return finding
    raise AssertionError(f"no rule has a finding for {view!r}")  # the last rule always has


def _advanced(view: View, *, wanted: bool) -> View:
    ledger = advance(view, wanted=wanted)
    return view if ledger is view.ledger else replace(view, ledger=ledger)
