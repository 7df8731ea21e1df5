"""Feed of Kubernetes: an informer. Everything is listed once and watched from there; what a watch says is the cache.

A watch that breaks goes on from the last version that it has shown. Where the API server has forgotten that version,
and every 15 minutes in any case, everything of the kind is listed again: a list also shows what is gone.

Not kopf's watches: they make a task for each object that changes, which cost a fifth of the operator's CPU, and while a
thousand deployments came up, another one's creation waited for a minute to be handed over (docs/scale.md).
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Protocol

import structlog

from deepseek_operator.facts.store import Store, owner_uid
from deepseek_operator.kube import read
from deepseek_operator.kube.errors import KubeDeniedError, KubeError, KubeExpiredError, KubeUnavailableError

__all__ = ["KINDS", "KubernetesFeed"]

log = structlog.get_logger(__name__)

KINDS: Final = ("deployments", "pods", "services", "endpointslices")
"""In the order in which they are listed again: of a deployment that is gone no pod is missed."""
_OF_DEPLOYMENTS: Final = KINDS[1:]
"""What is listed before them at first: a deployment whose pods are not known would be one that has lost them."""
RELIST_PERIOD_S: Final = 900.0
RETRY_S: Final = 2.0
DENIED_RETRY_S: Final = 5.0
REOPEN_S: Final = 0.1


Versions = Mapping[tuple[str, str | None], str | None]
"""By kind and namespace: the resource version from which to watch; None where nothing could be listed."""


class _Reader(Protocol):
    def pages(self, kind: str, namespace: str | None) -> AsyncIterator[tuple[list[dict[str, Any]], str]]: ...
    def watch(self, kind: str, namespace: str | None, version: str) -> AsyncIterator[tuple[str, dict[str, Any]]]: ...


class KubernetesFeed:
    """Puts objects of the API server into the store.

    Parameters
    ----------
    namespaces
        Namespaces that are served; empty for all. Only then are namespaces themselves watched, which needs a right on
        the whole cluster.
    """

    def __init__(self, reader: _Reader, store: Store, namespaces: tuple[str, ...] = ()) -> None:
        self._reader, self._store = reader, store
        self._places: tuple[str | None, ...] = namespaces or (None,)
        first = () if namespaces else ("namespaces",)
        self._kinds = (*first, *_OF_DEPLOYMENTS, "deployments")
        self._unlisted: set[tuple[str, str | None]] = set()
        """What could not be listed at the last attempt, which was said once."""
        self._listed: set[tuple[str, str | None]] = set()
        self._lists = {(kind, namespace): asyncio.Lock() for kind in self._kinds for namespace in self._places}
        """One list of a kind after the other: an older one would bring back what a newer one has shown to be gone."""

    @property
    def complete(self) -> bool:
        """Whether the deployments of every namespace that is served have been seen."""
        return all(("deployments", namespace) in self._listed for namespace in self._places)

    def put(self, kind: str, body: Mapping[str, Any], *, wake: bool = True) -> None:
        """Store an object as the API server sent it, in an event, a list, or the answer to a write."""
        if kind == "deployments":
            self._store.put_deployment(body, wake=wake)
        elif kind == "namespaces":
            terminating = bool(body["metadata"].get("deletionTimestamp"))
            self._store.put_namespace(body["metadata"]["name"], terminating=terminating)
        elif uid := owner_uid(body):
            fact = self._read(kind, body, uid)
            if fact is not None:
                self._store.put_owned(kind, uid, body, fact, wake=wake)

    def drop(self, kind: str, body: Mapping[str, Any], *, wake: bool = True) -> None:
        """Forget an object that is gone."""
        metadata = body["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        if kind == "deployments":
            self._store.drop_deployment((namespace, name), metadata.get("uid", ""))
        elif kind == "namespaces":
            self._store.put_namespace(name, terminating=False)
        elif not self._store.knows_newer(kind, body):  # else a list, or an answer to us, was faster than the watch
            self._store.drop_owned(kind, owner_uid(body), namespace, name, wake=wake)
        if kind != "namespaces":
            self._store.put_gone(kind, body)

    async def sync(self) -> Versions:
        """List everything, for as long as that takes: no pass may run before Kubernetes has been seen.

        Of several namespaces, one that the operator may not read, or that is gone, does not hold up the others. None of
        its deployments is known before everything of it is.

        Returns
        -------
        dict
            By kind and namespace, the version from which it is to be watched; None for what could not be read.
        """
        versions: dict[tuple[str, str | None], str | None] = {}
        listed = self._list_if_allowed if len(self._places) > 1 else self._list_until_it_works
        for kind in self._kinds:
            for namespace in self._places:
                versions[kind, namespace] = await listed(kind, namespace)
        return versions

    async def watch(self, versions: Versions) -> None:
        """Follow every change after ``versions``, and list everything again now and then, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._relist())
            for (kind, namespace), version in versions.items():
                group.create_task(self._follow(kind, namespace, version))

    async def _relist(self) -> None:
        while True:
            await asyncio.sleep(RELIST_PERIOD_S * random.uniform(0.9, 1.1))
            for kind in KINDS:
                for namespace in self._places:
                    if (kind, namespace) in self._listed:  # else whoever is to follow it tries every few seconds
                        with contextlib.suppress(KubeError):
                            await self._list(kind, namespace)

    async def _follow(self, kind: str, namespace: str | None, version: str | None) -> None:
        loop, broken, listed_at = asyncio.get_running_loop(), False, float("-inf")
        while True:
            if not version:
                version, listed_at = await self._list_until_it_works(kind, namespace), loop.time()
            seen = version
            try:
                async for type_, body in self._reader.watch(kind, namespace, seen):
                    version, broken = str(body["metadata"]["resourceVersion"]), False
                    if type_ != "BOOKMARK":
                        self._event(kind, type_, body)
                await asyncio.sleep(REOPEN_S)  # a server that ends every watch at once must not be hammered
            except KubeExpiredError:
                version = None
                # A server that forgets even what it has just listed must not be asked for one list after the other.
                await asyncio.sleep(max(0.0, listed_at + RETRY_S - loop.time()))
            except KubeError as error:
                if not broken:
                    log.warning("watch_broken", kind=kind, namespace=namespace, error=str(error))
                broken = True
                await asyncio.sleep(RETRY_S * random.uniform(0.5, 1.5))
            except Exception:
                # It must not end the watches of all other kinds, and with them every pass.
                if not broken:
                    log.exception("watch_not_understood", kind=kind, namespace=namespace)
                version, broken = None, True  # a list shows what comes of it
                await asyncio.sleep(RETRY_S * random.uniform(0.5, 1.5))

    def _event(self, kind: str, type_: str, body: Mapping[str, Any]) -> None:
        try:
            if type_ == "DELETED":
                self.drop(kind, body)
            else:
                self.put(kind, body)
        except Exception:
            # One object that nobody foresaw must not keep all others from being seen.
            log.exception("object_not_understood", kind=kind, name=body["metadata"].get("name"))

    async def _list_until_it_works(self, kind: str, namespace: str | None) -> str:
        while (version := await self._list_if_allowed(kind, namespace)) is None:  # noqa: ASYNC110 - nobody says when
            await asyncio.sleep(DENIED_RETRY_S)
        return version

    async def _list_if_allowed(self, kind: str, namespace: str | None) -> str | None:
        """Return the version of the list; None where the operator lacks the right to read it, or what belongs to it."""
        if kind == "deployments" and any((other, namespace) not in self._listed for other in _OF_DEPLOYMENTS):
            return None
        while True:
            try:
                return await self._list(kind, namespace)
            except KubeDeniedError:
                return None
            except KubeError:
                await asyncio.sleep(RETRY_S)

    async def _list(self, kind: str, namespace: str | None) -> str:
        """List a kind, and return the version of the list.

        Raises
        ------
        KubeError
            If it could not be had whole. What came of it is stored, and nothing is taken for gone.
        """
        async with self._lists[kind, namespace]:
            return await self._list_alone(kind, namespace)

    async def _list_alone(self, kind: str, namespace: str | None) -> str:
        present: set[tuple[str, str]] = set()
        version = ""
        try:
            async for bodies, version in self._reader.pages(kind, namespace):  # noqa: B007 - that of the last page counts
                for body in bodies:
                    present.add((body["metadata"].get("namespace", ""), body["metadata"]["name"]))
                    self._event(kind, "LISTED", body)
        except KubeError as error:
            if (kind, namespace) not in self._unlisted:
                log.warning("list_failed", kind=kind, namespace=namespace, error=str(error))
            self._unlisted.add((kind, namespace))
            raise
        except Exception as error:
            # One in a form that nobody foresaw must not end the lists and watches of all other kinds.
            if (kind, namespace) not in self._unlisted:
                log.exception("list_not_understood", kind=kind, namespace=namespace)
            self._unlisted.add((kind, namespace))
            raise KubeUnavailableError(f"the list of {kind} could not be understood") from error
        if (kind, namespace) in self._unlisted:
            log.info("listed_again", kind=kind, namespace=namespace)
            self._unlisted.discard((kind, namespace))
        self._listed.add((kind, namespace))
        self._store.put_listing(kind, present, version, namespace)
        return version

    @staticmethod
    def _read(kind: str, body: Mapping[str, Any], uid: str) -> Any:
        if kind == "pods":
            return read.read_proxy(dict(body)) or read.read_pod(dict(body))
        if kind == "endpointslices":
            return read.read_endpoints(dict(body))
        return read.read_launched_service(dict(body)) or read.read_published_service(dict(body), uid)
