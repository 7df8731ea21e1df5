"""A SkyPilot API server 0.14.1 over real HTTP, as far as the operator uses it.

What it answers is asked of a real server by ``tests/contract/test_skypilot.py``. It runs in a thread of the test, or as
``python -m tests.fakes.skypilot``. Knobs are plain attributes and methods; every call that reaches it is recorded.
"""

import argparse
import asyncio
import signal
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Self, TypeVar

from aiohttp import web

from tests.fakes.book import Book
from tests.fakes.front import Front
from tests.fakes.launches import EVERY, Crash, Fault, belongs, name_of
from tests.fakes.listener import Listener
from tests.fakes.nodes import Engines, Pods
from tests.fakes.payloads import Call, Cluster

__all__ = ["EVERY", "FakeSkyPilot"]

_T = TypeVar("_T")


@dataclass
class FakeSkyPilot:
    """The server.

    Attributes
    ----------
    pods
        Where clusters of Kubernetes get their pods; None: they have none.
    workers
        Launches and execs that run side by side; the others are PENDING.
    launch_seconds
        How long a launch takes that makes nodes.
    clouds
        Clouds for which it has credentials.
    offers
        By cloud, the machines of its catalog as rows of ``/list_accelerators``; a cloud that is not there has none.
    held
        Deployments whose launches do not end; :data:`EVERY` holds all.
    unschedulable
        Deployments whose pods find no node, so that their launches do not end.
    refused_downs
        By deployment, the message with which its teardowns fail.
    kill_on_launch
        Process that is killed once the next launch is recorded and before its request id is sent.
    slow_engines
        Deployments whose engines run and never answer.
    faults, crashes
        By deployment, how its next launch fails, and how its engines end.
    populations
        Names of the clusters that existed, noted at each change.
    engines
        What answers for the engines; a listener for all of them where there are many.
    terminated
        Names of clusters that were torn down, and the Unix time of each.
    book
        Its database of requests.
    """

    pods: Pods | None = None
    host: str = "127.0.0.1"
    port: int = 0
    workers: int = 4
    launch_seconds: float = 0.5
    clouds: set[str] = field(default_factory=lambda: {"kubernetes"})
    offers: dict[str, list[list[Any]]] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    unschedulable: set[str] = field(default_factory=set)
    refused_downs: dict[str, str] = field(default_factory=dict)
    kill_on_launch: int | None = None
    calls: list[Call] = field(default_factory=list)
    clusters: dict[str, Cluster] = field(default_factory=dict)
    slow_engines: set[str] = field(default_factory=set)
    populations: list[frozenset[str]] = field(default_factory=list)
    engines: Engines | Listener = field(default_factory=Engines)
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    crashes: dict[str, Crash] = field(default_factory=dict)
    terminated: list[tuple[str, float]] = field(default_factory=list)
    book: Book = field(default_factory=Book)

    # --- running it ----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start in a thread of its own; return once it listens."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-skypilot", daemon=True)
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening and end the thread; pods stay as they are."""
        self.stop()
        self._in_loop(self.engines.stop_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._in_loop(self._listen())

    def stop(self) -> None:
        """End the process: nobody listens, and requests are forgotten. Clusters stay as they are, INIT included."""
        self._in_loop(self._close())

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def lose_database(self) -> None:
        """Forget clusters and requests; pods and engines go on."""
        self._in_loop(self.book.forget())
        self.clusters.clear()
        self.terminated.clear()

    # --- knobs ---------------------------------------------------------------------------------------------------

    def fail_next_launch(
        self, of: str, error_type: str, message: str, *, log: str = "", keeps_nodes: bool = False
    ) -> None:
        """Let the next launch of a deployment fail.

        Parameters
        ----------
        keeps_nodes
            As when the pods run and SkyPilot cannot reach them: the row stays INIT, and the pods stay.
        """
        self.faults.append((of, Fault(error_type, message, log, keeps_nodes)))

    def crash_engines(self, of: str, log: str, status: str = "FAILED") -> None:
        """Let every engine of a deployment end as soon as it starts, and those that run at once."""
        self.crashes[of] = Crash(log, status)
        for cluster in self.of(of):
            self.end_job(cluster.name, log, status)

    def repair_engines(self, of: str) -> None:
        """Let engines that start from now on run."""
        self.crashes.pop(of, None)

    def end_job(self, name: str, log: str, status: str = "FAILED") -> None:
        """Let the engine of a cluster end."""
        cluster = self.clusters[name]
        if cluster.jobs:
            cluster.end_job(status, log)
        self.silence(name)

    def silence(self, name: str) -> None:
        """Let an engine stop answering while its job runs."""
        cluster = self.clusters[name]
        if cluster.address is not None:
            self._in_loop(self.engines.stop(*cluster.address))

    def unsilence(self, name: str) -> None:
        """Let it answer again."""
        cluster = self.clusters[name]
        if cluster.address is not None:
            self._in_loop(self.engines.start(*cluster.address))

    # --- what happened -------------------------------------------------------------------------------------------

    def of(self, deployment: str) -> list[Cluster]:
        """Return the clusters of a deployment."""
        return [cluster for cluster in list(self.clusters.values()) if belongs(cluster.name, deployment)]

    def most_at_once(self, of: str) -> int:
        """Return the largest number of clusters that a deployment ever had."""
        counts = (sum(belongs(name, of) for name in names) for names in list(self.populations))
        return max(counts, default=0)

    def launches(self, of: str) -> list[Call]:
        """Return every launch of a deployment that was asked for."""
        return [call for call in list(self.calls) if call.path == "/launch" and belongs(name_of(call.body), of)]

    async def _listen(self) -> None:
        self._runner = web.AppRunner(Front(self).application(), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self.book.forget()

    def _in_loop(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.skypilot", description=__doc__)
    parser.add_argument("--port", type=int, default=46580)
    parser.add_argument("--launch-seconds", type=float, default=0.5)
    parser.add_argument("--kubeconfig", type=Path, help="administrator's; without it clusters have no pods")
    parser.add_argument("--addresses", type=IPv4Network, help="addresses of this machine that pods get")
    options = parser.parse_args()
    pods = Pods(options.kubeconfig, options.addresses) if options.kubeconfig else None
    with FakeSkyPilot(pods, port=options.port, launch_seconds=options.launch_seconds) as server:
        print(f"fake SkyPilot at {server.url}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
