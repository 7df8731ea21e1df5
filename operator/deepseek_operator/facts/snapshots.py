"""What SkyPilot's snapshots show, and which of our requests none of them can have shown yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from deepseek_operator.facts.base import Fact, Known, Unknown
from deepseek_operator.facts.names import ClusterName, parse_cluster_name
from deepseek_operator.facts.skypilot import RequestKind, RequestState, SkyPilotCluster, SkyPilotRequest
from deepseek_operator.facts.world import NOT_ASKED, Seen

__all__ = ["News", "Snapshots"]

K = TypeVar("K")


@dataclass(frozen=True)
class News:
    """What a snapshot brought.

    Attributes
    ----------
    changed
        Names of which it shows something else than the one before.
    settled
        Names whose last request it can show.
    recovered
        The one before had failed, or there was none.
    """

    changed: frozenset[str]
    settled: frozenset[str]
    recovered: bool


@dataclass(frozen=True)
class _Acted(Generic[K]):
    """A request of ours whose effect no snapshot has shown yet."""

    sequence: int
    key: K
    launch: bool


class Snapshots(Generic[K]):
    """The last snapshot, and our requests since. ``K`` is the key of a deployment."""

    def __init__(self) -> None:
        self._fact: Fact[None] = NOT_ASKED
        self._seen: dict[str, Seen] = {}
        self._by_prefix: dict[str, list[ClusterName]] = {}
        self._running: frozenset[str] = frozenset()
        self._without_worker: frozenset[str] = frozenset()
        self._sequence = 0
        self._outdated = 0
        self._acted: dict[str, _Acted[K]] = {}
        self._acted_of: dict[K, set[str]] = {}

    @property
    def fact(self) -> Fact[None]:
        """Known while the last snapshot succeeded."""
        return self._fact

    def ask(self) -> int:
        """Return a sequence number for a snapshot that is about to be asked for."""
        self._sequence += 1
        return self._sequence

    def outdate(self) -> None:
        """Take everything seen for not asked: somebody else acted until now. A snapshot under way may not show it."""
        self._fact, self._outdated = NOT_ASKED, self._sequence

    def put(
        self,
        sequence: int,
        at: datetime,
        clusters: Mapping[str, SkyPilotCluster],
        requests: Mapping[str, tuple[SkyPilotRequest, ...]],
    ) -> News:
        """Store everything that SkyPilot knows at one moment, unless that moment is outdated."""
        if sequence <= self._outdated:
            return News(frozenset(), frozenset(), recovered=False)
        names = {*clusters, *(name for name, found in requests.items() if found)}
        before, self._seen = self._seen, {}
        changed = before.keys() - names
        for name in names:
            seen, cluster, active = before.get(name), clusters.get(name), requests.get(name, ())
            if seen is None or seen.cluster != cluster or seen.requests != active:
                seen = Seen(cluster, active)
                changed.add(name)
            self._seen[name] = seen
        self._running, self._without_worker = _launches(self._seen)
        if before.keys() != names:
            self._by_prefix = {}
            for parsed in filter(None, map(parse_cluster_name, names)):
                self._by_prefix.setdefault(parsed.uid, []).append(parsed)
        settled = {name for name, acted in self._acted.items() if acted.sequence < sequence}
        for name in settled:
            self.not_acted(name)
        recovered = not isinstance(self._fact, Known)
        self._fact = Known(None, at)
        return News(frozenset(changed), frozenset(settled), recovered)

    def put_unknown(self, why: str, since: datetime) -> bool:
        """Note that SkyPilot cannot be asked, and keep what was seen last; return whether that is news."""
        known = self._fact
        if isinstance(known, Unknown) and known.since is not None:
            since = known.since
        self._fact = Unknown(why, since)
        return isinstance(known, Known) or known.since is None

    def acted(self, key: K, name: str, *, launch: bool) -> None:
        """Note that a request about ``name`` was sent: only a snapshot asked for later can show its effect."""
        self._sequence += 1
        self._acted[name] = _Acted(self._sequence, key, launch)
        self._acted_of.setdefault(key, set()).add(name)

    def not_acted(self, name: str) -> None:
        """Note that nothing is to be expected of the last request about ``name`` any more."""
        acted = self._acted.pop(name, None)
        if acted is not None:
            names = self._acted_of[acted.key]
            names.discard(name)
            if not names:
                del self._acted_of[acted.key]

    def pending(self) -> bool:
        """Return whether a name waits for a snapshot newer than the last request about it."""
        return bool(self._acted)

    def acted_names(self, key: K) -> frozenset[str]:
        """Return the names of a deployment about which a request was sent that no snapshot can have shown."""
        return frozenset(self._acted_of.get(key, ()))

    def drop(self, key: K) -> None:
        """Forget our requests about a deployment that is gone."""
        for name in self._acted_of.pop(key, set()):
            self._acted.pop(name, None)

    def last(self, name: str) -> Seen:
        """Return what the last good snapshot showed of a name, however old it is."""
        return self._seen.get(name, Seen())

    def of(self, name: str) -> Fact[Seen]:
        """Return what is known of a name now."""
        fact = self._fact
        away = isinstance(fact, Unknown) and fact.since is not None
        if name in self._acted and not away:
            return Unknown("SkyPilot has not shown the effect of the last request yet")
        return Known(self.last(name), fact.at) if isinstance(fact, Known) else fact

    def names(self, uid_prefix: str) -> tuple[ClusterName, ...]:
        """Return the names of the last snapshot that carry these digits of a UID."""
        return tuple(self._by_prefix.get(uid_prefix, ()))

    def clusters(self) -> Mapping[str, SkyPilotCluster]:
        """Return the clusters of the last snapshot, by name."""
        return {name: seen.cluster for name, seen in self._seen.items() if seen.cluster is not None}

    def launches(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the names of launches in flight, and those of them that have no worker yet."""
        sent = {name for name, acted in self._acted.items() if acted.launch}
        return self._running | sent, self._without_worker


def _launches(seen: Mapping[str, Seen]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of the launches that a snapshot shows, and those of them that have no worker."""
    found = [
        (name, request.state)
        for name, each in seen.items()
        for request in each.requests
        if request.kind in (RequestKind.LAUNCH, RequestKind.EXEC)
    ]
    return frozenset(name for name, _ in found), frozenset(
        name for name, state in found if state is RequestState.PENDING
    )
