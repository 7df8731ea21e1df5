"""The reader of engines on a virtual clock: it reports what the real one would, without its polling.

Engines on rented machines are under steady traffic, others under none: a settled world has both, and nobody writes.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from deepseek_operator.facts.base import Address, Encryption, Fact, Known, Unknown
from deepseek_operator.facts.engine import EngineReading, EngineTarget, Load, differs
from deepseek_operator.facts.store import Key
from tests.simulation.clock import VirtualLoop
from tests.simulation.prober import Answers

__all__ = ["SimulatedReader"]

FIRST_S: Final = 0.03
WINDOW_S: Final = 75.0
KV_CACHE_TOKENS: Final = 20_000
RATES: Final = (100.0, 110.0, 90.0)
"""Output tokens a second of an engine under steady traffic, minute by minute."""

Report = Callable[[Address, Fact[EngineReading] | None], None]


class SimulatedReader:
    """Reads what is really there.

    Parameters
    ----------
    answers
        Whether a request to an address is answered now.
    """

    def __init__(self, report: Report, answers: Answers, loop: VirtualLoop) -> None:
        self._report, self._answers, self._loop = report, answers, loop
        self._of: dict[Key, dict[Address, Encryption | None]] = {}
        self._told: dict[Address, EngineReading | None] = {}
        self._timers: dict[Address, asyncio.TimerHandle] = {}
        self.closed = False

    def watch(self, key: Key, engines: Mapping[Address, EngineTarget]) -> None:
        """Read exactly these engines for ``key``."""
        self._of[key] = {address: target.encryption for address, target in engines.items()}
        wanted = set().union(*self._of.values())
        for address in self._told.keys() - wanted:
            del self._told[address]
            self._timers.pop(address).cancel()
            self._report(address, None)
        for address in sorted(wanted - self._told.keys()):
            self._told[address] = None
            self._timers[address] = self._loop.call_later(FIRST_S, self._read, address, 0)

    async def run(self) -> None:
        """Wait until cancelled; timers do the work."""
        try:
            await asyncio.Event().wait()
        finally:
            self.closed = True
            for timer in self._timers.values():
                timer.cancel()

    def room(self, address: Address) -> int:
        """Return how many tokens the KV cache of an engine holds."""
        return KV_CACHE_TOKENS

    def _read(self, address: Address, window: int) -> None:
        if self.closed:
            return
        self._timers[address] = self._loop.call_later(WINDOW_S, self._read, address, window + 1)
        encryption = next((of[address] for of in self._of.values() if address in of), None)
        if not self._answers(address, encryption):
            self._told[address] = None
            self._report(address, Unknown("connection refused", self._loop.now()))
            return
        before = self._told[address]
        busy = address.host.startswith("54.")
        load = Load(RATES[window % len(RATES)] if busy else 0.0, int(busy), 0, 0.1 * busy) if window else None
        if before is not None and not differs(before.load, load):
            return
        told = self._told[address] = EngineReading(self.room(address), load or (before.load if before else None))
        self._report(address, Known(told, self._loop.now()))
