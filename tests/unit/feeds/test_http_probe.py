"""One GET, against a server on loopback that answers byte for byte what a test wants."""

import asyncio
import base64
import errno
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from deepseek_operator.facts.base import Address, Encryption
from deepseek_operator.facts.names import server_name, shared_server_name
from deepseek_operator.feeds import http_probe
from deepseek_operator.feeds.http_probe import Answer, Connection, NoAnswer
from deepseek_operator.launch.certificates import Authority, engine_identity, make_authority
from deepseek_operator.launch.script import CERTIFICATE_LIFETIME
from tests.unit.reconcile import builders as b

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def get(connection: Connection, path: str) -> Answer:
    """The answer; a test that expects none fails here."""
    found = await ask(connection, path)
    assert isinstance(found, Answer), found
    return found


async def ask(connection: Connection, path: str) -> Answer | NoAnswer:
    future: asyncio.Future[Answer | NoAnswer] = asyncio.get_running_loop().create_future()
    connection.ask(path, future.set_result)
    return await future


async def words(connection: Connection) -> str:
    """What went wrong."""
    found = await ask(connection, "/health")
    assert isinstance(found, NoAnswer), found
    return found.words


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[Connection]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    connection = Connection(Address("127.0.0.1", server.sockets[0].getsockname()[1]))
    try:
        yield connection
    finally:
        connection.close()
        server.close()


def answering(*answers: bytes) -> tuple[Serve, list[int]]:
    """A server that gives these answers in turn; each connection is noted with how many requests it brought."""
    connections: list[int] = []
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(0)
        mine = len(connections) - 1
        while left:
            await reader.readuntil(b"\r\n\r\n")
            connections[mine] += 1
            answer = left.pop(0)
            writer.write(answer)
            await writer.drain()
            if not answer or b"Connection: close" in answer:
                return

    return serve, connections


async def test_one_connection_serves_many_probes() -> None:
    serve, connections = answering(OK, OK, OK)
    async with serving(serve) as connection:
        for _ in range(3):
            answer = await get(connection, "/health")
            assert (answer.status, answer.body) == (200, b"ok")
    assert connections == [3]


async def test_a_connection_that_the_server_closed_while_idle_is_opened_again() -> None:
    connections: list[int] = []

    async def close_after_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        connections.append(1)
        writer.write(OK)
        await writer.drain()

    async with serving(close_after_one) as connection:
        await get(connection, "/health")
        await asyncio.sleep(0.05)
        assert (await get(connection, "/health")).status == 200
    assert connections == [1, 1]


async def test_a_connection_that_is_neither_accepted_nor_refused_is_told_from_one_that_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_probe, "CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as queue:
        host, port = server.getsockname()
        # The kernel drops what comes when the queue of connections that nobody accepts is full, as a firewall does.
        for _ in range(3):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((host, port))
        assert await ask(Connection(Address(host, port)), "/health") == NoAnswer("no connection within 0.2 s", True)
    refused = await ask(Connection(Address(host, port)), "/health")
    assert isinstance(refused, NoAnswer)
    assert not refused.dropped


async def test_a_machine_that_accepts_a_connection_and_does_not_encrypt_it_drops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_probe, "CONNECT_S", 0.2)

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with serving(listen) as plain:
        believed = make_authority("a", b.NOW).certificate
        connection = Connection(plain._address, encryption=Encryption(believed, "name"))
        assert await ask(connection, "/health") == NoAnswer("no connection within 0.2 s", dropped=False)


async def test_a_machine_that_acknowledges_nothing_is_given_up_before_an_engine_that_hangs() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.read()

    async with serving(serve) as connection:
        await get(connection, "/health")
        wire = connection._wire
        assert wire is not None
        kept: socket.socket = wire._transport.get_extra_info("socket")
        assert kept.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1000 * http_probe.UNACKNOWLEDGED_S
        assert http_probe.UNACKNOWLEDGED_S < http_probe.ANSWER_S
        answer = asyncio.ensure_future(ask(connection, "/health"))
        await asyncio.sleep(0)
        wire.connection_lost(TimeoutError(errno.ETIMEDOUT, "timed out"))  # as the kernel ends it
        # It is not asked again on a new connection, as after one that was closed while idle.
        assert await answer == NoAnswer("nothing was acknowledged for 1.2 s")


async def test_chunks_are_put_together() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    serve, connections = answering(chunked, OK)
    async with serving(serve) as connection:
        assert (await get(connection, "/metrics")).body == b"abcde"
        assert (await get(connection, "/health")).body == b"ok"
    assert connections == [2]


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    serve, connections = answering(b"HTTP/1.0 503 no\r\nConnection: close\r\n\r\nbusy", OK)
    async with serving(serve) as connection:
        answer = await get(connection, "/health")
        assert (answer.status, answer.body) == (503, b"busy")
        assert (await get(connection, "/health")).status == 200
    assert connections == [1, 1]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", "closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "too large"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n", "too large"),
    ],
)
async def test_what_is_no_answer_is_said_in_words(answer: bytes, expected: str) -> None:
    serve, _ = answering(answer)
    async with serving(serve) as connection:
        assert expected in await words(connection)


async def test_a_refused_connection_is_said_in_words() -> None:
    async with serving(answering()[0]) as connection:
        pass
    assert "connection refused" in await words(connection)


async def test_an_engine_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_probe, "ANSWER_S", 0.05)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(hang) as connection:
        assert "no answer within" in await words(connection)


AUTHORITY = make_authority("test", datetime.now(UTC))
NAME = server_name("r1-0a1b2c3d-9f8e7d6c-0", b.UID)


def identity(name: str = NAME, authority: Authority = AUTHORITY, at: datetime | None = None) -> ssl.SSLContext:
    """What an engine answers with."""
    pem = base64.b64decode(engine_identity(authority, (name, shared_server_name(b.UID)), at or datetime.now(UTC)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context


async def over_tls(context: ssl.SSLContext | None, believed: str = AUTHORITY.certificate) -> Answer | NoAnswer:
    """Ask an engine with this context for its health, and twice, so that a connection is kept."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    connection = Connection(address, encryption=Encryption(believed, NAME))
    try:
        first = await ask(connection, "/health")
        return await ask(connection, "/health") if isinstance(first, Answer) else first
    finally:
        connection.close()
        server.close()


async def test_an_engine_with_the_certificate_of_its_replica_is_asked_over_tls() -> None:
    assert await over_tls(identity()) == Answer(200, b"ok")


async def test_engines_of_two_authorities_of_one_name_are_believed_side_by_side() -> None:
    later = make_authority("test", datetime.now(UTC))
    for context in (identity(), identity(authority=later)):
        assert await over_tls(context, later.certificate + AUTHORITY.certificate) == Answer(200, b"ok")


@pytest.mark.parametrize(
    ("context", "words"),
    [
        (identity(name=server_name("r1-0a1b2c3d-9f8e7d6c-1", b.UID)), "Hostname mismatch"),
        (identity(authority=make_authority("test", datetime.now(UTC))), "unable to get local issuer certificate"),
        (identity(at=datetime.now(UTC) - CERTIFICATE_LIFETIME - timedelta(hours=1)), "certificate has expired"),
    ],
    ids=["another replica", "another authority", "expired"],
)
async def test_a_stranger_at_the_address_of_a_machine_does_not_count_as_its_engine(
    context: ssl.SSLContext, words: str
) -> None:
    answer = await over_tls(context)
    assert isinstance(answer, NoAnswer)
    assert "its certificate is not one of this deployment" in answer.words
    assert words in answer.words


async def test_a_stranger_without_tls_does_not_count_as_an_engine_either() -> None:
    answer = await over_tls(None)
    assert isinstance(answer, NoAnswer)


async def test_a_clock_that_is_a_few_hours_behind_is_no_reason_to_refuse_a_certificate() -> None:
    assert await over_tls(identity(at=datetime.now(UTC) + timedelta(hours=20))) == Answer(200, b"ok")


@pytest.mark.parametrize(
    ("host", "encryption"),
    [
        ("a" * 70, None),  # no label of a name is as long
        ("127.0.0.1", Encryption("no certificate, é", "r1")),
    ],
)
async def test_what_python_cannot_even_try_is_an_answer_that_did_not_come(
    host: str, encryption: Encryption | None
) -> None:
    async with asyncio.timeout(10):
        assert await words(Connection(Address(host, 8000), encryption=encryption))
