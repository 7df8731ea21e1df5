"""The parts of a process that belong to no control loop: prices, the audit, and the campaign for the Lease."""

import asyncio

import pytest

from deepseek_operator.feeds.prices import PriceFeed
from deepseek_operator.kube.lease import LeaderElection
from deepseek_operator.runtime.operator import Operator
from deepseek_operator.runtime.settings import Settings

NOBODY = Settings(skypilot_endpoint="http://127.0.0.1:9", lease_name="operator")


@pytest.mark.parametrize("part", [PriceFeed, LeaderElection])
async def test_a_part_that_has_died_is_seen_by_the_liveness_probe(part: type, monkeypatch: pytest.MonkeyPatch) -> None:
    died = asyncio.Event()

    async def wait(*_: object) -> None:
        await asyncio.Event().wait()

    async def die(*_: object) -> None:
        died.set()
        raise AttributeError("nobody foresaw it")

    for one in (PriceFeed, LeaderElection):
        monkeypatch.setattr(one, "run", die if one is part else wait)
    operator = Operator(NOBODY)
    assert operator.trouble() == ""
    await operator.start()
    await died.wait()
    await asyncio.sleep(0)
    assert "nobody foresaw it" in operator.trouble()
    await operator.stop()
