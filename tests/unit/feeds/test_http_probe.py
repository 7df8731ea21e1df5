"""One GET, against a server on loopback that answers byte for byte what a test wants."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from deepseek_operator.facts.base import Address
from deepseek_operator.feeds import http_probe
from deepseek_operator.feeds.http_probe import Answer, Connection, NoAnswer

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
