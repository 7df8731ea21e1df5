"""The process: builds the parts, hands them to each other, and lets kopf watch."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Final

import kopf
import prometheus_client
import structlog
from lightkube import ApiError, AsyncClient

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.catalog import load_catalog
from deepseek_operator.kube.read import ClusterReader
from deepseek_operator.kube.resources import FIELD_MANAGER
from deepseek_operator.kube.write import ClusterWriter
from deepseek_operator.reconcile.naming import parse_cluster_name, uid_prefix
from deepseek_operator.runtime import handlers, metrics
from deepseek_operator.runtime.act import Actor
from deepseek_operator.runtime.observe import Observer
from deepseek_operator.runtime.prices import PriceLoop
from deepseek_operator.runtime.prober import Prober
from deepseek_operator.runtime.queue import Key, WorkQueue
from deepseek_operator.runtime.reconciler import Reconciler
from deepseek_operator.runtime.settings import Settings
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.errors import SkyPilotError
from deepseek_operator.skypilot.snapshot import SnapshotLoop

__all__ = ["Operator", "run"]

log = structlog.get_logger(__name__)

PASS_LIMIT_S: Final = 120.0
"""Seconds after which a pass is given up and repeated; also what liveness allows the slowest one, three times."""


class Operator:
    """One operator process. Must be made inside the event loop that it lives in."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        token = settings.skypilot_token_file.read_text().strip() if settings.skypilot_token_file else None
        self._kube = AsyncClient(field_manager=FIELD_MANAGER)
        self._skypilot = SkyPilotClient(settings.skypilot_endpoint, user_id=settings.skypilot_user_id, token=token)
        self._queue = WorkQueue()
        self._keys: dict[str, Key] = {}
        self._started: dict[Key, float] = {}
        self._prober = Prober(self._queue.add)
        self._snapshots = SnapshotLoop(self._skypilot, changed=self._skypilot_changed, busy=self._busy)
        writer = ClusterWriter(self._kube, settings.instance)
        catalog = load_catalog(settings.catalog_files)
        observer = Observer(
            ClusterReader(self._kube), self._skypilot, self._snapshots, self._prober, catalog, settings.default_infra
        )
        self._prices = PriceLoop(self._skypilot, observer)
        self._reconciler = Reconciler(
            observer=observer,
            actor=Actor(writer, self._skypilot, observer, settings.kubernetes_context),
            writer=writer,
            wake_after=self._queue.add_after,
            resync_period_s=settings.resync_period_s,
        )
        self._tasks: list[asyncio.Task[None]] = []

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Hook everything into kopf."""
        handlers.register(registry, self._queue.add, self._note_uid)

        @kopf.on.login(registry=registry)
        async def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:
            return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

        @kopf.on.startup(registry=registry)
        async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
            _configure(settings)
            loops: list[Coroutine[Any, Any, None]] = [
                self._queue.run_timers(),
                self._snapshots.run(),
                self._prober.run(),
                self._prices.run(),
                *(self._work() for _ in range(self._settings.workers)),
            ]
            self._tasks = [asyncio.create_task(loop) for loop in loops]

        @kopf.on.cleanup(registry=registry)
        async def stop(**_: Any) -> None:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        @kopf.on.probe(id="operator", registry=registry)
        async def alive(**_: Any) -> str:
            """Fail when a part of the process has died or a pass hangs, so that the pod is restarted."""
            if dead := [task for task in self._tasks if task.done()]:
                raise RuntimeError(f"{len(dead)} tasks of the operator have ended: {dead[0]}")
            oldest = time.monotonic() - min(self._started.values(), default=time.monotonic())
            if oldest > 3 * PASS_LIMIT_S:
                raise RuntimeError(f"a pass has been running for {oldest:.0f} s")
            return "ok"

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            self._started[key] = began = time.monotonic()
            metrics.QUEUE_LENGTH.set(len(self._queue))
            try:
                async with asyncio.timeout(PASS_LIMIT_S):
                    await self._reconciler.reconcile(key)
            except Exception as error:
                self._failed(key, error)
            else:
                metrics.PASSES.labels("ok").inc()
                self._queue.done(key)
            finally:
                self._started.pop(key, None)
                metrics.PASS_SECONDS.observe(time.monotonic() - began)
                metrics.UNSETTLED.set(len(self._reconciler.unsettled))

    def _failed(self, key: Key, error: Exception) -> None:
        metrics.PASSES.labels("error").inc()
        delay = self._queue.failed(key)
        expected = isinstance(error, SkyPilotError | ApiError | TimeoutError)
        # What is expected to go wrong now and then is a line; anything else is a bug, and wants its traceback.
        log.warning(
            "pass_failed",
            key="/".join(key),
            error=f"{type(error).__name__}: {error}",
            retry_in_s=delay,
            exc_info=None if expected else error,
        )

    def _note_uid(self, uid: str, key: Key) -> None:
        self._keys[uid_prefix(uid)] = key

    def _skypilot_changed(self, names: frozenset[str] | None) -> None:
        metrics.SKYPILOT_REACHABLE.set(self._snapshots.latest.reachable)
        if names is None:
            for key in self._keys.values():
                self._queue.add(key)
            return
        for name in names:
            parsed = parse_cluster_name(name)
            if parsed is not None and parsed.uid in self._keys:
                self._queue.add(self._keys[parsed.uid])

    def _busy(self) -> bool:
        metrics.SKYPILOT_CALLS.set(self._snapshots.calls)
        return bool(self._reconciler.unsettled)


def _configure(settings: kopf.OperatorSettings) -> None:
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.watching.server_timeout = 300
    settings.networking.request_timeout = 30
    settings.background.cancellation_polling = 5
    settings.process.ultimate_exiting_timeout = 20
    owned = f"{api.LABEL_UID}"
    for resource in (("pods",), ("services",), ("discovery.k8s.io", "v1", "endpointslices")):
        settings.watching.label_selectors[resource if len(resource) > 1 else resource[0]] = owned


async def run(settings: Settings) -> None:
    """Run the operator until a signal ends it."""
    if settings.metrics_port is not None:
        prometheus_client.start_http_server(settings.metrics_port)
    registry = kopf.OperatorRegistry()
    Operator(settings).register(registry)
    host_port = settings.health_address
    await kopf.operator(
        registry=registry,
        settings=kopf.OperatorSettings(),
        standalone=True,
        liveness_endpoint=f"http://{host_port}/healthz",
        clusterwide=not settings.namespaces,
        namespaces=list(settings.namespaces),
    )
