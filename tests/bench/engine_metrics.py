"""What reading an engine's figures costs, beside a full parser of Prometheus' text format.

``python -m tests.bench.engine_metrics``
"""

import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from deepseek_operator.engines import VLLM
from deepseek_operator.engines.metrics import read_figures
from deepseek_operator.feeds.engines import PERIOD_S

REPORTED = Path(__file__).parents[1] / "unit" / "engines" / "reported" / "vllm-0.32.0.txt"
ENGINES = 1000


def microseconds(work: Callable[[], object], times: int) -> float:
    """Return the CPU time of one call, the best of five rounds."""
    rounds = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(times):
            work()
        rounds.append((time.process_time() - began) / times)
    return min(rounds) * 1e6


def main() -> None:
    """Print both, their ratio, and what a thousand engines take."""
    body = REPORTED.read_bytes()
    ours = microseconds(lambda: read_figures(VLLM.metrics, body), 200)
    parser = microseconds(lambda: list(text_string_to_metric_families(body.decode())), 5)
    print(f"{len(body):,} bytes: {ours:.0f} us; a full parser {parser:,.0f} us, {parser / ours:.0f} times as long")
    print(
        f"{ENGINES:,} engines every {PERIOD_S:g} s: {ours * ENGINES / PERIOD_S / 1e4:.2f} % of a core for reading them"
    )


if __name__ == "__main__":
    main()
