"""``make bench-growth``: what grows with the number of deployments, up to more of them than this machine can hold.

The real control loop brings N deployments up on a virtual clock, against the simulated API server and a simulated
SkyPilot with as many launch workers as wanted; then it does nothing for ten minutes of that clock, and at last all are
deleted. CPU seconds are those of the loop and of what is simulated around it, so they are an upper limit, and what
counts is whether they grow faster than N. Not in them: HTTP, TLS, JSON and probes, which ``make bench-scale`` measures.
"""

import argparse
import asyncio
import itertools
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.catalog import load_catalog
from deepseek_operator.facts.base import Address, Fact, Failure, Known, Probe, ProbeTarget
from deepseek_operator.facts.clock import format_time
from deepseek_operator.facts.engine import EngineReading, EngineTarget
from deepseek_operator.facts.skypilot import RequestState
from deepseek_operator.facts.store import Key
from deepseek_operator.planning import Planner
from tests.simulation.clock import VirtualLoop, run_virtually
from tests.simulation.ground import Ground, Nodes
from tests.simulation.kubernetes import SimulatedKubernetes
from tests.simulation.process import Process
from tests.simulation.run import LOCAL
from tests.simulation.skypilot import SimulatedSkyPilot

NAMESPACE: Final = "serving"
SETTLED_S: Final = 600.0

Body = dict[str, Any]


class _Ground(Ground):
    """Nodes by their address, and addresses enough."""

    def __init__(self) -> None:
        super().__init__()
        self._by_host: dict[str, Nodes] = {}
        self._numbers = itertools.count()

    def take_host(self, *, on_kubernetes: bool) -> str:
        number = next(self._numbers)  # nodes are added later, and no two of them may have one address
        return f"10.{number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"

    def add(self, nodes: Nodes) -> None:
        super().add(nodes)
        self._by_host[nodes.host] = nodes

    def at(self, address: Address) -> Nodes | None:
        return self._by_host.get(address.host)


class _SkyPilot(SimulatedSkyPilot):
    """A server whose own work does not grow with the square of N."""

    free: asyncio.Semaphore

    def _promise_one_request(self, name: str) -> None:
        """Promises are the business of the simulation."""

    def namespace_of(self, uid: str) -> str:
        return NAMESPACE

    async def _worker(self, one: Any) -> None:
        """The semaphore of :meth:`_launch` stands for the workers."""
        one.state = RequestState.RUNNING

    async def _launch(self, one: Any, task: Body) -> Failure | None:
        async with self.free:
            return await super()._launch(one, task)


class _Prober:
    """Reports each engine once, when it begins to answer."""

    def __init__(self, fleet: "Fleet", report: Callable[[Address, Known[Probe] | None], None]) -> None:
        self._fleet, self._report = fleet, report
        self._of: dict[Key, set[Address]] = {}

    def watch(self, key: Key, targets: Mapping[Address, ProbeTarget]) -> None:
        new = targets.keys() - self._of.get(key, set())
        self._of[key] = set(targets)
        for address in new:
            self._look(key, address, 0.05)

    def _look(self, key: Key, address: Address, wait_s: float) -> None:
        self._fleet.loop.call_later(wait_s, self._ask, key, address)

    def _ask(self, key: Key, address: Address) -> None:
        if address not in self._of[key]:
            return
        if self._fleet.answers(address):
            now = self._fleet.loop.now()
            self._report(address, Known(Probe(True, now, "200"), now))
        else:
            self._look(key, address, 1.0)

    async def run(self) -> None:
        await asyncio.Event().wait()


class _Reader:
    """Reads nothing: engines' own figures are measured by ``make bench-scale``."""

    def watch(self, key: Key, engines: Mapping[Address, EngineTarget]) -> None:
        pass

    async def run(self) -> None:
        await asyncio.Event().wait()


class _Process(Process):
    """The control loop with a prober and a reader that cost next to nothing, and watches as quick as real ones."""

    def watch_delay_s(self) -> float:
        return 0.0005

    def make_prober(self, report: Any) -> Any:
        return _Prober(self.world, report)

    def make_reader(self, report: Callable[[Address, Fact[EngineReading] | None], None]) -> Any:
        return _Reader()


class Fleet:
    """The world of the benchmark: what :class:`tests.simulation.run.Simulation` is to schedules."""

    gap_until = 0.0

    def __init__(self, loop: VirtualLoop, launch_workers: int) -> None:
        self.loop, self.dice = loop, random.Random(1)
        self.kubernetes = SimulatedKubernetes(lambda: format_time(loop.now()))
        self.ground = _Ground()
        self.skypilot = _SkyPilot(self.dice, self.ground, self.kubernetes, loop.now, workers=launch_workers)
        self.skypilot.free = asyncio.Semaphore(launch_workers)
        self.process = _Process(self, Planner(load_catalog()), workers=16, launch_slots=launch_workers)
        self.ready: set[str] = set()

    def create(self, count: int) -> None:
        """Create so many deployments at once."""
        self.kubernetes.put("namespaces", "", NAMESPACE, {"metadata": {"name": NAMESPACE, "uid": "n"}})
        for number in range(count):
            head = {"name": f"d{number}", "namespace": NAMESPACE, "uid": f"{number:08x}-4e5f-6789-abcd-ef0123456789"}
            body = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": {**head, "generation": 1}}
            self.kubernetes.put(api.PLURAL, NAMESPACE, head["name"], {**body, "spec": {**LOCAL, "replicas": 1}})

    def delete(self) -> None:
        """Ask for the deletion of all of them."""
        for body in self.kubernetes.list(api.PLURAL):
            self.kubernetes.delete(api.PLURAL, NAMESPACE, body["metadata"]["name"])

    def answers(self, address: Address) -> bool:
        """Return whether an engine answers; a Service does as soon as it is asked."""
        return address.host.startswith("10.96.") or self.ground.answers(address)

    def write(self, method: str, path: str, body: Any, query: Any, content_type: str) -> Body:
        """Let the operator write, and note who is Ready."""
        answer = self.kubernetes.request(method, path, body, query, content_type)
        if path.endswith("/status"):
            conditions = answer["status"]["conditions"]
            if any(one["type"] == "Ready" and one["status"] == "True" for one in conditions):
                self.ready.add(answer["metadata"]["name"])
        return answer

    # Nothing goes wrong here.

    def skypilot_mode(self) -> str:
        """SkyPilot answers."""
        return "up"

    def next_post_fault(self) -> tuple[str, float]:
        """Every request is heard."""
        return "", 0.0

    def trace(self, words: str) -> None:
        """Nobody reads along."""


def measure(count: int, launch_workers: int) -> None:
    """Bring so many deployments up, do nothing for a while, and print a row of the table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    loop = VirtualLoop()

    async def run() -> None:
        fleet = Fleet(loop, launch_workers)
        fleet.create(count)
        began = time.process_time()
        fleet.process.start()
        while len(fleet.ready) < count:
            await asyncio.sleep(5)
        create_s, took_s, calls = time.process_time() - began, loop.time(), fleet.process.loop.skypilot.calls
        writes = len(fleet.kubernetes.writes)
        await asyncio.sleep(60)
        began, settled_writes = time.process_time(), len(fleet.kubernetes.writes)
        await asyncio.sleep(SETTLED_S)
        settled_s, settled_writes = time.process_time() - began, len(fleet.kubernetes.writes) - settled_writes
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        began, begun, before = time.process_time(), loop.time(), len(fleet.kubernetes.writes)
        fleet.delete()
        while fleet.kubernetes.list(api.PLURAL):
            await asyncio.sleep(1)
        delete_s, delete_writes = time.process_time() - began, len(fleet.kubernetes.writes) - before
        print(
            f"| {count:,} | {create_s:.1f} | {1000 * create_s / count:.2f} | {took_s:,.0f} | {calls / 2:,.0f} "
            f"| {writes / count:.1f} | {settled_s / SETTLED_S:.4f} | {settled_writes} "
            f"| {peak_mib:,.0f} | {1000 * delete_s / count:.2f} | {loop.time() - begun:,.0f} "
            f"| {delete_writes / count:.1f} |",
            flush=True,
        )

    run_virtually(run(), loop)


def main() -> None:
    """Measure each size in a process of its own, and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    sizes = [100, 1000, 10_000]
    parser.add_argument("-n", type=int, nargs="+", default=sizes, help="deployments (default: %(default)s)")
    parser.add_argument("--launch-workers", type=int, default=50, help="of SkyPilot (default: %(default)s)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.n[0], options.launch_workers)
        return
    print(f"{options.launch_workers} launch workers\n")
    columns = ["deployments", "CPU s until all Ready", "ms each", "virtual s", "snapshots", "writes each"]
    columns += ["settled: cores", "writes in 10 min", "MiB, everything"]
    columns += ["deleted: ms each", "virtual s", "writes each"]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
    for count in options.n:
        flags = ["--one", "-n", str(count), "--launch-workers", str(options.launch_workers)]
        subprocess.run([sys.executable, "-m", "tests.bench.growth", *flags], check=True)


if __name__ == "__main__":
    main()
