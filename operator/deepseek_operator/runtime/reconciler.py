"""The pass: observe, decide, act, status, events. One at a time per deployment."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from lightkube import ApiError

from deepseek_operator.kube.write import ClusterWriter, dump_status
from deepseek_operator.reconcile.actions import Action, ClearRemains, Launch, RunAgain, TearDown
from deepseek_operator.reconcile.decide import Decision, decide
from deepseek_operator.reconcile.events import notes
from deepseek_operator.reconcile.world import World
from deepseek_operator.runtime.act import Actor
from deepseek_operator.runtime.observe import Observer
from deepseek_operator.runtime.queue import Key

__all__ = ["Reconciler"]

log = structlog.get_logger(__name__)

_MOVES_SKYPILOT = (Launch, RunAgain, TearDown, ClearRemains)


@dataclass
class Reconciler:
    """Runs passes.

    Attributes
    ----------
    unsettled
        Keys that wait for something only a poll of SkyPilot can see; the snapshot loop hurries while there are any.
    """

    observer: Observer
    actor: Actor
    writer: ClusterWriter
    wake_after: Callable[[Key, float], None]
    resync_period_s: float
    unsettled: set[Key] = field(default_factory=set)
    acted_at: dict[Key, float] = field(default_factory=dict)

    async def reconcile(self, key: Key) -> None:
        """Run one pass."""
        world = await self.observer.observe(key, self.acted_at.get(key, -1.0))
        if world is None:
            self.forget(key)
            return
        decision = decide(world)
        try:
            for action in decision.actions:
                await self._act(key, world, action)
        finally:
            # Also when an action failed: what was seen is true, and a status that stays behind is a lie.
            await self._write_status(world, decision)
        self._schedule(key, decision)

    async def _act(self, key: Key, world: World, action: Action) -> None:
        if not isinstance(action, _MOVES_SKYPILOT):
            await self.actor.act(world, action)
            return
        # Marked before the call as well as after: a call that times out may have been heard.
        self.acted_at[key] = time.monotonic()
        self.unsettled.add(key)
        await self.actor.act(world, action)
        self.acted_at[key] = time.monotonic()

    def forget(self, key: Key) -> None:
        """Drop everything kept for a deployment that is gone."""
        self.unsettled.discard(key)
        self.acted_at.pop(key, None)

    def _schedule(self, key: Key, decision: Decision) -> None:
        if decision.next_look_s is None:
            self.unsettled.discard(key)
        else:
            self.unsettled.add(key)
        self.wake_after(key, decision.next_look_s if decision.next_look_s is not None else self.resync_period_s)

    async def _write_status(self, world: World, decision: Decision) -> None:
        """Write the status if it differs, and tell what happened only once that is stored."""
        before, after = world.deployment.status, decision.status
        if after is None or dump_status(before) == dump_status(after):
            return
        await self.writer.apply_status(world.deployment, after)
        now = datetime.now(UTC)
        for note in notes(before, after):
            try:
                await self.writer.post_event(world.deployment, note, now)
            except ApiError as error:  # an Event is a courtesy; the status holds the truth
                log.warning("event_not_posted", reason=note.reason, error=str(error))
