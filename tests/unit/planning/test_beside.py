"""Which machines are taken beside the best one, and what is said of those that are not."""

from decimal import Decimal
from typing import Any

import pytest

from deepseek_operator.api.spec import EngineName
from deepseek_operator.catalog import Catalog, ModelInfo, PriceInfo
from deepseek_operator.catalog.schema import Dtype
from deepseek_operator.planning import PlanInputError
from tests.unit.planning.builders import CATALOG, plan_for

OCR = "deepseek-ai/DeepSeek-OCR"
W8A8 = "RedHatAI/DeepSeek-R1-Distill-Llama-70B-quantized.w8a8"
"""Fits one GPU of 80 GB with a context of 2,048 tokens only."""
PER_TOKEN = {"ranking": "LowestCostPerToken"}
R1_8B = CATALOG.models["deepseek-ai/DeepSeek-R1-Distill-Llama-8B"]
FP8 = R1_8B.model_copy(update={"weights": R1_8B.weights.model_copy(update={"dtype": Dtype.FP8, "gib": 8.5})})


def catalog(counts: dict[str, tuple[int, ...]], prices: dict[str, float], model: ModelInfo = R1_8B) -> Catalog:
    """A catalog with these numbers of GPUs in a machine, and what aws takes for some of them."""
    gpus = {name: CATALOG.gpus[name].model_copy(update={"counts": numbers}) for name, numbers in counts.items()}
    rows = tuple(
        PriceInfo(
            cloud="aws", instance_type="x", accelerators=name, on_demand=Decimal(str(price)), as_of=None, source="x"
        )
        for name, price in prices.items()
    )
    return Catalog({**CATALOG.models, model.id: model}, gpus, rows)


def reason(accelerators: str, model: str, used: Catalog = CATALOG, **parts: Any) -> str:
    """Why a machine is not taken."""
    others = plan_for(model, used, **parts).alternatives
    return {f"{c.nodes} x {c.accelerator}".removeprefix("1 x "): c.reason for c in others}[accelerators]


# machine, model, parts of the spec, why the planner does not take it
NOT_TAKEN: list[tuple[str, str, dict[str, Any], str]] = [
    ("2 x H100:8", "r1", {"engine": {"name": "SGLang"}}, "25.60 $/h more than H200:8"),
    ("2 x H100:8", "r1", {"resources": {"infra": ["kubernetes"]}}, "H200:8 comes first"),
    ("A100:1", "r1-14b", {}, "1.17 $/h more than L40:1"),  # a shorter context
    ("A100:1", "r1-14b", {"resources": {"infra": ["kubernetes"]}}, "a context of 27,392 only; L40:1 holds 49,664"),
    ("L4:1", OCR, {}, "0.17 $/h more than T4:1"),  # another number format
    ("H200:8", "r1", {"resources": {"infra": ["lambda", "kubernetes"]}}, "its price is not known"),
    (
        "B200:8",
        "r1",
        {"resources": {"infra": ["aws"]}, "objective": PER_TOKEN},
        "0.71 $ more per million tokens than H200:8",
    ),
]


@pytest.mark.parametrize(("machine", "model", "parts", "why"), NOT_TAKEN)
def test_a_machine_that_is_not_taken_says_what_speaks_against_it(
    machine: str, model: str, parts: dict[str, Any], why: str
) -> None:
    assert reason(machine, model, **parts) == why


def test_a_machine_whose_tokens_have_no_price_says_that_it_is_not_known() -> None:
    parts: dict[str, Any] = {"resources": {"infra": ["lambda", "kubernetes"]}, "objective": PER_TOKEN}
    assert reason("H200:8", "r1", **parts) == "its price is not known"


def test_a_machine_that_needs_another_engine_is_not_taken() -> None:
    vllm = R1_8B.engines[EngineName.VLLM].model_copy(update={"min_compute_capability": "9.0"})
    model = R1_8B.model_copy(update={"engines": {**R1_8B.engines, EngineName.VLLM: vllm}})
    used = catalog({"H100": (1,), "A100-80GB": (1,)}, {"H100:1": 2, "A100-80GB:1": 3}, model)
    assert plan_for("r1-8b", used).accelerators == ("H100:1",)
    assert reason("A100-80GB:1", "r1-8b", used) == "1.00 $/h more than H100:1"


@pytest.mark.parametrize(
    ("prices", "objective"), [({"A10:1": 0.75, "H100:1": 3}, {}), ({"A10:1": 0.75}, {}), ({"A10:1": 0.75}, PER_TOKEN)]
)
def test_a_cheaper_machine_that_emulates_the_format_is_not_called_dearer(
    prices: dict[str, float], objective: dict[str, str]
) -> None:
    used = catalog({"A10": (1,), "H100": (1,)}, prices, FP8)
    assert reason("A10:1", "r1-8b", used, objective=objective) == "a context of 67,584 only; H100:1 holds 131,072"


def test_what_fits_only_just_is_not_taken_beside_what_fits() -> None:
    assert plan_for(W8A8, engine={"maxModelLen": 4096}).accelerators == ("GH200:1", "H200:1")
    used = catalog({"A100-80GB": (1,), "H100": (1,)}, {"A100-80GB:1": 1, "H100:1": 10})
    assert reason("H100:1", W8A8, used) == "9.00 $/h more than A100-80GB:1"


def test_several_numbers_of_one_gpu_are_taken_on_clouds() -> None:
    plan = plan_for("r1-14b", resources={"infra": ["runpod"]}, objective={"concurrency": 64})
    assert {"A100-80GB-SXM:1", "A100-80GB-SXM:2"} <= set(plan.accelerators)


def test_of_ones_own_nodes_the_fewest_gpus_are_taken_although_clouds_ask_more_for_one_alone() -> None:
    used = catalog({"H100": (1, 8)}, {"H100:1": 5, "H100:8": 16})
    assert plan_for("r1-8b", used, resources={"infra": ["kubernetes"]}).accelerators == ("H100:1",)


def test_without_a_known_speed_prices_an_hour_decide() -> None:
    gpus = {name: gpu.model_copy(update={"bf16_tflops": None}) for name, gpu in CATALOG.gpus.items()}
    used = Catalog(CATALOG.models, gpus, CATALOG.prices)
    plan, per_token = plan_for("r1-8b", used), plan_for("r1-8b", used, objective=PER_TOKEN)
    assert len(plan.accelerators) > 1
    assert per_token.accelerators == plan.accelerators
    assert reason("H100:1", "r1-8b", used, resources={"infra": ["gcp"]}) == "10.28 $/h more than L4:1"


# the user's machines, further parts of the spec, those that are taken, why another one is not
GIVEN: list[tuple[str, list[str], dict[str, Any], tuple[str, ...], str]] = [
    ("r1", ["H100:8", "A100-80GB:8"], {"nodes": 2}, ("H100:8",), "not beside H100:8: it needs VLLM"),
    ("r1-8b", ["T4:4", "L4:4"], {}, ("T4:4",), "not beside T4:4: it needs other flags than T4:4"),
    (OCR, ["A10G:8", "H100:8"], {}, ("A10G:8",), "not beside A10G:8: it needs other flags than A10G:8"),
    ("r1-70b", ["L4:8", "H100:8"], {}, ("H100:8", "L4:8"), ""),  # with smaller batches on both
]


@pytest.mark.parametrize(("model", "given", "resources", "taken", "why"), GIVEN)
def test_of_the_users_machines_those_are_taken_that_one_command_serves(
    model: str, given: list[str], resources: dict[str, Any], taken: tuple[str, ...], why: str
) -> None:
    plan = plan_for(model, resources={"infra": ["kubernetes"], "accelerators": given, **resources})
    assert plan.accelerators == taken
    assert [c.reason for c in plan.alternatives] == ([why] if why else [])


def test_smaller_batches_keep_a_machine_out_where_so_many_requests_are_wanted_at_once() -> None:
    resources = {"infra": ["kubernetes"], "accelerators": ["GH200:1", "H100:1"]}
    assert plan_for(W8A8, resources=resources).accelerators == ("GH200:1", "H100:1")
    assert plan_for(W8A8, resources=resources, objective={"concurrency": 1}).accelerators == ("GH200:1",)


def test_a_machine_of_the_users_says_how_tight_it_is_and_what_no_engine_runs_on_says_so() -> None:
    resources = {"infra": ["kubernetes"], "accelerators": ["L4:8", "H100:8"]}
    why = reason("L4:8", "r1-70b", resources=resources, objective={"minTokensPerSecondPerRequest": 30})
    assert why.endswith("with at most 64 requests and 2048 tokens in one step; context 16,384")
    resources["accelerators"] = ["L4:1", "V100:1"]
    assert reason("V100:1", "r1-8b", resources=resources) == "VLLM needs compute capability 7.5; V100 has 7.0"
    assert "V100:1" not in {str(c.accelerator) for c in plan_for("r1-8b").alternatives}


def test_what_speaks_against_a_machine_of_the_users_is_its_speed_and_not_that_no_document_has_it() -> None:
    resources = {"infra": ["aws"], "accelerators": ["T4:4", "L4:4"]}
    why = reason("L4:4", "r1-14b", resources=resources, objective={"minTokensPerSecondPerRequest": 30})
    assert why == "does not reach the objective: 29.4 tokens/s per request"


def test_a_context_that_reasoning_cannot_use_is_taken_where_nothing_holds_more() -> None:
    used = catalog({"L4": (1,), "H100": (1,)}, {"L4:1": 1, "H100:1": 3})
    plan = plan_for(W8A8, used)
    assert (plan.accelerators, plan.max_model_len) == (("H100:1",), 2048)
    assert "fits" not in plan.reason
    with pytest.raises(PlanInputError, match=r"1×H100:1 on aws for 3\.00"):
        plan_for(W8A8, used, resources={"maxHourlyCost": "2"})


def test_a_short_context_is_not_taken_to_save_money_unless_the_user_asks_for_it() -> None:
    used = catalog({"H100": (1, 2)}, {"H100:1": 3, "H100:2": 6})
    with pytest.raises(PlanInputError, match=r"1×H100:2 on aws for 6\.00"):
        plan_for(W8A8, used, resources={"maxHourlyCost": "4"})
    asked = plan_for(W8A8, used, engine={"maxModelLen": 2048}, resources={"maxHourlyCost": "4"})
    assert asked.accelerators == ("H100:1",)


def test_what_no_document_has_is_taken_where_there_is_nothing_else() -> None:
    plan = plan_for("r1", catalog({"B300": (8,)}, {"B300:8": 50}))
    assert (plan.accelerators, plan.launchable) == (("B300:8",), True)
    assert "fits" not in plan.reason
