"""What the planner recommends of itself: each layout with what supports it."""

from collections import defaultdict
from pathlib import Path

import pytest

from deepseek_operator.planning import Plan
from tests.unit.planning.builders import CATALOG, plan_for

PAGE = Path(__file__).parents[3] / "docs" / "planning.md"
BEGIN, END = "<!-- recommended: written by tests/unit/planning/test_recommended.py -->", "<!-- /recommended -->"
RECIPE = "vLLM's recipe"
TABLE = "SGLang's table"
COOKBOOK = "SGLang's cookbook"
CROZ = "[measured](https://croz.net/deepseek-v3-0324-heavy-load-benchmark) for V3-0324"
ONE_GPU = "one GPU: nothing to lay out; vLLM's memory and speed are measured on H200, published for H100"
PAIRED = "vLLM's documentation: tensor parallelism in a node with NVLink; measured on two GPUs"

STAGES = (
    "SGLang's page on pipeline parallelism: TP8 with stages between nodes for DeepSeek-V3.1; TP16, as the table has "
    "it, where the network is known to be fast"
)

SUPPORT: dict[tuple[str, str, str], str] = {
    ("R1, V3", "H200:8", "VLLM TP8"): f"{RECIPE} and {TABLE}: 8 H200",
    ("R1, V3 in BF16", "2 x H200:8", "SGLang TP8 x PP2"): f"{TABLE}: two H200:8. {STAGES}",
    ("R1 in INT8", "2 x A100-80GB:8", "SGLang TP8 x PP2"): f"{TABLE}: 16 A100. {STAGES}",
    (
        "R1 in AWQ",
        "A100-80GB:8",
        "VLLM TP8",
    ): f"{TABLE}: 8 A100, with SGLang; {CROZ} with vLLM",
    ("R1 in W4AFP8", "H100:8", "SGLang TP8"): f"{TABLE}: 8 H100",
    ("R1 in NVFP4", "B200:8", "VLLM TP8"): f"{TABLE}: 8 B200; {RECIPE}: 4 B200",
    ("V3.2", "H200:8", "VLLM DP8"): f"{RECIPE}: -dp 8 -ep rather than -tp 8",
    ("V4-Flash", "H200:8", "VLLM TP8"): f"{RECIPE}: 8 H200",
    (
        "V4-Flash in FP8",
        "H200:8",
        "SGLang TP4 x DP2",
    ): f"{COOKBOOK}: TP4 on H200, here twice on a machine of 8",
    ("V4-Pro", "H200:8", "VLLM TP8"): f"{RECIPE}: 8 H200, tensor and expert parallelism by default",
    ("V4-Pro in FP8", "2 x H200:8", "SGLang TP8 x PP2"): f"{COOKBOOK}: two H200:8 with TP16. {STAGES}",
    ("V4.1-Flash", "H200:8", "VLLM TP8"): f"{RECIPE}: 8 H200",
    ("V2", "A100-80GB:8", "VLLM TP8"): PAIRED,
}
"""By family, machine of the first candidate, and layout. A single GPU needs no line."""


def family_of(model: str) -> str:
    name = model.split("/")[-1]
    if "V4.1" in name:
        return "V4.1-Flash"
    if "V4" in name:
        return ("V4-Pro" if "Pro" in name else "V4-Flash") + (" in FP8" if name.endswith("FP8") else "")
    if "V3.2" in name or "Math-V2" in name:
        return "V3.2"
    if "V2" in name and "Prover" not in name:
        return "V2"
    for form in ("INT8", "AWQ", "NVFP4", "W4AFP8"):
        if form in name:
            return f"R1 in {form}"
    return "R1, V3 in BF16" if name.endswith("BF16") else "R1, V3"


def layout_of(plan: Plan) -> tuple[str, str]:
    machine = f"{plan.nodes} x {plan.accelerators[0]}" if plan.nodes > 1 else plan.accelerators[0]
    sizes = {
        "TP": plan.tensor_parallel_size,
        "PP": plan.pipeline_parallel_size,
        "DP": plan.data_parallel_size,
    }
    parts = [f"{name}{size}" for name, size in sizes.items() if size > 1]
    return machine, f"{plan.engine.value} {' x '.join(parts) or 'alone'}"


def recommended() -> dict[tuple[str, str, str], list[str]]:
    """Models by family, machine and layout, for those that need more than one GPU."""
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for model in CATALOG.models.values():
        plan = plan_for(model.id)
        if plan.accelerators and plan.accelerators[0].endswith(":1") and plan.nodes == 1:
            continue
        found[(family_of(model.id), *layout_of(plan))].append(model.short_name)
    return found


def test_every_layout_that_is_recommended_is_one_that_documents_or_measurements_support() -> None:
    assert set(recommended()) == SUPPORT.keys()


@pytest.mark.parametrize("infra", [[], ["aws"], ["gcp"], ["nebius", "runpod"], ["kubernetes", "lambda"]])
def test_no_rented_machine_is_taken_by_itself_that_no_document_has(infra: list[str]) -> None:
    for model in CATALOG.models.values():
        plan = plan_for(model.id, resources={"infra": infra})
        for candidate in plan.candidates:
            count, gpu = candidate.accelerator.count, candidate.gpu
            machine = f"{gpu.chip}:{count}" if candidate.nodes == 1 else f"{candidate.nodes} x {gpu.chip}:{count}"
            assert machine in model.recommended if model.recommended else count == 1 or gpu.nvlink, (model.id, machine)


def test_a_machine_without_support_is_taken_where_the_user_names_it_and_says_why_not_otherwise() -> None:
    left_out = {str(c.accelerator): c.reason for c in plan_for("r1").alternatives}
    assert left_out["B300:8"] == ("no engine's documentation has it for DeepSeek-R1; name it in resources.accelerators")
    assert plan_for("r1", resources={"accelerators": ["B300:8"]}).launchable
    small = {str(c.accelerator): c.reason for c in plan_for("r1-70b").alternatives}
    assert small["L40S:4"].startswith("L40S have no NVLink, which tensor parallelism wants")


def test_on_ones_own_cluster_everything_that_fits_may_be_taken() -> None:
    plan = plan_for("r1-70b", resources={"infra": ["kubernetes"]})
    assert any(not c.gpu.nvlink and c.accelerator.count > 1 for c in plan.candidates)


def test_more_gpus_than_a_recipe_shares_a_model_over_become_copies() -> None:
    plan = plan_for("sgl-project/DeepSeek-V4-Flash-FP8", resources={"accelerators": ["H200:8"]})
    assert (plan.tensor_parallel_size, plan.data_parallel_size) == (4, 2)
    assert plan.environment["SGLANG_DSV4_FP4_EXPERTS"] == "0"


def test_models_that_fit_one_gpu_get_one() -> None:
    for model in CATALOG.models.values():
        plan = plan_for(model.id)
        if plan.accelerators[0].endswith(":1") and plan.nodes == 1:
            assert layout_of(plan)[1].endswith(" alone"), model.id


def test_the_page_shows_them(request: pytest.FixtureRequest) -> None:
    lines = ["| models | first machine | layout | what supports it |", "|---|---|---|---|"]
    lines += [f"| those that fit one GPU | one GPU | alone | {ONE_GPU} |"]
    lines += [f"| {family} | `{machine}` | {layout} | {why} |" for (family, machine, layout), why in SUPPORT.items()]
    table = "\n".join(lines)
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    shown, after = rest.split(END)
    if request.config.getoption("--regenerate-expected", default=False):
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
        return
    assert shown.strip() == table
