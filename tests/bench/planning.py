"""How many plans a second: ``python -m tests.bench.planning [PLANS]`` prints JSON.

A mix of what users write: every model of the catalog with GPUs given and with GPUs left to the planner. A reconcile
plans once per pass and waits for HTTP many times; the test beside this file holds the slowest plan below the quickest
of those waits.
"""

import gc
import itertools
import json
import statistics
import sys
import time

from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.catalog import load_catalog
from deepseek_operator.launch import Identity, build_task
from deepseek_operator.planning import PlanInputError, Planned, plan

__all__ = ["measure"]

CONTEXT = Identity("chat-1a2b3c4d-9f8e-0", "prod", "chat", "1a2b3c4d-0000-4000-8000-000000000000", "9f8e", "sa")
PARTS: list[dict[str, object]] = [
    {},
    {"resources": {"infra": ["kubernetes"]}},
    {"resources": {"infra": ["aws", "gcp"], "maxHourlyCost": "500"}},
    {"resources": {"accelerators": ["H200:8"], "infra": ["kubernetes"]}},
    {"resources": {"accelerators": ["L4:1", "A10G:1"]}},
    {"resources": {"accelerators": ["H100:8"], "nodes": 2}},
    {"objective": {"ranking": "LowestCostPerToken"}},
    {"objective": {"minTokensPerSecondPerRequest": 20, "concurrency": 16}, "resources": {"infra": ["kubernetes"]}},
]


def measure(plans: int) -> dict[str, float]:
    """Return plans per second of CPU time, tasks built, and milliseconds of a plan: median, 99th percentile, worst."""
    catalog = load_catalog()
    specs = [
        DeepSeekDeploymentSpec.model_validate({"model": {"name": model}, **parts})
        for model, parts in itertools.product(catalog.models, PARTS)
    ]
    gc.collect()
    gc.freeze()  # as the operator does once it has started
    times = []
    start = time.process_time()
    for spec in itertools.islice(itertools.cycle(specs), plans):
        began = time.process_time()
        try:
            result = plan(spec, catalog)
            if result.launchable:
                build_task(Planned.of(spec, result), CONTEXT)
        except PlanInputError:
            pass
        times.append((time.process_time() - began) * 1000)
    total = time.process_time() - start
    ordered = sorted(times)
    return {
        "plans": plans,
        "plansPerSecond": round(plans / total, 1),
        "medianMs": round(statistics.median(times), 3),
        "p99Ms": round(ordered[int(0.99 * len(ordered))], 3),
        "worstMs": round(ordered[-1], 3),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000), indent=2))
