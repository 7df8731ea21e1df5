"""``make bench-scale N=1000``: what many deployments cost the operator, beside goals and earlier figures.

CPU seconds are the figures to compare: wall times depend on what else the machine does, so its load is printed, too.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench.scale import kuberay, phases
from tests.bench.scale.ground import Ground, ground
from tests.bench.scale.report import median, table

PHASES = ("create", "settled", "newcomers", "dying", "edit", "restart", "delete")


def main() -> None:
    """Run the phases in turn, some times, and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("-n", type=int, default=1000, help="deployments (default: %(default)s; at most 1,900)")
    parser.add_argument("--runs", type=int, default=1, help="the median of so many runs is printed")
    parser.add_argument("--phases", nargs="*", choices=PHASES, default=PHASES, help="some of them; create always runs")
    parser.add_argument("--settled-seconds", type=float, default=60)
    parser.add_argument("--operator-flag", action="append", default=[], help="more flags of `deepseek-operator run`")
    parser.add_argument("--log", type=Path, default=Path("/tmp/dsd-bench-operator.log"), help="the operator's log")
    parser.add_argument("--kuberay", type=Path, help="a checkout of KubeRay's ray-operator with its `manager` built")
    parser.add_argument("--json", type=Path, help="write all figures here, too")
    options = parser.parse_args()
    if options.kuberay is not None and not (options.kuberay / "manager").is_file():
        parser.error(f"--kuberay: {options.kuberay}/manager does not exist; build it there: go build -o manager .")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended, too
    runs = []
    for number in range(options.runs):
        print(f"run {number + 1} of {options.runs}: {options.n} deployments", flush=True)
        with ground(options.log, tuple(options.operator_flag)) as found:
            figures = _run(found, options)
        if options.kuberay is not None:
            print(f"KubeRay: {options.n} RayClusters ...", flush=True)
            log = options.log.with_name("dsd-bench-kuberay.log")
            figures |= kuberay.measure(options.kuberay, options.n, options.settled_seconds, log)
        runs.append(figures)
    figures = median(runs)
    if options.json:
        options.json.write_text(json.dumps({"n": options.n, "median": figures, "runs": runs}, indent=1))
    print(table(figures, options.n))


def _run(found: Ground, options: argparse.Namespace) -> phases.Figures:
    names = [f"scale-{index}" for index in range(options.n)]
    figures: phases.Figures = {}
    steps: dict[str, Callable[[], phases.Figures]] = {
        "create": lambda: phases.create(found, names, beside=12),
        "settled": lambda: phases.settled(found, options.settled_seconds),
        "newcomers": lambda: phases.newcomers(found, 12),
        "dying": lambda: phases.dying(found, 10),
        "edit": lambda: phases.edit(found, names),
        "restart": lambda: phases.restart(found, options.settled_seconds),
        "delete": lambda: phases.delete(found, sorted(found.deployments.there)),
    }
    for name, step in steps.items():
        if name == "create" or name in options.phases:
            print(f"{name} ...", flush=True)
            brought = step()
            figures |= brought
            print("  " + ", ".join(f"{key} {value:.3g}" for key, value in brought.items()), flush=True)
    return figures


if __name__ == "__main__":
    main()
