"""Feed of SkyPilot: one snapshot for all deployments, often while something moves and rarely while nothing does."""

import asyncio
import random
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

import structlog

from deepseek_operator.facts.store import Store
from deepseek_operator.facts.text import clean
from deepseek_operator.skypilot.client import Snapshot
from deepseek_operator.skypilot.errors import SkyPilotError

__all__ = ["SkyPilotFeed"]

log = structlog.get_logger(__name__)

BUSY_PERIOD_S: Final = 2.0
IDLE_PERIOD_S: Final = 30.0
SHORTEST_S: Final = 0.5
"""Seconds between two snapshots, however much is in a hurry."""
REST: Final = 4
"""Times that a snapshot took, for which none follows: a large table must not keep both servers busy."""


class _Client(Protocol):
    async def snapshot(self) -> Snapshot: ...


class SkyPilotFeed:
    """Puts snapshots of the SkyPilot server into the store.

    Parameters
    ----------
    busy
        Whether anything moves that only a snapshot can show.
    taken
        Called after each snapshot.
    """

    def __init__(
        self,
        client: _Client,
        store: Store,
        *,
        busy: Callable[[], bool],
        taken: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._client, self._store = client, store
        self._busy, self._taken, self._clock = busy, taken, clock
        self._wanted = asyncio.Event()
        self._reachable = False
        self.problem = "the SkyPilot API server has not been asked yet"
        """Why the last snapshot failed; empty if it did not."""
        self.calls = 0
        """Calls to the SkyPilot server so far."""

    @property
    def reachable(self) -> bool:
        """Whether the last snapshot succeeded."""
        return self._reachable

    def hurry(self) -> None:
        """Ask for a snapshot now: a request was sent, and its effect is waited for."""
        self._wanted.set()

    async def run(self) -> None:
        """Take snapshots until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._wanted.clear()
            began = loop.time()
            await self._take()
            rest_s = min(BUSY_PERIOD_S, max(SHORTEST_S, REST * (loop.time() - began)))
            await asyncio.sleep(rest_s)
            moving = self._busy() or self._store.snapshot_pending() or not self._reachable
            period = BUSY_PERIOD_S if moving else IDLE_PERIOD_S * random.uniform(0.9, 1.1)
            try:
                async with asyncio.timeout(period - rest_s):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def _take(self) -> None:
        sequence, at = self._store.ask_snapshot(), self._clock()
        self.calls += 2
        try:
            snapshot = await self._client.snapshot()
        except SkyPilotError as error:
            if self._reachable:
                log.warning("skypilot_unavailable", error=str(error))
            self._unknown(str(error), at)
        except Exception as error:
            # An answer in a form that nobody foresaw must not end the feed, and the process with it again and again.
            words = f"the answer of the SkyPilot API server could not be understood: {clean(repr(error), 300)}"
            if self.problem != words:
                log.exception("snapshot_not_understood")
            self._unknown(words, at)
        else:
            self._reachable, self.problem = True, ""
            self._store.put_snapshot(sequence, at, snapshot.clusters, snapshot.requests)
            self._taken()

    def _unknown(self, why: str, at: datetime) -> None:
        self._reachable, self.problem = False, why
        self._store.put_skypilot_unknown(why, at)
