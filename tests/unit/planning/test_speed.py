"""The speed model against what was measured, and what must hold of it whatever the figures."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deepseek_operator.api.spec import EngineName
from deepseek_operator.catalog import GpuInfo, ModelInfo
from deepseek_operator.planning.factors import FACTORS
from deepseek_operator.planning.layout import Layout
from deepseek_operator.planning.overrides import Overrides
from deepseek_operator.planning.parallelism import layouts
from deepseek_operator.planning.speed import (
    Traffic,
    prefill_tokens_per_second,
    step_seconds,
    time_to_first_token_seconds,
)
from tests.bench.speed import FITTED, fit, loss
from tests.unit.planning.builders import CATALOG
from tests.unit.planning.measured import CASES, Case, figures, gpu_named, model_named

PAGE = Path(__file__).parents[3] / "docs" / "planning.md"
BEGIN, END = "<!-- speed: written by tests/unit/planning/test_speed.py -->", "<!-- /speed -->"
WHAT = ("decode, 1 request", "decode, many", "prefill", "start")

MODELS = st.sampled_from(list(CATALOG.models.values()))
GPUS = st.sampled_from([gpu for gpu in CATALOG.gpus.values() if gpu.memory_bandwidth])
TRAFFIC = st.builds(Traffic, st.integers(1, 512), st.integers(1, 100_000))
FASTER = st.floats(1.0, 4.0, allow_nan=False)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_speed_is_within_20_percent_of_every_measured_figure(case: Case) -> None:
    for figure in figures(case):
        assert abs(figure.error) <= 0.20, (figure.what, figure.measured, figure.predicted)


def test_cases_of_a_dense_model_of_a_mixture_and_of_two_gpus_were_not_used_for_the_fit() -> None:
    held = [case for case in CASES if case.held_out]
    assert {case.model for case in held} >= {"r1-14b", "r1-32b", "v3-12-layers"}
    assert {case.gpu for case in held} == {"H100", "H200"}


def table() -> str:
    """Return the error table of docs/planning.md."""
    lines = ["| case | " + " | ".join(WHAT) + " |", "|---" * (len(WHAT) + 1) + "|"]
    for case in CASES:
        found = {figure.what: figure for figure in figures(case)}
        cells = [
            f"{found[what].measured:,.0f} / {found[what].predicted:,.0f} ({found[what].error:+.0%})"
            if what in found
            else "-"
            for what in WHAT
        ]
        name = f"**{case.name}** (held out)" if case.held_out else case.name
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_page_shows_the_error_of_every_case(request: pytest.FixtureRequest) -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    shown, after = rest.split(END)
    if request.config.getoption("--regenerate-expected", default=False):
        shown = f"\n{table()}\n"
        PAGE.write_text(f"{before}{BEGIN}{shown}{END}{after}", encoding="utf-8")
    assert shown.strip() == table()


def test_the_guides_11_tokens_a_second_are_the_all_reduces_between_two_machines() -> None:
    r1, h100 = model_named("r1"), gpu_named("H100")
    over_tcp = step_seconds(r1, h100, Layout(2, 8, 16), Traffic(1, 210), Overrides())
    alone = step_seconds(r1, h100, Layout(2, 8, 16), Traffic(1, 210), Overrides(), connected=False)
    assert 1 / over_tcp == pytest.approx(11.4, rel=0.1)
    assert alone < 0.15 * over_tcp


def test_pipeline_stages_between_machines_are_faster_than_tensor_parallelism_over_ethernet() -> None:
    for model in ("r1", "r1-70b", "r1-32b"):
        info, gpu = model_named(model), gpu_named("H100")
        for requests in (1, 64):
            traffic = Traffic(requests)
            stages = step_seconds(info, gpu, Layout(2, 8, 8, 2), traffic, Overrides())
            wide = step_seconds(info, gpu, Layout(2, 8, 16), traffic, Overrides())
            assert stages < wide / 2


def a_layout(model: ModelInfo, count: int, nodes: int) -> Layout:
    engine = next(iter(model.engines))
    found = layouts(model, count, nodes, engine, Overrides(), fast=nodes > 1 and engine is EngineName.SGLANG)
    assume(found)
    return found[0]


@given(MODELS, GPUS, st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2]), TRAFFIC, FASTER)
@settings(max_examples=300, deadline=None)
def test_more_bandwidth_is_never_slower(
    model: ModelInfo, gpu: GpuInfo, count: int, nodes: int, traffic: Traffic, factor: float
) -> None:
    assert gpu.memory_bandwidth
    assert gpu.link_bandwidth
    layout = a_layout(model, count, nodes)
    quick = gpu.model_copy(update={"memory_bandwidth": gpu.memory_bandwidth * factor})
    linked = gpu.model_copy(update={"link_bandwidth": gpu.link_bandwidth * factor})
    for better in (quick, linked):
        before = step_seconds(model, gpu, layout, traffic, Overrides())
        assert step_seconds(model, better, layout, traffic, Overrides()) <= before
        first = time_to_first_token_seconds(model, gpu, layout, Overrides(), prompt=2000)
        assert time_to_first_token_seconds(model, better, layout, Overrides(), prompt=2000) <= first
    for network in (10.0, 100.0):
        slow = step_seconds(model, gpu, layout, traffic, Overrides(), network_gbs=network)
        assert step_seconds(model, gpu, layout, traffic, Overrides(), network_gbs=network * factor) <= slow


@given(MODELS, GPUS, st.sampled_from([1, 2, 4, 8]), st.integers(1, 400), st.integers(1, 100))
@settings(max_examples=200, deadline=None)
def test_more_requests_are_never_fewer_tokens_together_and_never_more_for_each(
    model: ModelInfo, gpu: GpuInfo, count: int, requests: int, more: int
) -> None:
    layout = a_layout(model, count, 1)
    few = step_seconds(model, gpu, layout, Traffic(requests), Overrides())
    many = step_seconds(model, gpu, layout, Traffic(requests + more), Overrides())
    assert many >= few * (1 - 1e-9)
    assert (requests + more) / many >= requests / few * (1 - 1e-9)


@given(MODELS, GPUS, st.sampled_from([1, 2, 4, 8]))
@settings(max_examples=100, deadline=None)
def test_no_step_reads_faster_than_the_memory_and_no_prefill_computes_faster_than_the_unit(
    model: ModelInfo, gpu: GpuInfo, count: int
) -> None:
    assert gpu.memory_bandwidth
    assert gpu.bf16_tflops
    layout = a_layout(model, count, 1)
    each = step_seconds(model, gpu, layout, Traffic(1, 1), Overrides())
    if model.shape.moe is None:
        read = (model.weights.gib * 2**30 - 2 * model.shape.vocab_size * model.shape.hidden_size) / (
            layout.tensor_parallel_size
        )
        assert each > read / (gpu.memory_bandwidth * 1e9)
        gpus = layout.tensor_parallel_size * layout.pipeline_parallel_size * layout.data_parallel_size
        work = 2 * (model.parameters - 2 * model.shape.vocab_size * model.shape.hidden_size)
        assert prefill_tokens_per_second(model, gpu, layout, Overrides()) < gpus * gpu.bf16_tflops * 1e12 / work


@pytest.mark.parametrize(
    ("quantization", "gpu", "decode", "prefill"),
    [
        ("fp8", "H100", (1.4, 1.6), (1.1, 1.3)),  # half of the bytes, and the FP8 unit
        ("fp8", "A100-80GB", (1.4, 1.9), (1.0, 1.0)),  # half of the bytes, widened to compute
        ("bitsandbytes", "H100", (1.0, 1.0), (1.0, 1.0)),  # smaller in memory, widened in every step
    ],
)
def test_quantization_changes_the_speed_as_its_kernels_do(
    quantization: str, gpu: str, decode: tuple[float, float], prefill: tuple[float, float]
) -> None:
    model, found, layout = model_named("r1-8b"), gpu_named(gpu), Layout(1, 1, 1)
    asked = Overrides(quantization=quantization)
    faster = step_seconds(model, found, layout, Traffic(), Overrides()) / step_seconds(
        model, found, layout, Traffic(), asked
    )
    assert decode[0] <= faster <= decode[1]
    more = prefill_tokens_per_second(model, found, layout, asked) / prefill_tokens_per_second(
        model, found, layout, Overrides()
    )
    assert prefill[0] <= more <= prefill[1]


def test_the_shipped_factors_are_those_that_the_fit_finds_without_the_held_out_cases() -> None:
    assert loss(FACTORS) <= 1.02 * loss(fit(rounds=3))
    assert loss(FACTORS) ** 0.5 < 0.06
    assert loss(FACTORS, held_out=True) ** 0.5 < 0.10


@pytest.mark.parametrize("name", FITTED)
def test_the_fit_sees_every_factor_that_it_tries(name: str) -> None:
    assert loss(replace(FACTORS, **{name: 0.9 * getattr(FACTORS, name)})) > loss(FACTORS)


def test_gpus_whose_link_is_not_known_count_as_linked_by_the_slowest_pcie() -> None:
    model, gpu, layout = model_named("r1-8b"), CATALOG.gpus["T4"], Layout(1, 8, 8)
    unknown = gpu.model_copy(update={"link_bandwidth": None})
    assert step_seconds(model, unknown, layout, Traffic(64), Overrides()) == step_seconds(
        model, gpu, layout, Traffic(64), Overrides()
    )


def test_a_mixture_of_which_nobody_says_what_is_active_counts_as_if_all_of_it_were() -> None:
    model, gpu, layout = model_named("v2-lite"), gpu_named("H200"), Layout(1, 1, 1)
    unknown = model.model_copy(update={"active_parameters": None})
    whole = model.model_copy(update={"active_parameters": model.parameters})
    assert step_seconds(unknown, gpu, layout, Traffic(), Overrides()) == step_seconds(
        whole, gpu, layout, Traffic(), Overrides()
    )


@pytest.mark.parametrize("requests", [1, 32])
def test_copies_that_share_no_experts_are_as_fast_as_one_with_its_part_of_the_requests(requests: int) -> None:
    model, gpu = model_named("v2-lite"), gpu_named("H200")
    copies = Layout(1, 2, 1, data_parallel_size=2)
    alone = step_seconds(model, gpu, Layout(1, 1, 1), Traffic(requests), Overrides())
    assert step_seconds(model, gpu, copies, Traffic(2 * requests), Overrides()) == pytest.approx(alone)


def test_stages_in_one_machine_wait_less_for_each_other_than_between_two() -> None:
    model, gpu = model_named("r1-8b"), gpu_named("L4")
    inside, between = (
        step_seconds(model, gpu, layout, Traffic(64), Overrides())
        for layout in (Layout(1, 2, 1, 2), Layout(2, 1, 1, 2))
    )
    assert inside < between
