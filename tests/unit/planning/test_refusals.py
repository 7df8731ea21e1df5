"""Refusals: of a price limit, of an objective, and of GPUs that are too small, with what would work."""

from typing import Any

import pytest

from deepseek_operator.catalog import Catalog, GpuInfo
from deepseek_operator.planning import PlanInputError
from tests.unit.planning.builders import CATALOG, plan_for

K8S = ["kubernetes"]
SPOT = {"infra": ["aws"], "capacityType": "Spot"}


def changed(only: str | None = None, **fields: Any) -> Catalog:
    """The catalog with other figures of one GPU, or of all."""

    def of(gpu: GpuInfo) -> GpuInfo:
        return gpu.model_copy(update=fields) if only in (None, gpu.name) else gpu

    return Catalog(CATALOG.models, {name: of(gpu) for name, gpu in CATALOG.gpus.items()}, CATALOG.prices)


# model, resources, replicas, what the cheapest is and where that is known from
CAPS: list[tuple[str, dict[str, Any], int, str]] = [
    ("r1-8b", {}, 1, "1 replica of 1×L4:1 on gcp for 0.70 $/h (catalog price, undated)"),
    ("r1-8b", {}, 0, "1 replica of 1×L4:1 on gcp for 0.70 $/h (catalog price, undated)"),
    ("r1", {"infra": ["aws"]}, 1, "1 replica of 1×H200:8 on aws for 63.30 $/h (catalog price of 2026-08-01)"),
    ("r1", SPOT, 1, "1 replica of 1×H200:8 on aws for 6.84 $/h (catalog price, undated)"),
    ("r1-8b", SPOT, 1, "1 replica of 1×L4:1 for 0.81 $/h (on demand: no spot price of it is known)"),
    (
        "r1-8b",
        {**SPOT, "capacity": {"onDemandBase": 1}},
        1,
        "1 replica of 1×L4:1 (1 on demand) for 0.81 $/h (on demand: no spot price of it is known)",
    ),
    (
        "r1-8b",
        {"infra": ["aws"], "capacityType": "SpotThenOnDemand", "capacity": {"onDemandBase": 1}},
        2,
        "2 replicas of 1×L4:1 on aws for 1.61 $/h (catalog price, undated)",
    ),
]


@pytest.mark.parametrize(("model", "resources", "replicas", "words"), CAPS)
def test_a_price_limit_below_everything_is_refused_with_the_cheapest(
    model: str, resources: dict[str, Any], replicas: int, words: str
) -> None:
    with pytest.raises(PlanInputError) as caught:
        plan_for(model, resources={**resources, "maxHourlyCost": "0.2"}, replicas=replicas)
    assert f"is below the cheapest that fits: {words}; raise it" in caught.value.message


@pytest.mark.parametrize("replicas", [1, 3, 7])
@pytest.mark.parametrize(("model", "resources"), [(model, resources) for model, resources, _, _ in CAPS])
def test_a_price_limit_that_is_raised_to_what_its_refusal_names_is_enough(
    model: str, resources: dict[str, Any], replicas: int
) -> None:
    with pytest.raises(PlanInputError) as caught:
        plan_for(model, resources={**resources, "maxHourlyCost": "0.2"}, replicas=replicas)
    named = caught.value.message.partition(" $/h")[0].rpartition(" ")[2]
    assert plan_for(model, resources={**resources, "maxHourlyCost": named}, replicas=replicas).launchable


def test_a_price_limit_holds_each_machine_to_it_where_no_price_is_known() -> None:
    plan = plan_for("r1-70b", resources={"accelerators": ["GB200:4"], "maxHourlyCost": "30"})
    assert plan.launchable
    assert plan.max_instance_hourly_cost == 30


# GPUs, objective, field, words of the refusal
OBJECTIVES: list[tuple[list[str], dict[str, Any], str, str]] = [
    (["L4:1"], {"concurrency": 64}, "concurrency", "at once, on 1×L4:1; lower it, or add replicas"),
    (
        ["L4:1"],
        {"minTokensPerSecondPerRequest": 40, "concurrency": 4},
        "minTokensPerSecondPerRequest",
        "at best 15.4 tokens/s per request with 4 at once, on 1×L4:1; lower it, or concurrency",
    ),
    # one GPU answers a single request sooner, the other one many
    (["L4:8", "T4:8"], {"minTokensPerSecondPerRequest": 500}, "minTokensPerSecondPerRequest", "on 1×T4:8;"),
    (
        ["L4:8", "T4:8"],
        {"minTokensPerSecondPerRequest": 500, "concurrency": 60},
        "minTokensPerSecondPerRequest",
        "with 60 at once, on 1×L4:8;",
    ),
]


@pytest.mark.parametrize(("given", "objective", "field", "words"), OBJECTIVES)
def test_an_objective_that_ones_own_machines_miss_is_refused_without_a_price(
    given: list[str], objective: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(PlanInputError) as caught:
        plan_for("r1-8b", resources={"infra": K8S, "accelerators": given}, objective=objective)
    assert caught.value.field == f"objective.{field}"
    assert words in caught.value.message


@pytest.mark.parametrize("figure", ["memory_bandwidth", "bf16_tflops"])
@pytest.mark.parametrize(
    "objective", [{"concurrency": 4}, {"minTokensPerSecondPerRequest": 5.0}, {"maxTimeToFirstTokenSeconds": 9.0}]
)
def test_an_objective_cannot_be_planned_with_where_no_speed_is_known(figure: str, objective: dict[str, Any]) -> None:
    with pytest.raises(PlanInputError) as caught:
        plan_for("r1-8b", changed(**{figure: None}), objective=objective)
    ((field, value),) = objective.items()
    assert (caught.value.field, caught.value.value) == (f"objective.{field}", value)
    assert caught.value.message.endswith("the catalog has no speed of any GPU that fits")


def test_the_best_figure_is_that_of_gpus_whose_speed_is_known() -> None:
    resources = {"accelerators": ["L4:1", "H100:1"]}
    with pytest.raises(PlanInputError, match=r"at best 9 requests of 2,500 tokens at once, on 1×L4:1 for 0\.70"):
        plan_for("r1-8b", changed("H100", memory_bandwidth=None), resources=resources, objective={"concurrency": 999})


# model, resources, further parts, beginning of the reason, end of it
TOO_SMALL: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    # the most memory comes closest, and no memory helps where an engine has no kernels
    ("r1", {"infra": K8S, "accelerators": ["L4:1", "L4:4"]}, {}, "4×L4 offer", "Smallest that fits: H200:8."),
    ("v4-flash", {"infra": K8S, "accelerators": ["A100:4", "H100:1"]}, {}, "1×H100 offer", "fits: H200:4."),
    ("r1", {"accelerators": ["L4:8"]}, {}, "8×L4 offer", "Cheapest that fits: H200:8 on nebius for 36.00 $/h."),
    # a context that is asked for has to fit as well
    (
        "r1-32b",
        {"accelerators": ["L4:1"]},
        {"engine": {"maxModelLen": 4096}},
        "1×L4 offer 20.3 GiB usable. L4:4 fits",
        "Cheapest that fits: RTXPRO6000:1 on runpod for 1.69 $/h.",
    ),
    # of the cheapest a price is known; without any it is the smallest
    ("r1-8b", {**SPOT, "accelerators": ["T4:1"]}, {}, "T4:2 fits; ", "Cheapest that fits: A100:8 on aws for 6.04 $/h."),
    ("r1-8b", {"infra": ["vsphere"], "accelerators": ["T4:1"]}, {}, "T4:2 fits; ", "Smallest that fits: L4:1."),
    (
        "unsloth/DeepSeek-R1-0528-BF16",
        {"infra": ["aws"], "accelerators": ["L4:8"], "nodes": 1},
        {},
        "8×L4 offer",
        "Cheapest that fits: H200:8 on each of 2 nodes with SGLang on aws for 126.59 $/h.",
    ),
    ("acme/own", {"infra": K8S, "accelerators": ["V100:1"]}, {}, "VLLM needs compute capability 7.5", "has 7.0."),
]


@pytest.mark.parametrize(("model", "resources", "parts", "what", "end"), TOO_SMALL)
def test_gpus_that_are_too_small_are_refused_with_what_would_do(
    model: str, resources: dict[str, Any], parts: dict[str, Any], what: str, end: str
) -> None:
    plan = plan_for(model, resources=resources, **parts)
    assert not plan.launchable
    assert plan.nodes == 1
    assert what in plan.reason
    assert plan.reason.endswith(end)


@pytest.mark.parametrize(
    ("model", "gpu", "counts", "resources"),
    [("r1", "L4", (8,), {}), ("r1", "L4", (8,), {"accelerators": ["L4:8"]}), ("r1-70b", "H100", (1,), {})],
)
def test_where_nothing_in_the_catalog_fits_that_is_all_that_is_said(
    model: str, gpu: str, counts: tuple[int, ...], resources: dict[str, Any]
) -> None:
    gpus = {gpu: CATALOG.gpus[gpu].model_copy(update={"counts": counts})}
    plan = plan_for(model, Catalog(CATALOG.models, gpus, CATALOG.prices), resources=resources)
    assert not plan.launchable
    assert plan.reason.endswith(" GiB usable. Nothing in the catalog fits.")
