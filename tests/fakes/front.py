"""The server's HTTP: endpoints that answer with the id of a request, and those that answer themselves."""

import os
import signal
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from tests.fakes.launches import name_of
from tests.fakes.payloads import ENDED, Call, Request
from tests.fakes.work import Work

if TYPE_CHECKING:
    from tests.fakes.skypilot import FakeSkyPilot

__all__ = ["Front"]

_OLDEST_API_VERSION: Final = 24
_DAEMON: Final = Request("skypilot-status-refresh-daemon", "sky.status-refresh", None, status="RUNNING")


class Front:
    """The server's front door."""

    def __init__(self, server: "FakeSkyPilot") -> None:
        self._server = server
        self._work = Work(server)

    def application(self) -> web.Application:
        """Return what serves all endpoints."""
        app = web.Application(middlewares=[self._receive])
        app.router.add_get("/api/health", self._health)
        app.router.add_get("/api/get", self._get)
        app.router.add_get("/api/status", self._list_requests)
        app.router.add_get("/api/stream", self._stream)
        app.router.add_get("/enabled_clouds", self._enabled_clouds)
        app.router.add_post("/logs", self._logs)
        for path, (needed, work) in self._work.of.items():
            app.router.add_post(path, self._post(path, needed, work))
        return app

    @web.middleware
    async def _receive(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else dict(request.query)
        self._server.calls.append(Call(time.monotonic(), request.path, body))
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
            request = Request(headers["X-Skypilot-Request-ID"], f"sky.{path.strip('/')}", name_of(body))
            self._server.book.begin(request, work(request, body))
            if path == "/launch" and self._server.kill_on_launch is not None:
                pid, self._server.kill_on_launch = self._server.kill_on_launch, None
                os.kill(pid, signal.SIGKILL)
            return web.json_response(None, headers=headers)

        return handle

    @staticmethod
    async def _health(_: web.Request) -> web.Response:
        return web.json_response({"status": "healthy", "api_version": "62", "version": "0.14.1"})

    async def _get(self, http: web.Request) -> web.Response:
        request = self._server.book.requests.get(http.query["request_id"])
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
            for request in reversed([_DAEMON, *self._server.book.requests.values()])
            if (every or request.status not in ENDED) and (name is None or request.cluster_name == name)
        ]
        return web.json_response(found)

    async def _stream(self, http: web.Request) -> web.Response:
        request = self._server.book.requests.get(http.query["request_id"])
        return web.Response(text=request.log) if request else web.Response(status=404)

    async def _logs(self, http: web.Request) -> web.Response:
        body = await http.json()
        cluster = self._server.clusters.get(body["cluster_name"])
        return web.Response(text=cluster.logs.get(body["job_id"], "") if cluster else "")

    async def _enabled_clouds(self, _: web.Request) -> web.Response:
        request = Request(str(uuid.uuid4()), "sky.enabled_clouds", "")
        self._server.book.begin(request, self._work.enabled())
        return web.json_response(None, headers={"X-Skypilot-Request-ID": request.id})
