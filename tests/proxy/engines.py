"""Stand-in engines with the manners of vLLM: a health page, a key for /v1, answers in one piece or in a stream."""

import asyncio
import base64
import ssl
import tempfile
from pathlib import Path
from typing import Final

from deepseek_operator.facts.base import Address

__all__ = ["StandIn", "Tap", "server_context"]

EVENT: Final = b"data: token\n\n"


def server_context(identity: str) -> ssl.SSLContext:
    """Return what a machine makes of the identity that its task brings."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        Path(file.name).write_bytes(base64.b64decode(identity))
        context.load_cert_chain(file.name, file.name)
    return context


class StandIn:
    """One engine.

    Attributes
    ----------
    go_on
        Lets a stream write its next piece, up to the last one.
    requests
        Requests to /v1 that it has begun to answer.
    abandoned
        Those of them to /v1/long whose client went away before the answer, which takes for ever.
    received
        Bytes of the body of the newest request.
    """

    def __init__(self, name: str, *, key: str | None = None, context: ssl.SSLContext | None = None) -> None:
        self.name, self.key, self._context = name, key, context
        self.pieces = 3
        self.go_on = asyncio.Semaphore(0)
        self.requests = self.abandoned = self.received = 0
        self.headers: list[dict[str, str]] = []
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._port = 0

    async def start(self, host: str = "127.0.0.1") -> Address:
        """Listen; return where."""
        self._server = await asyncio.start_server(self._serve, host, self._port, ssl=self._context)
        self._port = self._server.sockets[0].getsockname()[1]
        return Address(host, self._port)

    async def die(self) -> None:
        """Stop as a process that is killed: connections are reset, and nobody listens any more."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                await self._one(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            writer.close()
        finally:
            self._writers.discard(writer)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *rest = head.rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
        self.received = len(await reader.readexactly(int(headers.get("content-length", 0))))
        path = line.split()[1]
        if not path.startswith("/v1"):
            await self._answer(writer, 200, b"")
            return
        self.headers.append(headers)
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}":
            await self._answer(writer, 401, b'{"error":"Unauthorized"}')
            return
        self.requests += 1
        if path.endswith("/long"):
            self.abandoned += await reader.read(1) == b""
            raise ConnectionError
        if path.endswith("/stream"):
            await self._stream(writer)
        else:
            await self._answer(writer, 200, self.name.encode())

    async def _answer(self, writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(self.pieces):
            if number:
                await self.go_on.acquire()
            writer.write(f"{len(EVENT):x}\r\n".encode() + EVENT + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()


class Tap:
    """What somebody between a cluster and a machine sees: forwards a connection, and keeps every byte of it."""

    def __init__(self, to: Address) -> None:
        self._to = to
        self.seen = bytearray()
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1") -> Address:
        """Listen; return where."""
        self._server = await asyncio.start_server(self._forward, host, 0)
        return Address(host, self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._to.host, self._to.port)
        await asyncio.gather(self._copy(reader, back), self._copy(there, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                self.seen += data
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()
