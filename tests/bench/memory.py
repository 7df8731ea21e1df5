"""``make bench-memory``: what the operator keeps of each deployment, and the most that it needs while it starts.

A process with the same imports as ``deepseek-operator run`` starts beside so many deployments that are Ready, as after
an upgrade: it lists them a page at a time, takes SkyPilot's snapshot and makes one pass over each. Lists and snapshots
are decoded from JSON like those of the real servers; connections are not part of it (``make bench-scale`` has them).
"""

import argparse
import asyncio
import gc
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

import structlog

import deepseek_operator.cli.main  # noqa: F401 - what `deepseek-operator run` imports is part of the figure
from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.catalog import load_catalog
from deepseek_operator.facts.base import Address, Known, Probe, ProbeTarget
from deepseek_operator.facts.store import Key
from deepseek_operator.kube.reader import KubeReader
from deepseek_operator.planning import Planner
from deepseek_operator.runtime.loop import ControlLoop, Outside
from deepseek_operator.skypilot import wire
from deepseek_operator.skypilot.client import Snapshot

Body = dict[str, Any]

UID: Final = "00000000-4e5f-6789-abcd-ef0123456789"
NAME: Final = "d0"
LISTED: Final = (api.PLURAL, "pods", "services", "endpointslices")
MANAGED: Final[Body] = {"manager": "m", "fieldsV1": {f"f:{number:020}": {"f:x": {}} for number in range(60)}}
"""Stands for what a real API server adds to an object: 2 to 3 KB of ``managedFields``."""


def settled() -> Body:
    """Return the objects of one deployment that is Ready, by plural, and the row of its cluster."""
    # Here, because the process that is measured needs nothing of the simulation.
    from tests.simulation.clock import VirtualLoop, run_virtually
    from tests.simulation.fleet import Fleet

    loop = VirtualLoop()

    async def run() -> Body:
        fleet = Fleet(loop, 1)
        fleet.create(1)
        fleet.process.start()
        await asyncio.sleep(300)
        assert fleet.ready == {NAME}
        objects: Body = {plural: [] for plural in LISTED}
        for (plural, _, _), body in fleet.kubernetes.objects.items():
            if plural in LISTED:
                objects[plural].append(body)
        clusters = fleet.skypilot.snapshot().clusters
        return objects | {"clusters": sorted(clusters)}

    return run_virtually(run(), loop)


class _Servers:
    """Answers for both servers, with so many copies of one deployment."""

    def __init__(self, one: Body, count: int) -> None:
        self._count = count
        self._texts = {plural: [self._text(body) for body in one[plural]] for plural in LISTED}
        self._clusters: list[str] = one["clusters"]

    @staticmethod
    def _text(body: Body) -> str:
        return json.dumps({**body, "metadata": {**body["metadata"], "managedFields": [MANAGED]}})

    @staticmethod
    def _numbered(text: str, number: int) -> str:
        """Return the text of one deployment as that of another."""
        host = f"10.{number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"
        text = text.replace(f"{NAME}-{UID[:8]}", f"d{number}-{number:08x}").replace(UID[:8], f"{number:08x}")
        return re.sub(rf"\b{NAME}\b", f"d{number}", text).replace("10.0.0.1", host)

    async def request(self, method: str, path: str, *, query: Mapping[str, str | int], **_: Any) -> Body:
        """Answer a list, a page at a time; nothing else is asked of what is settled."""
        assert method == "GET", f"{method} {path}: what is settled needs no write"
        texts = self._texts.get(path.rpartition("/")[2], [])
        first = int(query.get("continue", 0))
        last = min(self._count, first + int(query["limit"]) // max(1, len(texts)))
        more = f', "continue": "{last}"' if texts and last < self._count else ""
        page = bytearray(f'{{"metadata": {{"resourceVersion": "900000"{more}}}, "items": [null'.encode())
        for number in range(first, last):
            for text in texts:
                page += f", {self._numbered(text, number)}".encode()
        page += b"]}"
        found: Body = json.loads(page)
        found["items"].pop(0)
        return found

    async def stream(self, path: str, query: Mapping[str, str | int]) -> AsyncIterator[Body]:
        """Answer a watch: nothing changes."""
        await asyncio.Event().wait()
        yield {}

    async def snapshot(self) -> Snapshot:
        """Return a row for each cluster, in the form of SkyPilot 0.14.1."""
        row = {"status": "UP", "cloud": "Kubernetes", "resources_str": "1x(cpus=1)", "nodes": 1}
        row |= {"cluster_hash": "c" * 36, "user_hash": "d5ee9000"}
        rows = [
            {**row, "name": self._numbered(f'"{name}', number)[1:], "last_event": "Cluster is up."}
            for number in range(self._count)
            for name in self._clusters
        ]
        return Snapshot(wire.cluster_rows(json.loads(json.dumps(rows))), {})


class _Prober:
    """Every address answers."""

    def __init__(self, report: Callable[[Address, Known[Probe] | None], None]) -> None:
        self._report, self._seen = report, set[Address]()
        self.keys: set[Key] = set()

    def watch(self, key: Key, targets: Mapping[Address, ProbeTarget]) -> None:
        """Report each new address."""
        self.keys.add(key)
        now = datetime.now(UTC)
        for address in targets.keys() - self._seen:
            self._seen.add(address)
            asyncio.get_running_loop().call_soon(self._report, address, Known(Probe(True, now, "200"), now))

    async def run(self) -> None:
        """Do nothing."""
        await asyncio.Event().wait()


class _Reader:
    """Reads nothing of engines."""

    def watch(self, *_: Any) -> None:
        """Do nothing."""

    async def run(self) -> None:
        """Do nothing."""
        await asyncio.Event().wait()


async def measure(one: Body, count: int, *, types: bool) -> None:
    """Start beside so many deployments, and print a row of the table."""
    servers: Any = _Servers(one, count)
    planner = Planner(load_catalog())
    gc.collect()
    gc.freeze()
    before = _status("VmRSS")
    objects_before = _objects() if types else Counter[tuple[str, str]]()
    probers: list[_Prober] = []

    def prober(report: Any) -> _Prober:
        probers.append(_Prober(report))
        return probers[0]

    outside = Outside(
        skypilot=servers,
        reader=KubeReader(servers),
        writer=servers,
        prober=prober,
        engines=lambda _: _Reader(),
        clock=lambda: datetime.now(UTC),
    )
    loop = ControlLoop(outside, planner)
    loop.start()
    loop.lead()
    while len(probers[0].keys) < count or len(loop.queue) or loop.reconciler.unsettled:
        await asyncio.sleep(0.2)
        assert not (trouble := loop.trouble()), trouble
    peak = _status("VmHWM")
    gc.collect()
    after = _status("VmRSS")
    each_kib = 1024 * (after - before) / count
    print(f"| {count:,} | {before:.0f} | {after:.0f} | {peak:.0f} | {each_kib:.1f} |", flush=True)
    if types:
        kept = _objects() - objects_before
        total = sum(size for (_, what), size in kept.items() if what == "bytes")
        print(f"{total / count:8.0f} bytes of objects", file=sys.stderr)
        for (name, what), size in sorted(kept.items(), key=lambda pair: -pair[1]):
            if what == "bytes" and size > 64 * count:
                print(f"{size / count:8.0f} bytes, {kept[name, 'number'] / count:6.1f} of {name}", file=sys.stderr)
    await loop.stop()


def _objects() -> Counter[tuple[str, str]]:
    """Return number and bytes of what the collector knows and what that refers to, by class."""
    gc.collect()
    found: Counter[tuple[str, str]] = Counter()
    seen: set[int] = set()
    todo = gc.get_objects()
    while todo:
        one = todo.pop()
        if id(one) in seen or one is found or one is seen or one is todo:
            continue
        seen.add(id(one))
        name = f"{type(one).__module__}.{type(one).__qualname__}"
        found[name, "number"] += 1
        found[name, "bytes"] += sys.getsizeof(one)
        if not gc.is_tracked(one) or isinstance(one, (tuple, dict, list, set, frozenset)):
            continue
        todo += [each for each in gc.get_referents(one) if not isinstance(each, type)]
    return found


def _status(field: str) -> float:
    """Return a figure of ``/proc/self/status``, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def main() -> None:
    """Measure each size in a process of its own, and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("-n", type=int, nargs="+", default=[1000, 10_000], help="deployments (default: %(default)s)")
    parser.add_argument("--types", action="store_true", help="say which classes hold it")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    if options.one is not None:
        asyncio.run(measure(json.loads(options.one.read_text()), options.n[0], types=options.types))
        return
    print("| deployments | MiB before | after | most | KiB each |\n|---|---|---|---|---|", flush=True)
    with NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(settled(), file)
        file.flush()
        for count in options.n:
            flags = ["--one", file.name, "-n", str(count), *(["--types"] if options.types else [])]
            subprocess.run([sys.executable, "-m", "tests.bench.memory", *flags], check=True)


if __name__ == "__main__":
    main()
