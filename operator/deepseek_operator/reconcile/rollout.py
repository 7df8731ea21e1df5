"""Which replicas are wanted: their number, surge and unavailability. Integers and names only.

Invariants (tested as properties): the replicas that exist never exceed ``replicas + maxSurge`` because of what is
started here, and while a change rolls out the replicas that answer never fall below ``replicas - maxUnavailable``
because of what is stopped here.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from deepseek_operator.api.spec import UpdateStrategy
from deepseek_operator.reconcile.naming import ClusterName

__all__ = ["Rollout", "limits", "plan_rollout"]


@dataclass(frozen=True)
class Rollout:
    """Which replicas stay, come and go.

    Attributes
    ----------
    keep
        Of the current revision: repaired when they break.
    serve
        Of older revisions: stay as long as they answer, never repaired.
    add
        Ordinals of the current revision to start.
    retire
        To be torn down.
    """

    keep: tuple[ClusterName, ...] = ()
    serve: tuple[ClusterName, ...] = ()
    add: tuple[int, ...] = ()
    retire: tuple[ClusterName, ...] = ()


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
    revision: str,
    existing: Iterable[ClusterName],
    ready: frozenset[str],
    may_add: bool,
) -> Rollout:
    """Return which replicas stay, come and go.

    Parameters
    ----------
    existing
        Every replica of which anything is left, those on their way out included.
    ready
        Names of those that answer.
    may_add
        Whether the current spec can be launched at all; if not, what serves is left alone.
    """
    names = sorted(existing, key=lambda name: (name.revision, name.ordinal))
    current = [name for name in names if name.revision == revision]
    older = [name for name in names if name.revision != revision]
    if not may_add:
        return Rollout(keep=tuple(current), serve=tuple(older))

    # Scaling down: those that answer stay first, then the lowest ordinals.
    preferred = sorted(current, key=lambda name: (name not in ready, name.ordinal))
    keep, retire = preferred[:replicas], preferred[replicas:]

    answering = sum(name in ready for name in keep)
    serving = [name for name in older if name in ready]
    wanted_old = max(0, replicas - answering)
    room = replicas + surge - len(names)
    missing = replicas - len(keep)
    if missing > 0 and room <= 0 and len(serving) == len(older):
        # No room for a new replica beside the old ones: some of them make room first, as far as may be missing.
        wanted_old = max(0, replicas - unavailable - answering)
    serve = serving[:wanted_old]
    retire += [name for name in older if name not in serve]
    used = {name.ordinal for name in current}
    free = (ordinal for ordinal in range(replicas + len(used) + 1) if ordinal not in used)
    add = tuple(next(free) for _ in range(max(0, min(missing, room))))
    return Rollout(tuple(sorted(keep, key=lambda name: name.ordinal)), tuple(serve), add, tuple(retire))


def _resolve(value: str, replicas: int, *, round_up: bool) -> int:
    if not value.endswith("%"):
        return int(value)
    share = int(value[:-1]) * replicas / 100
    return math.ceil(share) if round_up else math.floor(share)
