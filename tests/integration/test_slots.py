"""A launch that cannot proceed, on a SkyPilot server with a single launch worker, beside ten that can."""

import time

from tests.integration.stage import Stage


def test_a_launch_that_finds_no_node_does_not_hold_up_ten_others(alone: Stage) -> None:
    names = [f"good-{number}" for number in range(10)]
    alone.skypilot.workers = 1
    alone.skypilot.unschedulable.add("stuck")
    try:
        alone.apply("stuck")
        alone.until_reason("stuck", "Unschedulable")
        began = time.monotonic()
        for name in names:
            alone.apply(name)
        for name in names:
            alone.until_ready(name, 120)
        beside = time.monotonic() - began
        assert alone.ready("stuck")["reason"] in ("Unschedulable", "Queued", "Launching")
        tried = len(alone.skypilot.launches("stuck"))
    finally:
        alone.skypilot.unschedulable.clear()
        alone.skypilot.workers = 4
    alone.until_ready("stuck", 120)
    print(
        f"ten launches of 0.5 s beside a stuck one, one worker: {beside:.1f} s; the stuck one was tried {tried} times"
    )
    alone.delete("stuck", *names)
    for name in ["stuck", *names]:
        alone.until_gone(name, 90)
