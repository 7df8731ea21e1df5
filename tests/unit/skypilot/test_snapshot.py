"""The shared snapshot: who is told of what, and what becomes of it when the server is away."""

import asyncio
from datetime import UTC, datetime

import pytest

from deepseek_operator.reconcile.world import ClusterRow, ClusterState, Request, RequestKind, RequestState
from deepseek_operator.skypilot.errors import SkyPilotUnavailableError
from deepseek_operator.skypilot.snapshot import SnapshotLoop

ROW = ClusterRow("r1", ClusterState.INIT)


class Server:
    """Stands in for the client: answers what it is told to, or fails."""

    def __init__(self) -> None:
        self.rows: dict[str, ClusterRow] = {}
        self.requests: dict[str, tuple[Request, ...]] = {}
        self.error: Exception | None = None

    async def clusters(self) -> dict[str, ClusterRow]:
        return dict(self.rows)

    async def requests_in_flight(self) -> dict[str, tuple[Request, ...]]:
        if self.error is not None:
            raise self.error
        return dict(self.requests)


@pytest.fixture
async def watched():
    server, told = Server(), asyncio.Queue()
    loop = SnapshotLoop(server, changed=told.put_nowait, busy=lambda: False, busy_period_s=0.01, idle_period_s=0.01)
    task = asyncio.create_task(loop.run())
    assert await asyncio.wait_for(told.get(), 5) is None, "the first answer concerns everybody"
    yield server, loop, told
    task.cancel()


async def test_only_the_names_that_changed_are_told(watched) -> None:
    server, _, told = watched
    server.rows = {"r1": ROW, "r2": ClusterRow("r2", ClusterState.UP)}
    assert await asyncio.wait_for(told.get(), 5) == {"r1", "r2"}
    server.requests = {"r1": (Request("a", RequestKind.LAUNCH, "r1", RequestState.RUNNING, datetime.now(UTC)),)}
    assert await asyncio.wait_for(told.get(), 5) == {"r1"}


@pytest.mark.parametrize("error", [SkyPilotUnavailableError("refused"), KeyError("name")])
async def test_a_server_that_cannot_be_asked_is_no_news_about_clusters(watched, error: Exception) -> None:
    server, loop, told = watched
    server.rows = {"r1": ROW}
    await asyncio.wait_for(told.get(), 5)
    server.error = error
    assert await asyncio.wait_for(told.get(), 5) is None
    assert (loop.latest.reachable, dict(loop.latest.rows)) == (False, {"r1": ROW})
    server.error = None
    assert await asyncio.wait_for(told.get(), 5) is None
    assert loop.latest.reachable


async def test_what_was_done_after_a_snapshot_is_asked_for_again(watched) -> None:
    _, loop, _ = watched
    acted_at = loop.latest.asked_at
    assert (await asyncio.wait_for(loop.newer_than(acted_at), 5)).asked_at > acted_at
