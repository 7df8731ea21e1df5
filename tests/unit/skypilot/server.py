"""A SkyPilot API server over HTTP on loopback, with the answers that a test gives it."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

__all__ = ["NAME", "Refusal", "Seen", "Server", "ended_request", "serving"]

NAME = "r1-0a1b2c3d-beef-0"


def ended_request(
    request_id: str, status: str, *, name: str = "sky.launch", created_at: int = 3, finished_at: int = 4
) -> dict[str, Any]:
    """A request about the cluster, as SkyPilot lists one that has ended."""
    return {
        "request_id": request_id,
        "name": name,
        "status": status,
        "cluster_name": NAME,
        "created_at": created_at,
        "finished_at": finished_at,
    }


@dataclass
class Seen:
    """A request as it came in."""

    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    content: bytes


@dataclass
class Refusal:
    """How every request is answered for now."""

    status: int
    body: dict[str, Any]


class Server:
    """Answers one request id per POST, and its payload when asked, over HTTP on loopback."""

    def __init__(self) -> None:
        self.payloads: dict[str, dict[str, Any]] = {}
        self.requests: list[dict[str, Any]] = []
        self.seen: list[Seen] = []
        self.refuse: Refusal | None = None
        self.hangs = False
        self.unfinished: set[str] = set()
        self.log = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.seen.append(Seen(request.path, request.headers, request.query, await request.read()))
        if self.hangs:
            await asyncio.sleep(60)
        if self.refuse is not None:
            return web.json_response(self.refuse.body, status=self.refuse.status)
        match request.path:
            case "/api/get":
                if request.query["request_id"] in self.unfinished:
                    await asyncio.sleep(60)
                payload = self.payloads[request.query["request_id"]]
                failed = payload["status"] != "SUCCEEDED"
                return web.json_response({"detail": payload} if failed else payload, status=500 if failed else 200)
            case "/api/status":
                return web.json_response(self.requests)
            case "/api/stream":
                return web.Response(text=self.log)
            case path:
                return web.json_response(None, headers={"X-Skypilot-Request-ID": path})

    def answers(self, path: str, value: Any) -> None:
        """Let a POST succeed with a value."""
        self.payloads[path] = {"status": "SUCCEEDED", "return_value": json.dumps(value), "error": "null"}

    def fails(self, key: str, error_type: str, message: str) -> None:
        """Let a request fail."""
        error = json.dumps({"object": "gASV…", "type": error_type, "message": message})
        self.payloads[key] = {"status": "FAILED", "return_value": "null", "error": error}


@asynccontextmanager
async def serving(server: Server, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve on loopback, over TLS if there is a context for it; yield the port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield runner.addresses[0][1]
    await runner.cleanup()
