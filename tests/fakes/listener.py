"""A thousand engines behind one socket, for benchmarks: answered so cheaply that the operator is what is measured.

An engine is an address of this machine. Its connections are accepted on the wildcard address, and the address that a
client spoke to says which engine it meant.
"""

import asyncio
from typing import Final, cast

__all__ = ["Listener"]

_END: Final = b"\r\n\r\n"
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

Host = tuple[str, int]


class Listener:
    """The engines; the same methods as :class:`~tests.fakes.nodes.Engines`.

    Attributes
    ----------
    answered
        Requests answered so far.
    """

    def __init__(self) -> None:
        self.answered = 0
        self._running: set[Host] = set()
        self._open: dict[Host, set[asyncio.Transport]] = {}
        self._servers: dict[int, asyncio.Server] = {}

    async def start(self, host: str, port: int) -> None:
        """Let an engine answer; does nothing if it does."""
        if port not in self._servers:
            loop = asyncio.get_running_loop()
            self._servers[port] = await loop.create_server(
                lambda: _Connection(self), "0.0.0.0", port, reuse_address=True, backlog=4096
            )
        self._running.add((host, port))

    async def stop(self, host: str, port: int) -> None:
        """Let an engine's connections be reset, those that are open and those to come."""
        self._running.discard((host, port))
        for transport in self._open.pop((host, port), set()):
            transport.abort()

    async def stop_all(self) -> None:
        """Stop every engine."""
        for host, port in list(self._running):
            await self.stop(host, port)
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def opened(self, host: Host, transport: asyncio.Transport) -> bool:
        """Note a connection; return whether its engine runs."""
        if host in self._running:
            self._open.setdefault(host, set()).add(transport)
        return host in self._running

    def closed(self, host: Host, transport: asyncio.Transport) -> None:
        """Forget a connection."""
        self._open.get(host, set()).discard(transport)


class _Connection(asyncio.Protocol):
    def __init__(self, listener: Listener) -> None:
        self._listener, self._unread = listener, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._host: Host = transport.get_extra_info("sockname")[:2]
        if not self._listener.opened(self._host, self._transport):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.closed(self._host, self._transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        requests = self._unread.count(_END)
        if requests:
            self._unread = self._unread.rpartition(_END)[2]
            self._listener.answered += requests
            self._transport.write(_ANSWER * requests)
