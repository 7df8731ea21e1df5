"""The scenarios, each with several dice: every promise holds at every moment, and everything converges."""

import pytest

from tests.simulation.run import play
from tests.simulation.scenarios import SCENARIOS, schedule

DICE = range(4)


@pytest.mark.parametrize("name", SCENARIOS)
def test_promises_hold_when(name: str) -> None:
    broken = [str(violation) for seed in DICE for violation in play(schedule(name, seed)).violations]
    assert broken == []


def test_a_schedule_replays_exactly() -> None:
    name = "operator and SkyPilot restart in mid-rollout"
    assert play(schedule(name, 3), traced=True) == play(schedule(name, 3), traced=True)
