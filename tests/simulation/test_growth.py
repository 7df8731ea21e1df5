"""What one deployment costs depends neither on how many others there are, nor on how many there have been."""

import asyncio
from collections import Counter, deque
from typing import Any

import pytest

from deepseek_operator.feeds.kubernetes import RELIST_PERIOD_S
from deepseek_operator.runtime.reconciler import Reconciler
from tests.simulation.clock import VirtualLoop, run_virtually
from tests.simulation.fleet import NAMESPACE, Fleet

WITHIN_S = 3600
"""Seconds of the virtual clock, of which the longest line takes a fifth."""


def passes_until_ready(count: int, launch_workers: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Bring so many deployments up; return the passes that it took."""
    passes, original = 0, Reconciler.reconcile

    async def counting(self: Reconciler, key: tuple[str, str]) -> None:
        nonlocal passes
        passes += 1
        await original(self, key)

    monkeypatch.setattr(Reconciler, "reconcile", counting)
    loop = VirtualLoop()

    async def run() -> None:
        fleet = Fleet(loop, launch_workers)
        fleet.create(count)
        fleet.process.start()
        async with asyncio.timeout(WITHIN_S):
            while len(fleet.ready) < count:
                await asyncio.sleep(1)

    run_virtually(run(), loop)
    monkeypatch.undo()
    return passes


def test_a_long_line_for_launch_slots_costs_few_passes_more_than_none(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = passes_until_ready(60, 60, monkeypatch) / 60
    in_line = passes_until_ready(60, 2, monkeypatch) / 60  # the last one waits for minutes
    assert in_line <= at_once + 6


def test_a_stage_that_is_over_in_a_moment_is_in_no_status_however_long_the_launch_was() -> None:
    loop = VirtualLoop()
    said: list[tuple[str, str]] = []

    class Watched(Fleet):
        def write(self, method: str, path: str, body: Any, query: Any, content_type: str) -> Any:
            if path.endswith("/status"):
                said.extend((body["metadata"]["name"], one["reason"]) for one in body["status"]["conditions"][:1])
            return super().write(method, path, body, query, content_type)

    async def run() -> None:
        fleet = Watched(loop, 4)
        fleet.create(12)
        fleet.process.start()
        async with asyncio.timeout(3600):
            while len(fleet.ready) < 12:
                await asyncio.sleep(1)

    run_virtually(run(), loop)
    assert {reason for _, reason in said} == {"Queued", "Launching", "Ready"}
    assert said.count(("d0", "Ready")) == 1


def test_a_deployment_alone_takes_six_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen, its pod runs, two snapshots, an answer, an answer by its Service."""
    assert passes_until_ready(1, 1, monkeypatch) <= 6


class _OneWithoutItsKey(Fleet):
    """The first deployment waits for a Secret that is not there."""

    def spec(self, number: int) -> dict[str, Any]:
        key = {} if number else {"endpoint": {"apiKeySecretRef": {"name": "gone", "key": "token"}}}
        return {**super().spec(number), **key}


def test_a_deployment_that_waits_for_its_secret_costs_the_others_no_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    passes, original = Counter[str](), Reconciler.reconcile

    async def counting(self: Reconciler, key: tuple[str, str]) -> None:
        passes[key[1]] += 1
        await original(self, key)

    monkeypatch.setattr(Reconciler, "reconcile", counting)
    loop = VirtualLoop()

    async def run() -> None:
        fleet = _OneWithoutItsKey(loop, 8)
        fleet.create(6)
        fleet.process.start()
        async with asyncio.timeout(WITHIN_S):
            while len(fleet.ready) < 5:
                await asyncio.sleep(1)
        await asyncio.sleep(60)
        passes.clear()
        await asyncio.sleep(600)

    run_virtually(run(), loop)
    assert passes.pop("d0") > 100
    assert max(passes.values()) <= 2, "each is looked at every ten minutes"


CACHED = ("loop.reconciler.planner.", "loop.questions._asked")
"""Plans are remembered up to a number of them, and the questions of a few seconds until the next one is asked."""


def sizes(root: object) -> Counter[str]:
    """Return how many entries there are in everything that a control loop keeps, by where it is kept."""
    found, seen = Counter[str](), set[int]()
    left: deque[tuple[str, Any]] = deque([("loop", root)])
    while left:
        path, value = left.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict | set | frozenset | list | tuple | deque):
            found[path] += len(value) if not isinstance(value, tuple) else 0
            inner = [*value, *value.values()] if isinstance(value, dict) else list(value)
            left.extend((f"{path}[]", one) for one in inner)
        elif type(value).__module__.startswith("deepseek_operator") or value is root:
            left.extend((f"{path}.{name}", one) for name, one in getattr(value, "__dict__", {}).items())
    return Counter({path: size for path, size in found.items() if not path.startswith(CACHED)})


class _WithKeys(Fleet):
    """Deployments with a Secret each."""

    def spec(self, number: int) -> dict[str, Any]:
        name = f"key-{number}"
        self.kubernetes.put("secrets", NAMESPACE, name, {"metadata": {"name": name}, "data": {"token": "eA=="}})
        return {**super().spec(number), "endpoint": {"apiKeySecretRef": {"name": name, "key": "token"}}}


def test_what_is_gone_leaves_nothing_in_memory() -> None:
    loop, kept = VirtualLoop(), list[Counter[str]]()

    async def run() -> None:
        fleet = _WithKeys(loop, 8)
        fleet.process.start()
        for generation in range(3):
            fleet.create(4, 4 * generation)
            async with asyncio.timeout(WITHIN_S):
                while len(fleet.ready) < 4 * (generation + 1):
                    await asyncio.sleep(5)
            fleet.delete()
            async with asyncio.timeout(WITHIN_S):
                while fleet.left:
                    await asyncio.sleep(5)
            await asyncio.sleep(2 * RELIST_PERIOD_S)
            kept.append(sizes(fleet.process.loop))

    run_virtually(run(), loop)
    _, second, third = kept
    assert third - second == Counter()
