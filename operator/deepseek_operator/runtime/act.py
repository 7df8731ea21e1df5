"""Act: each typed action on a replica, carried out so that doing it twice is doing it once.

Here and in :mod:`.publish` are the only places that change anything outside. A request to SkyPilot is given
:data:`PATIENCE_S`: what has no answer by then goes on in the background and counts as unanswered, so that a SkyPilot
server that hangs never keeps a dead engine behind its Service.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.base import Known
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.facts.skypilot import Outcome, RequestKind
from deepseek_operator.facts.store import Key, Store
from deepseek_operator.facts.world import Question, QuestionKind, World
from deepseek_operator.feeds.kubernetes import KubernetesFeed
from deepseek_operator.feeds.questions import Questions
from deepseek_operator.kube.errors import KubeError, reason_of
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.actions import (
    Action,
    AddFinalizer,
    ClearRemains,
    Launch,
    RemoveFinalizer,
    RunAgain,
    TearDown,
)
from deepseek_operator.reconcile.results import REQUEST_KINDS, Result, ResultKind
from deepseek_operator.runtime.slots import LaunchSlots
from deepseek_operator.runtime.tasks import TaskMaker, limited
from deepseek_operator.runtime.writes import KubeWrites, SkyPilotWrites, log_action
from deepseek_operator.skypilot.errors import SkyPilotError, SkyPilotRejectedError, SkyPilotUnavailableError
from deepseek_operator.skypilot.failures import classify

__all__ = ["Actor"]

PATIENCE_S: Final = 3.0
"""Seconds for which a pass waits for SkyPilot to accept a request."""


@dataclass
class Actor:
    """Carries out actions.

    Attributes
    ----------
    hurry
        Asks for a snapshot of SkyPilot, because a request was sent.
    """

    writer: KubeWrites
    tasks: TaskMaker
    skypilot: SkyPilotWrites
    store: Store
    kubernetes: KubernetesFeed
    questions: Questions
    slots: LaunchSlots
    hurry: Callable[[], None]
    clock: Callable[[], datetime]

    def __post_init__(self) -> None:
        self._sending: set[asyncio.Task[Result]] = set()

    async def close(self) -> None:
        """Wait a moment for answers to what was sent, and give up the rest: nothing is under way afterwards."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=PATIENCE_S)
        left = tuple(self._sending)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def finalizer(self, world: World, action: AddFinalizer | RemoveFinalizer) -> None:
        """Add or remove the operator's finalizer. What is released, and held by nobody else, is gone."""
        log_action(action)
        present = isinstance(action, AddFinalizer)
        body = await self.writer.set_finalizer(world.deployment, present=present)
        if present or body.get("metadata", {}).get("finalizers"):
            self.kubernetes.put("deployments", body, wake=False)
        else:
            self.store.drop_released(world.deployment)

    async def act(self, world: World, plan: Planned | None, name: ClusterName, action: Action) -> Result:
        """Carry out one action on a replica; whatever happens is a result, so that no other replica waits for it.

        So is the end of the pass, once something was sent: whoever forgot that would send it again.
        """
        key = world.deployment.key
        if isinstance(action, Launch | RunAgain) and not self.slots.take(key, str(name)):
            words = f"waits for one of {self.slots.limit} launch slots of the SkyPilot server"
            return Result(name, action, ResultKind.QUEUED, words)
        log_action(action)
        if isinstance(action, ClearRemains):
            return await self._clear(world, name, action)
        try:
            send = await self._sender(world, plan, name, action)
        except BaseException as error:
            self.slots.used(str(name))
            if not isinstance(error, KubeError | SkyPilotError):
                raise
            return _failed(name, action, error)
        # Kept from the start: it goes on where the pass that waits for it is cancelled.
        task = asyncio.create_task(self._send(key, name, action, send))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        try:
            done, _ = await asyncio.wait({task}, timeout=PATIENCE_S)
        except asyncio.CancelledError:
            return Result(name, action, ResultKind.UNANSWERED, "its pass ended before it was answered")
        if done:
            return task.result()
        return Result(name, action, ResultKind.UNANSWERED, f"no answer within {PATIENCE_S:g} s")

    async def _clear(self, world: World, name: ClusterName, action: ClearRemains) -> Result:
        metadata = world.deployment.metadata
        try:
            for on_cloud in action.names_on_cloud:
                await self.writer.clear_remains(metadata.namespace, on_cloud)
                self.store.drop_cluster(metadata.namespace, metadata.uid, on_cloud)
        except KubeError as error:
            return _failed(name, action, error)
        return Result(name, action, ResultKind.DONE)

    async def _sender(
        self, world: World, plan: Planned | None, name: ClusterName, action: Action
    ) -> Callable[[], Awaitable[object]]:
        """Return the call that carries out ``action``, with everything prepared that can fail before it is sent."""
        text = str(name)
        if isinstance(action, TearDown):
            if action.requests:
                return lambda: self.skypilot.cancel(list(action.requests))
            return lambda: self.skypilot.down(text)
        if plan is None:
            raise AssertionError(f"{action} was decided without a plan")
        task = await self.tasks.make(world.deployment, limited(plan, action), name)
        submit = self.skypilot.launch if isinstance(action, Launch) else self.skypilot.exec
        return lambda: submit(text, task.task, task.override_skypilot_config)

    async def _send(self, key: Key, name: ClusterName, action: Action, send: Callable[[], Awaitable[object]]) -> Result:
        text = str(name)
        launch = isinstance(action, Launch | RunAgain)
        # Noted before the call as well as after: a call that ends without an answer may have been heard.
        self.store.acted(key, text, launch=launch)
        self.slots.used(text)
        try:
            await send()
        except SkyPilotRejectedError as error:
            self._noted(key, name, launch=launch)
            # The same in the form of a request that failed; one refusal is one failure, counted once.
            kind = REQUEST_KINDS[type(action)]
            self.store.put_answer(
                Question(QuestionKind.OUTCOME, text), Known(self._rejected(text, kind, error), self.clock())
            )
            return Result(name, action, ResultKind.DONE)
        except SkyPilotUnavailableError as error:
            self._noted(key, name, launch=launch)
            if error.maybe_heard:
                return Result(name, action, ResultKind.UNANSWERED, str(error))
            self.store.not_acted(text)
            return Result(name, action, ResultKind.FAILED, str(error))
        except SkyPilotError as error:
            self._noted(key, name, launch=launch)
            return Result(name, action, ResultKind.FAILED, str(error))
        self._noted(key, name, launch=launch)
        return Result(name, action, ResultKind.DONE)

    def _noted(self, key: Key, name: ClusterName, *, launch: bool) -> None:
        self.store.acted(key, str(name), launch=launch)
        self.questions.forget(str(name))
        self.hurry()

    def _rejected(self, name: str, kind: RequestKind, error: SkyPilotRejectedError) -> Outcome:
        now = self.clock()
        digest = hashlib.sha256(f"{name}{error}{now.isoformat()}".encode()).hexdigest()[:12]
        failure = classify(error.error_type, error.message)
        return Outcome(f"rejected-{digest}", kind, now, failure)


def _failed(name: ClusterName, action: Action, error: KubeError | SkyPilotError) -> Result:
    """Return the result of an action that ``error`` kept from being sent."""
    reason = reason_of(error) if isinstance(error, KubeError) else Reason.SKYPILOT_UNAVAILABLE
    return Result(name, action, ResultKind.FAILED, str(error), reason)
