"""What each kind of request does, and the few workers that do it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from tests.fakes.launches import EVERY, Fault, any_belongs, belongs, read
from tests.fakes.nodes import Wanted
from tests.fakes.payloads import Cluster, Failed, Request

if TYPE_CHECKING:
    from tests.fakes.skypilot import FakeSkyPilot

__all__ = ["Work"]

_CLOUDS: Final = frozenset({"kubernetes", "aws", "gcp", "azure"})
"""Clouds that it knows."""


class Work:
    """The work behind the server's endpoints."""

    def __init__(self, server: "FakeSkyPilot") -> None:
        self._server = server
        self.of: dict[str, tuple[tuple[str, ...], Callable[[Request, dict[str, Any]], Awaitable[Any]]]] = {
            "/status": ((), self._status),
            "/launch": (("task", "cluster_name"), self._launch),
            "/exec": (("task", "cluster_name"), self._exec),
            "/down": (("cluster_name",), self._down),
            "/api/cancel": (("request_ids",), self._cancel),
            "/job_status": (("cluster_name",), self._job_status),
            "/endpoints": (("cluster",), self._endpoints),
            "/cost_report": ((), self._cost_report),
            "/check": ((), self._check),
            "/list_accelerators": ((), self._list_accelerators),
        }
        """By path: the fields that its body must have, and what is done."""

    async def enabled(self) -> list[str]:
        """Return the clouds for which there are credentials."""
        return sorted(self._server.clouds)

    async def _status(self, _: Request, __: dict[str, Any]) -> list[dict[str, Any]]:
        return [cluster.row() for cluster in self._server.clusters.values()]

    async def _job_status(self, _: Request, body: dict[str, Any]) -> dict[str, str | None]:
        cluster = self._known(body["cluster_name"])
        if cluster.status != "UP":
            raise Failed(
                "ClusterNotUpError", f"Getting job status: skipped for cluster '{cluster.name}' (status: INIT)."
            )
        return {str(max(cluster.jobs)): cluster.jobs[max(cluster.jobs)]} if cluster.jobs else {"null": None}

    async def _endpoints(self, _: Request, body: dict[str, Any]) -> dict[str, str]:
        cluster = self._server.clusters.get(body["cluster"])
        if cluster is None or cluster.status != "UP":
            raise Failed("ClusterNotUpError", f"Cluster '{body['cluster']}' not found.")
        return {str(body["port"]): f"{cluster.address[0]}:{body['port']}"} if cluster.address else {}

    async def _cost_report(self, _: Request, __: dict[str, Any]) -> list[dict[str, Any]]:
        living = [{"name": cluster.name, "status": cluster.status} for cluster in self._server.clusters.values()]
        gone = [{"name": n, "status": None, "usage_intervals": [[at - 60, at]]} for n, at in self._server.terminated]
        return living + gone

    async def _list_accelerators(self, _: Request, body: dict[str, Any]) -> dict[str, list[list[Any]]]:
        found: dict[str, list[list[Any]]] = {}
        for cloud in body["clouds"]:
            if cloud not in self._server.offers:
                raise Failed("ConnectionError", f"Failed to fetch the catalog {cloud}/vms.csv")
            for row in self._server.offers[cloud]:
                found.setdefault(row[2], []).append(row)
        return found

    async def _check(self, request: Request, body: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
        if unknown := [cloud for cloud in body.get("clouds") or () if cloud not in _CLOUDS]:
            raise Failed("ValueError", f"Cloud {unknown[0]!r} is not a valid cloud among {sorted(_CLOUDS)}")
        missing = [cloud for cloud in body.get("clouds") or () if cloud not in self._server.clouds]
        request.log = "".join(
            f"  {cloud}: disabled\n    Reason [compute]: credentials are not set.\n" for cloud in missing
        )
        found = [cloud for cloud in body.get("clouds") or () if cloud in self._server.clouds]
        return {"default": {cloud.upper(): ["compute", "storage"] for cloud in found}}

    async def _launch(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        await self._worker(request)
        wanted, port = read(body)
        cluster = self._server.clusters.get(wanted.cluster)
        if cluster is None or cluster.status != "UP":
            cluster = await self._provision(wanted, port, request)
        await self._run_job(cluster)
        return {"job_id": max(cluster.jobs), "handle": None}

    async def _provision(self, wanted: Wanted, port: int, request: Request) -> Cluster:
        fault = self._next_fault(wanted.cluster)
        cluster = self._server.clusters.setdefault(wanted.cluster, Cluster(wanted))
        self._server.populations.append(frozenset(self._server.clusters))
        cluster.say("Provisioning on kubernetes in in-cluster")
        if self._server.pods is not None:
            await self._server.pods.create(wanted)
        if self._server.pods is not None and any_belongs(wanted.cluster, self._server.unschedulable):
            await self._server.pods.find_no_node(wanted)
        while any_belongs(wanted.cluster, self._server.unschedulable):
            await asyncio.sleep(0.05)
        await asyncio.sleep(self._server.launch_seconds)
        while EVERY in self._server.held or any_belongs(wanted.cluster, self._server.held):
            await asyncio.sleep(0.05)
        if fault is not None and not fault.keeps_nodes:
            await self._remove(cluster)
        elif self._server.pods is not None:
            cluster.address = (await self._server.pods.run(wanted), port)
        if fault is not None:
            request.log = fault.log
            raise Failed(fault.error_type, fault.message)
        cluster.status = "UP"
        cluster.say("All nodes up; SkyPilot runtime healthy.")
        return cluster

    async def _exec(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        await self._worker(request)
        cluster = self._known(body["cluster_name"])
        await self._run_job(cluster)
        return {"job_id": max(cluster.jobs), "handle": None}

    async def _run_job(self, cluster: Cluster) -> None:
        """Start the engine; behind one that runs it waits for ever, as the machines are taken."""
        if "RUNNING" in cluster.jobs.values():
            cluster.add_job("PENDING")
            return
        cluster.add_job("RUNNING")
        crash = next((crash for of, crash in self._server.crashes.items() if belongs(cluster.name, of)), None)
        if crash is not None:
            cluster.end_job(crash.status, crash.log)
        elif cluster.address is not None and not any_belongs(cluster.name, self._server.slow_engines):
            await self._server.engines.start(*cluster.address)

    async def _down(self, _: Request, body: dict[str, Any]) -> None:
        cluster = self._known(body["cluster_name"])
        for of, message in self._server.refused_downs.items():
            if belongs(cluster.name, of):
                raise Failed("RuntimeError", message)
        others = [r for r in self._server.book.requests.values() if r.cluster_name == cluster.name and r.cancellable]
        for request in others:
            if request.task is not None:
                request.task.cancel()
        await asyncio.gather(*(r.ended.wait() for r in others))
        await self._remove(cluster)
        self._server.terminated.append((cluster.name, time.time()))

    async def _cancel(self, _: Request, body: dict[str, Any]) -> list[str]:
        known = self._server.book.requests
        ended = [r for i in body["request_ids"] if (r := known.get(i)) and r.task and not r.ended.is_set()]
        for request in ended:
            assert request.task is not None
            request.task.cancel()
        await asyncio.gather(*(request.ended.wait() for request in ended))
        return [request.id for request in ended]

    async def _remove(self, cluster: Cluster) -> None:
        if cluster.address is not None:
            await self._server.engines.stop(*cluster.address)
        if self._server.pods is not None:
            await self._server.pods.delete(cluster.wanted.namespace, cluster.wanted.on_cloud)
        self._server.clusters.pop(cluster.name, None)
        self._server.populations.append(frozenset(self._server.clusters))

    async def _worker(self, request: Request) -> None:
        """Wait for one of the few workers, in the order in which requests came."""
        while True:
            busy = [r for r in self._server.book.requests.values() if r.status in ("PENDING", "RUNNING") and r.long]
            if busy.index(request) < self._server.workers:
                request.status = "RUNNING"
                return
            await asyncio.sleep(0.05)

    def _known(self, name: str) -> Cluster:
        if name not in self._server.clusters:
            raise Failed("ClusterDoesNotExist", f"Cluster '{name}' does not exist.")
        return self._server.clusters[name]

    def _next_fault(self, cluster: str) -> Fault | None:
        for index, (of, fault) in enumerate(self._server.faults):
            if belongs(cluster, of):
                del self._server.faults[index]
                return fault
        return None
