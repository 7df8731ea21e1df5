"""``make bench-growth``: what grows with the number of deployments, up to more of them than this machine can hold.

The real control loop brings N deployments up on a virtual clock, against the simulated API server and a simulated
SkyPilot with as many launch workers as wanted; then it does nothing for ten minutes of that clock, and at last all are
deleted. CPU seconds are those of the loop and of what is simulated around it, so they are an upper limit, and what
counts is whether they grow faster than N. Not in them: HTTP, TLS, JSON and probes, which ``make bench-scale`` measures.
"""

import argparse
import asyncio
import resource
import subprocess
import sys
import time
from typing import Final

import structlog

from tests.simulation.clock import VirtualLoop, run_virtually
from tests.simulation.fleet import Fleet

SETTLED_S: Final = 600.0


def measure(count: int, launch_workers: int) -> None:
    """Bring so many deployments up, do nothing for a while, and print a row of the table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    loop = VirtualLoop()

    async def run() -> None:
        fleet = Fleet(loop, launch_workers)
        fleet.create(count)
        began = time.process_time()
        fleet.process.start()
        while len(fleet.ready) < count:
            await asyncio.sleep(5)
        create_s, took_s, calls = time.process_time() - began, loop.time(), fleet.process.loop.skypilot.calls
        writes = len(fleet.kubernetes.writes)
        await asyncio.sleep(60)
        began, settled_writes = time.process_time(), len(fleet.kubernetes.writes)
        await asyncio.sleep(SETTLED_S)
        settled_s, settled_writes = time.process_time() - began, len(fleet.kubernetes.writes) - settled_writes
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        began, begun, before = time.process_time(), loop.time(), len(fleet.kubernetes.writes)
        fleet.delete()
        while fleet.left:
            await asyncio.sleep(1)
        delete_s, delete_writes = time.process_time() - began, len(fleet.kubernetes.writes) - before
        print(
            f"| {count:,} | {create_s:.1f} | {1000 * create_s / count:.2f} | {took_s:,.0f} | {calls / 2:,.0f} "
            f"| {writes / count:.1f} | {settled_s / SETTLED_S:.4f} | {settled_writes} "
            f"| {peak_mib:,.0f} | {1000 * delete_s / count:.2f} | {loop.time() - begun:,.0f} "
            f"| {delete_writes / count:.1f} |",
            flush=True,
        )

    run_virtually(run(), loop)


def main() -> None:
    """Measure each size in a process of its own, and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    sizes = [100, 1000, 10_000]
    parser.add_argument("-n", type=int, nargs="+", default=sizes, help="deployments (default: %(default)s)")
    parser.add_argument("--launch-workers", type=int, default=50, help="of SkyPilot (default: %(default)s)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.n[0], options.launch_workers)
        return
    print(f"{options.launch_workers} launch workers\n")
    columns = ["deployments", "CPU s until all Ready", "ms each", "virtual s", "snapshots", "writes each"]
    columns += ["settled: cores", "writes in 10 min", "MiB, everything"]
    columns += ["deleted: ms each", "virtual s", "writes each"]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
    for count in options.n:
        flags = ["--one", "-n", str(count), "--launch-workers", str(options.launch_workers)]
        subprocess.run([sys.executable, "-m", "tests.bench.growth", *flags], check=True)


if __name__ == "__main__":
    main()
