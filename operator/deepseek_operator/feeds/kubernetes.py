"""Feed of Kubernetes: an informer. Everything is listed once and watched from there; what a watch says is the cache.

A watch that breaks goes on from the last version that it has shown. Where the API server has forgotten that version,
and every 15 minutes in any case, everything of the kind is listed again: a list also shows what is gone.

Not kopf's watches: they make a task for each object that changes, which cost a fifth of the operator's CPU, and while a
thousand deployments came up, another one's creation waited for a minute to be handed over (docs/scale.md).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Protocol

import structlog

from deepseek_operator.facts.store import Store, owner_uid
from deepseek_operator.kube import read
from deepseek_operator.kube.errors import KubeError, KubeExpiredError

__all__ = ["KINDS", "KubernetesFeed"]

log = structlog.get_logger(__name__)

KINDS: Final = ("deployments", "pods", "services", "endpointslices")
"""In the order in which they are listed: a pod without its deployment would wake no one."""
RELIST_PERIOD_S: Final = 900.0
RETRY_S: Final = 2.0
REOPEN_S: Final = 0.1


class _Reader(Protocol):
    def pages(self, kind: str, namespaces: tuple[str, ...]) -> AsyncIterator[tuple[list[dict[str, Any]], str]]: ...
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
        self._reader, self._store, self._namespaces = reader, store, namespaces
        self._kinds = KINDS if namespaces else ("namespaces", *KINDS)

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
        else:
            self._store.drop_owned(kind, owner_uid(body), namespace, name, wake=wake)

    async def sync(self) -> dict[str, str]:
        """List everything, for as long as that takes: no pass may run before Kubernetes has been seen.

        Returns
        -------
        dict
            By kind, the version from which it is to be watched.
        """
        return {kind: await self._list_until_it_works(kind) for kind in self._kinds}

    async def watch(self, versions: Mapping[str, str]) -> None:
        """Follow every change after ``versions``, and list everything again now and then, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._relist())
            for kind in self._kinds:
                for namespace in self._namespaces or (None,):
                    group.create_task(self._follow(kind, namespace, versions[kind]))

    async def _relist(self) -> None:
        while True:
            await asyncio.sleep(RELIST_PERIOD_S * random.uniform(0.9, 1.1))
            for kind in KINDS:
                await self._list(kind)

    async def _follow(self, kind: str, namespace: str | None, version: str) -> None:
        broken = False
        while True:
            try:
                async for type_, body in self._reader.watch(kind, namespace, version):
                    version, broken = str(body["metadata"]["resourceVersion"]), False
                    if type_ != "BOOKMARK":
                        self._event(kind, type_, body)
                await asyncio.sleep(REOPEN_S)  # a server that ends every watch at once must not be hammered
            except KubeExpiredError:
                version = await self._list_until_it_works(kind)
            except KubeError as error:
                if not broken:
                    log.warning("watch_broken", kind=kind, namespace=namespace, error=str(error))
                broken = True
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

    async def _list_until_it_works(self, kind: str) -> str:
        while (version := await self._list(kind)) is None:  # noqa: ASYNC110 - nothing announces that the API server is back
            await asyncio.sleep(RETRY_S)
        return version

    async def _list(self, kind: str) -> str | None:
        """List a kind and return the version of the list; None if it could not be had."""
        present: set[tuple[str, str]] = set()
        versions: list[str] = []
        try:
            async for bodies, version in self._reader.pages(kind, self._namespaces):
                versions.append(version)
                for body in bodies:
                    present.add((body["metadata"].get("namespace", ""), body["metadata"]["name"]))
                    self._event(kind, "LISTED", body)
        except KubeError as error:
            log.warning("list_failed", kind=kind, error=str(error))
            return None
        oldest = min(versions, key=lambda text: int(text) if text.isdigit() else 0)
        self._store.put_listing(kind, present, oldest)
        return oldest

    @staticmethod
    def _read(kind: str, body: Mapping[str, Any], uid: str) -> Any:
        if kind == "pods":
            return read.read_proxy(dict(body)) or read.read_pod(dict(body))
        if kind == "endpointslices":
            return read.read_endpoints(dict(body))
        return read.read_launched_service(dict(body)) or read.read_published_service(dict(body), uid)
