"""A fleet: any number of deployments that come up without an accident, at as little cost of the world as possible."""

import asyncio
import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.catalog import load_catalog
from deepseek_operator.facts.base import Address, Fact, Failure, Known, Probe, ProbeTarget
from deepseek_operator.facts.clock import format_time
from deepseek_operator.facts.engine import EngineReading, EngineTarget
from deepseek_operator.facts.skypilot import RequestState
from deepseek_operator.facts.store import Key
from deepseek_operator.planning import Planner
from tests.simulation.clock import VirtualLoop
from tests.simulation.ground import Ground, Nodes
from tests.simulation.kubernetes import SimulatedKubernetes
from tests.simulation.machines import Machines
from tests.simulation.process import Process
from tests.simulation.skypilot import SimulatedSkyPilot
from tests.simulation.specs import LOCAL

__all__ = ["NAMESPACE", "Fleet"]

NAMESPACE: Final = "serving"

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


class _Machines(Machines):
    """Nodes of deployments that are all in one namespace, which is not looked for."""

    def namespace_of(self, uid: str) -> str:
        return NAMESPACE


class _SkyPilot(SimulatedSkyPilot):
    """A server whose own work does not grow with the square of N."""

    free: asyncio.Semaphore

    def _promise_one_request(self, name: str) -> None:
        """Promises are the business of the simulation."""

    def make_machines(self) -> Machines:
        return _Machines(self.kubernetes, self.ground)

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
        before = self._of.pop(key, set())
        new, old = targets.keys() - before, before - targets.keys()
        if targets:
            self._of[key] = set(targets)
        for address in old:
            self._report(address, None)
        for address in new:
            self._look(key, address, 0.05)

    def _look(self, key: Key, address: Address, wait_s: float) -> None:
        self._fleet.loop.call_later(wait_s, self._ask, key, address)

    def _ask(self, key: Key, address: Address) -> None:
        if address not in self._of.get(key, ()):
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
    """The world: what :class:`tests.simulation.run.Simulation` is to schedules."""

    gap_until = 0.0

    def __init__(self, loop: VirtualLoop, launch_workers: int) -> None:
        self.loop, self.dice = loop, random.Random(1)
        self.kubernetes = SimulatedKubernetes(lambda: format_time(loop.now()))
        self.ground = _Ground()
        self.skypilot = _SkyPilot(self.dice, self.ground, self.kubernetes, loop.now, workers=launch_workers)
        self.skypilot.free = asyncio.Semaphore(launch_workers)
        self.process = _Process(self, Planner(load_catalog()), workers=16, launch_slots=launch_workers)
        self.ready: set[str] = set()

    def create(self, count: int, first: int = 0) -> None:
        """Create so many deployments at once, numbered from ``first``."""
        self.kubernetes.put("namespaces", "", NAMESPACE, {"metadata": {"name": NAMESPACE, "uid": "n"}})
        for number in range(first, first + count):
            head = {"name": f"d{number}", "namespace": NAMESPACE, "uid": f"{number:08x}-4e5f-6789-abcd-ef0123456789"}
            body = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": {**head, "generation": 1}}
            self.kubernetes.put(api.PLURAL, NAMESPACE, head["name"], {**body, "spec": self.spec(number)})

    def spec(self, number: int) -> Body:
        """Return what a deployment asks for."""
        return {**LOCAL, "replicas": 1}

    def delete(self) -> None:
        """Ask for the deletion of all of them."""
        for body in self.kubernetes.list(api.PLURAL):
            self.kubernetes.delete(api.PLURAL, NAMESPACE, body["metadata"]["name"])

    @property
    def left(self) -> int:
        """Number of deployments that are there."""
        return len(self.kubernetes.list(api.PLURAL))

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

    def asks_to_launch(self, process: Process, cluster: str, *, spot: bool) -> None:
        """Nobody checks it."""

    def trace(self, words: str) -> None:
        """Nobody reads along."""
