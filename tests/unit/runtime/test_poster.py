"""Events are posted beside the passes."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

import pytest

from deepseek_operator.api.v1alpha1 import DeepSeekDeployment, Metadata
from deepseek_operator.kube.errors import (
    KubeConflictError,
    KubeDeniedError,
    KubeError,
    KubeNotFoundError,
    KubeUnavailableError,
)
from deepseek_operator.reconcile.events import EventNote
from deepseek_operator.runtime import poster
from deepseek_operator.runtime.poster import LIFE_S, PATIENCE_S, EventPoster
from tests.simulation.clock import VirtualLoop, run_virtually
from tests.unit.reconcile import builders as b

DEPLOYMENT = DeepSeekDeployment.model_validate(
    {"metadata": {"name": "r1", "namespace": "serving", "uid": b.UID, "resourceVersion": "1"}, "spec": b.CPU_SPEC}
)


class Server:
    """Takes Events, or answers with errors."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, datetime]] = []
        self.errors: list[Exception] = []
        self.asked = 0

    async def post_event(self, of: Metadata, type_: str, reason: str, message: str, now: datetime) -> None:
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.errors:
            raise self.errors.pop(0)
        self.posted.append((reason, now))


class Scene:
    """A poster that runs on a virtual clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop, self.server, self.busy = loop, Server(), False
        self.poster = EventPoster(self.server, lambda: self.busy, self.now)
        self.task = asyncio.ensure_future(self.poster.run(), loop=loop)

    def now(self) -> datetime:
        return b.NOW + timedelta(seconds=self.loop.time())

    def post(self, *reasons: str) -> None:
        for reason in reasons:
            self.poster.post(DEPLOYMENT, EventNote("Normal", reason, "words"))

    @property
    def reasons(self) -> list[str]:
        return [reason for reason, _ in self.server.posted]


def played(story: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine function that takes a scene."""
    loop = VirtualLoop()

    async def run() -> None:
        await story(Scene(loop))

    run_virtually(run(), loop)


def test_events_come_in_the_order_in_which_they_were_noted() -> None:
    async def story(scene: Scene) -> None:
        scene.post("First", "Second", "Third")
        await asyncio.sleep(1)
        assert scene.reasons == ["First", "Second", "Third"]

    played(story)


def test_while_passes_wait_events_do_and_keep_the_time_of_what_they_tell() -> None:
    async def story(scene: Scene) -> None:
        scene.busy, noted = True, scene.now()
        scene.post("First")
        await asyncio.sleep(PATIENCE_S / 2)
        assert scene.reasons == []
        scene.busy = False
        await asyncio.sleep(1)
        assert scene.server.posted == [("First", noted)]

    played(story)


def test_a_storm_that_does_not_end_holds_an_event_up_for_a_minute_at_most() -> None:
    async def story(scene: Scene) -> None:
        scene.busy = True
        scene.post("First")
        await asyncio.sleep(PATIENCE_S + 1)
        assert scene.reasons == ["First"]

    played(story)


def test_an_event_waits_for_an_api_server_that_is_away() -> None:
    async def story(scene: Scene) -> None:
        scene.server.errors = [KubeUnavailableError("away")] * 20
        scene.post("First", "Second")
        await asyncio.sleep(60)
        assert scene.reasons == ["First", "Second"]

    played(story)


def test_an_event_that_is_not_taken_now_holds_up_no_other() -> None:
    async def story(scene: Scene) -> None:
        scene.server.errors = [KubeUnavailableError("a webhook of its namespace does not answer")]
        scene.post("First", "Second")
        await asyncio.sleep(60)
        assert scene.reasons == ["Second", "First"]

    played(story)


def test_an_event_that_the_api_server_never_takes_is_given_up() -> None:
    async def story(scene: Scene) -> None:
        scene.server.errors = [KubeUnavailableError("away")] * 1000
        scene.post("First")
        await asyncio.sleep(LIFE_S + 5)
        asked = scene.server.asked
        await asyncio.sleep(60)
        assert scene.server.asked == asked
        assert scene.reasons == []

    played(story)


@pytest.mark.parametrize("error", [KubeConflictError("exists"), KubeNotFoundError("gone"), KubeDeniedError("no")])
def test_an_event_that_is_refused_is_not_sent_again_and_holds_up_no_other(error: KubeError) -> None:
    async def story(scene: Scene) -> None:
        scene.server.errors = [error]
        scene.post("First", "Second")
        await asyncio.sleep(60)
        assert scene.reasons == ["Second"]
        assert scene.server.asked == 2

    played(story)


def test_an_event_that_cannot_be_made_ends_nothing_and_holds_up_no_other() -> None:
    async def story(scene: Scene) -> None:
        scene.server.errors = [UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed")]
        scene.post("First", "Second")
        await asyncio.sleep(60)
        assert scene.reasons == ["Second"]
        assert not scene.task.done()

    played(story)


def test_the_oldest_go_where_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poster, "MOST", 3)

    async def story(scene: Scene) -> None:
        scene.busy = True
        scene.post("Oldest", "Other", "Another", "Newest")
        scene.busy = False
        await asyncio.sleep(1)
        assert scene.reasons == ["Other", "Another", "Newest"]

    played(story)


def test_an_operator_that_ends_posts_what_is_left() -> None:
    async def story(scene: Scene) -> None:
        scene.busy = True
        scene.post("First", "Second")
        await asyncio.sleep(1)
        scene.task.cancel()
        await scene.poster.close()
        assert scene.reasons == ["First", "Second"]

    played(story)


def test_an_operator_that_ends_does_not_wait_for_an_api_server_that_is_away() -> None:
    async def story(scene: Scene) -> None:
        scene.busy = True
        scene.post("First")
        scene.task.cancel()
        scene.server.errors = [KubeUnavailableError("away")] * 1000
        before = scene.loop.time()
        await scene.poster.close()
        assert scene.loop.time() - before < 3
        assert scene.reasons == []

    played(story)
