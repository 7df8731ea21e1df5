"""Arithmetic of the ledger: when each stage began, and how failures are counted.

A failure has an identity (the request that failed, the moment at which the replica was lost), so that a pass that sees
it again does not count it again. Each failure doubles the wait before the next attempt, within the bounds of its Reason
(:mod:`.retry`). Ten minutes of readiness forget all earlier failures.
"""

from datetime import datetime, timedelta
from typing import Final

from deepseek_operator.api.places import KUBERNETES
from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Ledger, Phase
from deepseek_operator.facts.base import Failure, Known
from deepseek_operator.facts.clock import elapsed, later, whole_second
from deepseek_operator.facts.skypilot import RequestKind, RequestState
from deepseek_operator.launch.script import CERTIFICATE_LIFETIME
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.actions import Action
from deepseek_operator.reconcile.replica.places import coming_up
from deepseek_operator.reconcile.replica.retry import retry_of
from deepseek_operator.reconcile.replica.view import Finding, Health, View

__all__ = ["BUSY_LOOK_S", "SLOW_LOOK_S", "UNANSWERED_S", "advance", "count", "launched", "sent", "update"]

CRASH_LOOP_ATTEMPTS: Final = 3
STEADY_S: Final = 600
"""Seconds of readiness after which earlier failures are forgotten."""
BUSY_LOOK_S: Final = 5.0
"""Seconds until the next look while something moves that no event announces."""
SLOW_LOOK_S: Final = 15.0
"""The same while SkyPilot or an engine works: its end is announced, and deadlines are minutes away."""
UNANSWERED_S: Final = 120
"""Seconds for which a request that ended without an answer may still be carried out."""
_MOMENTS: Final = (
    "launched_at",
    "starting_since",
    "ready_since",
    "silent_since",
    "leaving_since",
    "unpublished_since",
    "teardown_at",
)
"""Moments at which something began."""


def update(ledger: Ledger, **changes: object) -> Ledger:
    """Return ``ledger`` with some fields changed; the same object if none differs."""
    known = vars(ledger)
    for key, value in changes.items():
        if known[key] != value:
            return ledger.model_copy(update=changes)
    return ledger


def advance(view: View, *, wanted: bool) -> Ledger:
    """Return the ledger after what is seen now, before any rule has spoken."""
    ledger, now = view.ledger, whole_second(view.now)
    if not wanted or not view.serving:  # of one that goes on serving, no moment is waited for
        ledger = _not_in_future(ledger, view.now)
    # Of what is torn down nobody asks since when it has been silent or out of the Service: no status to write for that.
    torn_down = not wanted and ledger.teardown_at is not None
    if view.serving and view.health is Health.ANSWERS:
        since = ledger.ready_since or now
        ledger = update(ledger, ready_since=since, silent_since=None, starting_since=None, final=False)
        if wanted:
            ledger = update(ledger, teardown_at=None)  # it failed or was taken back: nothing tears it down now
    elif view.health is Health.SILENT and ledger.ready_since is not None and not torn_down:
        if elapsed(view.now, ledger.ready_since) >= STEADY_S:
            ledger = update(ledger, attempts=0, counted="", failure_reason="", failure_message="")
        ledger = update(ledger, ready_since=None, silent_since=now, retry_after=None)
    seen: dict[str, object] = {"infra": view.infra, "begun_at": _begun_at(view, ledger)}
    seen |= {**_money(view, ledger), **coming_up(view, ledger)}
    if ledger.launched_at is None and view.cluster is not None:
        seen["nodes"] = view.cluster.nodes  # no status could note the launch
    if view.address is not None:
        seen |= {"address": str(view.address), "port": ledger.port or view.address.port}
    ledger = update(ledger, **seen)
    if view.in_flight(RequestKind.DOWN) is not None:
        # Also where the status that noted the request could not be written.
        ledger = update(ledger, teardown_at=ledger.teardown_at or now)
    if ledger.unanswered:
        if ledger.unanswered_at is None or _in_future(view.now, ledger.unanswered_at):
            ledger = update(ledger, unanswered_at=now)  # nobody knows, or the clock was set back: wait once more
        if _settled(view, ledger):
            ledger = update(ledger, unanswered="", unanswered_at=None)
    if wanted:
        return update(ledger, leaving_since=None, unpublished_since=None)
    ledger = update(ledger, leaving_since=ledger.leaving_since or now)
    if torn_down:
        return ledger
    return update(ledger, unpublished_since=None if view.published else ledger.unpublished_since or now)


def _money(view: View, ledger: Ledger) -> dict[str, object]:
    """Return whether machines are rented, which, and at what price; all stays as it is while nobody can be asked.

    A row of SkyPilot's counts from its first moment, because machines may be up by then. Machines of which SkyPilot has
    lost its record go on counting while their engine answers, and until they are accounted for.
    """
    if not isinstance(view.facts.skypilot, Known):
        return {}
    here = view.infra in (None, KUBERNETES)
    renting = not here and (view.cluster is not None or view.health is Health.ANSWERS or view.goes_on_renting)
    looking = view.in_flight(RequestKind.LAUNCH) is not None
    # Where an operator ended before it noted a launch, the price is still that of the machines before.
    before = None if looking else ledger.price
    return {
        "renting": renting,
        "price": str(view.price) if view.price is not None and renting else before,
        # While a launch looks for machines, the row names what it tries; afterwards, what there is.
        "spot": view.cluster.spot if view.cluster is not None and not looking else ledger.spot,
    }


def _begun_at(view: View, ledger: Ledger) -> datetime | None:
    """Return since when a worker has had the launch of a replica of which SkyPilot lists no cluster yet."""
    if not isinstance(view.facts.skypilot, Known):
        return ledger.begun_at
    request = view.in_flight(RequestKind.LAUNCH)
    if request is None or request.state is not RequestState.RUNNING or view.cluster is not None:
        return None
    begun_at = ledger.begun_at
    return begun_at if begun_at is not None and begun_at <= view.now else whole_second(view.now)


def _settled(view: View, ledger: Ledger) -> bool:
    """Return whether a request without an answer has been seen, or is too old to be carried out any more."""
    if elapsed(view.now, ledger.unanswered_at) > UNANSWERED_S:
        return True
    if ledger.unanswered == RequestKind.LAUNCH:
        return view.in_flight(RequestKind.LAUNCH) is not None or view.cluster is not None
    return any(request.kind == ledger.unanswered for request in view.requests)


def _not_in_future(ledger: Ledger, now: datetime) -> Ledger:
    """Return the ledger after the clock was set back: what would begin hours from now has begun now.

    A drain of seconds would take these hours, a teardown would not be repeated for as long, and no end of machines
    would ever be one of a launch that is dated after it.
    """
    known = vars(ledger)
    future = [name for name in _MOMENTS if known[name] is not None and _in_future(now, known[name])]
    return update(ledger, **dict.fromkeys(future, whole_second(now)))


def _in_future(now: datetime, moment: datetime) -> bool:
    return moment - now > timedelta(seconds=UNANSWERED_S)


def launched(ledger: Ledger, plan: Planned, now: datetime, *, again: bool = False) -> Ledger:
    """Return the ledger after SkyPilot was asked to launch the replica, or (``again``) to start its engine again."""
    return update(
        ledger,
        engine=plan.engine.value,
        port=plan.port,
        health_path=plan.health_path,
        nodes=plan.nodes,
        startup_seconds=plan.startup_seconds,
        drain_seconds=plan.graceful_stop_seconds,
        launched_at=ledger.launched_at if again else whole_second(now),
        certificate_until=later(now, CERTIFICATE_LIFETIME.total_seconds()) if plan.rents else None,
        address=ledger.address if again else None,
        price=ledger.price if again else None,
        spot=ledger.spot if again else False,
        place=ledger.place if again else None,
        place_since=None,
        begun_at=None,
        infra=ledger.infra if again else _only_place(plan),
        starting_since=None,
        ready_since=None,
        silent_since=None,
        teardown_at=None,
        retry_after=None,
    )


def _only_place(plan: Planned) -> str | None:
    """Return ``kubernetes`` where nothing else is allowed; elsewhere SkyPilot chooses."""
    return KUBERNETES if all(place.is_kubernetes for place in plan.places) else None


def sent(ledger: Ledger, kind: RequestKind, now: datetime) -> Ledger:
    """Return the ledger after a request that ended without an answer: SkyPilot may still carry it out."""
    return update(ledger, unanswered=kind.value, unanswered_at=whole_second(now))


def count(
    view: View,
    ledger: Ledger,
    identity: str,
    failure: Failure,
    recovery: Action,
    *,
    phase: Phase = Phase.FAILED,
    first_at_once: bool = False,
    launches: bool = False,
    restarts: bool = False,
    final: bool = False,
) -> Finding:
    """Return the finding of a failure, which is counted once, with its recovery when its backoff is over.

    Parameters
    ----------
    identity
        Distinguishes this failure from the one counted before.
    first_at_once
        The recovery of the first failure in a row does not wait, unless somebody has to mend its cause.
    launches
        ``recovery`` is a launch: it is withheld while the rollout has no room for it.
    restarts
        ``recovery`` starts the engine again, which is counted in ``restarts``.
    final
        The failure is not retried.
    """
    known, rule = ledger.counted == identity, retry_of(failure.reason)
    attempts = ledger.attempts if known else ledger.attempts + 1
    retry_after = ledger.retry_after if known else None
    if retry_after is None:
        soon = first_at_once and attempts == 1 and not rule.mending
        retry_after = whole_second(view.now) if soon else later(view.now, rule.wait_s(attempts))
    # A clock that was set back must not turn a wait of seconds into one of hours.
    retry_after = min(retry_after, later(view.now, rule.cap_s))
    if failure.reason is Reason.ENGINE_EXITED and attempts >= CRASH_LOOP_ATTEMPTS:
        failure = Failure(Reason.ENGINE_CRASH_LOOP, failure.message)
    counted = update(
        ledger,
        counted=identity,
        attempts=attempts,
        restarts=ledger.restarts + (1 if restarts and not known else 0),
        failure_reason=str(failure.reason),
        failure_message=failure.message[:2048],
        retry_after=None if final else retry_after,
        final=final,
    )
    wait_s = (retry_after - view.now).total_seconds()
    due = not final and wait_s <= 0 and (view.may_launch or not launches)
    return Finding(
        phase=phase,
        reason=failure.reason,
        message=failure.message,
        ledger=counted,
        actions=(recovery,) if due else (),
        next_look_s=None if final else max(wait_s, 0.5) if wait_s > 0 else BUSY_LOOK_S,
        final=final,
    )
