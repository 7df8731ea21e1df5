"""The process: builds the parts, and waits for the Lease.

kopf is its frame: start and end, signals, and the liveness probe. Its watches are not used; feeds.kubernetes says why.
"""

import asyncio
import gc
import os
from datetime import UTC, datetime
from functools import partial
from typing import Any

import kopf
import prometheus_client
import structlog

from deepseek_operator.catalog import load_catalog
from deepseek_operator.feeds.engines import EngineReader
from deepseek_operator.feeds.prices import PriceFeed
from deepseek_operator.feeds.probes import Prober
from deepseek_operator.kube.client import KubeClient
from deepseek_operator.kube.lease import LeaderElection
from deepseek_operator.kube.reader import KubeReader
from deepseek_operator.kube.write import KubeWriter
from deepseek_operator.planning import Planner
from deepseek_operator.runtime import metrics, series, tracing
from deepseek_operator.runtime.audit import AuditLoop
from deepseek_operator.runtime.loop import ControlLoop, Outside
from deepseek_operator.runtime.readiness import Readiness
from deepseek_operator.runtime.settings import Settings
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.token import TokenFile

__all__ = ["Operator", "run"]

log = structlog.get_logger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class Operator:
    """One operator process. Must be made inside the event loop that it lives in."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        token = TokenFile(settings.skypilot_token_file) if settings.skypilot_token_file else None
        self._kube = KubeClient()
        self._tracer = tracing.start(settings.tracing_endpoint, settings.instance)
        self._skypilot = SkyPilotClient(
            settings.skypilot_endpoint,
            user_id=settings.skypilot_user_id,
            token=token,
            observe=self._skypilot_asked,
        )
        planner = Planner(
            load_catalog(settings.catalog_files),
            default_infra=settings.default_infra,
            kubernetes_context=settings.kubernetes_context,
        )
        outside = Outside(
            skypilot=self._skypilot,
            reader=KubeReader(self._kube),
            writer=KubeWriter(self._kube, settings.instance),
            prober=partial(Prober, count=metrics.count_probe),
            engines=partial(EngineReader, live=series.ENGINES.put),
            clock=_now,
        )
        self._loop = ControlLoop(
            outside,
            planner,
            namespaces=settings.namespaces,
            workers=settings.workers,
            launch_slots=settings.launch_slots,
            proxy=settings.proxy,
            resync_period_s=settings.resync_period_s,
            kubernetes_context=settings.kubernetes_context,
            tracer=self._tracer,
        )
        self._prices = PriceFeed(self._skypilot, planner, clock=_now)
        self._audit = AuditLoop(self._loop.store, self._skypilot.user)
        address = settings.readiness_address
        self._readiness = Readiness(address, self._loop.unready) if address else None
        self._tasks: list[asyncio.Task[None]] = []

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Hook the operator into kopf."""

        @kopf.on.login(registry=registry)
        async def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:
            return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

        @kopf.on.startup(registry=registry)
        async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
            _configure(settings)
            await self.start()

        @kopf.on.cleanup(registry=registry)
        async def stop(**_: Any) -> None:
            await self.stop()

        # An error is final: kopf would try the probe again before it answers the kubelet, which waits for 5 s.
        @kopf.on.probe(id="operator", registry=registry, errors=kopf.ErrorsMode.PERMANENT)
        async def alive(**_: Any) -> str:
            """Fail when a part of the process has died or a pass hangs, so that the pod is restarted."""
            if trouble := self.trouble():
                raise RuntimeError(trouble)
            return "ok"

    async def start(self) -> None:
        """Begin to ask SkyPilot, and act at once or with the Lease."""
        self._loop.start()
        if self._readiness is not None:
            await self._readiness.start()
        self._tasks = [asyncio.create_task(self._prices.run())]
        if self._settings.lease_name is None:
            self._lead()
        else:
            self._tasks.append(asyncio.create_task(self._campaign(self._settings.lease_name)))

    async def stop(self) -> None:
        """End everything; the Lease after the workers, because it must not be released while anything still acts."""
        await self._loop.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._readiness is not None:
            await self._readiness.close()
        await self._skypilot.close()
        await self._kube.close()
        await self._tracer.close()

    def trouble(self) -> str:
        """Return what is wrong with this process itself; empty if nothing is."""
        if dead := [task for task in self._tasks if task.done()]:
            return f"a task of the process has ended: {dead[0]}"
        return self._loop.trouble()

    def _skypilot_asked(self, path: str, seconds: float | None, error: str) -> None:
        metrics.observe_skypilot(path, seconds, error)
        self._tracer.skypilot_asked(path, seconds, error)

    def _lead(self) -> None:
        metrics.LEADER.set(1)
        self._loop.lead()
        self._tasks.append(asyncio.create_task(self._audit.run()))

    async def _campaign(self, name: str) -> None:
        """Wait for the Lease, act while it is held, and end the process when it is lost: another one may act."""
        election = LeaderElection(
            self._kube,
            name,
            self._settings.lease_namespace,
            identity=self._settings.instance,
            scope=self._settings.namespaces,
        )

        def lost() -> None:
            log.error("lease_lost", lease=name)
            # Not by a signal: the first process of a container gets none that it sends to itself, SIGKILL included.
            os._exit(1)

        await election.run(self._lead, lost)


def _configure(settings: kopf.OperatorSettings) -> None:
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.background.cancellation_polling = 5
    settings.process.ultimate_exiting_timeout = 20


async def run(settings: Settings) -> None:
    """Run the operator until a signal ends it."""
    if settings.metrics_port is not None:
        # Each counter and histogram has a second series otherwise, which no query of ours reads.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        prometheus_client.start_http_server(settings.metrics_port)
    registry = kopf.OperatorRegistry()
    Operator(settings).register(registry)
    # What is there now stays for ever: modules and the catalog. A full collection that looked through them again would
    # hold up everything for 20 ms and more.
    gc.collect()
    gc.freeze()
    host_port = settings.health_address
    await kopf.operator(
        registry=registry,
        settings=kopf.OperatorSettings(),
        standalone=True,
        liveness_endpoint=f"http://{host_port}/healthz",
        clusterwide=not settings.namespaces,
        namespaces=list(settings.namespaces),
    )
