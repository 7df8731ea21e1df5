"""The shared snapshot: two calls for all deployments, often while something moves, seldom while nothing does."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from deepseek_operator.reconcile.world import ClusterRow, Request
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.errors import SkyPilotError

__all__ = ["Snapshot", "SnapshotLoop"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """All clusters and all requests in flight at one moment.

    Attributes
    ----------
    asked_at
        ``time.monotonic()`` at which the question was asked: what was done later is not in it.
    """

    asked_at: float
    reachable: bool
    message: str = ""
    rows: Mapping[str, ClusterRow] = field(default_factory=dict)
    requests: Mapping[str, tuple[Request, ...]] = field(default_factory=dict)


class SnapshotLoop:
    """Keeps the newest snapshot and tells which cluster names changed.

    Parameters
    ----------
    changed
        Called with the names whose rows or requests differ from the snapshot before; with None when reachability
        changed, which concerns everybody.
    busy
        Says whether anything moves that only a poll can see.
    """

    def __init__(
        self,
        client: SkyPilotClient,
        *,
        changed: Callable[[frozenset[str] | None], None],
        busy: Callable[[], bool],
        busy_period_s: float = 2.0,
        idle_period_s: float = 30.0,
    ) -> None:
        self._client, self._changed, self._busy = client, changed, busy
        self._busy_period_s, self._idle_period_s = busy_period_s, idle_period_s
        self._wanted = asyncio.Event()
        self._taken = asyncio.Condition()
        self.calls = 0
        self.latest = Snapshot(asked_at=-1.0, reachable=False, message="the SkyPilot API server was not asked yet")

    async def newer_than(self, moment: float) -> Snapshot:
        """Return a snapshot that was asked for after ``moment`` (``time.monotonic()``), taking one if need be."""
        async with self._taken:
            while self.latest.asked_at <= moment:
                self._wanted.set()
                await self._taken.wait()
            return self.latest

    async def run(self) -> None:
        """Take snapshots until cancelled."""
        while True:
            await self._take()
            busy = self._busy() or bool(self.latest.requests) or not self.latest.reachable
            period = self._busy_period_s if busy else self._idle_period_s
            try:
                await asyncio.wait_for(self._wanted.wait(), period)
            except TimeoutError:
                continue

    async def _take(self) -> None:
        self._wanted.clear()
        before, asked_at = self.latest, time.monotonic()
        self.calls += 2
        try:
            # Requests first: a launch that ends between the two calls is then seen as both in flight and a row, never
            # as neither.
            requests = await self._client.requests_in_flight()
            rows = await self._client.clusters()
            self.latest = Snapshot(asked_at, True, "", rows, requests)
        except SkyPilotError as error:
            self._unreachable(asked_at, str(error))
        except (KeyError, TypeError, ValueError) as error:
            self._unreachable(asked_at, f"the SkyPilot API server answers in an unknown form: {error!r}")
        async with self._taken:
            self._taken.notify_all()
        if before.reachable != self.latest.reachable or before.message != self.latest.message:
            self._changed(None)
        elif names := _differences(before, self.latest):
            self._changed(names)

    def _unreachable(self, asked_at: float, message: str) -> None:
        """Keep what was known, marked as old: not to be able to ask is no news about any cluster."""
        before = self.latest
        if before.reachable:
            log.warning("skypilot_unavailable", error=message)
        self.latest = Snapshot(asked_at, False, message, before.rows, before.requests)


def _differences(before: Snapshot, after: Snapshot) -> frozenset[str]:
    names = {*before.rows, *after.rows, *before.requests, *after.requests}
    return frozenset(
        name
        for name in names
        if before.rows.get(name) != after.rows.get(name) or before.requests.get(name) != after.requests.get(name)
    )
