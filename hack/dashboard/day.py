"""Six hours of an operator on a virtual clock, and what it exports meanwhile, as OpenMetrics with times."""

import asyncio
import math
import random
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

import prometheus_client
from prometheus_client.openmetrics.exposition import generate_latest

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.engines.metrics import Figures
from deepseek_operator.facts.base import Address
from deepseek_operator.planning import Planned
from deepseek_operator.runtime import metrics, series
from deepseek_operator.skypilot.errors import SkyPilotUnavailableError
from tests.simulation.clock import VirtualLoop, run_virtually
from tests.simulation.play import silence
from tests.simulation.prober import SimulatedProber
from tests.simulation.process import Process, SimulatedClient
from tests.simulation.reader import SimulatedReader
from tests.simulation.run import Simulation
from tests.simulation.schedule import Event, Schedule
from tests.simulation.specs import NAMESPACE

__all__ = ["HOURS", "SCRAPE_S", "STORY", "export"]

Body = dict[str, Any]
T = TypeVar("T")

HOURS: Final = 6.0
SCRAPE_S: Final = 30
PACE: Final = 25.0
"""Nodes take up to five minutes, engines up to four."""
SHARE_OF_PLAN: Final = 1.03
"""What an engine's KV cache holds, of what was planned: engines that were measured had a little more room."""
ENGINE_RUNS: Final = 16
"""Requests that an engine works on at once; others wait."""
TOKENS_A_SECOND: Final = 11.0
"""Of one request."""

SPECS: Final[dict[str, Body]] = {
    "chat": {
        "model": {"name": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"},
        "resources": {
            "accelerators": ["L4:1"],
            "infra": ["aws"],
            "capacityType": "SpotThenOnDemand",
            "capacity": {"onDemandBase": 1},
        },
    },
    "code": {
        "model": {"name": "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B"},
        "resources": {"accelerators": ["L40S:1"], "infra": ["kubernetes"]},
    },
    "trial": {
        "model": {"name": "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"},
        "resources": {"accelerators": ["T4:1"], "infra": ["kubernetes"]},
    },
}
"""Deployments: one on rented machines, two on the cluster's own."""
STORY: Final = (
    Event(0, "create", "chat", 3),
    Event(0, "create", "code", 2),
    Event(3600, "edit", "code", 2),
    Event(5400, "reclaim", "chat"),
    Event(8400, "skypilot-refuses", value=900),
    Event(11000, "scale", "chat", 4),
    Event(13800, "launch-fails"),
    Event(13800, "nodes-go", "chat", 1),
    Event(16500, "engine-ends", "code", 1),
    Event(19200, "scale", "chat", 3),
    Event(21480, "create", "trial", 1),
)
"""A rollout, a spot machine taken back, SkyPilot away for a quarter of an hour, a launch that finds no machine ..."""

_PATHS: Final = {
    "snapshot": "/status",
    "job": "/job_status",
    "log": "/logs",
    "endpoints": "/endpoints",
    "price": "/cost_report",
    "history": "/cost_report",
    "outcome": "/api/get",
    "cloud": "/check",
}
"""Path of the request that stands behind each question; other words are the path."""


class _Client(SimulatedClient):
    """Reports its requests as the real client does."""

    async def ask(self, label: str, effect: Callable[[], T]) -> T:
        return await self._observed(label, super().ask(label, effect))

    async def post(self, label: str, effect: Callable[[], str]) -> str:
        return await self._observed(label, super().post(label, effect))

    @staticmethod
    async def _observed(label: str, request: Coroutine[Any, Any, T]) -> T:
        word = label.split()[0]
        loop, path = asyncio.get_running_loop(), _PATHS.get(word, f"/{word}")
        began, error = loop.time(), ""
        try:
            return await request
        except SkyPilotUnavailableError:
            error = "unavailable"
            raise
        finally:
            metrics.observe_skypilot(path, loop.time() - began, error)


class _Reader(SimulatedReader):
    """Reads KV caches that hold what was planned, and a little more."""

    day: "_Day"

    def room(self, address: Address) -> int:
        (namespace, name) = next(key for key, engines in self._of.items() if address in engines)
        body = self.day.kubernetes.objects[(api.PLURAL, namespace, name)]
        spec = DeepSeekDeploymentSpec.model_validate(body["spec"])
        plan = self.day.planner.plan(spec)
        assert isinstance(plan, Planned)
        (accelerators,) = SPECS[name]["resources"]["accelerators"]
        return int(SHARE_OF_PLAN * (plan.kv_cache_tokens(accelerators) or 0))


class _Prober(SimulatedProber):
    """Counts a probe of each target a second, as the real one does."""

    def count(self) -> None:
        for address, target in self._targets().items():
            metrics.count_probe(self._answers(address, target.encryption))


class _Process(Process):
    """An operator that exports."""

    def make_client(self) -> SimulatedClient:
        return _Client(self)

    def make_prober(self, report: Any) -> SimulatedProber:
        self.prober = _Prober(report, self.world.answers, self.world.loop, self.world.dice)
        return self.prober

    def make_reader(self, report: Any) -> SimulatedReader:
        self.reader = _Reader(report, self.world.answers, self.world.loop)
        self.reader.day = self.world
        return self.reader


class _Day(Simulation):
    """The story, with people who ask the engines."""

    hours = HOURS
    samples: list[str]
    tokens: dict[Address, float]

    def make_process(self) -> Process:
        return _Process(self, self.planner)

    def spec_of(self, name: str) -> Body:
        return {"engine": {"name": "VLLM"}, **SPECS[name]}

    async def _run(self) -> None:
        self.skypilot.pace = PACE
        self.samples, self.tokens = [], {}
        self.kubernetes.put("namespaces", "", NAMESPACE, {"metadata": {"name": NAMESPACE, "uid": "n"}})
        self.start_operator()
        metrics.LEADER.set(1)
        for event in self.schedule.events:
            if event.kind == "create":
                self.loop.call_at(event.at, self.create, event.target, int(event.value))
            else:
                self.loop.call_at(event.at, self.accidents.happen, event)
        self.spawn(self._scrape())
        await self._watch(self.hours * 3600)

    async def _scrape(self) -> None:
        second = 0
        while True:
            await asyncio.sleep(1)
            second += 1
            if self.process is not None and isinstance(self.process.prober, _Prober):
                self.process.prober.count()
            if second % SCRAPE_S == 0:
                self._work(SCRAPE_S)
                self.samples.append(_sample(self.loop.now().timestamp()))

    def _work(self, seconds: float) -> None:
        """Let each engine report what it would under the traffic of this moment."""
        for body in self.kubernetes.list(api.PLURAL):
            name, uid = body["metadata"]["name"], body["metadata"]["uid"]
            engines = [one.engine.address for one in self.ground.of(uid) if one.engine and one.engine.answers]
            wanted = self._requests(name) / max(1, len(engines))
            for address in engines:
                running = min(ENGINE_RUNS, round(wanted))
                self.tokens[address] = self.tokens.get(address, 0.0) + running * TOKENS_A_SECOND * seconds
                usage = running / ENGINE_RUNS * 0.8
                figures = Figures(None, self.tokens[address], running, max(0, round(wanted) - running), usage)
                series.ENGINES.put(address, figures)

    def _requests(self, name: str) -> float:
        """Return how many requests people have open."""
        hours = self.loop.time() / 3600
        busy = {"chat": 30.0, "code": 12.0}.get(name, 1.0)
        return busy * (1 + 0.5 * math.sin(hours * 1.4) + 0.15 * math.sin(hours * 23))


def export(hours: float = HOURS) -> Iterator[str]:
    """Play the story; yield what is exported, in OpenMetrics' text format, one line after another.

    The series are those of this process: it must not have run an operator before.

    Raises
    ------
    AssertionError
        If the operator broke a promise on the way.
    """
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    loop = VirtualLoop()
    random.seed(0)
    day = _Day(Schedule(0, STORY), loop, random.Random(1))
    day.hours = hours
    with silence():
        run_virtually(day.run(), loop)
    assert not day.promises.found, day.promises.found
    yield from day.samples
    yield "# EOF\n"


def _sample(now: float) -> str:
    """Return what is exported now, each line with its time."""
    text = generate_latest(prometheus_client.REGISTRY).decode()  # type: ignore[no-untyped-call]
    lines = (line for line in text.splitlines() if not line.startswith("#") and line.startswith(metrics.PREFIX))
    return "".join(f"{line} {now:.3f}\n" for line in lines)
