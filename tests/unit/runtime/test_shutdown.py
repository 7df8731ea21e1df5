"""The end of a process: what was sent has ended before the Lease goes to somebody else, and nothing begins any more."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.facts.store import Store
from deepseek_operator.reconcile.actions import Launch
from deepseek_operator.runtime.act import PATIENCE_S, Actor
from deepseek_operator.runtime.slots import LaunchSlots
from tests.simulation.clock import VirtualLoop, run_virtually
from tests.simulation.fleet import Fleet
from tests.unit.reconcile import builders as b

DSD = b.deployment()
R1 = b.name(DSD)


class Server:
    """A SkyPilot server that takes its time to accept a launch."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.story = seconds, list[str]()

    async def launch(self, *_: Any) -> str:
        self.story.append("asked")
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.story.append("given up")
            raise
        self.story.append("accepted")
        return "request"


def actor_for(server: Server) -> Actor:
    async def make(*_: Any) -> Any:
        return SimpleNamespace(task={}, override_skypilot_config={})

    store = Store(lambda _: None)
    return Actor(
        writer=cast(Any, None),
        tasks=cast(Any, SimpleNamespace(make=make)),
        skypilot=cast(Any, server),
        store=store,
        kubernetes=cast(Any, None),
        questions=cast(Any, SimpleNamespace(forget=lambda _: None)),
        slots=LaunchSlots(store, 1, lambda _: None),
        hurry=lambda: None,
        clock=lambda: b.NOW,
    )


@pytest.mark.parametrize(
    ("accepts_after_s", "passes_wait_s", "end"),
    [
        (1, 0.5, "accepted"),  # the pass is cancelled while it waits for the answer
        (PATIENCE_S + 1, PATIENCE_S + 0.5, "accepted"),  # the pass has gone on without it
        (20, 0.5, "given up"),
        (20, PATIENCE_S + 0.5, "given up"),
    ],
)
def test_a_launch_that_was_sent_has_ended_when_its_process_has(
    accepts_after_s: float, passes_wait_s: float, end: str
) -> None:
    server = Server(accepts_after_s)

    async def story() -> None:
        actor = actor_for(server)
        going = asyncio.create_task(actor.act(b.world(DSD), b.planned(DSD), R1, Launch(R1)))
        await asyncio.sleep(passes_wait_s)
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
        await actor.close()
        server.story.append("closed")

    run_virtually(story())
    assert server.story == ["asked", end, "closed"]


def test_a_process_that_gets_the_lease_while_it_ends_does_not_act() -> None:
    loop = VirtualLoop()

    async def story() -> None:
        fleet = Fleet(loop, 1)
        fleet.create(1)
        fleet.process.loop.start()
        await fleet.process.loop.stop()
        before = fleet.kubernetes.list(api.PLURAL)
        fleet.process.loop.lead()
        await asyncio.sleep(600)
        assert fleet.kubernetes.list(api.PLURAL) == before

    run_virtually(story(), loop)
