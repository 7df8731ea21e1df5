"""Actions that cannot even be sent: who was in the way."""

import asyncio
import contextlib
import socket
from collections import defaultdict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.base import Fact, Known
from deepseek_operator.facts.skypilot import RequestKind
from deepseek_operator.facts.store import Store
from deepseek_operator.facts.world import Question
from deepseek_operator.kube.errors import KubeConflictError, KubeDeniedError, KubeRejectedError, KubeUnavailableError
from deepseek_operator.reconcile.actions import Action, ClearRemains, Launch, RunAgain, TearDown
from deepseek_operator.reconcile.results import ResultKind
from deepseek_operator.runtime.act import Actor
from deepseek_operator.runtime.slots import LaunchSlots
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.errors import SkyPilotRejectedError, SkyPilotUnavailableError
from tests.unit.reconcile import builders as b

DSD = b.deployment()
R1 = b.name(DSD)


def actor_that_meets(error: Exception) -> Actor:
    async def fail(*_: Any) -> None:
        raise error

    store = Store(lambda _: None)
    parts: dict[str, Any] = defaultdict(lambda: None)
    parts |= {"writer": SimpleNamespace(clear_remains=fail), "tasks": SimpleNamespace(make=fail)}
    return Actor(
        writer=parts["writer"],
        tasks=parts["tasks"],
        skypilot=cast(Any, SimpleNamespace()),
        store=store,
        kubernetes=parts["kubernetes"],
        questions=parts["questions"],
        slots=LaunchSlots(store, 1, lambda _: None),
        hurry=lambda: None,
        clock=lambda: b.NOW,
    )


@pytest.mark.parametrize("action", [Launch(R1), ClearRemains(R1, ("r1-on-cloud",))])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KubeRejectedError("exceeded quota: secrets", 422), Reason.KUBERNETES_REFUSED),
        (KubeDeniedError("serviceaccounts is forbidden", 403), Reason.KUBERNETES_REFUSED),
        (KubeUnavailableError("etcd is away", 503), Reason.KUBERNETES_UNAVAILABLE),
        (KubeConflictError("a Secret r1-ca exists", 409), Reason.NAME_CONFLICT),
    ],
)
async def test_what_kubernetes_keeps_from_being_sent_is_said_of_kubernetes(
    action: Action, error: Exception, reason: Reason
) -> None:
    result = await actor_that_meets(error).act(b.world(DSD), b.planned(DSD), R1, action)
    assert (result.kind, result.reason, result.error) == (ResultKind.FAILED, reason, str(error))


async def test_what_skypilot_keeps_from_being_sent_is_said_of_skypilot() -> None:
    error = SkyPilotUnavailableError("it does not answer")
    result = await actor_that_meets(error).act(b.world(DSD), b.planned(DSD), R1, Launch(R1))
    assert (result.kind, result.reason) == (ResultKind.FAILED, Reason.SKYPILOT_UNAVAILABLE)


async def test_a_launch_that_could_not_be_sent_gives_its_slot_back() -> None:
    actor = actor_that_meets(KubeDeniedError("forbidden", 403))
    for _ in range(2):
        result = await actor.act(b.world(DSD), b.planned(DSD), R1, Launch(R1))
        assert result.kind is ResultKind.FAILED  # not QUEUED: there is one slot


async def test_a_request_whose_pass_is_cancelled_counts_as_sent() -> None:
    async def make(*_: Any) -> Any:
        return SimpleNamespace(task={}, override_skypilot_config={})

    async def launch(*_: Any) -> str:
        await asyncio.sleep(0.1)
        return "request"

    actor = actor_that_meets(AssertionError())
    actor.tasks, actor.skypilot = cast(Any, SimpleNamespace(make=make)), cast(Any, SimpleNamespace(launch=launch))
    actor.questions = cast(Any, SimpleNamespace(forget=lambda _: None))
    passing = asyncio.create_task(actor.act(b.world(DSD), b.planned(DSD), R1, Launch(R1)))
    await asyncio.sleep(0.05)
    passing.cancel()
    assert (await passing).kind is ResultKind.UNANSWERED
    await actor.close()


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port at which connections are neither accepted nor refused, as those to a machine that is gone."""
    with contextlib.ExitStack() as sockets:
        listening = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listening.getsockname()
        for _ in range(3):  # as many as wait to be accepted, and more
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield address[1]


async def test_what_skypilot_does_not_even_accept_has_certainly_not_been_sent(deaf: int) -> None:
    actor = actor_that_meets(AssertionError())
    actor.questions = cast(Any, SimpleNamespace(forget=lambda _: None))
    async with SkyPilotClient(f"http://127.0.0.1:{deaf}", user_id="d5ee9000") as client:
        actor.skypilot = client
        result = await actor.act(b.world(DSD), b.planned(DSD), R1, TearDown(R1))
    assert result.kind is ResultKind.FAILED, result.error


@pytest.mark.parametrize(
    ("action", "kind"),
    [(Launch(R1), RequestKind.LAUNCH), (RunAgain(R1), RequestKind.EXEC), (TearDown(R1), RequestKind.DOWN)],
    ids=["launch", "restart", "teardown"],
)
async def test_what_was_refused_is_what_has_failed(action: Action, kind: RequestKind) -> None:
    """A launch that has failed has left no machines; of anything else that has failed nobody can say that."""

    async def make(*_: Any) -> Any:
        return SimpleNamespace(task={}, override_skypilot_config={})

    async def refuse(*_: Any) -> str:
        raise SkyPilotRejectedError("ValueError", "no")

    actor = actor_that_meets(AssertionError())
    actor.tasks = cast(Any, SimpleNamespace(make=make))
    actor.skypilot = cast(Any, SimpleNamespace(launch=refuse, exec=refuse, down=refuse))
    actor.questions = cast(Any, SimpleNamespace(forget=lambda _: None))
    told: list[RequestKind] = []

    def put(question: Question, answer: Fact[Any]) -> None:
        assert isinstance(answer, Known)
        told.append(answer.value.kind)

    actor.store.put_answer = put  # type: ignore[assignment,method-assign]
    await actor.act(b.world(DSD), b.planned(DSD), R1, action)
    assert told == [kind]
