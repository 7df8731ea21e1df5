"""Feed of Kubernetes: watch events are the cache, and a full list now and then heals what a watch has lost."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any, Final, Protocol

import structlog

from deepseek_operator.facts.store import Store, owner_uid
from deepseek_operator.kube import read
from deepseek_operator.kube.errors import KubeError

__all__ = ["KINDS", "KubernetesFeed"]

log = structlog.get_logger(__name__)

KINDS: Final = ("deployments", "pods", "services", "endpointslices")
"""In the order in which they are listed: a pod without its deployment would wake no one."""
RELIST_PERIOD_S: Final = 900.0
RETRY_S: Final = 2.0


class _Reader(Protocol):
    async def list_all(self, kind: str, namespaces: tuple[str, ...]) -> tuple[list[dict[str, Any]], str]: ...


class KubernetesFeed:
    """Puts objects of the API server into the store.

    Parameters
    ----------
    namespaces
        Namespaces that are served; empty for all.
    """

    def __init__(self, reader: _Reader, store: Store, namespaces: tuple[str, ...] = ()) -> None:
        self._reader, self._store, self._namespaces = reader, store, namespaces

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

    def event(self, kind: str, type_: str | None, body: Mapping[str, Any]) -> None:
        """Store what a watch event says. ``type_`` is None for objects of the initial list."""
        if type_ == "DELETED":
            self.drop(kind, body)
        else:
            self.put(kind, body)

    async def sync(self) -> None:
        """List everything once, for as long as that takes: no pass may run before Kubernetes has been seen."""
        for kind in KINDS:
            while not await self._list(kind):  # noqa: ASYNC110 - nothing announces that the API server is back
                await asyncio.sleep(RETRY_S)

    async def run(self) -> None:
        """List everything again now and then, until cancelled."""
        while True:
            await asyncio.sleep(RELIST_PERIOD_S * random.uniform(0.9, 1.1))
            for kind in KINDS:
                await self._list(kind)

    async def _list(self, kind: str) -> bool:
        try:
            bodies, version = await self._reader.list_all(kind, self._namespaces)
        except KubeError as error:
            log.warning("list_failed", kind=kind, error=str(error))
            return False
        for body in bodies:
            self.put(kind, body)
        self._store.put_listing(kind, bodies, version)
        return True

    @staticmethod
    def _read(kind: str, body: Mapping[str, Any], uid: str) -> Any:
        if kind == "pods":
            return read.read_pod(dict(body))
        if kind == "endpointslices":
            return read.read_endpoints(dict(body))
        return read.read_launched_service(dict(body)) or read.read_published_service(dict(body), uid)
