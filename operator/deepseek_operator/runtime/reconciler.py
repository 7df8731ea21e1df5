"""The pass: join, decide, act, status, Events. One at a time per deployment, and nothing is read from the network."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from deepseek_operator.api.reasons import ConditionType, Reason
from deepseek_operator.api.status import DeepSeekDeploymentStatus
from deepseek_operator.facts.base import Address, Failure, ProbeTarget
from deepseek_operator.facts.engine import EngineTarget
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.facts.store import Key, Store
from deepseek_operator.facts.world import World
from deepseek_operator.feeds.kubernetes import KubernetesFeed
from deepseek_operator.feeds.questions import Questions
from deepseek_operator.kube.errors import (
    KubeDeniedError,
    KubeError,
    KubeNotFoundError,
    KubeRejectedError,
    reason_of,
)
from deepseek_operator.launch.proxy import ProxySettings
from deepseek_operator.planning import Planned, Planner, Refused
from deepseek_operator.reconcile.actions import (
    Action,
    AddFinalizer,
    ApplyProxy,
    Launch,
    PublishEndpoints,
    RunAgain,
    UnpublishEndpoints,
)
from deepseek_operator.reconcile.approval import choose_plan
from deepseek_operator.reconcile.decide import Decision, decide
from deepseek_operator.reconcile.endpoint import about_to_be_asked
from deepseek_operator.reconcile.events import EventNote, notes
from deepseek_operator.reconcile.results import Result, with_failed_publish, with_refused_finalizer, with_results
from deepseek_operator.reconcile.status import compute_status, dump_status, tells_news
from deepseek_operator.runtime.act import Actor
from deepseek_operator.runtime.poster import EventPoster
from deepseek_operator.runtime.publish import Publisher, refusal_of
from deepseek_operator.runtime.recorder import Recorder
from deepseek_operator.runtime.slots import LaunchSlots
from deepseek_operator.runtime.tracing import Note, Tracer

__all__ = ["Reconciler"]

log = structlog.get_logger(__name__)

DETAILS_S: Final = 10.0
"""Seconds for which a status without news waits: SkyPilot's progress in words, or where a replica runs."""
PROBE_S: Final = 2.0
"""Seconds for which a status waits for the first probe through a Service."""

Watch = Callable[[Key, dict[Address, ProbeTarget]], None]
Read = Callable[[Key, dict[Address, EngineTarget]], None]


@dataclass
class Reconciler:
    """Runs passes.

    Attributes
    ----------
    watch
        Tells the prober which addresses of a deployment to probe.
    read
        Tells the reader which engines of a deployment to read.
    recorder
        Turns statuses into metrics and log lines.
    tracer
        Makes spans of passes and actions.
    unsettled
        Keys that wait for something; SkyPilot is asked often while there are any.
    """

    store: Store
    planner: Planner
    kubernetes: KubernetesFeed
    questions: Questions
    actor: Actor
    publisher: Publisher
    events: EventPoster
    slots: LaunchSlots
    watch: Watch
    read: Read
    wake: Callable[[Key], None]
    wake_after: Callable[[Key, float], None]
    clock: Callable[[], datetime]
    resync_period_s: float = 600.0
    proxy: ProxySettings = field(default_factory=ProxySettings)
    recorder: Recorder = field(default_factory=Recorder)
    tracer: Tracer = field(default_factory=Tracer)
    unsettled: set[Key] = field(default_factory=set)
    _waiting: dict[Key, tuple[float, datetime]] = field(default_factory=dict)
    """For how many seconds, and since when, a status is not written although it differs: another one follows soon."""
    _untold: dict[Key, tuple[str, DeepSeekDeploymentStatus]] = field(default_factory=dict)
    """UID of the object, and its status before a write that had no answer. If the write was carried out after all, the
    changes since that status are still to be posted as Events, logged and counted."""

    async def reconcile(self, key: Key) -> None:
        """Run one pass, and at once a second one if the first has added the finalizer, so that nothing comes between.

        Raises
        ------
        KubeError
            If the API server refused a write; everything else of the pass was done nevertheless.
        """
        if await self._pass(key):
            await self._pass(key)

    async def _pass(self, key: Key) -> bool:
        """Run one pass; return whether it has added the finalizer, without which nothing is launched."""
        with self.tracer.span_of_pass(key) as note:
            return await self._noted_pass(key, note)

    async def _noted_pass(self, key: Key, note: Note) -> bool:
        world = self.store.world(key, self.clock())
        if world is None:
            self.forget(key)
            note("outcome", "gone")
            return False
        try:
            plan, decision, errors = await self._until_actions(world, note)
        except BaseException:
            self.slots.forget(key)  # it does not come to ask for the slot that others would wait for
            raise
        planned = plan if isinstance(plan, Planned) else None
        self.slots.keep(key, {str(name) for name, action in decision.actions if isinstance(action, Launch | RunAgain)})
        why = {replica.name: str(replica.finding.reason) for replica in decision.replicas}
        acting = [
            asyncio.ensure_future(self._act(world, planned, name, action, why.get(name, "")))
            for name, action in decision.actions
        ]
        try:
            ended = await asyncio.gather(*acting, return_exceptions=True) if acting else []
        except asyncio.CancelledError:
            # The pass takes too long. Of what was sent no answer may be lost, or the next pass sends it again.
            told = [one.result() for one in acting if not one.cancelled() and one.exception() is None]
            after = compute_status(world, plan, with_results(decision, told, planned, self.clock()))
            if self.store.stored_status(key) is not None:  # else the object is gone
                self.store.put_unsaved(world.deployment, after)
            raise
        # What went wrong with one replica must not make the operator forget what was done for another.
        decision = with_results(decision, [one for one in ended if isinstance(one, Result)], planned, self.clock())
        errors += [one for one in ended if isinstance(one, BaseException)]
        if decision.released:
            self._announce_abandoned(world, decision)
            note("outcome", "released")
            return False
        await self._write_status(world, plan, decision)
        self._schedule(key, decision)
        note("outcome", "error" if errors else "ok")
        if errors:
            raise errors[0]
        return isinstance(decision.finalizer, AddFinalizer)

    async def _until_actions(self, world: World, note: Note) -> tuple[Planned | Refused, Decision, list[BaseException]]:
        """Decide, publish, and see to the finalizer; return what went wrong with the plan and the decision.

        Raises
        ------
        KubeError
            If the finalizer could not be added now, or not be removed.
        """
        key = world.deployment.key
        plan = self._plan(world)
        decision = decide(world, plan, launches_waiting=self.slots.others_wait(key), proxy=self.proxy)
        note("actions", [type(action).__name__ for action in _actions(decision)])
        self.store.watch(key, decision.targets)
        self.watch(key, dict(decision.targets))
        self.read(key, dict(decision.engines))
        for question in decision.asks:
            self.questions.ask(question, key)

        errors, refused = await self._publish(world, decision)
        decision = with_failed_publish(decision, refused)
        if decision.finalizer is not None:
            try:
                with self.tracer.span_of_action(type(decision.finalizer).__name__, "", ""):
                    await self.actor.finalizer(world, decision.finalizer)
            except (KubeDeniedError, KubeRejectedError) as error:
                if not isinstance(decision.finalizer, AddFinalizer):
                    raise
                # Nothing is launched without it, and the status is the only place where its user looks for why.
                why = Failure(reason_of(error), f"the finalizer of the operator cannot be added: {error}")
                decision = with_refused_finalizer(decision, why)
                errors.append(error)
        return plan, decision, errors

    async def _act(self, world: World, plan: Planned | None, name: ClusterName, action: Action, reason: str) -> Result:
        """Carry out one action; every line that is logged meanwhile names the replica and why."""
        with (
            structlog.contextvars.bound_contextvars(replica=str(name), reason=reason),
            self.tracer.span_of_action(type(action).__name__, str(name), reason) as note,
        ):
            result = await self.actor.act(world, plan, name, action)
            note("result", str(result.kind))
            return result

    def _plan(self, world: World) -> Planned | Refused:
        if world.unreadable:
            return Refused(reason=Reason.INVALID_SPEC, message=world.unreadable)
        return choose_plan(world.deployment, self.planner.plan)

    async def _publish(
        self, world: World, decision: Decision
    ) -> tuple[list[BaseException], list[tuple[Action, Failure]]]:
        """Carry out the actions on the Service; return what went wrong, and what somebody has to change.

        A failed action stops no other one, with one exception: where a slice could not be published, none is taken
        away, because the old slice may be the only one that leads anywhere. A proxy that is refused stands in the
        status, and is no error of the pass: it stays so until somebody changes something.
        """
        errors: list[BaseException] = []
        refused: list[tuple[Action, Failure]] = []
        changed = publishing_failed = False
        for action in decision.publish:
            if publishing_failed and isinstance(action, UnpublishEndpoints):
                continue
            try:
                with self.tracer.span_of_action(type(action).__name__, "", ""):
                    changed |= await self.publisher.publish(world, action)
            except KubeError as error:
                refusal = refusal_of(error) if isinstance(action, ApplyProxy) else None
                if refusal is not None:
                    refused.append((action, refusal))
                else:
                    errors.append(error)
                publishing_failed |= isinstance(action, PublishEndpoints)
        # What was written is in the store, and the next pass goes on from there. After a finalizer one follows anyway;
        # of what is deleted nothing goes on because its Service leads nowhere.
        if changed and decision.goes_on and decision.finalizer is None and not world.deployment.deleting:
            self.wake(world.deployment.key)
        return errors, refused

    async def _write_status(self, world: World, plan: Planned | Refused, decision: Decision) -> None:
        """Write the status if it differs from the stored one, and have Events posted only once it is stored."""
        if world.deployment.deleting and not decision.replicas and decision.finalizer is None:
            return  # released already
        key, uid = world.deployment.key, world.deployment.metadata.uid
        before, after = self.store.stored_status(key), compute_status(world, plan, decision)
        self.recorder.saw(world.deployment, after)
        self.store.drop_unsaved(key)
        if before is None:
            self._waiting.pop(key, None)
            return
        untold_uid, told = self._untold.get(key, (uid, before))
        told = told if untold_uid == uid else before
        if before is after or before == after:
            self._waiting.pop(key, None)
            if told is not before:
                self._tell(world, told, after)
            return
        self.store.put_unsaved(world.deployment, after)
        no_news = not tells_news(before, after)
        was_ready = any(one.type == ConditionType.READY and one.status == "True" for one in before.conditions)
        if self._may_wait(world, decision, no_news=no_news, was_ready=was_ready):
            return
        self._untold[key] = (uid, told)
        try:
            body = await self.actor.writer.apply_status(world.deployment, dump_status(after))
        except KubeNotFoundError:
            return
        self.store.drop_unsaved(key)
        self._waiting.pop(key, None)
        self.kubernetes.put("deployments", body, wake=False)
        self._tell(world, told, after)

    def _tell(self, world: World, before: DeepSeekDeploymentStatus, after: DeepSeekDeploymentStatus) -> None:
        """Count, log and post what has happened between two statuses of which the second one is stored."""
        self._untold.pop(world.deployment.key, None)
        self.recorder.wrote(world.deployment.key, before, after)
        for one in notes(before, after):
            self.events.post(world.deployment, one)

    def _may_wait(self, world: World, decision: Decision, *, no_news: bool, was_ready: bool) -> bool:
        """Return whether a status need not be written now, because another one follows in a moment."""
        key = world.deployment.key
        if isinstance(decision.finalizer, AddFinalizer):
            # The pass that launches comes next, unless something is in its way.
            return decision.blocked is not None and decision.blocked.reason is Reason.PLANNING
        limit_s = DETAILS_S if no_news else 0.0
        if not was_ready and about_to_be_asked(world, serving=any(replica.ready for replica in decision.replicas)):
            limit_s = PROBE_S
        now = self.clock()
        waits_s, since = self._waiting.get(key, (limit_s, now))
        if waits_s != limit_s:
            since = now  # it waited for something else
        self._waiting[key] = (limit_s, since)
        left_s = limit_s - abs((now - since).total_seconds())
        if left_s <= 0:
            return False
        self.wake_after(key, left_s)
        return True

    def _announce_abandoned(self, world: World, decision: Decision) -> None:
        if not decision.abandoned:
            return
        names = ", ".join(map(str, decision.abandoned))
        log.warning("abandoned", reason="Abandoned", clusters=names)
        message = f"released on request; these SkyPilot clusters may still exist: {names}"
        self.events.post(world.deployment, EventNote("Warning", "Abandoned", message))

    def _schedule(self, key: Key, decision: Decision) -> None:
        if decision.next_look_s is None:
            self.unsettled.discard(key)
        elif key not in self.unsettled:
            self.unsettled.add(key)
            self.actor.hurry()  # the last snapshot may be as old as the idle period
        self.wake_after(key, decision.next_look_s if decision.next_look_s is not None else self.resync_period_s)

    def forget(self, key: Key) -> None:
        """Drop everything kept for a deployment that is gone."""
        self.unsettled.discard(key)
        self._waiting.pop(key, None)
        self._untold.pop(key, None)
        self.recorder.forget(key)
        self.publisher.forget(key)
        self.slots.forget(key)
        self.watch(key, {})
        self.read(key, {})


def _actions(decision: Decision) -> Iterator[Action]:
    """Yield the actions of a decision in the order in which they are carried out."""
    yield from decision.publish
    if decision.finalizer is not None:
        yield decision.finalizer
    for _, action in decision.actions:
        yield action
