"""What the proxy costs: requests through HAProxy to an engine over TLS, beside requests to the engine itself.

Everything stays on loopback. Engine and clients are Python, a process each, so the figures are those of this machine
and the ratios are what counts; an engine that answers at once shows the proxy at its worst.
``python -m tests.bench.proxy``.
"""

import argparse
import asyncio
import multiprocessing
import ssl
import tempfile
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from deepseek_operator.facts.base import Address
from deepseek_operator.facts.names import server_name, shared_server_name
from deepseek_operator.launch.certificates import engine_identity, make_authority
from tests.fakes.dns import FakeDns
from tests.proxy.engines import StandIn, server_context
from tests.proxy.haproxy import UID, HaProxy, until

KEY = "bench-key"
BODY = b'{"prompt": "' + b"x" * 1000 + b'"}'


def serve(identity: str | None, ready: Pipe) -> None:
    """Be an engine, over TLS if it has an identity."""

    async def run() -> None:
        engine = StandIn("engine", key=KEY, context=server_context(identity) if identity else None)
        ready.send(await engine.start())
        await asyncio.Event().wait()

    asyncio.run(run())


def load(address: Address, authority: str | None, concurrency: int, seconds: float, done: Pipe) -> None:
    """Ask again and again over kept connections; send the time of each request in seconds."""

    async def one(times: list[float], until_: float, context: ssl.SSLContext | None) -> None:
        name = shared_server_name(UID) if context is not None else None
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context, server_hostname=name)
        head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(BODY)}"
        request = head.encode() + b"\r\n\r\n" + BODY
        while (began := time.perf_counter()) < until_:
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in answer.split(b"\r\n")[0], answer
            await reader.readexactly(len("engine"))
            times.append(time.perf_counter() - began)
        writer.close()

    async def run() -> None:
        context = ssl.create_default_context(cadata=authority) if authority else None
        times: list[float] = []
        end = time.perf_counter() + seconds
        await asyncio.gather(*(one(times, end, context) for _ in range(concurrency)))
        done.send(times)

    asyncio.run(run())


Times = tuple[float, float, float]


async def measured(address: Address, authority: str | None, concurrency: int, seconds: float) -> Times:
    """Return p50 and p99 in milliseconds, and requests a second."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=load, args=(address, authority, concurrency, seconds, theirs))
    process.start()
    times = sorted(await asyncio.to_thread(ours.recv))
    process.join()
    return 1000 * times[len(times) // 2], 1000 * times[len(times) * 99 // 100], len(times) / seconds


def started(identity: str | None) -> tuple[multiprocessing.Process, Address]:
    """Start an engine."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(identity, theirs), daemon=True)
    process.start()
    return process, ours.recv()


def memory_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


async def run(seconds: float) -> None:
    """Measure each way and print a table."""
    now = datetime.now(UTC)
    authority = make_authority("bench", now)
    identity = engine_identity(authority, (server_name("bench", UID), shared_server_name(UID)), now)
    (plain_process, plain), (tls_process, tls) = started(None), started(identity)
    proxies = []
    ways: list[tuple[str, Address, str | None]] = [
        ("direct", plain, None),
        ("direct over TLS", tls, authority.certificate),
    ]
    for name, service, engine in (("proxy", "r1-plain", plain), ("proxy, TLS behind it", "r1-tls", tls)):
        proxy_dns = FakeDns()
        await proxy_dns.start()
        proxy_dns.members = {f"{service}.serving.svc.test": (engine,)}
        proxy = HaProxy(Path(tempfile.mkdtemp()), proxy_dns.address, authority=authority.certificate, key=KEY)
        await proxy.start()
        await until(proxy.ready, "the proxy is ready")
        proxies.append((proxy, proxy_dns))
        ways.append((name, Address("127.0.0.1", proxy.port), None))
    print(f"{'':22}{'c':>4}{'p50 ms':>9}{'p99 ms':>9}{'req/s':>9}{'p50 ratio':>11}{'p99 ratio':>11}")
    for concurrency in (1, 32):
        base: Times | None = None
        for name, address, ca in ways:
            found = await measured(address, ca, concurrency, seconds)
            base = base or found
            ratios = f"{found[0] / base[0]:>11.2f}{found[1] / base[1]:>11.2f}"
            print(f"{name:22}{concurrency:>4}{found[0]:>9.3f}{found[1]:>9.3f}{found[2]:>9.0f}{ratios}")
    for (proxy, proxy_dns), (name, *_) in zip(proxies, ways[2:], strict=True):
        assert proxy.process is not None
        print(f"{name}: {memory_mib(proxy.process.pid):.0f} MiB")
        await proxy.stop()
        await proxy_dns.stop()
    for process in (plain_process, tls_process):
        process.kill()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.proxy", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement (default: %(default)s)")
    asyncio.run(run(parser.parse_args().seconds))


if __name__ == "__main__":
    main()
