"""What clients of a proxy and people on the way to a machine see."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from deepseek_operator.facts.base import Address
from deepseek_operator.facts.names import server_name, shared_server_name
from deepseek_operator.launch.certificates import Authority, engine_identity, make_authority
from deepseek_operator.launch.proxy import PROXY_PATH, REQUESTS
from tests.fakes.dns import NO_SUCH_NAME, FakeDns
from tests.proxy.engines import StandIn, Tap, server_context
from tests.proxy.haproxy import UID, HaProxy, until

KEY = "canary-key-4711"
PROMPT = "canary prompt that nobody on the way may read"
PLAIN, TLS = "r1-plain.serving.svc.test", "r1-tls.serving.svc.test"
NOW = datetime.now(UTC)
AUTHORITY = make_authority("test", NOW)


def machine(name: str, authority: Authority = AUTHORITY, uid: str = UID) -> StandIn:
    """An engine on a rented machine."""
    identity = engine_identity(authority, (server_name(name, uid), shared_server_name(uid)), NOW)
    return StandIn(name, key=KEY, context=server_context(identity))


class Stage:
    """Engines, DNS and a proxy."""

    def __init__(self, folder: Path) -> None:
        self.dns = FakeDns()
        self._folder = folder
        self._engines: list[StandIn] = []

    async def engine(self, engine: StandIn, host: str = "127.0.0.1") -> Address:
        self._engines.append(engine)
        return await engine.start(host)

    async def proxy(self, *, key: str | None = KEY, authority: str | None = AUTHORITY.certificate) -> HaProxy:
        self.haproxy = HaProxy(self._folder, self.dns.address, authority=authority, key=key)
        await self.haproxy.start()
        return self.haproxy

    async def close(self) -> None:
        await self.haproxy.stop()
        for engine in self._engines:
            await engine.die()
        await self.dns.stop()


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    made = Stage(folder)
    await made.dns.start()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def staged(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as made:
        yield made


async def ask(proxy: HaProxy, session: aiohttp.ClientSession, **headers: str) -> tuple[int, str]:
    async with session.post(proxy.url + "/v1/completions", json={"prompt": PROMPT}, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_a_client_needs_neither_key_nor_authority(staged: Stage) -> None:
    there = await staged.engine(machine("a"))
    staged.dns.members = {TLS: (there,)}
    proxy = await staged.proxy()
    await until(proxy.ready, "the proxy finds the machine")
    async with aiohttp.ClientSession() as session:
        assert await ask(proxy, session) == (200, "a")
        # Who asks the machine itself, without the key, is refused by the engine.
        direct = f"https://{there}/v1/models"
        async with session.get(direct, ssl=False) as answer:
            assert answer.status == 401
        async with session.get(direct, ssl=False, headers={"Authorization": f"Bearer {KEY}"}) as answer:
            assert answer.status == 200


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this kernel has no IPv6")
async def test_a_cluster_of_ipv6_alone_is_served_as_well(tmp_path: Path) -> None:
    made = Stage(tmp_path)
    await made.dns.start("::1")
    try:
        made.dns.members = {TLS: (await made.engine(machine("a"), "::1"),)}
        proxy = await made.proxy()
        await until(proxy.ready, "the proxy finds the machine")
        async with aiohttp.ClientSession() as session:
            assert await ask(proxy, session) == (200, "a")
            async with session.get(f"http://[::1]:{proxy.port}{PROXY_PATH}") as answer:  # as the kubelet does
                assert answer.status == 200
    finally:
        await made.close()


async def test_a_key_that_the_user_gave_is_asked_of_the_client(staged: Stage) -> None:
    staged.dns.members = {TLS: (await staged.engine(machine("a")),)}
    proxy = await staged.proxy(key=None)
    await until(proxy.ready, "the proxy finds the machine")
    async with aiohttp.ClientSession() as session:
        assert (await ask(proxy, session))[0] == 401
        assert await ask(proxy, session, Authorization=f"Bearer {KEY}") == (200, "a")


async def test_nobody_on_the_way_reads_a_prompt_or_the_key(staged: Stage) -> None:
    tap = Tap(await staged.engine(machine("a")))
    staged.dns.members = {TLS: (await tap.start(),)}
    proxy = await staged.proxy()
    await until(proxy.ready, "the proxy finds the machine")
    async with aiohttp.ClientSession() as session:
        assert await ask(proxy, session) == (200, "a")
    await tap.stop()
    assert len(tap.seen) > 1000
    for secret in (PROMPT, "canary", KEY, "Bearer", "/v1/completions"):
        assert secret.encode() not in tap.seen


@pytest.mark.parametrize(
    "stranger",
    [
        machine("a", authority=make_authority("stranger", NOW)),
        machine("a", uid="11111111-4e5f-6789-abcd-ef0123456789"),
        StandIn("a"),
    ],
    ids=["another authority", "another deployment", "no TLS"],
)
async def test_a_stranger_at_the_address_of_a_machine_gets_no_request(staged: Stage, stranger: StandIn) -> None:
    there, ours = await staged.engine(stranger), machine("ours")
    staged.dns.members = {TLS: (there, await staged.engine(ours, "127.0.0.2"))}
    proxy = await staged.proxy()
    in_a_row = 0

    async def noticed() -> bool:
        nonlocal in_a_row
        async with aiohttp.ClientSession() as session:
            in_a_row = in_a_row + 1 if await ask(proxy, session) == (200, "ours") else 0
        return in_a_row == 20

    await until(proxy.ready, "the proxy finds our machine")
    await until(noticed, "the proxy notices that one of them is not ours")
    assert stranger.headers == []


async def test_machines_of_a_deleted_authority_serve_beside_those_of_the_next_one(staged: Stage) -> None:
    later = make_authority("test", NOW)
    old, new = machine("old"), machine("new", authority=later)
    staged.dns.members = {TLS: (await staged.engine(old), await staged.engine(new, "127.0.0.2"))}
    proxy = await staged.proxy(authority=later.certificate + AUTHORITY.certificate)
    await until(proxy.ready, "the proxy finds a machine")
    seen: set[str] = set()

    async def both() -> bool:
        async with aiohttp.ClientSession() as session:
            seen.add((await ask(proxy, session))[1])
        return seen == {"old", "new"}

    await until(both, "both machines get requests")


async def test_engines_of_the_cluster_and_machines_serve_side_by_side(staged: Stage) -> None:
    staged.dns.members = {
        PLAIN: (await staged.engine(StandIn("here", key=KEY)),),
        TLS: (await staged.engine(machine("there"), "127.0.0.2"),),
    }
    proxy = await staged.proxy()
    await until(proxy.ready, "the proxy finds an engine")
    seen: set[str] = set()

    async def both() -> bool:
        async with aiohttp.ClientSession() as session:
            status, name = await ask(proxy, session)
        if status == 200:
            seen.add(name)
        return seen == {"here", "there"}

    await until(both, "both kinds answer")


async def test_a_stream_comes_piece_by_piece_and_outlives_a_change_of_members(staged: Stage) -> None:
    old, new = machine("old"), machine("new")
    staged.dns.members = {TLS: (await staged.engine(old),)}
    proxy = await staged.proxy()
    await until(proxy.ready, "the proxy finds the old machine")
    async with aiohttp.ClientSession() as other, aiohttp.ClientSession() as session:
        async with session.post(proxy.url + "/v1/stream") as answer:
            assert await asyncio.wait_for(answer.content.readline(), 5) == b"data: token\n"  # while the engine waits
            staged.dns.members = {TLS: (await staged.engine(new, "127.0.0.2"),)}

            async def arrived() -> bool:
                return await ask(proxy, other) == (200, "new")

            await until(arrived, "requests go to the new machine")
            old.go_on.release()
            old.go_on.release()
            rest = await asyncio.wait_for(answer.content.read(), 5)
            assert rest.count(b"data: token") == 2
        in_a_row = 0

        async def left() -> bool:
            nonlocal in_a_row
            status, name = await ask(proxy, other)
            assert status == 200  # none is lost on the way
            in_a_row = in_a_row + 1 if name == "new" else 0
            return in_a_row == 20

        await until(left, "no request goes to the old machine any more")


@pytest.mark.parametrize("code", [NO_SUCH_NAME, 0])
async def test_the_last_engine_of_its_kind_gets_no_request_once_it_has_left(staged: Stage, code: int) -> None:
    staged.dns.code_of_none = code
    here, there = StandIn("here", key=KEY), machine("there")
    staged.dns.members = {PLAIN: (await staged.engine(here),), TLS: (await staged.engine(there, "127.0.0.2"),)}
    proxy = await staged.proxy()
    await until(proxy.ready, "the proxy finds an engine")
    async with aiohttp.ClientSession() as session:

        async def both() -> bool:
            return (await ask(proxy, session))[0] == 200 and min(here.requests, there.requests) > 0

        await until(both, "both kinds serve")
        del staged.dns.members[PLAIN]
        in_a_row = 0

        async def left() -> bool:
            nonlocal in_a_row
            answer = await ask(proxy, session)
            assert answer[0] == 200
            in_a_row = in_a_row + 1 if answer[1] == "there" else 0
            return in_a_row == 20

        await until(left, "requests go to the other kind only")


async def test_a_machine_that_dies_costs_no_request_that_has_not_begun_to_be_answered(staged: Stage) -> None:
    first, second = machine("first"), machine("second")
    staged.dns.members = {TLS: (await staged.engine(first), await staged.engine(second, "127.0.0.2"))}
    proxy = await staged.proxy()
    await until(proxy.ready, "the proxy finds a machine")
    async with aiohttp.ClientSession() as session:

        async def both() -> bool:
            return await ask(proxy, session) is not None and min(first.requests, second.requests) > 0

        await until(both, "both machines serve")
        await first.die()
        answers = [await ask(proxy, session) for _ in range(100)]
    assert set(answers) == {(200, "second")}


async def test_a_proxy_without_an_engine_says_so(staged: Stage) -> None:
    staged.dns.members = {}
    proxy = await staged.proxy()

    async def says_so() -> bool:
        return await proxy.status("/deepseek-operator/proxy") == 503

    await until(says_so, "the proxy is up and not ready")


@pytest.mark.parametrize("request_of_each", [b"", b"POST /v1/long HTTP/1.1\r\nHost: r1\r\n\r\n"], ids=["idle", "busy"])
async def test_a_proxy_with_many_clients_still_says_that_it_is_well(staged: Stage, request_of_each: bytes) -> None:
    """Kubernetes and the operator would take it out of the Service, and the next one would have its clients as well."""
    staged.dns.members = {PLAIN: (await staged.engine(StandIn("a")),)}
    proxy = await staged.proxy(key=None, authority=None)
    await until(proxy.ready, "the proxy finds the engine")
    clients = [await asyncio.open_connection("127.0.0.1", proxy.port) for _ in range(REQUESTS + 1)]
    for _, writer in clients[:-1]:
        writer.write(request_of_each)

    async def taken() -> bool:
        return await asyncio.wait_for(proxy.status("/v1/models"), 5) == (503 if request_of_each else 200)

    await until(taken, "idle clients keep nobody from asking, and too many requests are refused at once")
    assert await asyncio.wait_for(proxy.status(PROXY_PATH), 5) == 200
    for _, writer in clients:
        writer.close()


async def test_silent_dns_changes_nothing(staged: Stage) -> None:
    staged.dns.members = {TLS: (await staged.engine(machine("a")),)}
    proxy = await staged.proxy()
    await until(proxy.ready, "the proxy finds the machine")
    staged.dns.silent = True
    asked = len(staged.dns.asked)

    async def tried() -> bool:
        return len(staged.dns.asked) > asked + 6

    await until(tried, "several questions stay without an answer")
    assert await proxy.ready()


async def test_a_proxy_that_is_replaced_ends_its_streams_first(staged: Stage) -> None:
    engine = machine("a")
    staged.dns.members = {TLS: (await staged.engine(engine),)}
    proxy = await staged.proxy()
    await until(proxy.ready, "the proxy finds the machine")
    async with aiohttp.ClientSession() as session, session.post(proxy.url + "/v1/stream") as answer:
        await answer.content.readline()
        assert proxy.process is not None
        os.kill(proxy.process.pid, signal.SIGUSR1)

        async def closed() -> bool:
            return await proxy.status("/health") == 0

        await until(closed, "it takes no new connections")
        engine.go_on.release()
        engine.go_on.release()
        assert (await asyncio.wait_for(answer.content.read(), 5)).count(b"data: token") == 2
    assert await asyncio.wait_for(proxy.process.wait(), 10) == 0


async def test_an_engine_hears_that_a_client_has_gone_away(staged: Stage) -> None:
    """Else it goes on computing, for as long as an answer may be, what nobody waits for."""
    engine = machine("a")
    staged.dns.members = {TLS: (await staged.engine(engine),)}
    proxy = await staged.proxy()
    await until(proxy.ready, "the proxy finds the machine")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(TimeoutError):
            await session.post(proxy.url + "/v1/long", json={}, timeout=aiohttp.ClientTimeout(total=1))

    async def abandoned() -> bool:
        return engine.abandoned == 1

    await until(abandoned, "the engine hears it")


async def test_a_request_may_be_larger_than_a_buffer(staged: Stage) -> None:
    engine = machine("a")
    staged.dns.members = {TLS: (await staged.engine(engine),)}
    proxy = await staged.proxy()
    await until(proxy.ready, "the proxy finds the machine")
    body = b" " * 8_000_000
    async with aiohttp.ClientSession() as session, session.post(proxy.url + "/v1/completions", data=body) as answer:
        assert answer.status == 200
    assert engine.received == len(body)
