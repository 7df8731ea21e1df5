"""Feed of prices, for clouds that some deployment names; nothing is asked where nothing is rented."""

import asyncio
from collections.abc import Callable
from datetime import date, datetime
from typing import Final, Protocol

import structlog

from deepseek_operator.catalog import Catalog, PriceInfo
from deepseek_operator.planning import Planner
from deepseek_operator.skypilot.errors import SkyPilotError

__all__ = ["PriceFeed"]

log = structlog.get_logger(__name__)

PERIOD_S: Final = 6 * 3600.0
RETRY_S: Final = 300.0
LOOK_S: Final = 5.0
"""Seconds between two looks at which clouds the deployments name."""


class _Client(Protocol):
    async def prices(self, clouds: list[str], day: date) -> tuple[PriceInfo, ...]: ...


class PriceFeed:
    """Replaces the shipped prices of a cloud by live ones, as far as SkyPilot knows them.

    Parameters
    ----------
    planner
        Knows which clouds deployments name, and plans with the catalog that is replaced here.
    """

    def __init__(self, client: _Client, planner: Planner, *, clock: Callable[[], datetime]) -> None:
        self._client, self._planner, self._clock = client, planner, clock
        self._shipped: Catalog = planner.catalog

    async def run(self) -> None:
        """Refresh until cancelled; a new cloud is asked for within seconds."""
        asked: frozenset[str] = frozenset()
        due = 0.0
        loop = asyncio.get_running_loop()
        while True:
            clouds = frozenset(self._planner.clouds)
            if clouds and (clouds != asked or loop.time() >= due):
                fresh = await self._refresh(clouds)
                asked, due = clouds, loop.time() + (PERIOD_S if fresh else RETRY_S)
            await asyncio.sleep(LOOK_S)

    async def _refresh(self, clouds: frozenset[str]) -> bool:
        try:
            live = await self._client.prices(sorted(clouds), self._clock().date())
        except (SkyPilotError, ValueError) as error:  # also an answer in a form that is not known
            log.warning("prices_not_refreshed", clouds=sorted(clouds), error=str(error))
            return False
        known = {price.cloud for price in live}
        kept = tuple(price for price in self._shipped.prices if price.cloud not in known)
        self._planner.catalog = self._shipped.with_prices((*kept, *live))
        log.info("prices_refreshed", clouds=sorted(known), prices=len(live))
        return True
