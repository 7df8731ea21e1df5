"""The work queue: keys are neither lost nor worked on twice at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from deepseek_operator.runtime.queue import Priority, WorkQueue

KEY = ("serving", "r1")


@pytest.fixture
async def queue() -> AsyncIterator[WorkQueue]:
    queue = WorkQueue()
    timers = asyncio.create_task(queue.run_timers())
    yield queue
    timers.cancel()


async def taken(queue: WorkQueue, within: float = 1.0) -> tuple[str, str] | None:
    try:
        return await asyncio.wait_for(queue.take(), within)
    except TimeoutError:
        return None


async def test_a_key_added_twice_is_one_pass(queue: WorkQueue) -> None:
    queue.add(KEY)
    queue.add(KEY)
    assert await taken(queue) == KEY
    queue.done(KEY)
    assert await taken(queue, 0.05) is None


async def test_a_key_added_while_it_is_worked_on_gets_one_more_pass_afterwards(queue: WorkQueue) -> None:
    queue.add(KEY)
    await taken(queue)
    queue.add(KEY)
    queue.add(KEY)
    assert await taken(queue, 0.05) is None, "two workers on one key"
    queue.done(KEY)
    assert await taken(queue) == KEY
    queue.done(KEY)
    assert await taken(queue, 0.05) is None


async def test_the_earliest_time_wins(queue: WorkQueue) -> None:
    queue.add_after(KEY, 60)
    queue.add_after(KEY, 0.01)
    queue.add_after(KEY, 30)
    assert await taken(queue) == KEY


async def test_an_immediate_add_replaces_a_planned_one(queue: WorkQueue) -> None:
    queue.add_after(KEY, 0.05)
    queue.add(KEY)
    assert await taken(queue) == KEY
    queue.done(KEY)
    assert await taken(queue, 0.15) is None


async def test_a_failed_key_comes_back_ever_later(queue: WorkQueue) -> None:
    delays = []
    for _ in range(10):
        queue.add(KEY)
        await taken(queue)
        delays.append(queue.failed(KEY))
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    queue.add(KEY)
    await taken(queue)
    queue.done(KEY)
    queue.add(KEY)
    await taken(queue)
    assert queue.failed(KEY) == 0.5, "success forgets failures"


async def test_keys_are_worked_on_side_by_side(queue: WorkQueue) -> None:
    queue.add(KEY)
    queue.add(("serving", "r2"))
    assert {await taken(queue), await taken(queue)} == {KEY, ("serving", "r2")}


async def test_what_has_happened_goes_before_what_is_only_looked_at_again(queue: WorkQueue) -> None:
    for number in range(3):
        queue.add(("serving", f"polled-{number}"), Priority.POLL)
    queue.add(KEY)
    queue.add(("serving", "polled-2"))  # something has happened to it meanwhile
    assert [await taken(queue) for _ in range(4)] == [
        KEY,
        ("serving", "polled-2"),
        ("serving", "polled-0"),
        ("serving", "polled-1"),
    ]


async def test_one_created_beside_a_thousand_others_does_not_come_last(queue: WorkQueue) -> None:
    for number in range(1000):
        queue.add_edited(("serving", f"storm-{number}"))
    queue.add_edited(KEY)
    assert [await taken(queue) for _ in range(2)] == [("serving", "storm-0"), KEY], "and neither does the oldest"


async def test_one_created_while_a_thousand_others_go_on_does_not_wait_for_them(queue: WorkQueue) -> None:
    for number in range(1000):
        queue.add_urgent(("serving", f"goes-on-{number}"))
    queue.add_edited(KEY)
    assert KEY in [await taken(queue) for _ in range(4)]


async def test_an_engine_that_dies_while_a_thousand_deployments_are_created_does_not_wait_for_them(
    queue: WorkQueue,
) -> None:
    for number in range(1000):
        queue.add_edited(("serving", f"storm-{number}"))
        queue.add_urgent(("serving", f"goes-on-{number}"))
    queue.add_urgent(KEY)
    assert KEY in [await taken(queue) for _ in range(8)]


async def test_a_storm_of_edits_does_not_starve_the_rest(queue: WorkQueue) -> None:
    for number in range(100):
        queue.add_edited(("serving", f"storm-{number}"))
    queue.add(("serving", "pod-failed"))
    queue.add(("serving", "polled"), Priority.POLL)
    first = [await taken(queue) for _ in range(8)]
    assert ("serving", "pod-failed") in first
    assert ("serving", "polled") in first


async def test_a_storm_of_news_does_not_starve_what_is_only_looked_at_again(queue: WorkQueue) -> None:
    """A pass that is repeated because it has failed, for instance."""
    for number in range(100):
        queue.add(("serving", f"storm-{number}"))
    queue.add(KEY, Priority.POLL)
    assert KEY in [await taken(queue) for _ in range(8)]


async def test_an_urgent_pass_that_has_failed_is_repeated_as_urgently(queue: WorkQueue) -> None:
    """What has died stays in its Service until then, and where the API server refuses writes many passes fail."""
    queue.add_urgent(KEY)
    await taken(queue)
    queue.failed(KEY)
    for number in range(100):
        queue.add(("serving", f"polled-{number}"), Priority.POLL)
    await asyncio.sleep(0.6)
    assert KEY in [await taken(queue) for _ in range(4)]


async def test_what_becomes_urgent_while_it_waits_or_is_worked_on_is_urgent(queue: WorkQueue) -> None:
    queue.add(KEY)
    await taken(queue)
    queue.add(KEY, Priority.POLL)
    queue.add_urgent(KEY)
    queue.add(("serving", "r2"))
    queue.done(KEY)
    assert await taken(queue) == KEY


async def test_how_long_a_key_has_waited_is_told_when_it_is_taken() -> None:
    waits: list[float] = []
    queue = WorkQueue(waited=waits.append)
    queue.add(KEY)
    await asyncio.sleep(0.05)
    await queue.take()
    assert 0.04 < waits[0] < 1.0
