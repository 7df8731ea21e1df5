"""The reader of engines on a virtual clock, and once over loopback."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

from deepseek_operator.api.spec import EngineName
from deepseek_operator.engines.metrics import Figures
from deepseek_operator.facts.base import Address, Encryption, Fact, Known, Unknown
from deepseek_operator.facts.engine import EngineReading, EngineTarget, Load
from deepseek_operator.feeds.engines import AT_ONCE, EngineReader
from deepseek_operator.feeds.http_probe import Answer, NoAnswer
from tests.simulation.clock import run_virtually

KEY = ("serving", "r1")
AT = Address("10.0.0.1", 8000)


class Engines:
    """Engines whose output grows by ``rate`` a second; ``answer`` is what they say instead, if anything."""

    def __init__(self) -> None:
        self.rate = 0.0
        self.tokens = 4096
        self.count = 1000.0
        self.counted_at: float | None = None
        self.answer: Answer | NoAnswer | None = None
        self.asked: list[float] = []
        self.at_once = self.most_at_once = 0
        self.told: list[Fact[EngineReading] | None] = []
        self.live: dict[Address, Figures | None] = {}
        self.encryptions: list[Encryption | None] = []

    def reader(self) -> EngineReader:
        return EngineReader(lambda address, fact: self.told.append(fact), self.connect, live=self.live.__setitem__)

    def connect(self, address: Address, encryption: Encryption | None) -> "_Connection":
        self.encryptions.append(encryption)
        return _Connection(self)

    def body(self) -> bytes:
        now = asyncio.get_running_loop().time()
        self.count += self.rate * (now - (self.counted_at if self.counted_at is not None else now))
        self.counted_at = now
        return (
            f'vllm:cache_config_info{{kv_cache_size_tokens="{self.tokens}"}} 1.0\n'
            f"vllm:generation_tokens_total {self.count}\nvllm:num_requests_running 2\nvllm:num_requests_waiting 0\n"
            "vllm:kv_cache_usage_perc 0.5\n"
        ).encode()

    @property
    def readings(self) -> list[EngineReading]:
        return [fact.value for fact in self.told if isinstance(fact, Known)]


class _Connection:
    def __init__(self, engines: Engines) -> None:
        self.engines = engines
        self.pending: asyncio.TimerHandle | None = None

    def ask(self, path: str, answered: Callable[[Answer | NoAnswer], None]) -> None:
        assert path == "/metrics"
        loop, engines = asyncio.get_running_loop(), self.engines
        engines.asked.append(loop.time())
        engines.at_once += 1
        engines.most_at_once = max(engines.most_at_once, engines.at_once)

        def answer() -> None:
            engines.at_once -= 1
            self.pending = None
            answered(engines.answer or Answer(200, engines.body()))

        self.pending = loop.call_later(0.01, answer)

    def close(self) -> None:
        if self.pending is not None:
            self.pending.cancel()
            self.engines.at_once -= 1
            self.pending = None


def virtually(story: Callable[[Engines, EngineReader], Coroutine[Any, Any, None]]) -> Engines:
    engines = Engines()

    async def run() -> None:
        reader = engines.reader()
        reader.watch(KEY, {AT: EngineTarget(EngineName.VLLM)})
        await story(engines, reader)
        reader.watch(KEY, {})

    run_virtually(run())
    return engines


def test_an_engine_is_read_at_once_and_then_every_minute() -> None:
    async def story(engines: Engines, reader: EngineReader) -> None:
        await asyncio.sleep(600)

    asked = virtually(story).asked
    assert asked[0] < 0.1
    assert 9 <= len(asked) <= 13
    assert all(47.9 <= later - sooner <= 72.1 for sooner, later in itertools.pairwise(asked))


def test_an_idle_engine_is_news_once() -> None:
    async def story(engines: Engines, reader: EngineReader) -> None:
        await asyncio.sleep(3600)

    assert virtually(story).readings == [EngineReading(4096)]


def test_steady_traffic_is_news_once() -> None:
    async def story(engines: Engines, reader: EngineReader) -> None:
        engines.rate = 500
        await asyncio.sleep(3600)

    first, second = virtually(story).readings
    assert (first.load, second.kv_cache_tokens) == (None, 4096)
    assert second.load is not None
    assert round(second.load.tokens_per_second) == 500
    assert second.load == Load(second.load.tokens_per_second, 2, 0, 0.5)


def test_changing_traffic_is_news_at_most_once_a_minute() -> None:
    async def story(engines: Engines, reader: EngineReader) -> None:
        for minute in range(30):
            engines.rate = 100.0 * 3 ** (minute % 3)
            await asyncio.sleep(60)

    assert 5 <= len(virtually(story).readings) <= 31


def test_the_end_of_traffic_is_news() -> None:
    async def story(engines: Engines, reader: EngineReader) -> None:
        engines.rate = 500
        await asyncio.sleep(200)
        engines.rate = 0
        await asyncio.sleep(400)

    load = virtually(story).readings[-1].load
    assert load is not None
    assert load.tokens_per_second == 0


def test_an_engine_that_starts_again_begins_a_new_window_and_tells_its_cache() -> None:
    async def story(engines: Engines, reader: EngineReader) -> None:
        await asyncio.sleep(50)
        engines.count, engines.tokens = 0.0, 2048
        await asyncio.sleep(300)

    assert virtually(story).readings == [EngineReading(4096), EngineReading(2048)]


def test_no_answer_is_unknown_and_leaves_no_live_figures() -> None:
    async def story(engines: Engines, reader: EngineReader) -> None:
        await asyncio.sleep(1)
        assert engines.live[AT] == Figures(4096, 1000.0, 2, 0, 0.5)
        engines.answer = NoAnswer("connection refused")
        await asyncio.sleep(75)
        assert engines.live[AT] is None
        engines.answer = Answer(404, b"")
        await asyncio.sleep(75)

    engines = virtually(story)
    words = [fact.why for fact in engines.told if isinstance(fact, Unknown)]
    assert words[0] == "connection refused"
    assert words[-1] == "HTTP 404"


def test_what_is_no_longer_read_is_forgotten() -> None:
    async def story(engines: Engines, reader: EngineReader) -> None:
        await asyncio.sleep(1)
        reader.watch(("serving", "r2"), {AT: EngineTarget(EngineName.VLLM)})
        reader.watch(KEY, {})
        await asyncio.sleep(100)
        assert None not in engines.told
        reader.watch(("serving", "r2"), {})
        asked = len(engines.asked)
        await asyncio.sleep(100)
        assert len(engines.asked) == asked

    engines = virtually(story)
    assert engines.told[-1] is None
    assert engines.live[AT] is None


def test_an_engine_that_gets_another_certificate_while_it_is_read_is_read_again_with_it() -> None:
    renewed = Encryption("-----BEGIN", "r1.internal")

    async def story(engines: Engines, reader: EngineReader) -> None:
        reader.watch(KEY, {AT: EngineTarget(EngineName.VLLM, renewed)})
        await asyncio.sleep(30)
        assert engines.readings == [EngineReading(4096)]

    engines = virtually(story)
    assert engines.encryptions == [None, renewed]
    assert engines.at_once == 0


def test_a_thousand_engines_are_not_read_all_at_once() -> None:
    async def story(engines: Engines, reader: EngineReader) -> None:
        many = {Address(f"10.1.{i // 250}.{i % 250}", 8000): EngineTarget(EngineName.VLLM) for i in range(1000)}
        reader.watch(("serving", "many"), many)
        await asyncio.sleep(10)
        assert len(engines.asked) == 1001
        assert engines.most_at_once == AT_ONCE
        reader.watch(("serving", "many"), {})

    assert virtually(story).at_once == 0


async def test_a_real_connection_reads_a_real_server() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"sglang:max_total_num_tokens 5000.0\nsglang:num_running_reqs 1.0\n"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    told: asyncio.Queue[Fact[EngineReading] | None] = asyncio.Queue()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        engines = EngineReader(lambda address, fact: told.put_nowait(fact))
        engines.watch(KEY, {address: EngineTarget(EngineName.SGLANG)})
        fact = await asyncio.wait_for(told.get(), 10)
        engines.watch(KEY, {})
    assert isinstance(fact, Known)
    assert fact.value == EngineReading(5000)
