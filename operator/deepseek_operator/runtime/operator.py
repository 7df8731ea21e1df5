"""The process: builds the parts, and waits for the Lease.

kopf is its frame: start, end and signals. Its watches are not used; feeds.kubernetes says why.
"""

import asyncio
import contextlib
import gc
import itertools
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import kopf
import prometheus_client
import structlog

from deepseek_operator.catalog import load_catalog
from deepseek_operator.feeds.engines import EngineReader
from deepseek_operator.feeds.prices import PriceFeed
from deepseek_operator.feeds.probes import Prober
from deepseek_operator.kube.client import KubeClient
from deepseek_operator.kube.lease import RENEW_LIMIT_S, LeaderElection
from deepseek_operator.kube.reader import KubeReader
from deepseek_operator.kube.write import KubeWriter
from deepseek_operator.planning import Planner
from deepseek_operator.runtime import metrics, series, tracing
from deepseek_operator.runtime.audit import AuditLoop
from deepseek_operator.runtime.health import EVERYWHERE, HealthServer, ListenError, listen
from deepseek_operator.runtime.loop import ControlLoop, Outside
from deepseek_operator.runtime.settings import Settings
from deepseek_operator.skypilot.authority import AuthorityFile
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.token import TokenFile

__all__ = ["CredentialsError", "Operator", "configure", "run"]

log = structlog.get_logger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class CredentialsError(Exception):
    """The API server does not know whose process this is."""


class Operator:
    """One operator process. Must be made inside the event loop that it lives in."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        token = TokenFile(settings.skypilot_token_file) if settings.skypilot_token_file else None
        authority = AuthorityFile(settings.skypilot_ca_file) if settings.skypilot_ca_file else None
        self._kube = KubeClient()
        # With connections of its own: all others may be busy with requests that a webhook of one namespace holds up.
        self._kube_of_lease = KubeClient()
        self._tracer = tracing.start(settings.tracing_endpoint, settings.instance)
        self._skypilot = SkyPilotClient(
            settings.skypilot_endpoint,
            user_id=settings.skypilot_user_id,
            token=token,
            authority=authority,
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
        self._audit = AuditLoop(self._loop.store, self._skypilot.user, lambda: self._loop.kubernetes.complete)
        self._health = HealthServer("/healthz", self.trouble)
        self._readiness = HealthServer("/readyz", self._loop.unready)
        self._tasks: list[asyncio.Task[None]] = []

    def register(self, registry: kopf.OperatorRegistry, listening: "Listening") -> None:
        """Hook the operator into kopf."""

        @kopf.on.login(registry=registry)
        async def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:
            return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

        # An error is final: kopf would try again after a minute, and nobody would know what it waits for.
        @kopf.on.startup(registry=registry, errors=kopf.ErrorsMode.PERMANENT)
        async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
            configure(settings)
            await self._health.start(listening.health)
            if listening.readiness is not None:
                await self._readiness.start(listening.readiness)
            await self.start()

        @kopf.on.cleanup(registry=registry)
        async def stop(**_: Any) -> None:
            await self.stop()

    async def start(self) -> None:
        """Begin to ask SkyPilot, and act at once or with the Lease."""
        self._loop.start()
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
        await self._health.close()
        await self._readiness.close()
        await self._skypilot.close()
        await self._kube.close()
        await self._kube_of_lease.close()
        await self._tracer.close()

    def trouble(self) -> str:
        """Return what is wrong with this process itself, so that the pod is restarted; empty if nothing is."""
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
            self._kube_of_lease,
            name,
            self._settings.lease_namespace,
            identity=self._settings.instance,
            scope=self._settings.namespaces,
        )

        def lost() -> None:
            log.error(
                "lease_lost",
                lease=f"{self._settings.lease_namespace}/{name}",
                means=f"the API server took no renewal for {RENEW_LIMIT_S:g} s, or another operator has the Lease; "
                "this process ends and Kubernetes starts it again; engines go on serving",
            )
            # Not by a signal: the first process of a container gets none that it sends to itself, SIGKILL included.
            os._exit(1)

        await election.run(self._lead, lost)


class _Endless:
    """Seconds between attempts to reach the API server, without end: an operator waits for it as for SkyPilot."""

    def __iter__(self) -> Iterator[float]:
        return itertools.repeat(2.0)


def configure(settings: kopf.OperatorSettings) -> None:
    """Switch off what of kopf is not used, and let it wait."""
    settings.networking.error_backoffs = _Endless()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.background.cancellation_polling = 5
    settings.process.ultimate_exiting_timeout = 20


@dataclass(frozen=True)
class Listening:
    """Where the kubelet's questions come in."""

    health: socket.socket
    readiness: socket.socket | None


async def run(settings: Settings) -> None:
    """Run the operator until a signal ends it.

    Raises
    ------
    CatalogError
        If a catalog file cannot be used.
    ListenError
        If something else listens where this process should.
    CredentialsError
        If the API server does not know who this is.
    """
    _allow_connections()
    readiness = settings.readiness_address
    listening = Listening(listen(settings.health_address), listen(readiness) if readiness else None)
    if settings.metrics_port is not None:
        _serve_metrics(settings.metrics_port)
    registry = kopf.OperatorRegistry()
    Operator(settings).register(registry, listening)
    # What is there now stays for ever: modules and the catalog. A full collection that looked through them again would
    # hold up everything for 20 ms and more.
    gc.collect()
    gc.freeze()
    try:
        await kopf.operator(
            registry=registry,
            settings=kopf.OperatorSettings(),
            standalone=True,
            # kopf would ask for the name of the user, which one whom the cluster chose (OpenShift) does not have.
            identity=cast(Any, settings.instance),
            clusterwide=not settings.namespaces,
            namespaces=list(settings.namespaces),
        )
    except kopf.LoginError as error:
        raise CredentialsError(
            "the Kubernetes API server refuses the credentials: they have expired or are wrong"
        ) from error


def _allow_connections() -> None:
    """Allow this process as many connections as its machine does: it keeps one to each engine.

    Containers often begin with 1,024. What cannot be asked for want of a connection would count as silent.
    """
    with contextlib.suppress(ImportError, ValueError, OSError):  # elsewhere than on Linux it stays as it is
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _serve_metrics(port: int) -> None:
    # Each counter and histogram has a second series otherwise, which no query of ours reads.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        prometheus_client.start_http_server(port, addr=EVERYWHERE)
    except OSError as error:
        raise ListenError(f"cannot listen on :{port} for metrics: {error.strerror}") from error
