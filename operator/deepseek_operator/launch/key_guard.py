"""Lets only requests with the key through to vLLM on a rented machine, whose port is open to the internet.

vLLM itself asks for its key below ``/v1`` and some other prefixes. Besides them it answers to everybody:
``/invocations`` infers like ``/v1``, ``/abort_requests`` ends what others have asked for. This file is written onto the
machine as it is and handed to ``vllm serve --middleware``, so it imports nothing but the standard library.
"""

import hmac
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final

OPEN: Final = frozenset({"/health", "/metrics"})
"""What the operator and its proxy ask without a key."""

_Scope = dict[str, Any]
_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]


class KeyGuard:
    """ASGI middleware. Without a key in the environment it cannot be made, and then nothing is served."""

    def __init__(self, app: Callable[[_Scope, _Receive, _Send], Awaitable[None]]) -> None:
        self._app = app
        key = os.environ["VLLM_API_KEY"]
        if not key:
            raise ValueError("VLLM_API_KEY is empty, and without a key this machine must not serve")
        self._wanted = key.encode()

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer 401 to a request without the key; hand on any other one."""
        if scope["type"] not in ("http", "websocket") or self._may_pass(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"error": "Unauthorized"}'})

    def _may_pass(self, scope: _Scope) -> bool:
        if scope["type"] == "http" and scope["path"].rstrip("/") in OPEN:
            return True
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, key = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        return scheme.lower() == b"bearer" and hmac.compare_digest(key, self._wanted)
