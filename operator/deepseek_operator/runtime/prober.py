"""Readiness probes of engines and endpoints: no status of SkyPilot says that an engine answers, so we ask it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import httpx2

from deepseek_operator.reconcile.world import Probe
from deepseek_operator.runtime.queue import Key

__all__ = ["Prober"]

HEALTHY_PERIOD_S: Final = 10.0
UNHEALTHY_PERIOD_S: Final = 2.0
FAILURES_TO_UNHEALTHY: Final = 3
"""Answers that must be missed in a row before a healthy engine counts as silent."""
_TIMEOUT_S: Final = 5.0
_SIDE_BY_SIDE: Final = 32


@dataclass
class _Target:
    path: str
    keys: set[Key] = field(default_factory=set)
    due: float = 0.0
    failures: int = 0
    probe: Probe | None = None
    busy: bool = False


class Prober:
    """Asks every watched address again and again, and tells when an answer changes.

    Parameters
    ----------
    changed
        Called with a key whose probe has changed.
    """

    def __init__(self, changed: Callable[[Key], None], transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._changed = changed
        self._targets: dict[str, _Target] = {}
        self._wake = asyncio.Event()
        self._http = httpx2.AsyncClient(
            timeout=_TIMEOUT_S, transport=transport, trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0)
        )

    def watch(self, key: Key, paths: Mapping[str, str]) -> None:
        """Probe exactly these addresses (``host:port`` to HTTP path) for ``key`` from now on."""
        for address, target in list(self._targets.items()):
            if key in target.keys and address not in paths:
                target.keys.discard(key)
                if not target.keys:
                    del self._targets[address]
        for address, path in paths.items():
            known = self._targets.get(address)
            if known is None or known.path != path:
                self._targets[address] = _Target(path, {key})
                self._wake.set()
            else:
                known.keys.add(key)

    def results(self, addresses: Mapping[str, str]) -> dict[str, Probe]:
        """Return what is known of these addresses; an address that was not asked yet is left out."""
        known = ((address, self._targets.get(address)) for address in addresses)
        return {address: target.probe for address, target in known if target is not None and target.probe is not None}

    async def run(self) -> None:
        """Probe until cancelled."""
        gate = asyncio.Semaphore(_SIDE_BY_SIDE)
        async with self._http, asyncio.TaskGroup() as tasks:
            while True:
                now = time.monotonic()
                for address, target in list(self._targets.items()):
                    if not target.busy and target.due <= now:
                        target.busy = True
                        tasks.create_task(self._probe(address, target, gate))
                self._wake.clear()
                try:
                    await asyncio.wait_for(self._wake.wait(), 0.5)
                except TimeoutError:
                    continue

    async def _probe(self, address: str, target: _Target, gate: asyncio.Semaphore) -> None:
        async with gate:
            healthy, detail = await self._ask(f"http://{address}{target.path}")
        target.busy = False
        target.failures = 0 if healthy else target.failures + 1
        before = target.probe
        if not healthy and before is not None and before.healthy and target.failures < FAILURES_TO_UNHEALTHY:
            target.due = time.monotonic() + UNHEALTHY_PERIOD_S
            return
        target.due = time.monotonic() + (HEALTHY_PERIOD_S if healthy else UNHEALTHY_PERIOD_S)
        if before is None or before.healthy != healthy or before.detail != detail:
            same = before is not None and before.healthy == healthy
            since = before.since if before is not None and same else datetime.now(UTC)
            target.probe = Probe(healthy, since, detail)
            for key in target.keys:
                self._changed(key)

    async def _ask(self, url: str) -> tuple[bool, str]:
        try:
            response = await self._http.get(url)
        except httpx2.TimeoutException:
            return False, f"no answer within {_TIMEOUT_S:g} s"
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return False, "connection refused" if "refused" in str(error) or "attempts failed" in str(error) else type(
                error
            ).__name__
        if response.status_code == httpx2.codes.OK:
            return True, ""
        return False, f"HTTP {response.status_code}"
