"""One operator process in a simulated world: the real control loop, and clients through which it can be killed."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from deepseek_operator.facts.base import Address, Failure
from deepseek_operator.facts.skypilot import Job, Outcome
from deepseek_operator.kube.errors import KubeError
from deepseek_operator.kube.reader import KubeReader
from deepseek_operator.kube.write import KubeWriter
from deepseek_operator.planning import Planner
from deepseek_operator.runtime.loop import ControlLoop, Outside
from deepseek_operator.skypilot.client import Snapshot
from deepseek_operator.skypilot.errors import SkyPilotUnavailableError
from tests.simulation.prober import SimulatedProber
from tests.simulation.reader import SimulatedReader
from tests.simulation.rows import entries_of

__all__ = ["Process", "SimulatedClient"]

T = TypeVar("T")
Body = dict[str, Any]


class _Loop(ControlLoop):
    """The control loop; what it would log as a bug is a broken promise here."""

    report: Callable[[str], None]

    def _failed(self, key: tuple[str, str], error: Exception) -> None:
        if not isinstance(error, KubeError | TimeoutError):
            self.report(f"{type(error).__name__}: {error}")
        super()._failed(key, error)


class _Watch:
    """A watch that is open, from the side of the API server."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.broken: KubeError | None = None


class Process:
    """An operator from its start to its death.

    Parameters
    ----------
    world
        The simulation, see :class:`tests.simulation.run.Simulation`.
    workers, launch_slots
        Passes that run side by side, and launches in flight.

    Attributes
    ----------
    kill_in
        Steps of external calls until it is killed: each call has one before it is heard and one before it is answered.
    """

    def __init__(self, world: Any, planner: Planner, *, workers: int = 4, launch_slots: int = 4) -> None:
        self.world = world
        self.dead = False
        self.kill_in: int | None = None
        self.prober: SimulatedProber | None = None
        self.reader: SimulatedReader | None = None
        client: Any = _KubeClient(self)
        self._watches: dict[str, _Watch] = {}
        self.loop = _Loop(
            Outside(
                skypilot=self.make_client(),
                reader=KubeReader(client),
                writer=KubeWriter(client, "operator"),
                prober=self.make_prober,
                engines=self.make_reader,
                clock=world.loop.now,
            ),
            planner,
            workers=workers,
            launch_slots=launch_slots,
        )
        self.loop.report = lambda words: world.promises.broken("bug", words)

    def start(self) -> None:
        """Let it watch and act."""
        self.world.kubernetes.watchers.append(self._changed)
        self.loop.start()
        self.loop.lead()

    def kill(self) -> None:
        """End it as SIGKILL does: what it has sent stays sent, and it does nothing any more."""
        self.dead = True
        if self.prober is not None:
            self.prober.closed = True
        if self.reader is not None:
            self.reader.closed = True
        if self._changed in self.world.kubernetes.watchers:
            self.world.kubernetes.watchers.remove(self._changed)
        self.world.spawn(self.loop.stop())

    def break_watches(self, error: KubeError) -> None:
        """End every watch that is open."""
        for watch in self._watches.values():
            watch.broken = error
            watch.news.set()

    def _changed(self, kind: str) -> None:
        if kind in self._watches:
            self._watches[kind].news.set()

    async def watch(self, path: str, version: int) -> AsyncIterator[Body]:
        """Yield the events of a watch, each a little late, in the order of its kind; those in a gap are lost."""
        kind = await self.call(f"WATCH {path}", lambda: self.world.kubernetes.kind_watched(path))
        self._watches[kind] = watch = _Watch()
        history = self.world.kubernetes.history[kind]
        position = bisect_right(history, version, key=lambda entry: entry[0])
        loop = self.world.loop
        while True:
            while position == len(history) and watch.broken is None:
                watch.news.clear()
                await watch.news.wait()
            if watch.broken is None:
                await asyncio.sleep(self.watch_delay_s())
            if watch.broken is not None:
                raise watch.broken
            _, type_, body = history[position]
            position += 1
            if self.dead:
                await asyncio.get_running_loop().create_future()
            if loop.time() >= self.world.gap_until:
                yield {"type": type_, "object": body}

    def watch_delay_s(self) -> float:
        """Return how late the next event of a watch is."""
        dice = self.world.dice
        delay: float = dice.choice((0.002, 0.01, 0.05)) if dice.random() < 0.97 else dice.uniform(0.1, 3)
        return delay

    def make_client(self) -> "SimulatedClient":
        """Return what asks SkyPilot."""
        return SimulatedClient(self)

    def make_prober(self, report: Any) -> SimulatedProber:
        """Return what probes."""
        self.prober = SimulatedProber(report, self.world.answers, self.world.loop, self.world.dice)
        return self.prober

    def make_reader(self, report: Any) -> SimulatedReader:
        """Return what reads the engines' figures."""
        self.reader = SimulatedReader(report, self.world.answers, self.world.loop)
        return self.reader

    @property
    def in_danger(self) -> bool:
        """Whether it is dead, or will be after some steps."""
        return self.dead or self.kill_in is not None

    async def step(self, label: str) -> None:
        """Let a moment pass in which the process may be killed."""
        if self.kill_in is not None and not self.dead:
            self.kill_in -= 1
            if self.kill_in <= 0:
                self.world.trace(f"killed at: {label}")
                self.world.kill()
        if self.dead:
            await asyncio.get_running_loop().create_future()

    async def call(self, label: str, effect: Callable[[], T], seconds: float = 0.02) -> T:
        """Make one external call."""
        if self.in_danger:
            await self.step(label)
        await asyncio.sleep(self.world.dice.uniform(0.2, 1) * seconds)
        if self.dead:
            await self.step(label)
        try:
            return effect()
        finally:
            if self.in_danger:
                await self.step(f"{label} (answer)")


class _KubeClient:
    """Stands in for :class:`deepseek_operator.kube.client.KubeClient`."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str | int] | None = None,
        content_type: str = "application/json",
    ) -> Body:
        world = self._process.world

        def effect() -> Body:
            if method == "GET":
                return dict(world.kubernetes.request(method, path, body, query, content_type))
            return dict(world.write(method, path, body, query, content_type))

        return await self._process.call(f"{method} {path}", effect)

    def stream(self, path: str, query: Mapping[str, str | int]) -> AsyncIterator[Body]:
        return self._process.watch(path, int(query["resourceVersion"]))


class SimulatedClient:
    """Stands in for :class:`deepseek_operator.skypilot.client.SkyPilotClient`."""

    def __init__(self, process: Process) -> None:
        self._process, self._world = process, process.world

    async def snapshot(self) -> Snapshot:
        return await self.ask("snapshot", self._world.skypilot.snapshot)

    async def last_outcome(self, cluster_name: str) -> Outcome | None:
        return await self.ask("outcome", lambda: self._world.skypilot.last_outcome(cluster_name))

    async def job(self, cluster_name: str) -> Job:
        return await self.ask("job", lambda: self._world.skypilot.job(cluster_name))

    async def job_log(self, cluster_name: str, job_id: int) -> str:
        return await self.ask("log", lambda: "RuntimeError: out of memory")

    async def endpoints(self, cluster_name: str, port: int) -> Address | None:
        return await self.ask("endpoints", lambda: self._world.skypilot.endpoints(cluster_name, port))

    async def terminated(self, cluster_name: str) -> datetime | None:
        return await self.ask("history", lambda: self._world.skypilot.terminated(cluster_name))

    async def hourly_price(self, cluster_name: str) -> Decimal | None:
        return await self.ask("price", lambda: self._world.skypilot.hourly_price(cluster_name))

    async def cloud_access(self, cloud: str) -> Failure | None:
        return await self.ask(f"cloud {cloud}", lambda: self._world.skypilot.cloud_access(cloud))

    async def launch(self, cluster_name: str, task: Body, config: Body) -> str:
        spot = any(entry.get("use_spot") for entry in entries_of(task))
        self._world.asks_to_launch(self._process, cluster_name, spot=spot)
        kind = " as spot" if entries_of(task)[0].get("use_spot") else ""
        return await self.post(f"launch {cluster_name}{kind}", lambda: self._world.skypilot.launch(cluster_name, task))

    async def exec(self, cluster_name: str, task: Body, config: Body) -> str:
        return await self.post(f"exec {cluster_name}", lambda: self._world.skypilot.exec(cluster_name, task))

    async def down(self, cluster_name: str) -> str:
        return await self.post(f"down {cluster_name}", lambda: self._world.skypilot.down(cluster_name))

    async def cancel(self, request_ids: list[str]) -> None:
        await self.ask(f"cancel {request_ids}", lambda: self._world.skypilot.cancel(request_ids))

    async def ask(self, label: str, effect: Callable[[], T]) -> T:
        """Ask something."""
        await self._up(10)
        return await self._process.call(label, effect, 0.2)

    async def post(self, label: str, effect: Callable[[], str]) -> str:
        """Ask for something to be done."""
        world = self._world
        await self._up(20)
        fault, value = world.next_post_fault()
        if fault == "post-refused":
            await asyncio.sleep(0.1)
            raise SkyPilotUnavailableError("/launch answered 503: all workers are busy")
        world.trace(f"-> {label}{f' ({fault})' if fault else ''}")
        if fault == "post-late" and not self._process.dead:
            world.loop.call_later(value, world.heard_late, self._process, label, effect, world.loop.time())
            await asyncio.sleep(20)
            raise SkyPilotUnavailableError("no answer", maybe_heard=True)
        answer = await self._process.call(label, effect, 0.2)
        if fault == "answer-lost":
            raise SkyPilotUnavailableError("connection reset", maybe_heard=True)
        return answer

    async def _up(self, seconds: float) -> None:
        mode = self._world.skypilot_mode()
        if mode == "refuses":
            await asyncio.sleep(0.05)
            raise SkyPilotUnavailableError("the SkyPilot API server does not answer: connection refused")
        if mode == "hangs":
            await asyncio.sleep(seconds)
            raise SkyPilotUnavailableError("the SkyPilot API server does not answer: timed out", maybe_heard=True)
