"""The informer: what is listed and watched ends up in the store, however watches end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from deepseek_operator.api.names import GROUP
from deepseek_operator.api.v1alpha1 import LABEL_UID
from deepseek_operator.facts.store import Store
from deepseek_operator.facts.world import World
from deepseek_operator.feeds import kubernetes as module
from deepseek_operator.feeds.kubernetes import KubernetesFeed
from deepseek_operator.kube.errors import KubeDeniedError, KubeExpiredError, KubeUnavailableError
from deepseek_operator.kube.resources import MANAGED_BY
from tests.simulation.clock import run_virtually

KEY = ("serving", "r1")
Body = dict[str, Any]


def deployment(version: int, name: str = "r1", **metadata: Any) -> Body:
    head = {
        "name": name,
        "namespace": "serving",
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "generation": 1,
    }
    return {"metadata": head | metadata, "spec": {"model": {"name": "deepseek-ai/DeepSeek-R1"}}}


class Server:
    """Lists what it is given, and ends each watch as its script says."""

    def __init__(self) -> None:
        self.lists: dict[str, tuple[list[Body], str]] = {}
        self.scripts: dict[str, list[list[tuple[str, Body] | Exception]]] = {}
        self.watched: list[tuple[str, str | None, str]] = []
        self.listed: list[str] = []
        self.list_errors: list[Exception] = []
        self.denied: set[str | None] = set()
        self.denied_kind = ""

    async def pages(self, kind: str, namespace: str | None) -> AsyncIterator[tuple[list[Body], str]]:
        self.listed.append(kind)
        if namespace in self.denied and self.denied_kind in ("", kind):
            raise KubeDeniedError(f"may not list {kind} in {namespace}")
        if self.list_errors:
            raise self.list_errors.pop()
        bodies, version = self.lists.get(kind, ([], "1"))
        for body in bodies:
            if namespace in (None, body["metadata"].get("namespace")):
                yield [body], version
        yield [], version

    async def watch(self, kind: str, namespace: str | None, version: str) -> AsyncIterator[tuple[str, Body]]:
        self.watched.append((kind, namespace, version))
        if not self.scripts.get(kind):
            await asyncio.get_running_loop().create_future()
        for step in self.scripts[kind].pop(0):
            if isinstance(step, Exception):
                raise step
            yield step

    def versions(self, kind: str) -> list[str]:
        """Return the versions from which a kind was watched."""
        return [version for watched, _, version in self.watched if watched == kind]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    monkeypatch.setattr(module, "DENIED_RETRY_S", 0.0)
    monkeypatch.setattr(module, "REOPEN_S", 0.0)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def store() -> Store:
    return Store(lambda key: None)


@asynccontextmanager
async def informed(server: Server, store: Store, *namespaces: str) -> AsyncIterator[KubernetesFeed]:
    """Run a feed, and let it do all that it can before anything arrives."""
    feed = KubernetesFeed(server, store, namespaces)
    task = asyncio.create_task(feed.watch(await feed.sync()))
    for _ in range(50):
        await asyncio.sleep(0)
    yield feed
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_each_kind_is_watched_from_the_version_of_its_list(server: Server, store: Store) -> None:
    server.lists = {"deployments": ([deployment(5)], "7"), "pods": ([], "9")}
    async with informed(server, store):
        assert server.versions("deployments") == ["7"]
        assert server.versions("pods") == ["9"]
        assert store.all_keys() == (KEY,)


async def test_a_watch_that_ends_goes_on_from_the_last_version_it_has_shown(server: Server, store: Store) -> None:
    bookmark = {"metadata": {"resourceVersion": "31"}}
    server.scripts["deployments"] = [[("ADDED", deployment(12))], [("BOOKMARK", bookmark)]]
    async with informed(server, store):
        assert server.versions("deployments") == ["1", "12", "31"]
        assert server.listed.count("deployments") == 1


async def test_a_watch_that_breaks_goes_on_from_the_last_version_it_has_shown(server: Server, store: Store) -> None:
    server.scripts["deployments"] = [[("ADDED", deployment(12)), KubeUnavailableError("reset")]]
    async with informed(server, store):
        assert server.versions("deployments") == ["1", "12"]
        assert store.all_keys() == (KEY,)


async def test_a_version_that_the_server_has_forgotten_leads_to_a_new_list_which_shows_what_is_gone(
    server: Server, store: Store
) -> None:
    server.lists["deployments"] = ([deployment(5), deployment(6, "r2")], "7")
    server.scripts["deployments"] = [[]]
    async with informed(server, store):
        server.lists["deployments"] = ([deployment(6, "r2")], "40")
        server.scripts["deployments"] = [[KubeExpiredError("too old")]]
        async with informed(server, store):
            pass
        assert store.all_keys() == (("serving", "r2"),)
        assert server.versions("deployments")[-1] == "40"


def test_a_server_that_forgets_every_version_at_once_is_not_asked_for_one_list_after_the_other(
    server: Server, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 2.0)
    server.scripts["pods"] = [[KubeExpiredError("too old")] for _ in range(500)]

    async def story() -> None:
        feed = KubernetesFeed(server, store)
        task = asyncio.create_task(feed.watch(await feed.sync()))
        await asyncio.sleep(60)
        task.cancel()

    run_virtually(story())
    assert 20 < server.listed.count("pods") < 70


async def test_a_list_in_a_form_that_nobody_foresaw_is_asked_for_again_and_ends_no_watch(
    server: Server, store: Store
) -> None:
    server.list_errors = [KeyError("items"), KeyError("items")]
    server.scripts["deployments"] = [[("ADDED", deployment(12))]]
    with capture_logs() as lines:
        async with informed(server, store):
            assert store.all_keys() == (KEY,)
    assert [line["event"] for line in lines] == ["list_not_understood", "listed_again"]


async def test_a_watch_that_breaks_in_a_way_that_nobody_foresaw_is_opened_again_and_ends_no_other(
    server: Server, store: Store
) -> None:
    server.scripts["pods"] = [[KeyError("type")], [("BOOKMARK", {"metadata": {"resourceVersion": "9"}})]]
    server.scripts["deployments"] = [[("ADDED", deployment(12))]]
    with capture_logs() as lines:
        async with informed(server, store):
            assert server.versions("pods") == ["1", "1", "9"]
            assert store.all_keys() == (KEY,)
    assert [line["event"] for line in lines if line["kind"] == "pods"] == ["watch_not_understood"]


async def test_no_watch_starts_before_everything_was_listed(server: Server, store: Store) -> None:
    server.list_errors = [KubeUnavailableError("away"), KubeUnavailableError("away")]
    async with informed(server, store):
        assert server.listed[:3] == ["namespaces"] * 3
        assert server.watched[0][0] == "namespaces"


async def test_an_object_that_cannot_be_understood_does_not_hide_the_next_one(server: Server, store: Store) -> None:
    strange: Body = {"metadata": {"resourceVersion": "11", "name": "odd", "labels": 7}}
    server.scripts["pods"] = [[("ADDED", strange)]]
    server.scripts["deployments"] = [[("ADDED", {"metadata": {"resourceVersion": "11"}}), ("ADDED", deployment(12))]]
    async with informed(server, store):
        assert store.all_keys() == (KEY,)
        assert server.versions("pods") == ["1", "11"]


async def test_what_is_deleted_is_forgotten(server: Server, store: Store) -> None:
    server.lists["deployments"] = ([deployment(5)], "7")
    server.scripts["deployments"] = [[("DELETED", deployment(8))]]
    async with informed(server, store):
        assert store.all_keys() == ()


async def test_an_operator_of_some_namespaces_watches_each_of_them_and_no_namespace_itself(
    server: Server, store: Store
) -> None:
    async with informed(server, store, "a", "b"):
        assert {namespace for _, namespace, _ in server.watched} == {"a", "b"}
        assert "namespaces" not in server.listed


async def test_a_namespace_that_is_gone_when_it_is_listed_again_is_not_terminating_any_more(
    server: Server, store: Store
) -> None:
    terminating = {"metadata": {"name": "serving", "resourceVersion": "3", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    server.lists = {"namespaces": ([terminating], "4"), "deployments": ([deployment(5)], "7")}
    async with informed(server, store):
        assert _terminating(store)
        server.lists["namespaces"] = ([], "9")
        server.scripts["namespaces"] = [[KubeExpiredError("too old")]]
        async with informed(server, store):
            assert not _terminating(store)


async def test_a_namespace_that_must_not_be_read_does_not_hold_up_the_others(server: Server, store: Store) -> None:
    server.denied = {"gone"}
    server.scripts["deployments"] = [[("ADDED", deployment(12))]]
    async with informed(server, store, "serving", "gone"):
        assert store.all_keys() == (KEY,)
        assert {namespace for _, namespace, _ in server.watched} == {"serving"}
        server.denied = set()
        for _ in range(50):
            await asyncio.sleep(0)
        assert {namespace for _, namespace, _ in server.watched} == {"serving", "gone"}


@pytest.mark.parametrize("kind", ["pods", "services", "endpointslices"])
async def test_no_deployment_is_known_before_everything_of_its_namespace_is(
    server: Server, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Without its pods it would be one that has lost them: out of its Service at once, and torn down."""
    monkeypatch.setattr(module, "RELIST_PERIOD_S", 0.0)
    server.lists["deployments"] = ([deployment(5)], "7")
    server.denied, server.denied_kind = {"serving"}, kind
    async with informed(server, store, "serving", "other") as feed:
        assert (store.all_keys(), feed.complete) == ((), False)
        server.denied = set()
        for _ in range(50):
            await asyncio.sleep(0)
        assert (store.all_keys(), feed.complete) == ((KEY,), True)


async def test_not_all_deployments_are_known_while_those_of_a_namespace_must_not_be_read(
    server: Server, store: Store
) -> None:
    server.denied = {"gone"}
    async with informed(server, store, "serving", "gone") as feed:
        assert not feed.complete
        server.denied = set()
        for _ in range(50):
            await asyncio.sleep(0)
        assert feed.complete


async def test_what_cannot_be_listed_is_said_once_and_so_is_that_it_can_again(server: Server, store: Store) -> None:
    def attempts() -> int:
        return server.listed.count("pods")

    server.denied = {"gone"}
    with capture_logs() as lines:
        async with informed(server, store, "serving", "gone"):
            assert attempts() > 5
            server.denied = set()
            for _ in range(50):
                await asyncio.sleep(0)
    told = [(line["event"], line["namespace"]) for line in lines if line["kind"] == "pods"]
    assert told == [("list_failed", "gone"), ("listed_again", "gone")]


async def test_where_nothing_may_be_read_nothing_is_believed_to_be_seen(server: Server, store: Store) -> None:
    server.denied = {None}
    feed = KubernetesFeed(server, store)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(feed.sync(), 0.05)


async def test_a_list_that_was_under_way_does_not_bring_back_what_was_deleted(server: Server, store: Store) -> None:
    async with informed(server, store) as feed:
        feed.put("deployments", deployment(5))
        feed.drop("deployments", deployment(9))
        feed.put("deployments", deployment(5))
        assert store.all_keys() == ()
        feed.put("deployments", deployment(11, uid="another"))
        assert store.all_keys() == (KEY,)


class _Slow(Server):
    """A server whose answer to the second list of pods is long on its way, and whose watches can expire."""

    def __init__(self) -> None:
        super().__init__()
        self.expired = asyncio.Event()

    async def pages(self, kind: str, namespace: str | None) -> AsyncIterator[tuple[list[Body], str]]:
        second = kind == "pods" and self.listed.count("pods") == 1
        pages = [page async for page in super().pages(kind, namespace)]
        await asyncio.sleep(30 if second else 0)
        for page in pages:
            yield page

    async def watch(self, kind: str, namespace: str | None, version: str) -> AsyncIterator[tuple[str, Body]]:
        if kind == "pods" and not self.expired.is_set():
            await self.expired.wait()
            yield "DELETED", _pod(8, "10.0.0.6")
            raise KubeExpiredError("too old")
        async for event in super().watch(kind, namespace, version):
            yield event


def test_of_two_lists_of_a_kind_the_older_one_brings_nothing_back(store: Store) -> None:
    """A watch expires while everything is listed again. What the older list still shows has just been deleted."""

    async def story() -> None:
        server = _Slow()
        server.lists = {"deployments": ([deployment(5)], "7"), "pods": ([_pod(6, "10.0.0.6")], "7")}
        feed = KubernetesFeed(server, store)
        task = asyncio.create_task(feed.watch(await feed.sync()))
        while server.listed.count("pods") < 2:
            assert _pod_ips(store) == ["10.0.0.6"]
            await asyncio.sleep(1)
        server.lists["pods"] = ([], "9")
        server.expired.set()
        await asyncio.sleep(120)
        assert _pod_ips(store) == []
        task.cancel()

    run_virtually(story())


async def test_the_late_deletion_of_a_pod_does_not_take_away_the_next_one_of_its_name(
    server: Server, store: Store
) -> None:
    async with informed(server, store) as feed:
        feed.put("deployments", deployment(5))
        feed.put("pods", _pod(6, "10.0.0.6"))
        feed.put("pods", _pod(20, "10.0.0.20"))  # shown by a list; the watch is still behind
        feed.drop("pods", _pod(15, "10.0.0.6"))
        assert _pod_ips(store) == ["10.0.0.20"]
        feed.drop("pods", _pod(25, "10.0.0.20"))
        assert _pod_ips(store) == []


async def test_the_late_event_of_a_slice_does_not_bring_it_back_after_we_have_deleted_it(
    server: Server, store: Store
) -> None:
    async with informed(server, store) as feed:
        feed.put("deployments", deployment(5))
        feed.put("endpointslices", _slice(8), wake=False)
        store.drop_owned("endpointslices", "uid-r1", "serving", "r1-8000", wake=False)
        feed.put("endpointslices", _slice(8))
        assert _world(store).endpoints == ()
        feed.put("endpointslices", _slice(12), wake=False)  # made again; the deletion before that is still to come
        feed.drop("endpointslices", _slice(10))
        assert [one.name for one in _world(store).endpoints] == ["r1-8000"]


def _pod(version: int, ip: str) -> Body:
    labels = {LABEL_UID: "uid-r1", "skypilot-cluster-name": "r1-uidr1-0badbeef-0-d5ee9000", "skypilot-head-node": "1"}
    metadata = {"name": "head", "namespace": "serving", "resourceVersion": str(version), "labels": labels}
    return {"metadata": metadata, "status": {"phase": "Running", "podIP": ip}}


def _slice(version: int) -> Body:
    labels = {LABEL_UID: "uid-r1", MANAGED_BY: GROUP}
    metadata = {"name": "r1-8000", "namespace": "serving", "resourceVersion": str(version), "labels": labels}
    return {"metadata": metadata, "endpoints": [{"addresses": ["10.0.0.6"]}], "ports": [{"name": "http", "port": 8000}]}


def _pod_ips(store: Store) -> list[str | None]:
    return [pod.ip for pod in store._owned.of(("serving", "uid-r1")).pods.values()]


def _world(store: Store) -> World:
    world = store.world(KEY, datetime(2026, 1, 1, tzinfo=UTC))
    assert world is not None
    return world


def _terminating(store: Store) -> bool:
    return _world(store).namespace_terminating
