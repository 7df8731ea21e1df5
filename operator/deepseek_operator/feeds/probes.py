"""Feed of probes: no status of SkyPilot says that an engine answers, so every engine is asked, once a second.

When a result counts:

- An engine that answers is healthy at once.
- A healthy engine counts as silent after :data:`MISSES` misses in a row, the second one half a second after the first.
  So does one that answered before this process started (``trusted``): the first probe of a new process is no more
  reliable than any other.
- An engine that has never answered is silent at the first miss.

Addresses that do not answer may take seconds each. They have a budget of their own, so that a lost node group with
hundreds of engines never delays the probes of the healthy ones.
"""

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol

from deepseek_operator.facts.base import Address, Known, Probe, ProbeTarget
from deepseek_operator.facts.store import Key
from deepseek_operator.feeds.http_probe import Answer, Connection, ProbeError

__all__ = ["Prober"]

HEALTHY_PERIOD_S: Final = 1.0
SERVICE_PERIOD_S: Final = 10.0
SILENT_PERIOD_S: Final = 1.0
LONG_SILENT_PERIOD_S: Final = 2.0
LONG_SILENT_S: Final = 60.0
AGAIN_S: Final = 0.5
"""Seconds between a first miss and the probe that confirms it."""
MISSES: Final = 2
SILENT_AT_ONCE: Final = 64
"""Probes of silent addresses that are under way at the same time."""

Report = Callable[[Address, Known[Probe] | None], None]


class ConnectionLike(Protocol):
    """What the prober needs of a connection."""

    async def get(self, path: str) -> Answer: ...
    def close(self) -> None: ...


class _Watched:
    """One address."""

    __slots__ = ("busy", "connection", "due", "keys", "misses", "probe", "since", "target")

    def __init__(self, target: ProbeTarget, connection: ConnectionLike, now: float) -> None:
        self.target, self.connection = target, connection
        self.keys: set[Key] = set()
        self.probe: Probe | None = None
        self.misses = 0
        self.since = now
        self.due = now
        self.busy = False


class Prober:
    """Probes addresses and reports every change.

    Parameters
    ----------
    report
        Called with an address and its result when that changes; with None when it is no longer watched.
    connect
        Makes a connection; tests pass their own.
    """

    def __init__(
        self,
        report: Report,
        connect: Callable[[Address, bool], ConnectionLike] = lambda address, keep: Connection(address, keep_alive=keep),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._report, self._connect, self._clock = report, connect, clock
        self._watched: dict[Address, _Watched] = {}
        self._of: dict[Key, dict[Address, ProbeTarget]] = {}
        self._heap: list[tuple[float, int, Address]] = []
        self._ids = itertools.count()
        self._wake = asyncio.Event()
        self._silent_gate = asyncio.Semaphore(SILENT_AT_ONCE)

    def watch(self, key: Key, targets: Mapping[Address, ProbeTarget]) -> None:
        """Probe exactly these addresses for ``key`` from now on."""
        before = self._of.get(key, {})
        if before == targets:
            return
        for address in before.keys() - targets.keys():
            self._unwatch(key, address)
        for address, target in targets.items():
            self._watch(key, address, target)
        if targets:
            self._of[key] = dict(targets)
        else:
            self._of.pop(key, None)

    async def run(self) -> None:
        """Probe until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    now = loop.time()
                    while self._heap and self._heap[0][0] <= now:
                        due, _, address = heapq.heappop(self._heap)
                        watched = self._watched.get(address)
                        if watched is None or watched.due != due or watched.busy:
                            continue
                        watched.busy = True
                        tasks.create_task(self._probe(address, watched))
                    self._wake.clear()
                    wait = self._heap[0][0] - loop.time() if self._heap else None
                    try:
                        await asyncio.wait_for(self._wake.wait(), wait)
                    except TimeoutError:
                        continue
        finally:
            for watched in self._watched.values():
                watched.connection.close()

    def _watch(self, key: Key, address: Address, target: ProbeTarget) -> None:
        now = asyncio.get_running_loop().time()
        watched = self._watched.get(address)
        if watched is None:
            watched = self._watched[address] = _Watched(target, self._connect(address, target.keep_alive), now)
            self._schedule(address, watched, 0.0)
        elif watched.target != target:
            hurry = target.running != watched.target.running or target.path != watched.target.path
            watched.target = target
            if hurry and not watched.busy:
                self._schedule(address, watched, 0.0)
        watched.keys.add(key)

    def _unwatch(self, key: Key, address: Address) -> None:
        watched = self._watched.get(address)
        if watched is None:
            return
        watched.keys.discard(key)
        if not watched.keys:
            del self._watched[address]
            watched.connection.close()
            self._report(address, None)

    def _schedule(self, address: Address, watched: _Watched, seconds: float) -> None:
        watched.due = asyncio.get_running_loop().time() + seconds
        heapq.heappush(self._heap, (watched.due, next(self._ids), address))
        if self._heap[0][0] == watched.due:
            self._wake.set()

    async def _probe(self, address: Address, watched: _Watched) -> None:
        expected = watched.target.trusted if watched.probe is None else watched.probe.healthy
        if expected:
            healthy, detail, running = await self._ask(watched)
        else:
            async with self._silent_gate:
                healthy, detail, running = await self._ask(watched)
        watched.busy = False
        if self._watched.get(address) is not watched:
            watched.connection.close()
            return
        watched.misses = 0 if healthy else watched.misses + 1
        if not healthy and expected and watched.misses < MISSES:
            self._schedule(address, watched, AGAIN_S)
            return
        self._schedule(address, watched, self._period(watched, healthy=healthy))
        before = watched.probe
        if before is not None and (before.healthy, before.detail, before.running) == (healthy, detail, running):
            return
        now = self._clock()
        if before is None or before.healthy != healthy:
            watched.since = asyncio.get_running_loop().time()
        since = before.since if before is not None and before.healthy == healthy else now
        watched.probe = Probe(healthy, since, detail, running)
        self._report(address, Known(watched.probe, now))

    def _period(self, watched: _Watched, *, healthy: bool) -> float:
        jitter = random.uniform(0.9, 1.1)
        if healthy:
            return jitter * (HEALTHY_PERIOD_S if watched.target.keep_alive else SERVICE_PERIOD_S)
        silent_s = asyncio.get_running_loop().time() - watched.since
        return jitter * (SILENT_PERIOD_S if silent_s < LONG_SILENT_S else LONG_SILENT_PERIOD_S)

    @staticmethod
    async def _ask(watched: _Watched) -> tuple[bool, str, int | None]:
        """Return whether the engine answers, what is wrong if not, and how many requests it has."""
        target = watched.target
        try:
            answer = await watched.connection.get(target.path)
            if answer.status != 200:
                return False, f"HTTP {answer.status}", None
            if not target.running:
                return True, "", None
            metrics = await watched.connection.get("/metrics")
        except ProbeError as error:
            return False, str(error), None
        return True, "", _sum(metrics, target.running)


def _sum(metrics: Answer, series: tuple[str, ...]) -> int | None:
    """Return the sum of some series in Prometheus' text format; None where none of them is there."""
    if metrics.status != 200:
        return None
    names = tuple(name.encode() for name in series)
    values = [
        float(line.rsplit(b" ", 1)[1])
        for line in metrics.body.splitlines()
        if line.startswith(names) and line.split(b"{", 1)[0].split(b" ", 1)[0] in names
    ]
    return int(sum(values)) if values else None
