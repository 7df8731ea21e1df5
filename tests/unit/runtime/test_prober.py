"""Probes: when an engine counts as answering, and when it no longer does."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from deepseek_operator.runtime import prober as prober_module
from deepseek_operator.runtime.prober import Prober

KEY = ("serving", "r1")
ADDRESS = "10.88.0.5:8000"


class Engine:
    """Answers as told, and counts how often it was asked."""

    def __init__(self) -> None:
        self.status: int | None = 200
        self.asked: list[str] = []

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(str(request.url))
        if self.status is None:
            raise httpx2.ConnectError("connection refused", request=request)
        return httpx2.Response(self.status)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def prober(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Prober, asyncio.Queue]]:
    monkeypatch.setattr(prober_module, "HEALTHY_PERIOD_S", 0.0)
    monkeypatch.setattr(prober_module, "UNHEALTHY_PERIOD_S", 0.0)
    changes: asyncio.Queue = asyncio.Queue()
    prober = Prober(changes.put_nowait, httpx2.MockTransport(engine))
    task = asyncio.create_task(prober.run())
    yield prober, changes
    task.cancel()


async def probe_after_change(prober: Prober, changes: asyncio.Queue):
    assert await asyncio.wait_for(changes.get(), 10) == KEY
    return prober.results({ADDRESS: ""})[ADDRESS]


async def test_an_answer_is_told_once(prober, engine: Engine) -> None:
    probes, changes = prober
    probes.watch(KEY, {ADDRESS: "/health"})
    assert (await probe_after_change(probes, changes)).healthy
    asked = len(engine.asked)
    while len(engine.asked) < asked + 3:
        await asyncio.sleep(0.01)
    assert changes.empty()
    assert engine.asked[0] == f"http://{ADDRESS}/health"


@pytest.mark.parametrize(("status", "detail"), [(503, "HTTP 503"), (None, "connection refused"), (404, "HTTP 404")])
async def test_only_200_is_an_answer(prober, engine: Engine, status: int | None, detail: str) -> None:
    probes, changes = prober
    engine.status = status
    probes.watch(KEY, {ADDRESS: "/health"})
    probe = await probe_after_change(probes, changes)
    assert (probe.healthy, probe.detail) == (False, detail)


async def test_a_healthy_engine_may_miss_two_answers_but_not_three(prober, engine: Engine) -> None:
    probes, changes = prober
    probes.watch(KEY, {ADDRESS: "/health"})
    assert (await probe_after_change(probes, changes)).healthy
    asked = len(engine.asked)
    engine.status = 503
    assert not (await probe_after_change(probes, changes)).healthy
    assert len(engine.asked) - asked >= prober_module.FAILURES_TO_UNHEALTHY


async def test_an_address_nobody_watches_any_more_is_not_asked(prober, engine: Engine) -> None:
    probes, changes = prober
    probes.watch(KEY, {ADDRESS: "/health"})
    await probe_after_change(probes, changes)
    probes.watch(KEY, {})
    assert probes.results({ADDRESS: ""}) == {}
