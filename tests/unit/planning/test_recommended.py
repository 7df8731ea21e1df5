"""What the planner recommends of itself: each layout with what supports it, and those that nothing supports by name."""

from collections import defaultdict
from pathlib import Path

import pytest

from deepseek_operator.planning import Plan
from tests.unit.planning.builders import CATALOG, plan_for

PAGE = Path(__file__).parents[3] / "docs" / "planning.md"
BEGIN, END = "<!-- recommended: written by tests/unit/planning/test_recommended.py -->", "<!-- /recommended -->"
RECIPE = "vLLM's recipe"
TABLE = "SGLang's table"
ONE_GPU = "one GPU: nothing to lay out; vLLM's memory and speed are measured on H200"
PAIRED = "vLLM's documentation: tensor parallelism in a node; measured on two GPUs"

SUPPORT: dict[tuple[str, str, str], str] = {
    ("R1, V3", "H200:8", "VLLM TP8"): f"{RECIPE} and {TABLE}: 8 H200",
    ("R1, V3 in BF16", "2 x H200:8", "SGLang TP8 x PP2"): f"{TABLE}: two H200:8, with tensor parallelism over both",
    ("R1 in AWQ", "A100-80GB:8", "VLLM TP8"): f"{TABLE}: A100-80GB:8, there with SGLang",
    ("R1 in NVFP4", "B200:8", "VLLM TP8"): f"{TABLE}: B200:8; {RECIPE}: 4 B200",
    ("V3.2", "H200:8", "VLLM DP8"): f"{RECIPE}: -dp 8 -ep rather than -tp 8",
    ("V4-Flash", "H200:8", "VLLM TP8"): f"{RECIPE}: 8 H200",
    ("V4.1-Flash", "H200:8", "VLLM TP8"): f"{RECIPE}: 8 H200",
    ("V2", "A100-80GB:8", "VLLM TP8"): PAIRED,
}
"""By family, machine of the first candidate, and layout. A single GPU needs no line."""

DERIVED = {
    ("R1 in INT8", "H200:8", "SGLang TP8"): f"{TABLE} has 2 x A100-80GB:8; one H200:8 by memory",
    ("R1 in W4AFP8", "H200:8", "SGLang TP8"): f"{TABLE} has H100:8 and H200:4; here the cheaper H200:8",
    ("V4-Pro", "H200:8", "VLLM TP8"): f"{RECIPE} has 8 H200 with -dp 8; tensor parallelism because -dp 8 does not fit",
    ("V4-Flash in FP8", "H200:8", "SGLang TP8"): "no table for the conversion",
    ("V4-Pro in FP8", "2 x H200:8", "SGLang TP8 x PP2"): "no table for the conversion",
}
"""Recommended although neither the engines' documentation nor a measured case has just this. None joins by itself."""


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


def test_every_layout_that_is_recommended_is_supported_or_named_as_derived() -> None:
    assert set(recommended()) == SUPPORT.keys() | DERIVED.keys()


def test_models_that_fit_one_gpu_get_one() -> None:
    for model in CATALOG.models.values():
        plan = plan_for(model.id)
        if plan.accelerators[0].endswith(":1") and plan.nodes == 1:
            assert layout_of(plan)[1].endswith(" alone"), model.id


def test_the_page_shows_them(request: pytest.FixtureRequest) -> None:
    lines = ["| models | first machine | layout | what supports it |", "|---|---|---|---|"]
    lines += [f"| those that fit one GPU | one GPU | alone | {ONE_GPU} |"]
    for key, why in {**SUPPORT, **DERIVED}.items():
        derived = " (derived)" if key in DERIVED else ""
        lines.append(f"| {key[0]} | `{key[1]}` | {key[2]} | {why}{derived} |")
    table = "\n".join(lines)
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    shown, after = rest.split(END)
    if request.config.getoption("--regenerate-expected", default=False):
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
        return
    assert shown.strip() == table
