"""``/healthz`` and ``/readyz``: where they listen, and what they say."""

import asyncio
import socket
import urllib.error
import urllib.request
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import pytest

from deepseek_operator.facts.store import Store
from deepseek_operator.feeds.skypilot import SkyPilotFeed
from deepseek_operator.runtime.health import EVERYWHERE, HealthServer, address_of, listen
from deepseek_operator.runtime.loop import ControlLoop, Outside
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


def port_of(listening: socket.socket) -> int:
    port: int = listening.getsockname()[1]
    return port


async def test_the_answer_is_200_or_503_with_the_reason() -> None:
    why = ["the SkyPilot API server: no route"]
    server = HealthServer("/readyz", lambda: why[0])
    listening = listen("127.0.0.1:0")
    url = f"http://127.0.0.1:{port_of(listening)}/readyz"
    await server.start(listening)
    assert await asyncio.to_thread(get, url) == (503, "the SkyPilot API server: no route\n")
    why[0] = ""
    assert await asyncio.to_thread(get, url) == (200, "ok\n")
    await server.close()
    with pytest.raises(OSError):
        await asyncio.to_thread(get, url)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this kernel has no IPv6")
async def test_without_a_host_a_pod_of_either_family_is_reached() -> None:
    """The kubelet asks the address of the pod, which in a cluster of IPv6 alone is one of those."""
    server = HealthServer("/healthz", lambda: "")
    listening = listen(":0")
    await server.start(listening)
    for host in ("127.0.0.1", "[::1]"):
        url = f"http://{host}:{port_of(listening)}/healthz"
        assert await asyncio.to_thread(get, url) == (200, "ok\n")
    await server.close()


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":8080", EVERYWHERE, 8080),
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("[::1]:8080", "::1", 8080),
        ("localhost:0", "localhost", 0),
    ],
)
def test_an_address_may_be_of_either_family_or_leave_its_host_out(text: str, host: str, port: int) -> None:
    assert address_of(text) == (host, port)


@pytest.mark.parametrize("text", ["", "8080", "::1", "::1:8080", "localhost:", "localhost:http", ":65536", "a:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        address_of(text)


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


@pytest.mark.parametrize("error", [AttributeError("'list' object has no attribute 'get'"), OverflowError("infinity")])
async def test_an_answer_in_a_form_that_nobody_foresaw_does_not_end_the_feed(error: Exception) -> None:
    class Strange:
        async def snapshot(self) -> Snapshot:
            raise error

    store = Store(lambda _: None)
    feed = SkyPilotFeed(Strange(), store, busy=lambda: False, taken=lambda: None, clock=lambda: datetime.now(UTC))
    await feed._take()
    assert (feed.reachable, str(error) in feed.problem) == (False, True)
