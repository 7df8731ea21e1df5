"""The prober on a virtual clock: it reports what the real one would, as late as the real one, without its polling."""

import asyncio
import random
from collections.abc import Callable, Mapping

from deepseek_operator.facts.base import Address, Encryption, Known, Probe, ProbeTarget
from deepseek_operator.facts.store import Key
from deepseek_operator.launch.proxy import PROXY_PATH
from tests.simulation.clock import VirtualLoop

__all__ = ["Answers", "SimulatedProber"]

Report = Callable[[Address, Known[Probe] | None], None]
Answers = Callable[[Address, Encryption | None], bool]
"""Whether a probe of an address, over TLS or not, is answered by whom it is meant for."""


class SimulatedProber:
    """Probes what is really there.

    Parameters
    ----------
    answers
        Whether a request to an address is answered now.
    """

    def __init__(
        self,
        report: Report,
        answers: Answers,
        loop: VirtualLoop,
        dice: random.Random,
    ) -> None:
        self._report, self._answers, self._loop, self._dice = report, answers, loop, dice
        self._of: dict[Key, dict[Address, ProbeTarget]] = {}
        self._known: dict[Address, Probe | None] = {}
        self._timers: dict[Address, asyncio.TimerHandle] = {}
        self.closed = False

    def watch(self, key: Key, targets: Mapping[Address, ProbeTarget]) -> None:
        """Probe exactly these addresses for ``key``."""
        before = self._of.get(key, {})
        self._of[key] = dict(targets)
        wanted = self._targets()
        for address in [known for known in self._known if known not in wanted]:
            del self._known[address]
            self._timers.pop(address).cancel()
            self._report(address, None)
        for address in wanted:
            if address not in self._known:
                self._known[address] = None
                self._look_in(address, self._dice.uniform(0.02, 1.0))
            elif wanted[address].running:
                self._look_in(address, 0.05)
            elif address in before and before[address].encryption != wanted[address].encryption:
                self._look_in(address, self._dice.uniform(0.02, 1.0))

    def changed(self, host: str) -> None:
        """Something about an engine on ``host`` has changed: the real prober sees that within its period."""
        for address in self._known:
            if address.host == host:
                alive = self._answers(address, self._targets()[address].encryption)
                self._look_in(address, self._dice.uniform(0.02, 1.1) if alive else self._dice.uniform(0.5, 1.7))
        self.traffic_changed()

    def traffic_changed(self) -> None:
        """Look at Services and proxies again: where they lead has changed, and nothing announces that."""
        for address, target in self._targets().items():
            if not target.keep_alive or target.path == PROXY_PATH:
                known = self._known[address]
                healthy = known is not None and known.healthy
                self._look_in(address, self._dice.uniform(0.02, 1 if target.keep_alive or not healthy else 10))

    async def run(self) -> None:
        """Wait until cancelled; timers do the work."""
        try:
            await asyncio.Event().wait()
        finally:
            self.closed = True
            for timer in self._timers.values():
                timer.cancel()

    def _targets(self) -> dict[Address, ProbeTarget]:
        return {address: target for targets in self._of.values() for address, target in targets.items()}

    def _look_in(self, address: Address, seconds: float) -> None:
        """Look in so many seconds; sooner where a look is due sooner, which then sees this change, too."""
        now = self._loop.time()
        if (timer := self._timers.get(address)) is not None:
            if now < timer.when() <= now + seconds:
                return
            timer.cancel()
        self._timers[address] = self._loop.call_later(seconds, self._look, address)

    def _look(self, address: Address) -> None:
        if self.closed:
            return
        target, before = self._targets()[address], self._known[address]
        healthy = self._answers(address, target.encryption)
        now = self._loop.now()
        running = 0 if healthy and target.running else None
        detail = "" if healthy else "connection refused"
        if before is not None and (before.healthy, before.running) == (healthy, running):
            return
        since = before.since if before is not None and before.healthy == healthy else now
        probe = self._known[address] = Probe(healthy, since, detail, running)
        self._report(address, Known(probe, now))
