"""The models of speed and memory against what others measured and published: cases without a part in any fit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepseek_operator.api.spec import EngineName
from deepseek_operator.catalog import ModelInfo
from deepseek_operator.planning.layout import Layout
from deepseek_operator.planning.memory import default_batch, measure
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
    return Compared(row, row["total"], crowd.tokens / seconds_for(crowd, model, gpu, layout_of(row), overrides))


def layout_of(row: dict[str, Any]) -> Layout:
    nodes, ranks, copies = row.get("nodes", 1), row.get("tensor", 1), row.get("data", 1)
    return Layout(nodes, ranks * copies // nodes, ranks, data_parallel_size=copies, expert_parallel=copies > 1)


def overrides_of(row: dict[str, Any]) -> Overrides:
    return Overrides(
        quantization=row.get("quantization"),
        memory_fraction=row.get("fraction"),
        max_num_seqs=row.get("seqs"),
        max_num_batched_tokens=row.get("tokens"),
        fp8_kv_cache=row.get("fp8Cache", False),
    )


def outdated(row: dict[str, Any]) -> bool:
    """Return whether the planner does not take that engine for the model, or it is vLLM's first engine."""
    version = row.get("version") or row["engine"].removeprefix("vLLM ")
    if not row["engine"].startswith("vLLM"):
        return False
    lowest = model_named(row["model"]).engines[EngineName.VLLM].min_version or "0.8.0"
    return row.get("v0", False) or numbers(version) < numbers(lowest)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def rows(kind: str) -> list[dict[str, Any]]:
    """Return the cases that say something of what a plan promises."""
    return [row for row in CASES[kind] if not outdated(row)]


def memory(row: dict[str, Any]) -> Compared:
    """Compare tokens in the KV cache."""
    model, gpu, layout, overrides = model_named(row["model"]), gpu_named(row["gpu"]), layout_of(row), overrides_of(row)
    batch = default_batch(EngineName.VLLM, gpu, layout, overrides)
    found = measure(model, gpu, layout, EngineName.VLLM, batch, row["context"], overrides, batches=row.get("batches"))
    return Compared(row, row["kv"], found.reported_tokens(row["context"]))


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
                yield line(row, told(row), form.format(found.published), f"{found.predicted:,.0f} ({error})")


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
