"""What one deployment costs does not depend on how many others there are."""

import asyncio
from typing import Any

import pytest

from deepseek_operator.runtime.reconciler import Reconciler
from tests.simulation.clock import VirtualLoop, run_virtually
from tests.simulation.fleet import Fleet


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
        async with asyncio.timeout(3600):  # of the virtual clock
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


def test_a_deployment_alone_takes_eight_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen, three changes of its pods and Services, two snapshots, an answer, published, an answer by its Service."""
    assert passes_until_ready(1, 1, monkeypatch) <= 8
