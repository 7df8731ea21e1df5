"""The models of speed and memory against what others measured and published: cases without a part in any fit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepseek_operator.api.spec import EngineName
from deepseek_operator.catalog import ModelInfo
from deepseek_operator.planning.layout import Layout
from deepseek_operator.planning.memory import Memory, default_batch, graphs_gib, measure, weights_gib
from deepseek_operator.planning.overrides import Overrides
from deepseek_operator.planning.speed import (
    Traffic,
    step_seconds,
    time_to_first_token_seconds,
)
from tests.unit.planning.crowd import Crowd, seconds_for
from tests.unit.planning.measured import gpu_named
from tests.unit.planning.measured import model_named as measured_model
from tests.unit.planning.shapes import OTHERS

PAGE = Path(__file__).parents[3] / "docs" / "planning.md"
CASES: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("published.yaml").read_text(encoding="utf-8"))
SOURCES = CASES["sources"]
COUNTS_GRAPHS = (0, 21)
"""vLLM counts CUDA graphs against its budget since then (pull request 30515; its log says "default since v0.21.0")."""
GIB, GB = 2**30, 10**9
MOST_REQUESTS, LEAST_GB, LEAST_SHARE = 16, 25, 0.6
"""The rule ``variant`` in figures: requests and gigabytes of a step, and share of the row's bandwidth."""
LISTS = ("speed", "first", "total", "memory")


@dataclass(frozen=True)
class Compared:
    """A published figure beside the model's."""

    row: dict[str, Any]
    published: float
    predicted: float

    @property
    def error(self) -> float:
        """Relative error of the model: above 0 where its figure is higher."""
        return self.predicted / self.published - 1


def model_named(name: str) -> ModelInfo:
    """Return a model of the catalog, or of those that others measured."""
    return OTHERS[name] if name in OTHERS else measured_model(name)


def speed(row: dict[str, Any]) -> Compared:
    """Compare tokens per second of all requests together."""
    model, gpu, overrides = model_named(row["model"]), gpu_named(row["gpu"]), overrides_of(row)
    traffic = Traffic(row["requests"], row["context"])
    seconds = step_seconds(model, gpu, layout_of(row), traffic, overrides, network_gbs=row.get("networkGbs"))
    return Compared(row, 1000 * row["requests"] / row["ms"], row["requests"] / seconds)


def first(row: dict[str, Any]) -> Compared:
    """Compare milliseconds to the first token."""
    model, gpu, overrides, network = (
        model_named(row["model"]),
        gpu_named(row["gpu"]),
        overrides_of(row),
        row.get("networkGbs"),
    )
    seconds = time_to_first_token_seconds(
        model, gpu, layout_of(row), overrides, prompt=row["prompt"], network_gbs=network
    )
    return Compared(row, row["first"], 1000 * seconds)


def total(row: dict[str, Any]) -> Compared:
    """Compare tokens a second, those of prompts and answers, of requests that came all at once."""
    model, gpu, overrides = model_named(row["model"]), gpu_named(row["gpu"]), overrides_of(row)
    crowd = Crowd(row["requests"], row["prompt"], row["answer"])
    memory = memory_of(row, crowd.prompt + crowd.answer)
    return Compared(row, row["total"], crowd.tokens / seconds_for(crowd, model, gpu, layout_of(row), overrides, memory))


def layout_of(row: dict[str, Any]) -> Layout:
    nodes, ranks, copies = row.get("nodes", 1), row.get("tensor", 1), row.get("data", 1)
    return Layout(
        nodes,
        ranks * copies // nodes,
        ranks,
        data_parallel_size=copies,
        expert_parallel=copies > 1 or row.get("experts", False),
    )


def overrides_of(row: dict[str, Any]) -> Overrides:
    return Overrides(
        quantization=row.get("quantization"),
        memory_fraction=row.get("fraction"),
        max_num_seqs=row.get("seqs"),
        max_num_batched_tokens=row.get("tokens"),
        fp8_kv_cache=row.get("fp8Cache", False),
    )


def outdated(row: dict[str, Any]) -> bool:
    """Return whether the planner does not take that engine for the model, or it is vLLM's first engine.

    The same of KV caches of releases that count less against their budget.
    """
    if not row["engine"].startswith("vLLM"):
        return False
    if row in CASES["memory"] and numbers(version_of(row)) < COUNTS_GRAPHS:
        return True
    lowest = model_named(row["model"]).engines[EngineName.VLLM].min_version or "0.8.0"
    return row.get("v0", False) or numbers(version_of(row)) < numbers(lowest)


def version_of(row: dict[str, Any]) -> str:
    return str(row.get("version") or row["engine"].removeprefix("vLLM "))


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def rows(kind: str) -> list[dict[str, Any]]:
    """Return the cases that say something of what a plan promises."""
    return [row for row in CASES[kind] if not outdated(row)]


def memory(row: dict[str, Any]) -> Compared:
    """Compare tokens in the KV cache, or its GiB where the engine named no tokens."""
    found = memory_of(row, row["context"])
    if "gib" in row:
        return Compared(row, row["gib"], found.kv_cache)
    return Compared(row, row["kv"], found.reported_tokens(row["context"]))


def memory_of(row: dict[str, Any], context: int) -> Memory:
    """Return what is planned for vLLM; a release that did not count CUDA graphs has their memory for the KV cache."""
    model, gpu, layout, overrides = model_named(row["model"]), gpu_named(row["gpu"]), layout_of(row), overrides_of(row)
    batch = default_batch(EngineName.VLLM, gpu, layout, overrides)
    found = measure(model, gpu, layout, EngineName.VLLM, batch, context, overrides, batches=row.get("batches"))
    if numbers(version_of(row)) >= COUNTS_GRAPHS:
        return found
    return replace(found, overhead=found.overhead - graphs_gib(model, layout, batch))


def named(row: dict[str, Any]) -> str:
    return f"{row['gpu']}: {row['case']}, {row['engine']}"


@pytest.mark.parametrize("row", [row for row in rows("speed") if "wrong" not in row], ids=named)
def test_published_speeds_are_within_20_percent(row: dict[str, Any]) -> None:
    assert abs(speed(row).error) <= 0.20


@pytest.mark.parametrize("row", [row for row in rows("first") if "wrong" not in row], ids=named)
def test_published_times_to_the_first_token_are_within_20_percent(row: dict[str, Any]) -> None:
    assert abs(first(row).error) <= 0.20


@pytest.mark.parametrize("row", [row for row in rows("total") if "wrong" not in row], ids=named)
def test_published_rates_of_prompts_and_answers_are_within_20_percent(row: dict[str, Any]) -> None:
    assert abs(total(row).error) <= 0.20


@pytest.mark.parametrize("row", [row for row in rows("memory") if "wrong" not in row], ids=named)
def test_published_kv_caches_are_never_smaller_than_planned_and_at_most_15_percent_larger(row: dict[str, Any]) -> None:
    assert -0.15 <= memory(row).error <= 0


def test_every_published_case_names_its_source_with_address_and_date() -> None:
    for row in (row for kind in LISTS for row in CASES[kind]):
        source = SOURCES[row["source"]]
        assert source["address"].startswith("https://")
        assert source["date"] >= "2024"
    assert len({row["source"] for row in CASES["speed"]}) >= 4


def test_every_excluded_run_falls_under_a_rule_that_is_stated() -> None:
    for row in CASES["excluded"]:
        assert row["rule"] in CASES["rules"]
        assert row["source"].startswith("https://")


def test_a_gpu_is_left_out_as_another_variant_exactly_where_it_reads_too_slowly() -> None:
    """No case stays that reads as slowly, and none is left out that reads faster."""
    dense = [row for row in CASES["speed"] if "tensor" not in row and row["requests"] <= MOST_REQUESTS]
    shares = []
    for row in dense:
        model, gpu = model_named(row["model"]), gpu_named(row["gpu"])
        embedding = 2 * model.shape.vocab_size * model.shape.hidden_size
        read = weights_gib(model, overrides_of(row)) * GIB - embedding
        read += row["requests"] * row["context"] * model.kv_bytes_per_token
        if model.shape.moe is None and read >= LEAST_GB * GB:
            shares.append(read / GB / row["ms"] * 1000 / (gpu.memory_bandwidth or 0))
    assert len(shares) >= 2
    assert min(shares) >= LEAST_SHARE
    steps = [row["step"] for row in CASES["excluded"] if row["rule"] == "variant"]
    assert steps
    for step in steps:
        assert step["gigabytes"] >= LEAST_GB
        assert step["gigabytes"] / step["ms"] * 1000 / gpu_named(step["gpu"]).memory_bandwidth < LEAST_SHARE


def test_more_requests_at_once_take_no_less_time_for_a_token_in_any_case_that_counts() -> None:
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in CASES["speed"]:
        ranks = (row.get("tensor"), row.get("data"), row.get("nodes"), row.get("quantization"))
        alike.setdefault((row["source"], row["engine"], row["model"], row["gpu"], ranks, row["context"]), []).append(
            row
        )
    for found in alike.values():
        times = [row["ms"] for row in sorted(found, key=lambda row: int(row["requests"]))]
        assert times == sorted(times)


COMPARE: dict[str, tuple[Callable[[dict[str, Any]], Compared], str]] = {
    "speed": (speed, "{:,.0f} tokens/s"),
    "first": (first, "{:.0f} ms to first token"),
    "total": (total, "{:,.0f} tokens/s"),
    "memory": (memory, "{:,.0f} tokens of KV cache"),
}


def lines(*, of_old_engines: bool = False) -> Iterator[str]:
    """Yield one of the tables of docs/planning.md."""
    yield "| GPU | case | engine | published | model (error) | source |"
    yield "|---|---|---|---|---|---|"
    for kind, (compare, form) in COMPARE.items():
        for row in CASES[kind]:
            if outdated(row) is of_old_engines:
                found = compare(row)
                error = f"{found.error:+.1%}" if kind == "memory" else f"{found.error:+.0%}"
                if "gib" in row:
                    published, predicted = f"{found.published:.2f} GiB of KV cache", f"{found.predicted:.2f}"
                else:
                    published, predicted = form.format(found.published), f"{found.predicted:,.0f}"
                yield line(row, told(row), published, f"{predicted} ({error})")


def told(row: dict[str, Any]) -> str:
    why = row.get("note") or row.get("wrong")
    return f"{row['case']} ({why})" if why else str(row["case"])


def line(row: dict[str, Any], name: str, published: str, predicted: str) -> str:
    source = SOURCES[row["source"]]
    machine = f"{row.get('nodes', 1)} x {row['gpu']}:8" if row.get("nodes") else f"{row['gpu']}:{row.get('tensor', 1)}"
    link = f"[{row['source']}]({source['address']}), {source['date']}"
    return f"| `{machine}` | {name} | {row['engine']} | {published} | {predicted} | {link} |"


def excluded() -> Iterator[str]:
    """Yield the rules and the runs that fall under them."""
    for rule, meaning in CASES["rules"].items():
        runs = [f"[{row['what']}]({row['source']})" for row in CASES["excluded"] if row["rule"] == rule]
        if runs:
            yield f"- {meaning}: {'; '.join(runs)}"


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "published": lines,
    "old engines": lambda: lines(of_old_engines=True),
    "excluded": excluded,
}


@pytest.mark.parametrize("part", PARTS)
def test_the_page_shows_every_published_case_with_its_error(part: str, request: pytest.FixtureRequest) -> None:
    begin, end = f"<!-- {part}: written by tests/unit/planning/test_published.py -->", f"<!-- /{part} -->"
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(begin)
    shown, after = rest.split(end)
    if request.config.getoption("--regenerate-expected", default=False):
        shown = "\n" + "\n".join(PARTS[part]()) + "\n"
        PAGE.write_text(f"{before}{begin}{shown}{end}{after}", encoding="utf-8")
    assert shown.strip() == "\n".join(PARTS[part]())
