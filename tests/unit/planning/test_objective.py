"""What the user wants of speed and price, and what the plan says of both."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_operator.api.status import PerformanceStatus
from deepseek_operator.catalog import GpuInfo
from deepseek_operator.planning import Plan, PlanInputError
from deepseek_operator.planning.performance import unmet
from tests.unit.planning.builders import CATALOG, plan_for, spec_for
from tests.unit.planning.test_properties import MODELS, try_plan

CLOUDS = ["aws", "gcp", "lambda", "nebius", "azure", "runpod"]


def performance(plan: Plan) -> PerformanceStatus:
    found = plan.to_status().performance
    assert found
    return found


def test_status_has_every_figure_of_the_plan() -> None:
    shown = plan_for("r1-8b").to_status().model_dump(mode="json", by_alias=True)["performance"]
    assert set(shown) == {
        "decodeTokensPerSecond",
        "concurrency",
        "decodeTokensPerSecondAtConcurrency",
        "prefillTokensPerSecond",
        "timeToFirstTokenSeconds",
        "startSeconds",
        "dollarsPerMillionTokens",
        "errorPercent",
    }
    assert 10 < shown["decodeTokensPerSecond"] < 20  # 15 GB over the 300 GB/s of an L4
    assert shown["concurrency"] == 9  # 24,752 tokens, 2,500 for each request
    assert shown["decodeTokensPerSecondAtConcurrency"] > 5 * shown["decodeTokensPerSecond"]
    hours = 1e6 / shown["decodeTokensPerSecondAtConcurrency"] / 3600
    assert shown["dollarsPerMillionTokens"] == pytest.approx(0.70 * hours, rel=0.01)


def test_ones_own_machines_have_a_speed_and_no_price() -> None:
    found = performance(plan_for("r1-8b", resources={"infra": ["kubernetes"], "accelerators": ["L4:1"]}))
    assert found.decode_tokens_per_second > 10
    assert found.dollars_per_million_tokens is None


def test_what_is_not_known_has_no_speed() -> None:
    assert plan_for("acme/own", resources={"accelerators": ["L4:1"]}).performance is None
    assert plan_for("r1-8b", resources={"accelerators": [], "cpus": "8"}).to_status().performance is None
    assert plan_for("r1", resources={"accelerators": ["L4:8"], "nodes": 1}).to_status().performance is None
    gpus = {name: gpu.model_copy(update={"memory_bandwidth": None}) for name, gpu in CATALOG.gpus.items()}
    catalog = type(CATALOG)(CATALOG.models, gpus, CATALOG.prices)
    assert plan_for("r1-8b", catalog, resources={"accelerators": ["L4:1"]}).performance is None


def test_weights_from_a_directory_start_sooner_than_a_download() -> None:
    resources = {"accelerators": ["H200:8"]}
    downloaded = performance(plan_for("r1", resources=resources)).start_seconds
    local = performance(plan_for("r1", model_fields={"path": "/m"}, resources=resources)).start_seconds
    assert downloaded > local + 600
    assert local > 150  # compiling and capturing graphs, as measured


def test_a_faster_gpu_is_taken_where_the_cheapest_is_too_slow() -> None:
    cheapest = plan_for("r1-8b")
    quick = plan_for("r1-8b", objective={"minTokensPerSecondPerRequest": 100})
    assert cheapest.accelerators[0] == "L4:1"
    assert quick.accelerators[0] == "GH200:1"
    assert performance(quick).decode_tokens_per_second >= 100
    assert any(
        c.reason.startswith("does not reach the objective: ") and c.reason.endswith("tokens/s per request")
        for c in quick.alternatives
    )


def test_concurrency_makes_the_speed_of_each_request_that_of_so_many_at_once() -> None:
    wanted = {"minTokensPerSecondPerRequest": 30, "concurrency": 32}
    plan = plan_for("r1-8b", objective=wanted)
    found = performance(plan)
    assert found.concurrency == 32
    assert found.decode_tokens_per_second_at_concurrency / 32 >= 30
    alone = plan_for("r1-8b", objective={"minTokensPerSecondPerRequest": 30})
    assert plan.hourly_cost
    assert alone.hourly_cost
    assert plan.hourly_cost > alone.hourly_cost


def test_a_larger_batch_of_the_users_lets_more_requests_run_at_once() -> None:
    engine = {"name": "VLLM", "args": ["--max-num-seqs", "512"]}
    plan = plan_for("r1-8b", engine=engine, objective={"concurrency": 300}, resources={"accelerators": ["L4:8"]})
    assert performance(plan).concurrency == 300


def test_the_cheapest_token_may_come_from_a_dearer_machine() -> None:
    hour = plan_for("r1-8b")
    token = plan_for("r1-8b", objective={"ranking": "LowestCostPerToken"})
    assert hour.hourly_cost
    assert token.hourly_cost
    assert token.hourly_cost > hour.hourly_cost
    cheap, dear = performance(token).dollars_per_million_tokens, performance(hour).dollars_per_million_tokens
    assert cheap
    assert dear
    assert cheap < dear / 5
    costs = [c.performance.dollars_per_million_tokens for c in token.candidates if c.performance]
    assert all(cost is not None and cost <= 1.1 * cheap + 1e-3 for cost in costs)
    assert any("$ more per million tokens than" in c.reason for c in token.alternatives)


# objective, further parts, field, value, words of the refusal
REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    (
        "r1-70b",
        {"minTokensPerSecondPerRequest": 500},
        {},
        "minTokensPerSecondPerRequest: 500.0",
        "is beyond what fits: at best 13",
    ),
    (
        "r1-70b",
        {"minTokensPerSecondPerRequest": 60},
        {"resources": {"maxHourlyCost": "12"}},
        "minTokensPerSecondPerRequest: 60.0",
        "within maxHourlyCost 12: at best 41.5 tokens/s per request, on 1×B200:1 for 6.99 $/h",
    ),
    (
        "r1-8b",
        {"maxTimeToFirstTokenSeconds": 0.2},
        {"resources": {"accelerators": ["L4:1"]}},
        "maxTimeToFirstTokenSeconds: 0.2",
        "at best 0.45 s to the first token of a 2,000-token prompt, on 1×L4:1 for 0.70 $/h; raise it",
    ),
    (
        "r1-8b",
        {"concurrency": 64},
        {"resources": {"accelerators": ["L4:1"]}},
        "concurrency: 64",
        "at best 9 requests of 2,500 tokens at once, on 1×L4:1 for 0.70 $/h; lower it, or add replicas",
    ),
    (
        "r1-8b",
        {"concurrency": 512},
        {"resources": {"accelerators": ["L4:8"]}},
        "concurrency: 512",
        "at best 256 requests of 2,500 tokens at once, the engine's limit (engine.args), on 1×L4:8",
    ),
    (
        "r1-8b",
        {"minTokensPerSecondPerRequest": 40, "maxTimeToFirstTokenSeconds": 0.3},
        {"resources": {"accelerators": ["L4:2", "A10G:1"]}},
        "minTokensPerSecondPerRequest: 40.0",
        "at best 31.8 tokens/s per request, on 1×A10G:1 for 1.01 $/h",
    ),
    (
        "r1-8b",
        {"minTokensPerSecondPerRequest": 31, "maxTimeToFirstTokenSeconds": 0.5},
        {"resources": {"accelerators": ["L4:2", "A10G:1"]}},
        "cannot be reached together with the rest of the objective",
        "1×A10G:1 for 1.01 $/h has 0.71 s to the first token of a 2,000-token prompt; raise it",
    ),
    ("acme/own", {"concurrency": 4}, {"resources": {"accelerators": ["L4:1"]}}, "concurrency: 4", "not in the catalog"),
    ("r1-8b", {"concurrency": 4}, {"resources": {"accelerators": [], "cpus": "8"}}, "concurrency: 4", "a CPU engine"),
]


@pytest.mark.parametrize(("model", "objective", "parts", "field", "words"), REFUSED)
def test_what_nothing_reaches_is_refused_with_the_figures(
    model: str, objective: dict[str, Any], parts: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(PlanInputError) as caught:
        plan_for(model, objective=objective, **parts)
    assert str(caught.value).startswith("spec.objective.")
    assert field in str(caught.value)
    assert words in str(caught.value)


objectives = st.fixed_dictionaries(
    {},
    optional={
        "minTokensPerSecondPerRequest": st.floats(1, 200),
        "maxTimeToFirstTokenSeconds": st.floats(0.02, 2),
        "concurrency": st.integers(1, 200),
        "ranking": st.sampled_from(["LowestHourlyCost", "LowestCostPerToken"]),
    },
)
resources = st.sampled_from(
    [{}, {"infra": ["kubernetes"]}, {"infra": ["aws"]}, {"accelerators": ["H100:8", "L4:8", "L4:1"]}]
)


@given(MODELS, objectives, resources)
@settings(max_examples=60, deadline=None)
def test_the_chosen_plan_meets_the_objective(model: Any, objective: dict[str, Any], where: dict[str, Any]) -> None:
    spec = spec_for(model.id, objective=objective, resources=where)
    result = try_plan(spec)
    if result is None or not result.launchable:
        return
    for candidate in result.candidates:
        assert not unmet(candidate.performance, spec.objective)
    found = performance(result)
    if "concurrency" in objective:
        assert found.concurrency == objective["concurrency"]


@given(MODELS, st.integers(1, 5), st.integers(1, 20), st.sampled_from(["LowestHourlyCost", "LowestCostPerToken"]))
@settings(max_examples=60, deadline=None)
def test_more_replicas_are_never_dearer_per_token_at_full_load(model: Any, few: int, more: int, ranking: str) -> None:
    def price(replicas: int) -> float | None:
        spec = spec_for(model.id, objective={"ranking": ranking}, resources={"infra": CLOUDS}, replicas=replicas)
        result = try_plan(spec)
        found = result.to_status().performance if result else None
        return found.dollars_per_million_tokens if found else None

    low, high = price(few), price(few + more)
    if low is not None:
        assert high is not None
        assert high <= low


@given(MODELS, st.sampled_from(["L4", "A100-80GB", "H100", "H200"]), st.floats(1, 3))
@settings(max_examples=60, deadline=None)
def test_more_memory_bandwidth_never_makes_a_plan_slower_or_dearer_per_token(
    model: Any, name: str, factor: float
) -> None:
    gpu = CATALOG.gpus[name]
    assert gpu.memory_bandwidth
    better: GpuInfo = gpu.model_copy(update={"memory_bandwidth": gpu.memory_bandwidth * factor})
    catalog = type(CATALOG)(CATALOG.models, {**CATALOG.gpus, name: better}, CATALOG.prices)
    wanted = {"accelerators": [f"{name}:{max(gpu.counts[:4])}"]}
    before, after = plan_for(model.id, resources=wanted), plan_for(model.id, catalog, resources=wanted)
    if before.performance is None:
        return
    one, other = performance(before), performance(after)
    assert other.decode_tokens_per_second >= one.decode_tokens_per_second
    assert other.decode_tokens_per_second_at_concurrency >= one.decode_tokens_per_second_at_concurrency
    assert other.time_to_first_token_seconds <= one.time_to_first_token_seconds
    if one.dollars_per_million_tokens is not None and other.dollars_per_million_tokens is not None:
        assert other.dollars_per_million_tokens <= one.dollars_per_million_tokens


def test_half_a_load_costs_more_per_token_than_a_full_one() -> None:
    found = plan_for("r1-8b", resources={"accelerators": ["H100:1"]}).performance
    assert found
    assert found.dollars_per_million_tokens
    assert found.dollars_per_million_tokens_at_half_load
    assert found.dollars_per_million_tokens_at_half_load > found.dollars_per_million_tokens
    assert found.hourly_cost == Decimal("3.85")


def test_an_objective_that_the_usual_layout_misses_is_reached_by_another_one() -> None:
    usual = plan_for("v3.2", resources={"infra": ["aws"]})
    assert (usual.tensor_parallel_size, usual.data_parallel_size) == (1, 8)
    sooner = plan_for("v3.2", resources={"infra": ["aws"]}, objective={"maxTimeToFirstTokenSeconds": 0.5})
    assert (sooner.tensor_parallel_size, sooner.data_parallel_size) == (8, 1)
    assert sooner.accelerators == usual.accelerators


def test_stages_are_planned_over_a_fast_network_where_tensor_parallelism_is_too_slow() -> None:
    model, infra = "unsloth/DeepSeek-R1-0528-BF16", {"infra": ["aws"], "accelerators": ["H200:8"], "nodes": 2}
    assert plan_for(model, resources=infra).tensor_parallel_size == 16
    faster = plan_for(model, resources=infra, objective={"minTokensPerSecondPerRequest": 60})
    assert (faster.tensor_parallel_size, faster.pipeline_parallel_size) == (8, 2)
