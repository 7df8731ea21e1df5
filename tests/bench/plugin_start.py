"""How long ``kubectl deepseek`` takes to start: ``python -m tests.bench.plugin_start [RUNS]`` prints JSON.

``status`` asks a kubectl that only prints files: neither kubectl's own start nor the API server is in the figures. On a
terminal Rich comes on top. The fastest run counts for the promise, the others measure what else the machine does; CPU
is what the plugin's own process used.
"""

import json
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

__all__ = ["LIMIT_MS", "measure"]

LIMIT_MS = 300
PROGRAM = Path(sys.executable).parent / "kubectl-deepseek"
DEPLOYMENTS: dict[str, Any] = {
    "items": [
        {
            "apiVersion": "deepseek-operator.io/v1alpha1",
            "kind": "DeepSeekDeployment",
            "metadata": {"name": f"r{index}", "namespace": "default", "uid": f"0a1b2c3d-{index}"},
            "spec": {"model": {"name": "deepseek-ai/DeepSeek-R1"}, "replicas": 1},
            "status": {
                "readyReplicas": 1,
                "cost": {"hourly": "0.00"},
                "instances": [{"name": f"r{index}-0a1b2c3d-9f8e7d6c-0", "phase": "Ready", "infra": "kubernetes"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": "Ready"}],
            },
        }
        for index in range(8)
    ]
}
KUBECTL = """#!/bin/sh
case "$*" in
*deepseekdeployments*) exec cat "$0.deployments" ;;
*) echo '{"items": []}' ;;
esac
"""


def measure(runs: int) -> dict[str, dict[str, int]]:
    """Return milliseconds from start to end of each command, fastest and median, and of CPU time."""
    with tempfile.TemporaryDirectory() as directory:
        kubectl = Path(directory) / "kubectl"
        kubectl.write_text(KUBECTL, encoding="utf-8")
        kubectl.chmod(0o755)
        Path(f"{kubectl}.deployments").write_text(json.dumps(DEPLOYMENTS), encoding="utf-8")
        environment = {**os.environ, "KUBECTL": str(kubectl), "TERM": "xterm-256color"}
        return {
            "--help": _times(runs, ["--help"], environment, terminal=False),
            "status": _times(runs, ["status"], environment, terminal=False),
            "status on a terminal": _times(runs, ["status"], environment, terminal=True),
        }


def _times(runs: int, words: list[str], environment: dict[str, str], *, terminal: bool) -> dict[str, int]:
    times, used = [], []
    for _ in range(runs):
        began = time.perf_counter()
        used.append(_run(words, environment, terminal=terminal) * 1000)
        times.append((time.perf_counter() - began) * 1000)
    return {
        "fastestMs": round(min(times)),
        "medianMs": round(statistics.median(times)),
        "cpuMs": round(statistics.median(used)),
    }


def _run(words: list[str], environment: dict[str, str], *, terminal: bool) -> float:
    """Run the plugin; return the seconds of CPU that it used."""
    ours, theirs = pty.openpty() if terminal else (None, os.open(os.devnull, os.O_WRONLY))
    try:
        process = subprocess.Popen([str(PROGRAM), *words], env=environment, stdout=theirs)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, f"kubectl deepseek {' '.join(words)} ended with {process.returncode}"
        return usage.ru_utime + usage.ru_stime
    finally:
        os.close(theirs)
        if ours is not None:
            os.close(ours)


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 20), indent=2))
