"""What a probe costs, beside the same request through aiohttp; and whether silent addresses delay healthy ones.

Everything stays on loopback: each engine is an address of 127.0.0.0/8. Silent addresses have a listener whose backlog
is full, so that connections to them are never answered, as those to a lost node are not.
``python -m tests.bench.probes --help``.
"""

import argparse
import asyncio
import itertools
import multiprocessing
import random
import socket
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe

import aiohttp

from deepseek_operator.facts.base import Address, ProbeTarget
from deepseek_operator.feeds.http_probe import Answer, Connection, NoAnswer
from deepseek_operator.feeds.probes import Prober
from tests.fakes.listener import Listener

KEY = ("bench", "probes")
PORT = 18000


def serve(hosts: list[str], port: int, ready: Pipe) -> None:
    """Answer for all engines, in a process of its own."""

    async def run() -> None:
        listener = Listener()
        for host in hosts:
            await listener.start(host, port)
        ready.send(None)
        await asyncio.Event().wait()

    asyncio.run(run())


def silent_listener() -> tuple[int, list[socket.socket]]:
    """Return a port on which connections are neither accepted nor refused, and what keeps it so."""
    listener = socket.socket()
    listener.bind(("0.0.0.0", 0))
    listener.listen(0)
    port = int(listener.getsockname()[1])
    clients = []
    for _ in range(2):  # one more than the backlog, which Linux counts from zero
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
        clients.append(client)
    return port, [listener, *clients]


async def by_prober(hosts: list[str], silent: int, seconds: float) -> tuple[float, float, list[float]]:
    """Return the CPU microseconds of a probe, probes a second, and the longest pause of each healthy address."""
    asked: dict[str, list[float]] = {host: [] for host in hosts}
    port, kept = silent_listener()

    class Counting(Connection):
        def __init__(self, address: Address, target: ProbeTarget) -> None:
            super().__init__(address, keep_alive=target.keep_alive)
            self._asked = asked.get(address.host)

        def ask(self, path: str, answered: Callable[[Answer | NoAnswer], None]) -> None:
            if self._asked is not None:
                self._asked.append(time.monotonic())
            super().ask(path, answered)

    prober = Prober(lambda *_: None, Counting)
    targets = {Address(host, PORT): ProbeTarget() for host in hosts}
    targets |= {Address(f"127.200.{i // 250}.{i % 250 + 1}", port): ProbeTarget() for i in range(silent)}
    task = asyncio.create_task(prober.run())
    prober.watch(KEY, targets)
    await asyncio.sleep(3)
    for moments in asked.values():
        moments.clear()
    cpu, began = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    used, lasted = time.process_time() - cpu, time.monotonic() - began
    task.cancel()
    for each in kept:
        each.close()
    probes = sum(map(len, asked.values()))
    pauses = [max(b - a for a, b in itertools.pairwise(moments)) for moments in asked.values()]
    return used / probes * 1e6, probes / lasted, pauses


async def by_aiohttp(hosts: list[str], seconds: float) -> float:
    """Return the CPU microseconds of a request over a kept connection of aiohttp, one a second to each engine."""
    probes = 0

    async def probe(session: aiohttp.ClientSession, host: str) -> None:
        nonlocal probes
        await asyncio.sleep(random.random())
        while True:
            async with session.get(f"http://{host}:{PORT}/health") as response:
                await response.read()
            probes += 1
            await asyncio.sleep(1)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        tasks = [asyncio.create_task(probe(session, host)) for host in hosts]
        await asyncio.sleep(3)
        cpu, before = time.process_time(), probes
        await asyncio.sleep(seconds)
        used = time.process_time() - cpu
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return used / (probes - before) * 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.probes", description=__doc__)
    parser.add_argument("-n", type=int, default=1000, help="healthy engines (default: %(default)s)")
    parser.add_argument("--silent", type=int, nargs="*", default=[0, 100, 400], help="silent addresses beside them")
    parser.add_argument("--seconds", type=float, default=15)
    options = parser.parse_args()
    hosts = [f"127.100.{i // 250}.{i % 250 + 1}" for i in range(options.n)]
    receiver, sender = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(hosts, PORT, sender), daemon=True)
    server.start()
    receiver.recv()
    try:
        theirs = asyncio.run(by_aiohttp(hosts, options.seconds))
        print(f"{options.n} engines, one probe a second each; a request through aiohttp: {theirs:.0f} us of CPU")
        for silent in options.silent:
            ours, rate, pauses = asyncio.run(by_prober(hosts, silent, options.seconds))
            print(
                f"  {silent:4} silent addresses: {ours:.0f} us a probe ({ours / theirs:.2f} of aiohttp), {rate:.0f} a"
                f" second; longest pause of a healthy engine: median {statistics.median(pauses):.2f} s,"
                f" most {max(pauses):.2f} s"
            )
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
