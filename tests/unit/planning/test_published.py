"""The models of speed and memory against what others measured and published: cases without a part in any fit."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepseek_operator.api.spec import EngineName
from deepseek_operator.planning.layout import Layout
from deepseek_operator.planning.memory import default_batch, measure
from deepseek_operator.planning.overrides import Overrides
from deepseek_operator.planning.speed import (
    Traffic,
    step_seconds,
    time_to_first_token_seconds,
)
from tests.unit.planning.crowd import Crowd, seconds_for
from tests.unit.planning.measured import gpu_named, model_named

PAGE = Path(__file__).parents[3] / "docs" / "planning.md"
BEGIN, END = "<!-- published: written by tests/unit/planning/test_published.py -->", "<!-- /published -->"
CASES: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("published.yaml").read_text(encoding="utf-8"))
SOURCES = CASES["sources"]


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
    nodes, ranks = row.get("nodes", 1), row.get("tensor", 1)
    return Layout(nodes, ranks // nodes, ranks)


def overrides_of(row: dict[str, Any]) -> Overrides:
    return Overrides(quantization=row.get("quantization"), memory_fraction=row.get("fraction"))


def memory(row: dict[str, Any]) -> Compared:
    """Compare tokens in the KV cache."""
    model, gpu, layout, overrides = model_named(row["model"]), gpu_named(row["gpu"]), layout_of(row), overrides_of(row)
    batch = default_batch(EngineName.VLLM, gpu, layout, overrides)
    found = measure(model, gpu, layout, EngineName.VLLM, batch, row["context"], overrides)
    return Compared(row, row["kv"], found.tokens)


def named(row: dict[str, Any]) -> str:
    return f"{row['gpu']}: {row['case']}, {row['engine']}"


@pytest.mark.parametrize("row", [row for row in CASES["speed"] if not (row.get("old") or "wrong" in row)], ids=named)
def test_published_speeds_are_within_20_percent(row: dict[str, Any]) -> None:
    assert abs(speed(row).error) <= 0.20


@pytest.mark.parametrize("row", [row for row in CASES["speed"] if row.get("old")], ids=named)
def test_an_engine_of_2024_needs_a_few_milliseconds_more_for_every_token(row: dict[str, Any]) -> None:
    compared = speed(row)
    more = row["ms"] - 1000 * row["requests"] / compared.predicted
    assert 2 < more < 4


@pytest.mark.parametrize("row", [row for row in CASES["first"] if "wrong" not in row], ids=named)
def test_published_times_to_the_first_token_are_within_20_percent(row: dict[str, Any]) -> None:
    assert abs(first(row).error) <= 0.20


@pytest.mark.parametrize("row", CASES["total"], ids=named)
def test_published_rates_of_prompts_and_answers_are_within_20_percent(row: dict[str, Any]) -> None:
    assert abs(total(row).error) <= 0.20


@pytest.mark.parametrize("row", CASES["memory"], ids=named)
def test_published_kv_caches_are_never_smaller_than_planned_and_at_most_15_percent_larger(row: dict[str, Any]) -> None:
    assert -0.15 <= memory(row).error <= 0


def test_every_published_case_names_its_source_with_address_and_date() -> None:
    for row in CASES["speed"] + CASES["first"] + CASES["total"] + CASES["memory"]:
        source = SOURCES[row["source"]]
        assert source["address"].startswith("https://")
        assert source["date"] >= "2024"
    assert len({row["source"] for row in CASES["speed"]}) >= 4


def lines() -> Iterator[str]:
    """Yield the table of docs/planning.md."""
    yield "| GPU | case | engine | published | model (error) | source |"
    yield "|---|---|---|---|---|---|"
    for row in CASES["speed"]:
        found = speed(row)
        yield line(row, told(row), f"{found.published:,.0f} tokens/s", f"{found.predicted:,.0f} ({found.error:+.0%})")
    for row in CASES["first"]:
        found = first(row)
        yield line(
            row, told(row), f"{row['first']:.0f} ms to first token", f"{found.predicted:.0f} ({found.error:+.0%})"
        )
    for row in CASES["total"]:
        found = total(row)
        yield line(row, told(row), f"{row['total']:,.0f} tokens/s", f"{found.predicted:,.0f} ({found.error:+.0%})")
    for row in CASES["memory"]:
        found = memory(row)
        yield line(row, row["case"], f"{row['kv']:,} tokens of KV cache", f"{found.predicted:,} ({found.error:+.1%})")


def told(row: dict[str, Any]) -> str:
    why = row.get("note") or row.get("wrong")
    return f"{row['case']} ({why})" if why else str(row["case"])


def line(row: dict[str, Any], name: str, published: str, predicted: str) -> str:
    source = SOURCES[row["source"]]
    machine = f"{row.get('nodes', 1)} x {row['gpu']}:8" if row.get("nodes") else f"{row['gpu']}:{row.get('tensor', 1)}"
    link = f"[{row['source']}]({source['address']}), {source['date']}"
    return f"| `{machine}` | {name} | {row['engine']} | {published} | {predicted} | {link} |"


def test_the_page_shows_the_error_of_every_published_case(request: pytest.FixtureRequest) -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    shown, after = rest.split(END)
    if request.config.getoption("--regenerate-expected", default=False):
        shown = "\n" + "\n".join(lines()) + "\n"
        PAGE.write_text(f"{before}{BEGIN}{shown}{END}{after}", encoding="utf-8")
    assert shown.strip() == "\n".join(lines())
