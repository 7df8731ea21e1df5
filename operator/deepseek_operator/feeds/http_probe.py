"""One HTTP GET over a kept connection, as cheaply as asyncio can do it.

A probe is the only thing that this operator does a thousand times a second. Over asyncio streams it costs a fraction of
what a full HTTP client needs (``make bench-probes`` prints the ratio), and a probe needs nothing else: a status and,
for metrics, a bounded body.
"""

import asyncio
from typing import Final

from deepseek_operator.facts.base import Address

__all__ = ["ANSWER_S", "CONNECT_S", "Answer", "Connection", "ProbeError"]

CONNECT_S: Final = 2.0
ANSWER_S: Final = 4.0
_BODY_LIMIT: Final = 2 * 2**20
"""Bytes of a body that are read. The metrics of an engine are some 100 KB."""


class ProbeError(Exception):
    """The address did not answer. The message says how."""


class Answer:
    """Status and body of an answer."""

    __slots__ = ("body", "status")

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body


class Connection:
    """A connection to one address, opened when it is needed and kept while the server keeps it."""

    def __init__(self, address: Address, *, keep_alive: bool = True) -> None:
        self._address, self._keep_alive = address, keep_alive
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> Answer:
        """Return the answer to one GET.

        Raises
        ------
        ProbeError
            No connection, no answer in time, or an answer that is not HTTP.
        """
        kept = self._streams is not None
        try:
            return await self._get(path)
        except ProbeError:
            self.close()
            raise
        except (OSError, asyncio.IncompleteReadError, EOFError) as error:
            self.close()
            if not kept:
                raise ProbeError(_words(error)) from error
        # The server had closed a connection that was idle. That says nothing about the engine: ask again on a new one.
        try:
            return await self._get(path)
        except (OSError, asyncio.IncompleteReadError, EOFError) as error:
            self.close()
            raise ProbeError(_words(error)) from error
        except ProbeError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _get(self, path: str) -> Answer:
        if self._streams is None:
            try:
                async with asyncio.timeout(CONNECT_S):
                    self._streams = await asyncio.open_connection(self._address.host, self._address.port)
            except TimeoutError as error:
                raise ProbeError(f"no connection within {CONNECT_S:g} s") from error
        reader, writer = self._streams
        keep = "keep-alive" if self._keep_alive else "close"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._address}\r\nConnection: {keep}\r\n\r\n".encode())
        try:
            async with asyncio.timeout(ANSWER_S):
                answer, reusable = await _read(reader)
        except TimeoutError as error:
            raise ProbeError(f"no answer within {ANSWER_S:g} s") from error
        if not (reusable and self._keep_alive):
            self.close()
        return answer


async def _read(reader: asyncio.StreamReader) -> tuple[Answer, bool]:
    """Return an answer, and whether the connection can be used again."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError as error:
        raise ProbeError("the answer is not HTTP") from error
    status_line, _, rest = head.partition("\r\n")
    version, _, status = status_line.partition(" ")
    if not version.startswith("HTTP/1.") or not status[:3].isdigit():
        raise ProbeError("the answer is not HTTP")
    headers = {
        name.strip().lower(): value.strip()
        for name, separator, value in (line.partition(":") for line in rest.split("\r\n"))
        if separator
    }
    reusable = version != "HTTP/1.0" and headers.get("connection", "").lower() != "close"
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _chunks(reader)
    elif "content-length" in headers:
        body = await reader.readexactly(_size(headers["content-length"]))
    else:
        body, reusable = await reader.read(_BODY_LIMIT), False
    return Answer(int(status[:3]), body), reusable


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    total = 0
    while size := _size((await reader.readline()).split(b";")[0].strip().decode("latin-1"), 16):
        total += size
        if total > _BODY_LIMIT:
            raise ProbeError("the answer is too large")
        parts.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(parts)


def _size(text: str, base: int = 10) -> int:
    try:
        size = int(text, base)
    except ValueError as error:
        raise ProbeError("the answer is not HTTP") from error
    if not 0 <= size <= _BODY_LIMIT:
        raise ProbeError("the answer is too large")
    return size


def _words(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionResetError | asyncio.IncompleteReadError | EOFError):
        return "the connection was closed without an answer"
    return str(error) or type(error).__name__
