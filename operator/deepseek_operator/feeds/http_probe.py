"""One HTTP GET over a kept connection, as cheaply as asyncio can do it.

A probe is the only thing that this operator does a thousand times a second. Over a bare asyncio protocol, without a
task or a stream for each, it costs a fraction of what a full HTTP client needs (``make bench-probes`` prints the
ratio), and a probe needs nothing else: a status and, for metrics, a bounded body.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple, cast

from deepseek_operator.facts.base import Address, Encryption
from deepseek_operator.facts.text import clean

__all__ = ["ANSWER_S", "CONNECT_S", "UNACKNOWLEDGED_S", "Answer", "Connection", "NoAnswer"]

CONNECT_S: Final = 2.0
ANSWER_S: Final = 4.0
UNACKNOWLEDGED_S: Final = 1.2
"""Seconds after which a machine that acknowledges nothing is given up, repetitions included. The kernel of a
machine whose engine hangs acknowledges; so this tells a dead machine from a busy engine."""
_BODY_LIMIT: Final = 2 * 2**20
"""Bytes of a body that are read. The metrics of an engine are some 100 KB."""
_HEAD_LIMIT: Final = 2**16
_BODILESS: Final = frozenset({204, 304})


class Answer(NamedTuple):
    """Status and body of an answer."""

    status: int
    body: bytes


class NoAnswer(NamedTuple):
    """The address did not answer, and how. ``dropped``: it neither accepted the connection nor refused it."""

    words: str
    dropped: bool = False


Answered = Callable[[Answer | NoAnswer], None]


class Connection:
    """A connection to one address, opened when it is needed and kept while the server keeps it.

    One request at a time. ``answered`` is called exactly once for each, unless the connection is closed before.
    """

    __slots__ = (
        "_address",
        "_answered",
        "_encryption",
        "_keep_alive",
        "_kept",
        "_opening",
        "_path",
        "_request",
        "_timer",
        "_wire",
    )

    def __init__(self, address: Address, *, keep_alive: bool = True, encryption: Encryption | None = None) -> None:
        self._address, self._keep_alive, self._encryption = address, keep_alive, encryption
        self._path, self._request = "", b""
        self._wire: _Wire | None = None
        self._kept = False
        self._answered: Answered | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None

    def ask(self, path: str, answered: Answered) -> None:
        """Send one GET; call ``answered`` with its answer, or with what went wrong."""
        if path != self._path:
            keep = "keep-alive" if self._keep_alive else "close"
            self._path = path
            self._request = f"GET {path} HTTP/1.1\r\nHost: {self._address}\r\nConnection: {keep}\r\n\r\n".encode()
        self._answered = answered
        self._kept = self._wire is not None
        if self._wire is not None:
            self._send(self._wire)
        else:
            self._open()

    def close(self) -> None:
        """Close the connection, and forget who waits for an answer."""
        self._answered = None
        self._stop_waiting()
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _open(self) -> None:
        self._opening = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        encryption, accepted = self._encryption, False
        try:
            context = _context(encryption.authority) if encryption is not None else None
            async with asyncio.timeout(CONNECT_S):
                transport, wire = await loop.create_connection(
                    lambda: _Wire(self._received, self._lost), self._address.host, self._address.port
                )
                accepted = True
                if encryption is not None and context is not None:
                    name = encryption.server_name
                    encrypted = await loop.start_tls(transport, wire, context, server_hostname=name)
                    wire.connection_made(cast(asyncio.BaseTransport, encrypted))
        except TimeoutError:
            self._end(NoAnswer(f"no connection within {CONNECT_S:g} s", dropped=not accepted))
        except OSError as error:
            self._end(NoAnswer(_words(error)))
        except Exception as error:
            # A host that is no name, an authority that is no certificate. Who asked would wait for ever.
            self._end(NoAnswer(f"it cannot be asked: {clean(repr(error), 200)}"))
        else:
            self._opening, self._wire = None, wire
            self._send(wire)

    def _send(self, wire: "_Wire") -> None:
        self._timer = asyncio.get_running_loop().call_later(ANSWER_S, self._late)
        wire.send(self._request)

    def _late(self) -> None:
        self._end(NoAnswer(f"no answer within {ANSWER_S:g} s"))

    def _received(self, wire: "_Wire", unread: bytes) -> None:
        if wire is not self._wire or self._answered is None:
            wire.close()  # nobody asked
            return
        try:
            found = _parse(unread, ended=False)
        except _NotHttpError as error:
            self._end(NoAnswer(str(error)))
            return
        if found is not None:
            self._finish(*found)

    def _lost(self, wire: "_Wire", error: Exception | None, unread: bytes) -> None:
        if wire is not self._wire:
            return
        self._wire = None
        if self._answered is None:
            return  # the server closed a connection that was idle; the next request opens another one
        try:
            found = _parse(unread, ended=True) if error is None else None
        except _NotHttpError as problem:
            self._end(NoAnswer(str(problem)))
            return
        if found is not None:
            self._finish(*found)
        elif isinstance(error, TimeoutError):
            self._end(NoAnswer(f"nothing was acknowledged for {UNACKNOWLEDGED_S:g} s"))
        elif self._kept and not unread:
            # The server had closed it while it was idle. That says nothing about the engine: ask again on a new one.
            self._stop_waiting()
            self._kept = False
            self._open()
        else:
            self._end(NoAnswer("the connection was closed without an answer"))

    def _finish(self, answer: Answer, reusable: bool) -> None:
        answered, self._answered = self._answered, None
        self._stop_waiting()
        if not (reusable and self._keep_alive):
            self.close()
        elif self._wire is not None:
            self._wire.unread = b""
        if answered is not None:
            answered(answer)

    def _end(self, problem: NoAnswer) -> None:
        answered = self._answered
        self._opening = None  # it is what calls this, or it has ended
        self.close()
        if answered is not None:
            answered(problem)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Wire(asyncio.Protocol):
    """One TCP connection: collects what comes in until somebody has read it."""

    __slots__ = ("_lost", "_received", "_transport", "unread")

    def __init__(
        self,
        received: Callable[["_Wire", bytes], None],
        lost: Callable[["_Wire", Exception | None, bytes], None],
    ) -> None:
        self._received, self._lost = received, lost
        self.unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            wire: socket.socket = transport.get_extra_info("socket")
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNACKNOWLEDGED_S * 1000))

    def data_received(self, data: bytes) -> None:
        self.unread = self.unread + data if self.unread else data
        self._received(self, self.unread)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(self, exc, self.unread)

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        self._transport.abort()


class _NotHttpError(Exception):
    """What was received is no answer. The message says why."""


def _parse(received: bytes, *, ended: bool) -> tuple[Answer, bool] | None:
    """Return an answer and whether its connection can be used again; None while more has to come.

    Parameters
    ----------
    ended
        Nothing more will come.
    """
    head, separator, rest = received.partition(b"\r\n\r\n")
    if not separator:
        if len(received) > _HEAD_LIMIT or (received and not b"HTTP/1.".startswith(received[:7])):
            raise _NotHttpError("the answer is not HTTP")
        return None
    status_line, *lines = head.decode("latin-1").split("\r\n")
    version, _, status = status_line.partition(" ")
    if not version.startswith("HTTP/1.") or not status[:3].isdigit():
        raise _NotHttpError("the answer is not HTTP")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    reusable = version != "HTTP/1.0" and headers.get("connection", "").lower() != "close"
    code = int(status[:3])
    if code in _BODILESS:
        return Answer(code, b""), reusable
    if headers.get("transfer-encoding", "").lower() == "chunked":
        chunks = _chunks(rest)
        return None if chunks is None else (Answer(code, chunks), reusable)
    if "content-length" in headers:
        length = _size(headers["content-length"])
        return (Answer(code, rest[:length]), reusable) if len(rest) >= length else None
    if len(rest) > _BODY_LIMIT:
        raise _NotHttpError("the answer is too large")
    return (Answer(code, rest), False) if ended else None


def _chunks(rest: bytes) -> bytes | None:
    parts: list[bytes] = []
    total = at = 0
    while True:
        end = rest.find(b"\r\n", at)
        if end < 0:
            return None
        size = _size(rest[at:end].split(b";")[0].strip().decode("latin-1"), 16)
        if size == 0:
            return b"".join(parts) if rest.find(b"\r\n", end + 2) >= 0 else None
        total += size
        if total > _BODY_LIMIT:
            raise _NotHttpError("the answer is too large")
        at = end + 2 + size + 2
        if len(rest) < at:
            return None
        parts.append(rest[end + 2 : end + 2 + size])


def _size(text: str, base: int = 10) -> int:
    try:
        size = int(text, base)
    except ValueError as error:
        raise _NotHttpError("the answer is not HTTP") from error
    if not 0 <= size <= _BODY_LIMIT:
        raise _NotHttpError("the answer is too large")
    return size


@lru_cache(maxsize=4096)
def _context(authority: str) -> ssl.SSLContext:
    """Return what believes one authority and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=authority)
    return context


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not one of this deployment: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {error.reason or error}"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return str(error) or type(error).__name__
