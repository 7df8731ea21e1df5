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
        self._live: dict[str, tuple[PriceInfo, ...]] = {}
        self._due: dict[str, float] = {}

    async def run(self) -> None:
        """Refresh until cancelled; a new cloud is asked for within seconds."""
        loop = asyncio.get_running_loop()
        while True:
            for cloud in sorted(self._planner.clouds):
                if loop.time() >= self._due.get(cloud, 0.0):
                    fresh = await self._refresh(cloud)
                    self._due[cloud] = loop.time() + (PERIOD_S if fresh else RETRY_S)
            await asyncio.sleep(LOOK_S)

    async def _refresh(self, cloud: str) -> bool:
        """Ask for the prices of one cloud: the server answers for several at once only if it has all their catalogs."""
        try:
            live = await self._client.prices([cloud], self._clock().date())
        except SkyPilotError as error:
            log.warning("prices_not_refreshed", cloud=cloud, error=str(error))
            return False  # what was known of it before stays
        except Exception:
            # An answer in a form that nobody foresaw must not end the feed: every price would stay as it is, for good.
            log.exception("prices_not_understood", cloud=cloud)
            return False
        self._live[cloud] = tuple(price for price in live if price.cloud == cloud)
        known = {name for name, prices in self._live.items() if prices}
        kept = tuple(price for price in self._shipped.prices if price.cloud not in known)
        fresh = tuple(price for name in sorted(known) for price in self._live[name])
        self._planner.catalog = self._shipped.with_prices((*kept, *fresh))
        log.info("prices_refreshed", cloud=cloud, prices=len(self._live[cloud]))
        return True
