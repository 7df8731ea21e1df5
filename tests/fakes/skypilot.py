"""A SkyPilot API server 0.14.1 over real HTTP, as far as the operator uses it.

What it answers is asked of a real server by ``tests/contract/test_skypilot.py``. It runs in a thread of the test, or as
``python -m tests.fakes.skypilot``. Knobs are plain attributes and methods; every call that reaches it is recorded.
"""

import argparse
import asyncio
import os
import re
import signal
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import yaml
from aiohttp import web

from tests.fakes.listener import Listener
from tests.fakes.nodes import Engines, Pods, Wanted
from tests.fakes.payloads import ENDED, Cluster, Failed, Request

_T = TypeVar("_T")
EVERY: Final = "*"
_CLUSTER_NAME: Final = re.compile(r"[a-zA-Z]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?")
_TASK_KEYS: Final = frozenset(
    {"name", "num_nodes", "resources", "run", "setup", "envs", "secrets", "config", "workdir", "file_mounts"}
)
_CLOUDS = frozenset({"kubernetes", "aws", "gcp", "azure"})
"""Clouds that it knows."""
_OLDEST_API_VERSION: Final = 24
_REQUESTS_KEPT: Final = 5000
_DAEMON: Final = Request("skypilot-status-refresh-daemon", "sky.status-refresh", None, status="RUNNING")


@dataclass(frozen=True)
class Call:
    """One HTTP call as it came in."""

    at: float
    """``time.monotonic()``."""
    path: str
    body: dict[str, Any]


@dataclass(frozen=True)
class _Fault:
    error_type: str
    message: str
    log: str
    keeps_nodes: bool


@dataclass
class _Crash:
    log: str
    status: str


@dataclass
class FakeSkyPilot:
    """The server.

    Attributes
    ----------
    pods
        Where clusters of Kubernetes get their pods; None: they have none.
    workers
        Launches and execs that run side by side; the others are PENDING.
    launch_seconds
        How long a launch takes that makes nodes.
    clouds
        Clouds for which it has credentials.
    offers
        By cloud, the machines of its catalog as rows of ``/list_accelerators``; a cloud that is not there has none.
    held
        Deployments whose launches do not end; :data:`EVERY` holds all.
    unschedulable
        Deployments whose pods find no node, so that their launches do not end.
    refused_downs
        By deployment, the message with which its teardowns fail.
    kill_on_launch
        Process that is killed once the next launch is recorded and before its request id is sent.
    slow_engines
        Deployments whose engines run and never answer.
    populations
        Names of the clusters that existed, noted at each change.
    engines
        What answers for the engines; a listener for all of them where there are many.
    """

    pods: Pods | None = None
    host: str = "127.0.0.1"
    port: int = 0
    workers: int = 4
    launch_seconds: float = 0.5
    clouds: set[str] = field(default_factory=lambda: {"kubernetes"})
    offers: dict[str, list[list[Any]]] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    unschedulable: set[str] = field(default_factory=set)
    refused_downs: dict[str, str] = field(default_factory=dict)
    kill_on_launch: int | None = None
    calls: list[Call] = field(default_factory=list)
    clusters: dict[str, Cluster] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    slow_engines: set[str] = field(default_factory=set)
    populations: list[frozenset[str]] = field(default_factory=list)
    engines: Engines | Listener = field(default_factory=Engines)
    _faults: list[tuple[str, _Fault]] = field(default_factory=list)
    _crashes: dict[str, _Crash] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _terminated: list[tuple[str, float]] = field(default_factory=list)

    # --- running it ----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start in a thread of its own; return once it listens."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-skypilot", daemon=True)
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening and end the thread; pods stay as they are."""
        self.stop()
        self._in_loop(self.engines.stop_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._in_loop(self._listen())

    def stop(self) -> None:
        """End the process: nobody listens, and requests are forgotten. Clusters stay as they are, INIT included."""
        self._in_loop(self._close())

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def lose_database(self) -> None:
        """Forget clusters and requests; pods and engines go on."""
        self._in_loop(self._forget())
        self.clusters.clear()
        self._terminated.clear()

    # --- knobs ---------------------------------------------------------------------------------------------------

    def fail_next_launch(
        self, of: str, error_type: str, message: str, *, log: str = "", keeps_nodes: bool = False
    ) -> None:
        """Let the next launch of a deployment fail.

        Parameters
        ----------
        keeps_nodes
            As when the pods run and SkyPilot cannot reach them: the row stays INIT, and the pods stay.
        """
        self._faults.append((of, _Fault(error_type, message, log, keeps_nodes)))

    def crash_engines(self, of: str, log: str, status: str = "FAILED") -> None:
        """Let every engine of a deployment end as soon as it starts, and those that run at once."""
        self._crashes[of] = _Crash(log, status)
        for cluster in self.of(of):
            self.end_job(cluster.name, log, status)

    def repair_engines(self, of: str) -> None:
        """Let engines that start from now on run."""
        self._crashes.pop(of, None)

    def end_job(self, name: str, log: str, status: str = "FAILED") -> None:
        """Let the engine of a cluster end."""
        cluster = self.clusters[name]
        if cluster.jobs:
            cluster.end_job(status, log)
        self.silence(name)

    def silence(self, name: str) -> None:
        """Let an engine stop answering while its job runs."""
        cluster = self.clusters[name]
        if cluster.address is not None:
            self._in_loop(self.engines.stop(*cluster.address))

    def unsilence(self, name: str) -> None:
        """Let it answer again."""
        cluster = self.clusters[name]
        if cluster.address is not None:
            self._in_loop(self.engines.start(*cluster.address))

    # --- what happened -------------------------------------------------------------------------------------------

    def of(self, deployment: str) -> list[Cluster]:
        """Return the clusters of a deployment."""
        return [cluster for cluster in list(self.clusters.values()) if _belongs(cluster.name, deployment)]

    def most_at_once(self, of: str) -> int:
        """Return the largest number of clusters that a deployment ever had."""
        counts = (sum(_belongs(name, of) for name in names) for names in list(self.populations))
        return max(counts, default=0)

    def launches(self, of: str) -> list[Call]:
        """Return every launch of a deployment that was asked for."""
        return [call for call in list(self.calls) if call.path == "/launch" and _belongs(_name(call.body), of)]

    # --- HTTP ----------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        app = web.Application(middlewares=[self._receive])
        app.router.add_get("/api/health", self._health)
        app.router.add_get("/api/get", self._get)
        app.router.add_get("/api/status", self._list_requests)
        app.router.add_get("/api/stream", self._stream)
        app.router.add_get("/enabled_clouds", self._enabled_clouds)
        app.router.add_post("/logs", self._logs)
        posts: dict[str, tuple[tuple[str, ...], Callable[[Request, dict[str, Any]], Awaitable[Any]]]] = {
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
        for path, (needed, work) in posts.items():
            app.router.add_post(path, self._post(path, needed, work))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self._forget()

    async def _forget(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.requests.clear()

    @web.middleware
    async def _receive(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else dict(request.query)
        self.calls.append(Call(time.monotonic(), request.path, body))
        version = request.headers.get("X-SkyPilot-API-Version")
        if version is not None and int(version) < _OLDEST_API_VERSION:
            text = "Your SkyPilot client version is too old"
            return web.json_response({"error": "version_mismatch", "message": text}, status=400)
        return await handler(request)

    def _post(
        self, path: str, needed: tuple[str, ...], work: Callable[[Request, dict[str, Any]], Awaitable[Any]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(http: web.Request) -> web.Response:
            body: dict[str, Any] = await http.json()
            headers = {"X-Skypilot-Request-ID": str(uuid.uuid4())}
            if missing := [key for key in needed if key not in body]:
                detail = [{"type": "missing", "loc": ["body", key], "msg": "Field required"} for key in missing]
                return web.json_response({"detail": detail}, status=422, headers=headers)
            request = Request(headers["X-Skypilot-Request-ID"], f"sky.{path.strip('/')}", _name(body))
            self._begin(request, work(request, body))
            if path == "/launch" and self.kill_on_launch is not None:
                pid, self.kill_on_launch = self.kill_on_launch, None
                os.kill(pid, signal.SIGKILL)
            return web.json_response(None, headers=headers)

        return handle

    def _begin(self, request: Request, work: Awaitable[Any]) -> None:
        async def run() -> None:
            try:
                value = await work
            except Failed as error:
                request.end("FAILED", error=error)
            except asyncio.CancelledError:
                request.end("CANCELLED")
            except Exception as error:
                request.end("FAILED", error=Failed("Exception", f"{type(error).__name__}: {error}"))
            else:
                request.end("SUCCEEDED", value)

        self.requests[request.id] = request
        if len(self.requests) > _REQUESTS_KEPT:
            self._forget_oldest()
        request.task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(request.task)
        request.task.add_done_callback(self._tasks.discard)

    def _forget_oldest(self) -> None:
        """Forget half of the requests that have ended, as the real server does after hours."""
        ended = [request.id for request in self.requests.values() if request.status in ENDED]
        for request_id in ended[: len(ended) // 2]:
            del self.requests[request_id]

    @staticmethod
    async def _health(_: web.Request) -> web.Response:
        return web.json_response({"status": "healthy", "api_version": "62", "version": "0.14.1"})

    async def _get(self, http: web.Request) -> web.Response:
        request = self.requests.get(http.query["request_id"])
        if request is None:
            detail = f"Request '{http.query['request_id']}' not found"
            return web.json_response({"detail": detail}, status=404)
        await request.ended.wait()
        payload = request.payload()
        if request.status == "FAILED":
            return web.json_response({"detail": payload}, status=500)
        return web.json_response(payload)

    async def _list_requests(self, http: web.Request) -> web.Response:
        every, name = http.query.get("all_status") == "true", http.query.get("cluster_name")
        fields = http.query.getall("fields", [])
        found = [
            request.payload(fields)
            for request in reversed([_DAEMON, *self.requests.values()])
            if (every or request.status not in ENDED) and (name is None or request.cluster_name == name)
        ]
        return web.json_response(found)

    async def _stream(self, http: web.Request) -> web.Response:
        request = self.requests.get(http.query["request_id"])
        return web.Response(text=request.log) if request else web.Response(status=404)

    async def _logs(self, http: web.Request) -> web.Response:
        body = await http.json()
        cluster = self.clusters.get(body["cluster_name"])
        return web.Response(text=cluster.logs.get(body["job_id"], "") if cluster else "")

    async def _enabled_clouds(self, _: web.Request) -> web.Response:
        request = Request(str(uuid.uuid4()), "sky.enabled_clouds", "")
        self._begin(request, self._enabled())
        return web.json_response(None, headers={"X-Skypilot-Request-ID": request.id})

    async def _enabled(self) -> list[str]:
        return sorted(self.clouds)

    # --- requests ------------------------------------------------------------------------------------------------

    async def _status(self, _: Request, __: dict[str, Any]) -> list[dict[str, Any]]:
        return [cluster.row() for cluster in self.clusters.values()]

    async def _job_status(self, _: Request, body: dict[str, Any]) -> dict[str, str | None]:
        cluster = self._known(body["cluster_name"])
        if cluster.status != "UP":
            raise Failed(
                "ClusterNotUpError", f"Getting job status: skipped for cluster '{cluster.name}' (status: INIT)."
            )
        return {str(max(cluster.jobs)): cluster.jobs[max(cluster.jobs)]} if cluster.jobs else {"null": None}

    async def _endpoints(self, _: Request, body: dict[str, Any]) -> dict[str, str]:
        cluster = self.clusters.get(body["cluster"])
        if cluster is None or cluster.status != "UP":
            raise Failed("ClusterNotUpError", f"Cluster '{body['cluster']}' not found.")
        return {str(body["port"]): f"{cluster.address[0]}:{body['port']}"} if cluster.address else {}

    async def _cost_report(self, _: Request, __: dict[str, Any]) -> list[dict[str, Any]]:
        living = [{"name": cluster.name, "status": cluster.status} for cluster in self.clusters.values()]
        gone = [{"name": n, "status": None, "usage_intervals": [[at - 60, at]]} for n, at in self._terminated]
        return living + gone

    async def _list_accelerators(self, _: Request, body: dict[str, Any]) -> dict[str, list[list[Any]]]:
        found: dict[str, list[list[Any]]] = {}
        for cloud in body["clouds"]:
            if cloud not in self.offers:
                raise Failed("ConnectionError", f"Failed to fetch the catalog {cloud}/vms.csv")
            for row in self.offers[cloud]:
                found.setdefault(row[2], []).append(row)
        return found

    async def _check(self, request: Request, body: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
        if unknown := [cloud for cloud in body.get("clouds") or () if cloud not in _CLOUDS]:
            raise Failed("ValueError", f"Cloud {unknown[0]!r} is not a valid cloud among {sorted(_CLOUDS)}")
        missing = [cloud for cloud in body.get("clouds") or () if cloud not in self.clouds]
        request.log = "".join(
            f"  {cloud}: disabled\n    Reason [compute]: credentials are not set.\n" for cloud in missing
        )
        found = [cloud for cloud in body.get("clouds") or () if cloud in self.clouds]
        return {"default": {cloud.upper(): ["compute", "storage"] for cloud in found}}

    async def _launch(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        await self._worker(request)
        wanted, port = _read(body)
        cluster = self.clusters.get(wanted.cluster)
        if cluster is None or cluster.status != "UP":
            cluster = await self._provision(wanted, port, request)
        await self._run_job(cluster)
        return {"job_id": max(cluster.jobs), "handle": None}

    async def _provision(self, wanted: Wanted, port: int, request: Request) -> Cluster:
        fault = self._next_fault(wanted.cluster)
        cluster = self.clusters.setdefault(wanted.cluster, Cluster(wanted))
        self.populations.append(frozenset(self.clusters))
        cluster.say("Provisioning on kubernetes in in-cluster")
        if self.pods is not None:
            await self.pods.create(wanted)
        if self.pods is not None and _any_belongs(wanted.cluster, self.unschedulable):
            await self.pods.find_no_node(wanted)
        while _any_belongs(wanted.cluster, self.unschedulable):
            await asyncio.sleep(0.05)
        await asyncio.sleep(self.launch_seconds)
        while EVERY in self.held or _any_belongs(wanted.cluster, self.held):
            await asyncio.sleep(0.05)
        if fault is not None and not fault.keeps_nodes:
            await self._remove(cluster)
        elif self.pods is not None:
            cluster.address = (await self.pods.run(wanted), port)
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
        crash = next((crash for of, crash in self._crashes.items() if _belongs(cluster.name, of)), None)
        if crash is not None:
            cluster.end_job(crash.status, crash.log)
        elif cluster.address is not None and not _any_belongs(cluster.name, self.slow_engines):
            await self.engines.start(*cluster.address)

    async def _down(self, _: Request, body: dict[str, Any]) -> None:
        cluster = self._known(body["cluster_name"])
        for of, message in self.refused_downs.items():
            if _belongs(cluster.name, of):
                raise Failed("RuntimeError", message)
        others = [r for r in self.requests.values() if r.cluster_name == cluster.name and r.cancellable]
        for request in others:
            if request.task is not None:
                request.task.cancel()
        await asyncio.gather(*(r.ended.wait() for r in others))
        await self._remove(cluster)
        self._terminated.append((cluster.name, time.time()))

    async def _cancel(self, _: Request, body: dict[str, Any]) -> list[str]:
        ended = [r for i in body["request_ids"] if (r := self.requests.get(i)) and r.task and not r.ended.is_set()]
        for request in ended:
            assert request.task is not None
            request.task.cancel()
        await asyncio.gather(*(request.ended.wait() for request in ended))
        return [request.id for request in ended]

    async def _remove(self, cluster: Cluster) -> None:
        if cluster.address is not None:
            await self.engines.stop(*cluster.address)
        if self.pods is not None:
            await self.pods.delete(cluster.wanted.namespace, cluster.wanted.on_cloud)
        self.clusters.pop(cluster.name, None)
        self.populations.append(frozenset(self.clusters))

    async def _worker(self, request: Request) -> None:
        """Wait for one of the few workers, in the order in which requests came."""
        while True:
            busy = [r for r in self.requests.values() if r.status in ("PENDING", "RUNNING") and r.long]
            if busy.index(request) < self.workers:
                request.status = "RUNNING"
                return
            await asyncio.sleep(0.05)

    def _known(self, name: str) -> Cluster:
        if name not in self.clusters:
            raise Failed("ClusterDoesNotExist", f"Cluster '{name}' does not exist.")
        return self.clusters[name]

    def _next_fault(self, cluster: str) -> _Fault | None:
        for index, (of, fault) in enumerate(self._faults):
            if _belongs(cluster, of):
                del self._faults[index]
                return fault
        return None

    def _in_loop(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


def _name(body: dict[str, Any]) -> str:
    return str(body.get("cluster_name") or "")


def _any_belongs(cluster: str, deployments: Iterable[str]) -> bool:
    return any(_belongs(cluster, deployment) for deployment in list(deployments))


def _belongs(cluster: str, deployment: str) -> bool:
    return (
        re.fullmatch(rf"{re.escape(deployment[:13].rstrip('-'))}-[0-9a-f]{{8}}-[0-9a-f]{{8}}-\d+", cluster) is not None
    )


def _read(body: dict[str, Any]) -> tuple[Wanted, int]:
    """Return what a launch asks for and the port of its engine, or refuse it in SkyPilot's words."""
    name = _name(body)
    if not _CLUSTER_NAME.fullmatch(name):
        raise Failed("InvalidClusterNameError", f'Cluster name "{name}" is invalid')
    try:
        task = yaml.safe_load(body["task"])
    except yaml.YAMLError as error:
        raise Failed("ParserError", str(error)) from error
    if unknown := sorted(set(task) - _TASK_KEYS):
        raise Failed("InvalidSkyPilotConfigError", f"Invalid task YAML: Instead of '{unknown[0]}', did you mean ...?")
    resources = task.get("resources") or {}
    resources |= next(iter(resources.get("ordered") or resources.get("any_of") or ()), {})
    cloud, _, context = str(resources.get("infra", "k8s")).partition("/")
    if cloud not in ("k8s", "kubernetes"):
        raise Failed("ResourcesUnavailableError", f"Task requires {cloud} which is not enabled. To enable access, ...")
    if context not in ("", "in-cluster"):
        raise Failed("ValueError", f"Context {context} not found in kubeconfig.")
    if resources.get("accelerators"):
        what = f"1x Kubernetes({resources['accelerators']})"
        text = f"Kubernetes cluster does not contain any instances satisfying the request: {what}."
        raise Failed("ResourcesUnavailableError", text)
    user = body.get("env_vars", {}).get("SKYPILOT_USER_ID", "00000000")
    kubernetes = (task.get("config") or {}).get("kubernetes") or {}
    namespace = ((body.get("override_skypilot_config") or {}).get("kubernetes") or {}).get("namespace", "default")
    image = str(resources.get("image_id", "")).removeprefix("docker:")
    wanted = Wanted(
        cluster=name,
        on_cloud=f"{re.sub('[._]', '-', name.lower())}-{user}",
        user=str(body.get("env_vars", {}).get("SKYPILOT_USER", "")),
        namespace=namespace,
        nodes=int(task.get("num_nodes") or 1),
        image=image,
        kubernetes=kubernetes,
    )
    port = re.search(r"--port[= ](\d+)", str(task.get("run")))
    return wanted, int(port[1]) if port else 8000


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.skypilot", description=__doc__)
    parser.add_argument("--port", type=int, default=46580)
    parser.add_argument("--launch-seconds", type=float, default=0.5)
    parser.add_argument("--kubeconfig", type=Path, help="administrator's; without it clusters have no pods")
    parser.add_argument("--addresses", type=IPv4Network, help="addresses of this machine that pods get")
    options = parser.parse_args()
    pods = Pods(options.kubeconfig, options.addresses) if options.kubeconfig else None
    with FakeSkyPilot(pods, port=options.port, launch_seconds=options.launch_seconds) as server:
        print(f"fake SkyPilot at {server.url}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
