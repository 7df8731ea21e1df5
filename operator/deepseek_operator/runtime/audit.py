"""Audit of what SkyPilot holds for us: clusters under our names that no deployment owns."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from deepseek_operator.facts.store import Store
from deepseek_operator.runtime import metrics
from deepseek_operator.skypilot.errors import SkyPilotError

__all__ = ["AuditLoop"]

log = structlog.get_logger(__name__)

PERIOD_S: Final = 60.0
GRACE_S: Final = 600.0
"""Seconds for which a cluster must have had no owner. A listing that is incomplete for a moment is no finding."""


class AuditLoop:
    """Reports orphaned clusters, as a metric and in the log. Deleting them is left to ``deepseek-operator audit``.

    Parameters
    ----------
    user
        Returns the SkyPilot user id of this installation. What another one has launched is none of our business.
    complete
        Whether all deployments are known. While those of a namespace are not, nobody can say what has no owner.
    """

    def __init__(self, store: Store, user: Callable[[], Awaitable[str]], complete: Callable[[], bool]) -> None:
        self._store, self._user, self._complete = store, user, complete
        self._first_seen: dict[str, float] = {}
        self._reported: set[str] = set()

    def look(self, user: str, now: float) -> tuple[str, ...]:
        """Return the names that have had no owner for :data:`GRACE_S`; ``now`` is in seconds of any clock."""
        orphans = self._store.orphans(user)
        self._first_seen = {name: self._first_seen.get(name, now) for name in orphans}
        return tuple(sorted(name for name, since in self._first_seen.items() if now - since >= GRACE_S))

    async def run(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                found = self.look(await self._user(), loop.time()) if self._complete() else None
            except SkyPilotError:
                pass  # what was found before stays
            except Exception:
                log.exception("audit_failed")  # and goes on: an alert stands on what it finds
            else:
                if found is not None:
                    self._report(found)
            await asyncio.sleep(PERIOD_S)

    def _report(self, found: tuple[str, ...]) -> None:
        metrics.ORPHANS.set(len(found))
        for name in set(found) - self._reported:
            log.warning("orphaned_cluster", cluster=name, action="run: deepseek-operator audit --delete")
        self._reported = set(found)
