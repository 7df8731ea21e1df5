"""The feed of prices: each cloud by itself, and what was known stays while a cloud cannot be asked."""

import asyncio
from datetime import date
from decimal import Decimal

import pytest

from deepseek_operator.catalog import PriceInfo, load_catalog
from deepseek_operator.feeds.prices import LOOK_S, PERIOD_S, RETRY_S, PriceFeed
from deepseek_operator.planning import Planner
from deepseek_operator.skypilot.errors import SkyPilotUnavailableError
from tests.simulation.clock import VirtualLoop, run_virtually


class Server:
    """A SkyPilot server with the catalogs of some clouds."""

    def __init__(self, **dollars: str) -> None:
        self.dollars = dollars
        self.asked: list[str] = []

    async def prices(self, clouds: list[str], day: date) -> tuple[PriceInfo, ...]:
        (cloud,) = clouds
        self.asked.append(cloud)
        if cloud not in self.dollars:
            raise SkyPilotUnavailableError(f"the catalog of {cloud} cannot be downloaded")
        price = Decimal(self.dollars[cloud])
        return (
            PriceInfo(
                cloud=cloud, instance_type="machine", accelerators="L4:1", on_demand=price, as_of=day, source="live"
            ),
        )


@pytest.fixture
def planner() -> Planner:
    planner = Planner(load_catalog())
    planner.clouds |= {"aws", "gcp"}
    return planner


def feed_for(seconds: float, server: Server, planner: Planner, *steps: tuple[float, dict[str, str]]) -> None:
    """Let the feed run for some time; ``steps`` change the server's catalogs at their time."""
    loop = VirtualLoop()

    async def run() -> None:
        task = asyncio.create_task(PriceFeed(server, planner, clock=loop.now).run())
        for at, dollars in steps:
            await asyncio.sleep(at - loop.time())
            server.dollars = dollars
        await asyncio.sleep(seconds - loop.time())
        task.cancel()

    run_virtually(run(), loop)


def prices_of(planner: Planner, cloud: str) -> list[Decimal | None]:
    return [one.on_demand for one in planner.catalog.prices if one.cloud == cloud]


def test_live_prices_replace_the_shipped_ones_of_their_cloud(planner: Planner) -> None:
    shipped = prices_of(planner, "azure")
    feed_for(1, Server(aws="0.70", gcp="0.60"), planner)
    assert prices_of(planner, "aws") == [Decimal("0.70")]
    assert prices_of(planner, "gcp") == [Decimal("0.60")]
    assert prices_of(planner, "azure") == shipped


def test_a_catalog_that_cannot_be_had_costs_no_other_cloud_its_prices(planner: Planner) -> None:
    shipped = prices_of(planner, "aws")
    feed_for(1, Server(gcp="0.60"), planner)
    assert prices_of(planner, "aws") == shipped != []
    assert prices_of(planner, "gcp") == [Decimal("0.60")]


def test_prices_stay_while_their_cloud_cannot_be_asked_again(planner: Planner) -> None:
    feed_for(2 * PERIOD_S, Server(aws="0.70", gcp="0.60"), planner, (1, {"gcp": "0.50"}))
    assert prices_of(planner, "aws") == [Decimal("0.70")]
    assert prices_of(planner, "gcp") == [Decimal("0.50")]


def test_a_cloud_that_failed_is_asked_again_soon_and_one_that_answered_is_not(planner: Planner) -> None:
    server = Server(gcp="0.60")
    feed_for(RETRY_S + 2 * LOOK_S, server, planner)
    assert server.asked == ["aws", "gcp", "aws"]


@pytest.mark.parametrize("answer", [TypeError("int() argument must be a string"), AttributeError("'list' object")])
def test_an_answer_that_nobody_foresaw_does_not_end_the_feed(answer: Exception, planner: Planner) -> None:
    class Odd(Server):
        async def prices(self, clouds: list[str], day: date) -> tuple[PriceInfo, ...]:
            if not self.dollars:
                self.asked += clouds
                raise answer
            return await super().prices(clouds, day)

    server = Odd()
    feed_for(RETRY_S + 2 * LOOK_S, server, planner, (RETRY_S / 2, {"aws": "0.5", "gcp": "0.6"}))
    assert server.asked == ["aws", "gcp"] * 2
    assert prices_of(planner, "gcp") == [Decimal("0.6")]
