"""What the kubelet asks: ``/healthz``, whether this process works, and ``/readyz``, whether it could act now.

A process that fails ``/healthz`` is restarted, so it fails only where a restart helps. The pod is Ready only while
SkyPilot answers: ``helm install --wait`` returns when a deployment would be launched at once, and a rolling update of
the operator stops at a pod that cannot reach its server. A pod that waits for the Lease is Ready too: it would act if
it had it. While nothing moves SkyPilot is asked every 30 s only, so a server that is gone is noticed that late.
"""

import os
import socket
from collections.abc import Callable
from typing import Final

from aiohttp import web

__all__ = ["EVERYWHERE", "HealthServer", "ListenError", "address_of", "listen"]

EVERYWHERE: Final = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
"""Stands for every address of this machine, of IPv6 and IPv4, or of IPv4 alone where the kernel knows no other."""


class ListenError(Exception):
    """An address cannot be listened on. The sentence says which and why."""


class HealthServer:
    """Answers one path until closed: 200 with ``ok``, or 503 with a sentence.

    Parameters
    ----------
    path
        Such as ``/readyz``.
    trouble
        Returns what is wrong; empty if nothing is.
    """

    def __init__(self, path: str, trouble: Callable[[], str]) -> None:
        self._path, self._trouble = path, trouble
        self._runner: web.AppRunner | None = None

    async def start(self, listening: socket.socket) -> None:
        """Answer whoever comes to a socket, which is the server's from then on."""
        app = web.Application()
        app.router.add_get(self._path, self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, _: web.Request) -> web.Response:
        trouble = self._trouble()
        return web.Response(text=f"{trouble or 'ok'}\n", status=503 if trouble else 200)


def address_of(text: str) -> tuple[str, int]:
    """Return host and port of ``host:port``, ``[IPv6]:port`` or ``:port``, which is :data:`EVERYWHERE`.

    Raises
    ------
    ValueError
        If ``text`` is neither.
    """
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdigit() or int(port) > 65_535 or (":" in bare and host == bare):
        raise ValueError(f"{text!r} is not host:port, [IPv6 address]:port or :port")
    return bare or EVERYWHERE, int(port)


def listen(address: str) -> socket.socket:
    """Return a socket that listens.

    Raises
    ------
    ListenError
        If the address is taken, or none of this machine.
    """
    host, port = address_of(address)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = host == "::"
        return socket.create_server((host, port), family=family, dualstack_ipv6=both)
    except OSError as error:
        words = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise ListenError(f"cannot listen on {address}: {words}") from error
