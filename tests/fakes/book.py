"""The server's database of requests: each is done in a task of its own, and the oldest are forgotten."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

from tests.fakes.payloads import ENDED, Failed, Request

__all__ = ["Book"]

_KEPT: Final = 5000


class Book:
    """All requests by id, the oldest first."""

    def __init__(self) -> None:
        self.requests: dict[str, Request] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, request: Request, work: Awaitable[Any]) -> None:
        """Keep a request, and do its work in a task of its own."""

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
        if len(self.requests) > _KEPT:
            self._forget_oldest()
        request.task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(request.task)
        request.task.add_done_callback(self._tasks.discard)

    def _forget_oldest(self) -> None:
        """Forget half of the requests that have ended, as the real server does after hours."""
        ended = [request.id for request in self.requests.values() if request.status in ENDED]
        for request_id in ended[: len(ended) // 2]:
            del self.requests[request_id]

    async def forget(self) -> None:
        """End all work and forget all requests."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.requests.clear()
