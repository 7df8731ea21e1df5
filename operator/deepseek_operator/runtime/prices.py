"""Keeps the catalog's prices fresh, for clouds that some deployment names; nothing is asked where nothing is rented."""

import asyncio
from datetime import UTC, datetime
from typing import Final

import structlog

from deepseek_operator.catalog import Catalog
from deepseek_operator.runtime.observe import Observer
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.errors import SkyPilotError

__all__ = ["PriceLoop"]

log = structlog.get_logger(__name__)

PERIOD_S: Final = 6 * 3600.0
RETRY_S: Final = 300.0


class PriceLoop:
    """Replaces the shipped prices of a cloud by live ones, as far as SkyPilot can tell them.

    Parameters
    ----------
    observer
        Knows which clouds deployments name, and plans with the catalog that is replaced here.
    """

    def __init__(self, client: SkyPilotClient, observer: Observer) -> None:
        self._client, self._observer = client, observer
        self._shipped: Catalog = observer.catalog

    async def run(self) -> None:
        """Refresh until cancelled; a new cloud is asked for at once."""
        while True:
            clouds = frozenset(self._observer.clouds)
            fresh = await self._refresh(clouds) if clouds else True
            self._observer.clouds_changed.clear()
            if frozenset(self._observer.clouds) != clouds:
                continue
            try:
                await asyncio.wait_for(self._observer.clouds_changed.wait(), PERIOD_S if fresh else RETRY_S)
            except TimeoutError:
                continue

    async def _refresh(self, clouds: frozenset[str]) -> bool:
        try:
            live = await self._client.prices(sorted(clouds), datetime.now(UTC).date())
        except (SkyPilotError, ValueError) as error:  # also an answer in a form that is not known
            log.warning("prices_not_refreshed", clouds=sorted(clouds), error=str(error))
            return False
        known = {price.cloud for price in live}
        kept = tuple(price for price in self._shipped.prices if price.cloud not in known)
        self._observer.catalog = self._shipped.with_prices((*kept, *live))
        log.info("prices_refreshed", clouds=sorted(known), prices=len(live))
        return True
