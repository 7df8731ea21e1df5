"""``/readyz`` says whether the process could act now."""

import asyncio
import urllib.error
import urllib.request
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import pytest

from deepseek_operator.facts.store import Store
from deepseek_operator.feeds.skypilot import SkyPilotFeed
from deepseek_operator.runtime.loop import ControlLoop, Outside
from deepseek_operator.runtime.readiness import Readiness
from deepseek_operator.skypilot.client import Snapshot
from deepseek_operator.skypilot.errors import SkyPilotUnavailableError
from tests.unit.reconcile import builders as b


class SkyPilot:
    """Answers, or says why not."""

    problem = ""

    async def snapshot(self) -> Snapshot:
        if self.problem:
            raise SkyPilotUnavailableError(self.problem)
        return Snapshot()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_the_answer_is_200_or_503_with_the_reason() -> None:
    why = ["the SkyPilot API server: no route"]
    readiness = Readiness("127.0.0.1:0", lambda: why[0])
    await readiness.start()
    host, port = readiness.addresses[0]
    url = f"http://{host}:{port}/readyz"
    assert await asyncio.to_thread(get, url) == (503, "the SkyPilot API server: no route\n")
    why[0] = ""
    assert await asyncio.to_thread(get, url) == (200, "ok\n")
    await readiness.close()
    with pytest.raises(OSError):
        await asyncio.to_thread(get, url)


async def test_a_process_is_ready_only_while_skypilot_answers() -> None:
    nothing = cast(Any, object())
    skypilot = SkyPilot()
    now = partial(datetime.now, UTC)
    outside = Outside(skypilot, nothing, nothing, lambda _: nothing_to_watch(), lambda _: nothing_to_watch(), now)
    loop = ControlLoop(outside, b.planner())
    assert loop.unready() == "the SkyPilot API server has not been asked yet"
    await loop.skypilot._take()
    assert loop.unready() == ""
    skypilot.problem = "connection refused"
    await loop.skypilot._take()
    assert loop.unready() == "connection refused"


def nothing_to_watch() -> Any:
    class Nothing:
        def watch(self, *_: Any) -> None: ...

    return Nothing()


async def test_the_feed_tells_why_it_knows_nothing() -> None:
    skypilot = SkyPilot()
    feed = SkyPilotFeed(
        skypilot, Store(lambda _: None), busy=lambda: False, taken=lambda: None, clock=lambda: datetime.now(UTC)
    )
    assert (feed.reachable, feed.problem) == (False, "the SkyPilot API server has not been asked yet")
    await feed._take()
    assert (feed.reachable, feed.problem) == (True, "")
