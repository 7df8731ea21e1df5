"""Feed of what engines report of themselves: rarely, because nothing is decided by it.

Each engine that serves is read when it begins to, and every minute from then on, over a connection that is closed
again. What is live goes to the metrics with every reading. The store hears of an engine only when there is news: how
much its KV cache holds, and once a minute how busy it has been, if that differs noticeably from what was reported
before (:func:`~deepseek_operator.facts.engine.differs`). Steady traffic is no news, so nothing is written.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

from deepseek_operator.engines import get_engine
from deepseek_operator.engines.metrics import Figures, read_figures
from deepseek_operator.facts.base import Address, Encryption, Fact, Known, Unknown
from deepseek_operator.facts.engine import EngineReading, EngineTarget, Load, differs
from deepseek_operator.facts.store import Key
from deepseek_operator.feeds.http_probe import Answer, Connection, NoAnswer

__all__ = ["EngineReader"]

PERIOD_S: Final = 60.0
JITTER: Final = 0.2
"""Share by which the period varies, so that a thousand engines are not read in one second for ever."""
WINDOW_S: Final = 45.0
"""Seconds over which output is averaged; also the least time between two reports of the same engine's load."""
AT_ONCE: Final = 16
"""Readings under way at the same time. A process that takes over has every engine to read at once."""

Report = Callable[[Address, Fact[EngineReading] | None], None]
Live = Callable[[Address, Figures | None], None]


class _Connection(Protocol):
    def ask(self, path: str, answered: Callable[[Answer | NoAnswer], None]) -> None: ...
    def close(self) -> None: ...


def _connect(address: Address, encryption: Encryption | None) -> Connection:
    return Connection(address, keep_alive=False, encryption=encryption)


class _Engine:
    """One engine.

    Attributes
    ----------
    told
        What was reported last.
    counted, counted_at
        Output tokens at the beginning of the window, and when that was on the loop's clock.
    """

    __slots__ = ("address", "asked", "connection", "counted", "counted_at", "keys", "target", "timer", "told")

    def __init__(self, address: Address, target: EngineTarget, connection: _Connection) -> None:
        self.address, self.target, self.connection = address, target, connection
        self.keys: set[Key] = set()
        self.timer: asyncio.TimerHandle | None = None
        self.asked = False
        self.told: EngineReading | None = None
        self.counted: float | None = None
        self.counted_at = 0.0


class EngineReader:
    """Reads engines, and reports what is news.

    Parameters
    ----------
    report
        Called with an address and what its engine reports, when that is news; Unknown when the engine does not say;
        None when it is no longer read.
    connect
        Makes a connection; tests pass their own.
    live
        Called with every reading; None where there is none.
    """

    def __init__(
        self,
        report: Report,
        connect: Callable[[Address, Encryption | None], _Connection] = _connect,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        live: Live = lambda address, figures: None,
    ) -> None:
        self._report, self._connect, self._clock, self._live = report, connect, clock, live
        self._engines: dict[Address, _Engine] = {}
        self._of: dict[Key, dict[Address, EngineTarget]] = {}
        self._under_way = 0
        self._waiting: deque[_Engine] = deque()

    def watch(self, key: Key, engines: Mapping[Address, EngineTarget]) -> None:
        """Read exactly these engines for ``key`` from now on."""
        before = self._of.get(key, {})
        if before == engines:
            return
        for address in before.keys() - engines.keys():
            self._unwatch(key, address)
        for address, target in engines.items():
            self._watch(key, address, target)
        if engines:
            self._of[key] = dict(engines)
        else:
            self._of.pop(key, None)

    async def run(self) -> None:
        """Wait until cancelled; timers do the work."""
        try:
            await asyncio.Event().wait()
        finally:
            self._waiting.clear()
            for engine in self._engines.values():
                self._stop(engine)

    def _watch(self, key: Key, address: Address, target: EngineTarget) -> None:
        engine = self._engines.get(address)
        if engine is None:
            engine = self._engines[address] = _Engine(address, target, self._connect(address, target.encryption))
            self._begin(engine)
        elif engine.target.encryption != target.encryption:
            engine.connection.close()
            engine.connection = self._connect(address, target.encryption)
            if engine.asked:  # by the old connection, which will not answer any more
                self._ended(engine)
                self._begin(engine)
        engine.target = target
        engine.keys.add(key)

    def _unwatch(self, key: Key, address: Address) -> None:
        engine = self._engines[address]
        engine.keys.discard(key)
        if not engine.keys:
            del self._engines[address]
            self._stop(engine)
            self._live(address, None)
            self._report(address, None)

    def _stop(self, engine: _Engine) -> None:
        engine.connection.close()
        if engine.timer is not None:
            engine.timer.cancel()
        self._ended(engine)

    def _begin(self, engine: _Engine) -> None:
        engine.timer = None
        if self._under_way >= AT_ONCE:
            self._waiting.append(engine)
            return
        self._under_way += 1
        engine.asked = True
        engine.connection.ask("/metrics", partial(self._answered, engine))

    def _ended(self, engine: _Engine) -> None:
        self._under_way -= engine.asked
        engine.asked = False
        while self._waiting and self._under_way < AT_ONCE:
            waiting = self._waiting.popleft()
            if self._engines.get(waiting.address) is waiting:
                self._begin(waiting)

    def _answered(self, engine: _Engine, answer: Answer | NoAnswer) -> None:
        self._ended(engine)
        period = PERIOD_S * random.uniform(1 - JITTER, 1 + JITTER)
        engine.timer = asyncio.get_running_loop().call_later(period, self._begin, engine)
        if isinstance(answer, NoAnswer):
            self._unknown(engine, answer.words)
        elif answer.status != 200:
            self._unknown(engine, f"HTTP {answer.status}")
        else:
            self._read(engine, read_figures(get_engine(engine.target.engine).metrics, answer.body))

    def _unknown(self, engine: _Engine, why: str) -> None:
        engine.told = engine.counted = None
        self._live(engine.address, None)
        self._report(engine.address, Unknown(why, self._clock()))

    def _read(self, engine: _Engine, figures: Figures) -> None:
        self._live(engine.address, figures)
        told, load = engine.told, self._load(engine, figures)
        if told is not None and told.kv_cache_tokens == figures.kv_cache_tokens and not differs(told.load, load):
            return
        kept = told.load if told is not None and load is None else load
        engine.told = EngineReading(figures.kv_cache_tokens, kept)
        self._report(engine.address, Known(engine.told, self._clock()))

    def _load(self, engine: _Engine, figures: Figures) -> Load | None:
        """Return how busy the engine has been, at the end of each window; None in between."""
        now, count = asyncio.get_running_loop().time(), figures.generation_tokens
        if count is None or engine.counted is None or count < engine.counted:  # another process answers there now
            engine.counted, engine.counted_at = count, now
            return None
        seconds = now - engine.counted_at
        if seconds < WINDOW_S:
            return None
        rate = (count - engine.counted) / seconds
        engine.counted, engine.counted_at = count, now
        return Load(rate, figures.running, figures.waiting, figures.kv_cache_usage)
