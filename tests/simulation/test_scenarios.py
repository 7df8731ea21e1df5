"""The scenarios, each with several dice: every promise holds at every moment, and everything converges."""

import pytest

from deepseek_operator.api.reasons import REPLICA_FAILURES
from deepseek_operator.runtime import metrics
from tests.simulation.play import play
from tests.simulation.scenarios import SCENARIOS, schedule

DICE = range(4)


@pytest.mark.parametrize("name", SCENARIOS)
def test_promises_hold_when(name: str) -> None:
    broken = [str(violation) for seed in DICE for violation in play(schedule(name, seed)).violations]
    assert broken == []


def test_every_failure_is_one_that_the_metrics_expect() -> None:
    metrics.FAILURES.clear()  # other tests of this process count, too
    play(schedule("three crashes in a row"))
    (failures,) = metrics.FAILURES.collect()
    counted = {sample.labels["reason"] for sample in failures.samples if sample.value}
    assert counted
    assert counted <= {str(reason) for reason in REPLICA_FAILURES}


def test_a_schedule_replays_exactly() -> None:
    name = "operator and SkyPilot restart in mid-rollout"
    assert play(schedule(name, 3), traced=True) == play(schedule(name, 3), traced=True)
