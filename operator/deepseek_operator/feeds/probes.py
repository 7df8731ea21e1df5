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
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

from deepseek_operator.engines.metrics import total
from deepseek_operator.facts.base import Address, Known, Probe, ProbeTarget
from deepseek_operator.facts.store import Key
from deepseek_operator.feeds.http_probe import Answer, Connection, NoAnswer

__all__ = ["Prober"]

HEALTHY_PERIOD_S: Final = 1.0
SERVICE_PERIOD_S: Final = 60.0
"""Seconds between two probes through a Service that answered: the engines behind it are asked every second."""
SILENT_PERIOD_S: Final = 1.0
LONG_SILENT_PERIOD_S: Final = 2.0
LONG_SILENT_S: Final = 60.0
AGAIN_S: Final = 0.5
"""Seconds between a first miss and the probe that confirms it."""
MISSES: Final = 2
SILENT_AT_ONCE: Final = 64
"""Probes of silent addresses that are under way at the same time."""
TICK_S: Final = 0.02
"""Probes that are due within this time are sent together, so that the loop need not wake up for each."""

Report = Callable[[Address, Known[Probe] | None], None]


class ConnectionLike(Protocol):
    """What the prober needs of a connection."""

    def ask(self, path: str, answered: Callable[[Answer | NoAnswer], None]) -> None: ...
    def close(self) -> None: ...


class _Watched:
    """One address.

    Attributes
    ----------
    expected
        The probe that is under way should be answered.
    asked
        A probe is under way; ``busy`` while it is, and while it waits for the budget of silent addresses.
    """

    __slots__ = (
        "address",
        "asked",
        "busy",
        "connection",
        "due",
        "expected",
        "keys",
        "misses",
        "probe",
        "since",
        "target",
    )

    def __init__(self, address: Address, target: ProbeTarget, connection: ConnectionLike, now: float) -> None:
        self.address, self.target, self.connection = address, target, connection
        self.keys: set[Key] = set()
        self.probe: Probe | None = None
        self.misses = 0
        self.since = now
        self.due = now
        self.expected = self.busy = self.asked = False


class Prober:
    """Probes addresses and reports every change.

    Parameters
    ----------
    report
        Called with an address and its result when that changes; with None when it is no longer watched.
    connect
        Makes a connection; tests pass their own.
    count
        Called with the result of every probe: whether it was answered as it should be.
    """

    def __init__(
        self,
        report: Report,
        connect: Callable[[Address, ProbeTarget], ConnectionLike] = lambda address, target: Connection(
            address, keep_alive=target.keep_alive, encryption=target.encryption
        ),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        count: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._report, self._connect, self._clock, self._count = report, connect, clock, count
        self._watched: dict[Address, _Watched] = {}
        self._of: dict[Key, dict[Address, ProbeTarget]] = {}
        self._heap: list[tuple[float, int, Address]] = []
        self._ids = itertools.count()
        self._wake = asyncio.Event()
        self._silent = 0
        self._silent_waiting: deque[_Watched] = deque()

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
            while True:
                self._begin_due(loop.time())
                self._wake.clear()
                wait = max(TICK_S, self._heap[0][0] - loop.time()) if self._heap else None
                try:
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            for watched in self._watched.values():
                watched.connection.close()

    def _begin_due(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            due, _, address = heapq.heappop(self._heap)
            watched = self._watched.get(address)
            if watched is not None and watched.due == due and not watched.busy:
                watched.busy = True
                self._begin(watched)

    def _watch(self, key: Key, address: Address, target: ProbeTarget) -> None:
        now = asyncio.get_running_loop().time()
        watched = self._watched.get(address)
        if watched is None:
            watched = self._watched[address] = _Watched(address, target, self._connect(address, target), now)
            self._schedule(watched, 0.0)
        elif watched.target != target:
            hurry = target.running != watched.target.running or target.path != watched.target.path
            if target.encryption != watched.target.encryption:
                self._reconnect(watched, target)
                hurry = True
            watched.target = target
            if hurry and not watched.busy:
                self._schedule(watched, 0.0)
        watched.keys.add(key)

    def _reconnect(self, watched: _Watched, target: ProbeTarget) -> None:
        """Ask somebody else at the same address from now on: a probe that is under way has lost its meaning."""
        watched.connection.close()
        watched.connection = self._connect(watched.address, target)
        with suppress(ValueError):
            self._silent_waiting.remove(watched)  # it begins anew, and only once
        self._ended(watched)

    def _unwatch(self, key: Key, address: Address) -> None:
        watched = self._watched.get(address)
        if watched is None:
            return
        watched.keys.discard(key)
        if not watched.keys:
            del self._watched[address]
            watched.connection.close()
            self._ended(watched)
            self._report(address, None)

    def _schedule(self, watched: _Watched, seconds: float) -> None:
        watched.due = asyncio.get_running_loop().time() + seconds
        heapq.heappush(self._heap, (watched.due, next(self._ids), watched.address))
        if self._heap[0][0] == watched.due:
            self._wake.set()

    def _begin(self, watched: _Watched) -> None:
        watched.expected = watched.target.trusted if watched.probe is None else watched.probe.healthy
        if not watched.expected and self._silent >= SILENT_AT_ONCE:
            self._silent_waiting.append(watched)
            return
        self._silent += not watched.expected
        watched.asked = True
        watched.connection.ask(watched.target.path, partial(self._answered, watched))

    def _ended(self, watched: _Watched) -> None:
        """Note that a probe is over, and begin one that waits for the budget of silent addresses."""
        if watched.asked and not watched.expected:
            self._silent -= 1
        watched.busy = watched.asked = False
        while self._silent_waiting and self._silent < SILENT_AT_ONCE:
            waiting = self._silent_waiting.popleft()
            if self._watched.get(waiting.address) is waiting:
                self._begin(waiting)

    def _answered(self, watched: _Watched, answer: Answer | NoAnswer) -> None:
        if isinstance(answer, NoAnswer):
            self._conclude(watched, answer.words, dropped=answer.dropped)
        elif answer.status != 200:
            self._conclude(watched, f"HTTP {answer.status}")
        elif watched.target.running:
            watched.connection.ask("/metrics", partial(self._counted, watched))
        else:
            self._conclude(watched)

    def _counted(self, watched: _Watched, answer: Answer | NoAnswer) -> None:
        if isinstance(answer, NoAnswer):
            self._conclude(watched, answer.words)
        else:
            self._conclude(watched, running=_sum(answer, watched.target.running))

    def _conclude(
        self, watched: _Watched, problem: str = "", running: int | None = None, *, dropped: bool = False
    ) -> None:
        """Schedule the next probe, and report what this one found if that is news."""
        self._ended(watched)
        healthy = not problem
        self._count(healthy)
        watched.misses = 0 if healthy else watched.misses + 1
        if not healthy and watched.expected and watched.misses < MISSES:
            self._schedule(watched, AGAIN_S)
            return
        self._schedule(watched, self._period(watched, healthy=healthy))
        before = watched.probe
        if before is not None and (before.healthy, before.detail, before.running) == (healthy, problem, running):
            return
        now = self._clock()
        if before is None or before.healthy != healthy:
            watched.since = asyncio.get_running_loop().time()
        since = before.since if before is not None and before.healthy == healthy else now
        watched.probe = Probe(healthy, since, problem, running, dropped)
        self._report(watched.address, Known(watched.probe, now))

    def _period(self, watched: _Watched, *, healthy: bool) -> float:
        jitter = random.uniform(0.9, 1.1)
        if healthy:
            return jitter * (HEALTHY_PERIOD_S if watched.target.keep_alive else SERVICE_PERIOD_S)
        silent_s = asyncio.get_running_loop().time() - watched.since
        return jitter * (SILENT_PERIOD_S if silent_s < LONG_SILENT_S else LONG_SILENT_PERIOD_S)


def _sum(metrics: Answer, series: tuple[str, ...]) -> int | None:
    """Return the sum of some series in Prometheus' text format; None where none of them can be read."""
    if metrics.status != 200:
        return None
    values = [value for name in series if (value := total(metrics.body, name)) is not None]
    return int(sum(values)) if values else None
