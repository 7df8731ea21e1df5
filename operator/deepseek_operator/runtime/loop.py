"""The control loop put together: store, queue, feeds, reconciler and workers. It knows no framework."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

import structlog

from deepseek_operator.facts.base import Address, Fact, Known, Probe, ProbeTarget
from deepseek_operator.facts.engine import EngineReading, EngineTarget
from deepseek_operator.facts.store import Key, Store
from deepseek_operator.feeds.kubernetes import KubernetesFeed
from deepseek_operator.feeds.questions import Questions
from deepseek_operator.feeds.skypilot import SkyPilotFeed
from deepseek_operator.kube.errors import KubeError
from deepseek_operator.launch.proxy import ProxySettings
from deepseek_operator.planning import Planner
from deepseek_operator.runtime import metrics
from deepseek_operator.runtime.act import Actor
from deepseek_operator.runtime.poster import EventPoster
from deepseek_operator.runtime.publish import Publisher
from deepseek_operator.runtime.queue import WorkQueue
from deepseek_operator.runtime.reconciler import Reconciler
from deepseek_operator.runtime.recorder import Recorder
from deepseek_operator.runtime.secrets import OwnSecrets
from deepseek_operator.runtime.slots import LaunchSlots
from deepseek_operator.runtime.tasks import TaskMaker
from deepseek_operator.runtime.tracing import Tracer

__all__ = ["ControlLoop", "Outside", "ProberLike", "ReaderLike"]

log = structlog.get_logger(__name__)

PASS_LIMIT_S: Final = 60.0
"""A pass is cancelled and retried after this time. Liveness fails when one has run three times as long."""

LATER_S: Final = 2.0
"""Seconds within which some other pass is likely to tell what nobody waits for: what an engine has reported."""

_ENDED_WELL: Final = metrics.PASSES.labels("ok")


class ProberLike(Protocol):
    """Probes addresses; see :class:`deepseek_operator.feeds.probes.Prober`."""

    def watch(self, key: Key, targets: dict[Address, ProbeTarget]) -> None: ...  # noqa: D102
    async def run(self) -> None: ...  # noqa: D102


class ReaderLike(Protocol):
    """Reads engines' own figures; see :class:`deepseek_operator.feeds.engines.EngineReader`."""

    def watch(self, key: Key, engines: dict[Address, EngineTarget]) -> None: ...  # noqa: D102
    async def run(self) -> None: ...  # noqa: D102


@dataclass
class Outside:
    """Everything outside the process.

    Attributes
    ----------
    prober
        Makes a prober that reports to the given function.
    engines
        Makes a reader of engines that reports to the given function.
    """

    skypilot: Any
    reader: Any
    writer: Any
    prober: Callable[[Callable[[Address, Known[Probe] | None], None]], ProberLike]
    engines: Callable[[Callable[[Address, Fact[EngineReading] | None], None]], ReaderLike]
    clock: Callable[[], datetime]


class ControlLoop:
    """One control loop. Must be made inside the event loop that it lives in."""

    def __init__(
        self,
        outside: Outside,
        planner: Planner,
        *,
        namespaces: tuple[str, ...] = (),
        workers: int = 16,
        launch_slots: int = 8,
        proxy: ProxySettings = ProxySettings(),  # noqa: B008 - frozen
        resync_period_s: float = 600.0,
        kubernetes_context: str | None = None,
        tracer: Tracer = Tracer(),  # noqa: B008 - keeps nothing
    ) -> None:
        self.queue = WorkQueue(waited=metrics.QUEUE_WAIT_SECONDS.observe)
        self.store = Store(self.queue.add, self.queue.add_urgent, self.queue.add_edited, self._look_later)
        self.kubernetes = KubernetesFeed(outside.reader, self.store, namespaces)
        self.questions = Questions(outside.skypilot, outside.reader, self.store, clock=outside.clock)
        self.prober = outside.prober(self.store.put_probe)
        self.engines = outside.engines(self.store.put_reading)
        self.slots = LaunchSlots(self.store, launch_slots, self.queue.add_urgent)
        self.skypilot = SkyPilotFeed(
            outside.skypilot, self.store, busy=self._busy, taken=self.slots.release, clock=outside.clock
        )
        own = OwnSecrets(outside.writer, self.store, outside.clock)
        tasks = TaskMaker(
            writer=outside.writer,
            secrets=outside.reader,
            own=own,
            clock=outside.clock,
            kubernetes_context=kubernetes_context,
        )
        self.actor = Actor(
            writer=outside.writer,
            tasks=tasks,
            skypilot=outside.skypilot,
            store=self.store,
            kubernetes=self.kubernetes,
            questions=self.questions,
            slots=self.slots,
            hurry=self.skypilot.hurry,
            clock=outside.clock,
        )
        self.events = EventPoster(outside.writer, lambda: len(self.queue) > 0, outside.clock)
        self.reconciler = Reconciler(
            store=self.store,
            planner=planner,
            kubernetes=self.kubernetes,
            questions=self.questions,
            actor=self.actor,
            publisher=Publisher(outside.writer, own, self.store, self.kubernetes, outside.clock),
            events=self.events,
            slots=self.slots,
            watch=self.prober.watch,
            read=self.engines.watch,
            wake=self.queue.add_urgent,
            wake_after=self.queue.add_after,
            clock=outside.clock,
            resync_period_s=resync_period_s,
            proxy=proxy,
            recorder=Recorder(tracer=tracer),
            tracer=tracer,
        )
        self._workers = workers
        self._started: dict[Key, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False

    def start(self) -> None:
        """Start to ask SkyPilot, which makes the process ready. One that waits for the Lease watches nothing else."""
        self._spawn(self.skypilot.run(), self.prober.run(), self.engines.run())

    def lead(self) -> None:
        """See Kubernetes whole, watch it from there, and start the workers, which act.

        A process that waited has an old snapshot of SkyPilot: the launches of the one before may be missing in it. One
        that gets the Lease while it ends does nothing with it.
        """
        if self._stopped:
            return
        self.store.outdate_snapshot()
        self.skypilot.hurry()
        self._spawn(self._lead())

    async def _lead(self) -> None:
        versions = await self.kubernetes.sync()
        for key in self.store.all_keys():
            self.queue.add(key)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.kubernetes.watch(versions))
            group.create_task(self.queue.run_timers())
            group.create_task(self.events.run())
            for _ in range(self._workers):
                group.create_task(self._work())

    async def stop(self) -> None:
        """Stop everything. Nothing that was sent is on its way afterwards: the Lease may go to somebody else."""
        self._stopped = True
        self.questions.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.actor.close()
        await self.events.close()

    def trouble(self) -> str:
        """Return what is wrong with the loop itself; empty if nothing is."""
        if dead := [task for task in self._tasks if task.done()]:
            return f"{len(dead)} tasks of the operator have ended: {dead[0]}"
        oldest = time.monotonic() - min(self._started.values(), default=time.monotonic())
        return f"a pass has been running for {oldest:.0f} s" if oldest > 3 * PASS_LIMIT_S else ""

    def unready(self) -> str:
        """Return why nothing could be launched now; empty if it could."""
        return self.trouble() or self.skypilot.problem

    def _spawn(self, *loops: Coroutine[Any, Any, None]) -> None:
        self._tasks += [asyncio.create_task(loop) for loop in loops]

    def _look_later(self, key: Key) -> None:
        self.queue.add_after(key, LATER_S)

    def _busy(self) -> bool:
        metrics.SKYPILOT_CALLS.set(self.skypilot.calls)
        metrics.SKYPILOT_REACHABLE.set(self.skypilot.reachable)
        metrics.UNSETTLED.set(len(self.reconciler.unsettled))
        metrics.LAUNCHES_IN_FLIGHT.set(len(self.store.launches()[0]))
        metrics.LAUNCHES_WAITING.set(self.slots.waiting)
        self._measure_queue()
        return bool(self.reconciler.unsettled)

    async def _work(self) -> None:
        while True:
            key = await self.queue.take()
            self._started[key] = began = time.monotonic()
            self._measure_queue()
            with structlog.contextvars.bound_contextvars(object="/".join(key)):
                try:
                    async with asyncio.timeout(PASS_LIMIT_S):
                        await self.reconciler.reconcile(key)
                except Exception as error:
                    self._failed(key, error)
                else:
                    _ENDED_WELL.inc()
                    self.queue.done(key)
                finally:
                    self._started.pop(key, None)
                    metrics.PASS_SECONDS.observe(time.monotonic() - began)

    def _measure_queue(self) -> None:
        metrics.QUEUE_LENGTH.set(len(self.queue))
        metrics.QUEUE_SECONDS.set(self.queue.oldest_s())

    def _failed(self, key: Key, error: Exception) -> None:
        metrics.PASSES.labels("error").inc()
        delay = self.queue.failed(key)
        expected = isinstance(error, KubeError | TimeoutError)
        # What is expected to go wrong now and then is a line; anything else is a bug, and wants its traceback.
        log.warning(
            "pass_failed",
            reason=type(error).__name__,
            error=f"{type(error).__name__}: {error}",
            retry_in_s=delay,
            exc_info=None if expected else error,
        )
