"""Which replicas are wanted: their number, surge and unavailability. Integers and names only.

Invariants (tested as properties): the replicas that exist never exceed ``replicas + maxSurge`` because of what is
started here, and while a change rolls out the replicas that serve never fall below ``replicas - maxUnavailable``
because of what is stopped here.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from deepseek_operator.api.spec import UpdateStrategy
from deepseek_operator.facts.names import ClusterName

__all__ = ["Existing", "Rollout", "limits", "plan_rollout"]


@dataclass(frozen=True)
class Existing:
    """A replica as the rollout sees it.

    Attributes
    ----------
    current
        It runs the current revision, and is not to be replaced for another cause: a certificate that ends, machines of
        which nobody knows what became.
    serving
        The Service should lead to it.
    published
        The Service led to it before this pass. Only then does it replace an older one.
    asked
        Its engine has been asked since this process started. One that was not may hang.
    recovering
        It served a moment ago and may come back by itself.
    present
        Something of it exists: it takes up nodes.
    leaving
        Its removal has begun.
    hourly_cost
        US dollars an hour; None if unknown.
    on_demand
        No provider takes its machines back.
    """

    name: ClusterName
    current: bool
    serving: bool
    published: bool = True
    asked: bool = True
    recovering: bool = False
    present: bool = True
    leaving: bool = False
    hourly_cost: Decimal | None = None
    on_demand: bool = False


@dataclass(frozen=True)
class Rollout:
    """Which replicas stay, come and go.

    Attributes
    ----------
    keep
        Of the current revision: repaired when they break.
    serve
        Stay while they serve or may come back by themselves, never repaired: of older revisions, and of the current one
        those that nobody may need.
    add
        Ordinals of the current revision to start.
    retire
        To be torn down.
    launchable
        Of ``keep``: those that may be launched again now if nothing of them exists.
    """

    keep: tuple[ClusterName, ...] = ()
    serve: tuple[ClusterName, ...] = ()
    add: tuple[int, ...] = ()
    retire: tuple[ClusterName, ...] = ()
    launchable: frozenset[ClusterName] = frozenset()


def limits(strategy: UpdateStrategy, replicas: int) -> tuple[int, int]:
    """Return ``(maxSurge, maxUnavailable)`` as numbers of replicas.

    As for Deployments: surge is rounded up, unavailability down, and both 0 would never move, so one may be missing.
    """
    surge = _resolve(strategy.max_surge, replicas, round_up=True)
    unavailable = _resolve(strategy.max_unavailable, replicas, round_up=False)
    return surge, (1 if surge == 0 and unavailable == 0 else unavailable)


def plan_rollout(
    *,
    replicas: int,
    surge: int,
    unavailable: int,
    existing: Iterable[Existing],
    may_add: bool,
    taken: frozenset[int] = frozenset(),
    base: int = 0,
) -> Rollout:
    """Return which replicas stay, come and go.

    Parameters
    ----------
    existing
        Every replica of which anything is left or remembered, those on their way out included.
    may_add
        Whether the current spec can be launched at all. If not, nothing is added or replaced, but what exceeds
        ``replicas`` is still taken away.
    taken
        Ordinals of the current revision that replicas have, those included that are to be replaced all the same.
    base
        How many replicas on demand stay when others have to go, although they are dearer.
    """
    found = _in_order(existing, base)
    if not may_add:
        return _shrink(found, replicas)

    current = [one for one in found if one.current]
    older = [one for one in found if not one.current]
    keep = current[:replicas]
    answering = sum(one.serving and one.published for one in keep)
    serving = [one for one in older if one.serving or one.recovering]
    wanted_old = max(0, replicas - answering)
    present = sum(one.present for one in found)
    missing = replicas - sum(one.present for one in keep)
    room = replicas + surge - present
    none_is_going = len(serving) == len(older)  # one that goes makes room by itself
    if missing > 0 and room <= 0 and none_is_going:
        # No room for a new replica beside the old ones: some of them make room first, as far as may be missing.
        wanted_old = max(0, replicas - unavailable - answering)
    serve = serving[:wanted_old]
    serve += _needed_perhaps([*keep, *serve], found)

    absent = [one for one in sorted(keep, key=lambda one: one.name.ordinal) if not one.present]
    launchable = absent[: max(0, room)]
    used = {one.name.ordinal for one in current} | taken
    free = (ordinal for ordinal in range(replicas + len(used) + 1) if ordinal not in used)
    new = max(0, min(replicas - len(keep), room - len(launchable)))
    return Rollout(
        keep=tuple(sorted((one.name for one in keep), key=lambda name: name.ordinal)),
        serve=tuple(one.name for one in serve),
        add=tuple(next(free) for _ in range(new)),
        retire=_others(found, keep, serve),
        launchable=frozenset(one.name for one in launchable),
    )


def _shrink(found: list[Existing], replicas: int) -> Rollout:
    """Take away what exceeds ``replicas``, and nothing else: no revision replaces another one now."""
    stay = [one for one in found if one.current or one.serving or one.recovering][:replicas]
    spare = _needed_perhaps(stay, found)
    return Rollout(
        keep=tuple(one.name for one in stay if one.current),
        serve=tuple(one.name for one in stay if not one.current) + tuple(one.name for one in spare),
        retire=_others(found, stay, spare),
    )


def _needed_perhaps(stay: list[Existing], found: list[Existing]) -> list[Existing]:
    """Return the others that serve while it is not known that those that stay do.

    A process that has just started knows nothing of any engine. Its first probes take milliseconds, a hung one seconds.
    """
    if all(one.asked for one in stay if one.serving):
        return []
    names = {one.name for one in stay}
    return [one for one in found if one.serving and not one.leaving and one.name not in names]


def _others(found: list[Existing], *staying: list[Existing]) -> tuple[ClusterName, ...]:
    names = {one.name for group in staying for one in group}
    return tuple(one.name for one in found if one.name not in names)


def _in_order(existing: Iterable[Existing], base: int) -> list[Existing]:
    """Return what is kept longest first.

    That is what the Service leads to, what serves, what may come back by itself, what is not being removed, what
    exists, what is of the current revision, the base, and then the cheapest.
    """
    found = sorted(existing, key=_preference)
    kept = [one for one in found if one.on_demand and one.current][:base]
    return sorted(found, key=lambda one: _preference(one, based=one in kept))


def _preference(one: Existing, *, based: bool = False) -> tuple[object, ...]:
    cost = one.hourly_cost if one.hourly_cost is not None else Decimal(0)
    led_to = one.serving and one.published
    # False sorts first.
    stage = (not led_to, not one.serving, not one.recovering, one.leaving, not one.present, not one.current)
    return (*stage, not based, cost, one.name.ordinal)


def _resolve(value: str, replicas: int, *, round_up: bool) -> int:
    if not value.endswith("%"):
        return int(value)
    share = int(value[:-1]) * replicas / 100
    return math.ceil(share) if round_up else math.floor(share)
