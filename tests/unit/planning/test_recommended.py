"""What the planner recommends of itself: each layout of each machine with what supports it.

The table is the contract: whatever the widest search takes for a model of the catalog, wherever it may run and whatever
is wanted of it, has a row here, and no row is there for nothing.
"""

from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from deepseek_operator.catalog import Catalog, PriceInfo
from deepseek_operator.planning import Candidate, PlanInputError
from tests.unit.planning.builders import CATALOG, plan_for

PAGE = Path(__file__).parents[3] / "docs" / "planning.md"
BEGIN, END = "<!-- recommended: written by tests/unit/planning/test_recommended.py -->", "<!-- /recommended -->"
RECIPE = "vLLM's recipe"
TABLE = "SGLang's table"
COOKBOOK = "SGLang's cookbook"
CROZ = "[measured](https://croz.net/deepseek-v3-0324-heavy-load-benchmark) for V3-0324"
SCALING = "[vLLM's page on scaling](https://docs.vllm.ai/en/latest/serving/parallelism_scaling/)"
IN_A_NODE = f"{SCALING}: tensor parallelism where a model is too large for one GPU"
STAGES = "SGLang's page on pipeline parallelism: TP8 with stages between nodes for DeepSeek-V3.1"
V4 = f"{RECIPE}: verified, tensor and expert parallelism by default"
V41 = f"{RECIPE}: verified; TP4, expert parallelism among its strategies,"
V4_FOUR = f"{V4}; 4 of 8 GPUs a replica"

SUPPORT: dict[tuple[str, str, str], str] = {
    ("those that fit one GPU", "one GPU", "VLLM alone"): f"{SCALING}: nothing to lay out; measured on H200 and others",
    ("others without experts, V2", "GPUs with NVLink", "VLLM TP"): f"{IN_A_NODE}; measured on two GPUs",
    (
        "others without experts, V2",
        "GPUs without NVLink, of one's own cluster",
        "VLLM TP",
    ): f"{IN_A_NODE}; pipeline stages would answer more requests, each of them later",
    ("R1, V3", "H200:8", "VLLM TP8 EP"): f"{RECIPE} and {TABLE}: 8 H200",
    ("R1, V3", "B200:8", "VLLM TP8 EP"): f"{RECIPE}: B200 verified; {TABLE}: 8 B200",
    ("R1, V3", "2 x H100:8", "SGLang TP8 x PP2"): f"{TABLE}: two H100:8. {STAGES}",
    ("R1, V3 in BF16", "2 x H200:8", "SGLang TP8 x PP2"): f"{TABLE}: two H200:8. {STAGES}",
    ("R1, V3 in BF16", "2 x H200:8", "SGLang TP16"): f"{TABLE}: two H200:8 with TP16",
    ("R1 in INT8", "2 x A100-80GB:8", "SGLang TP8 x PP2"): f"{TABLE}: 16 A100. {STAGES}",
    ("R1 in INT8", "2 x A100-80GB:8", "SGLang TP16"): f"{TABLE}: 16 A100 with TP16",
    ("R1 in AWQ", "A100-80GB:8", "VLLM TP8 EP"): f"{TABLE}: 8 A100, with SGLang; {CROZ} with vLLM",
    ("R1 in AWQ", "H100:8", "VLLM TP8 EP"): f"{TABLE}: 8 H100, with SGLang; {CROZ} with vLLM",
    ("R1 in W4AFP8", "H100:8", "SGLang TP8"): f"{TABLE}: 8 H100",
    ("R1 in W4AFP8", "H200:4", "SGLang TP4"): f"{TABLE}: 4 H200",
    ("R1 in NVFP4", "B200:8", "VLLM TP8 EP"): f"{TABLE}: 8 B200; {RECIPE}: 4 B200",
    ("R1 in NVFP4", "B200:4", "VLLM TP4 EP"): f"{RECIPE} and {TABLE}: 4 B200",
    ("R1 in NVFP4", "GB200:4", "VLLM TP4 EP"): f"{RECIPE}: GB200 verified; 4 B200",
    ("V3.2", "H200:8", "VLLM DP8 EP"): f"{RECIPE}: -dp 8 -ep rather than -tp 8",
    (
        "V3.2",
        "H200:8",
        "VLLM TP8 EP",
    ): f"{RECIPE}: TP8; only where DP8 does not reach the objective, as the time to the first token",
    ("V4-Flash", "H200:8", "VLLM TP8 EP"): V4,
    ("V4-Flash", "B200:8", "VLLM TP8 EP"): V4,
    ("V4-Flash", "B300:8", "VLLM TP8 EP"): V4,
    ("V4-Flash", "H200:4", "VLLM TP4 EP"): V4_FOUR,
    ("V4-Flash", "B200:4", "VLLM TP4 EP"): V4_FOUR,
    ("V4-Flash", "B300:4", "VLLM TP4 EP"): V4_FOUR,
    ("V4-Flash", "GB200:4", "VLLM TP4 EP"): f"{V4}; a tray",
    ("V4-Flash", "GB300:4", "VLLM TP4 EP"): f"{V4}; a tray",
    ("V4-Flash in FP8", "H200:8", "SGLang TP4 x DP2"): f"{COOKBOOK}: TP4 on H200, here twice on a machine of 8",
    ("V4-Flash in FP8", "H200:4", "SGLang TP4"): f"{COOKBOOK}: TP4 on H200",
    ("V4-Pro", "H200:8", "VLLM TP8 EP"): V4,
    ("V4-Pro", "B200:8", "VLLM TP8 EP"): V4,
    ("V4-Pro", "B300:8", "VLLM DP8 EP"): f"{RECIPE}: 8 B300 with DP8 and expert parallelism",
    ("V4-Pro", "GB300:4", "VLLM TP4 EP"): f"{V4}; a tray",
    ("V4-Pro in FP8", "2 x H200:8", "SGLang TP8 x PP2"): f"{COOKBOOK}: two H200:8 with TP16. {STAGES}",
    ("V4.1-Flash", "H200:8", "VLLM TP8 EP"): f"{RECIPE}: verified on 8, expert parallelism among its strategies",
    ("V4.1-Flash", "B300:4", "VLLM TP4 EP"): f"{V41} on 4 of 8 GPUs",
    ("V4.1-Flash", "GB200:4", "VLLM TP4 EP"): f"{V41} on a tray",
    ("V4.1-Flash", "GB300:4", "VLLM TP4 EP"): f"{V41} on a tray",
}
"""By family, machine, and layout."""

PLACES = [[], ["aws"], ["gcp"], ["lambda"], ["nebius", "runpod"], ["runpod"], ["kubernetes", "lambda"], ["kubernetes"]]
WISHES: list[dict[str, Any]] = [
    {},
    {"ranking": "LowestCostPerToken"},
    {"concurrency": 64},
    {"minTokensPerSecondPerRequest": 60},
    {"maxTimeToFirstTokenSeconds": 0.5, "concurrency": 8},
]


def family_of(model: str) -> str:
    name = model.split("/")[-1]
    if "V4.1" in name:
        return "V4.1-Flash"
    if "V4" in name:
        return ("V4-Pro" if "Pro" in name else "V4-Flash") + (" in FP8" if name.endswith("FP8") else "")
    if "V3.2" in name or "Math-V2" in name:
        return "V3.2"
    for form in ("INT8", "AWQ", "NVFP4", "W4AFP8"):
        if form in name:
            return f"R1 in {form}"
    return "R1, V3 in BF16" if name.endswith("BF16") else "R1, V3"


def row_of(model: str, candidate: Candidate, *, own: bool) -> tuple[str, str, str]:
    """Return the row of the table that a candidate belongs to."""
    layout, count, gpu = candidate.layout, candidate.accelerator.count, candidate.gpu
    assert layout
    sizes = {
        "TP": layout.tensor_parallel_size,
        "PP": layout.pipeline_parallel_size,
        "DP": layout.data_parallel_size,
    }
    shape = " x ".join(f"{name}{size}" for name, size in sizes.items() if size > 1) or "alone"
    shape += " EP" if layout.expert_parallel else ""
    if candidate.nodes == count == 1:
        return "those that fit one GPU", "one GPU", f"{candidate.engine} {shape}"
    if not CATALOG.models[model].recommended:
        link = "with NVLink" if gpu.nvlink else "without NVLink" + (", of one's own cluster" if own else "")
        return (
            "others without experts, V2",
            f"GPUs {link}" if candidate.nodes == 1 else str(candidate.nodes),
            f"{candidate.engine} {'TP' if shape == f'TP{count}' else shape}",
        )
    machine = f"{gpu.chip}:{count}" if candidate.nodes == 1 else f"{candidate.nodes} x {gpu.chip}:{count}"
    return family_of(model), machine, f"{candidate.engine} {shape}"


def taken() -> dict[tuple[str, str, str], set[str]]:
    """Every model and machine that any search takes, by row."""
    found: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for model in CATALOG.models:
        for infra in PLACES:
            for wish in WISHES:
                try:
                    plan = plan_for(model, resources={"infra": infra}, objective=wish)
                except PlanInputError:
                    continue  # nothing reaches it, which is no recommendation
                for candidate in plan.candidates:
                    found[row_of(model, candidate, own=infra == ["kubernetes"])].add(
                        f"{model} on {candidate.accelerator}, {infra}, {wish}"
                    )
    return found


def test_every_layout_that_is_taken_by_itself_is_one_that_documents_or_measurements_support() -> None:
    found = taken()
    assert {row: sorted(found[row])[:3] for row in found.keys() - SUPPORT.keys()} == {}
    assert SUPPORT.keys() - found.keys() == set()


def test_a_machine_without_support_is_taken_where_the_user_names_it_and_says_why_not_otherwise() -> None:
    left_out = {str(c.accelerator): c.reason for c in plan_for("r1").alternatives}
    assert left_out["B300:8"] == ("no engine's documentation has it for DeepSeek-R1; name it in resources.accelerators")
    assert plan_for("r1", resources={"accelerators": ["B300:8"]}).launchable
    small = {str(c.accelerator): c.reason for c in plan_for("r1-70b").alternatives}
    assert small["L40S:4"].startswith("L40S have no NVLink, which tensor parallelism wants")


def test_a_plan_names_a_machine_that_is_left_out_and_costs_half_as_much() -> None:
    resources = {"infra": ["gcp"]}
    plan = plan_for("r1-14b", resources=resources)
    assert plan.accelerators[0] == "H100:1"
    assert "L4:2 would do for 2.00 $/h: L4 have no NVLink, which tensor parallelism wants; name it in" in plan.reason
    assert plan_for("r1-14b", resources={**resources, "accelerators": ["L4:2"]}).launchable
    faster = plan_for("r1-14b", resources=resources, objective={"minTokensPerSecondPerRequest": 60})
    per_token = plan_for("r1-14b", resources=resources, objective={"ranking": "LowestCostPerToken"})
    large = plan_for("v3.2", resources={"infra": []})
    given = {"accelerators": ["L40S:4", "T4:4"], "infra": ["aws"]}  # the second needs other flags
    users = plan_for("r1-14b", resources=given, engine={"maxModelLen": 90_000})
    cheapest = plan_for("r1-8b")
    for other in (faster, per_token, large, users, cheapest):
        assert "would do for" not in other.reason


@pytest.mark.parametrize(
    ("model", "gpus", "parts"),
    [
        ("coder-v2", {"L40": (8,), "H100": (8,)}, {}),  # half the price, but of two nodes
        ("r1-8b", {"L4": (1,), "H100": (1,)}, {"resources": {"infra": ["gcp"]}, "engine": {"maxModelLen": 24_000}}),
        ("r1-8b", {"L4": (1,), "L40S": (4,)}, {"resources": {"infra": ["aws"], "capacityType": "Spot"}}),
    ],
    ids=["several nodes", "what only just fits", "half of a price that nobody knows"],
)
def test_a_plan_names_nothing_cheaper_that_more_speaks_against(
    model: str, gpus: dict[str, tuple[int, ...]], parts: dict[str, Any]
) -> None:
    few = {name: CATALOG.gpus[name].model_copy(update={"counts": counts}) for name, counts in gpus.items()}
    offered = PriceInfo(
        cloud="aws", instance_type="x", accelerators="L40S:4", spot=Decimal("0.1"), as_of=None, source="live"
    )
    plan = plan_for(model, Catalog(CATALOG.models, few, (*CATALOG.prices, offered)), **parts)
    assert plan.launchable
    assert any(other.fits for other in plan.alternatives)
    assert "would do for" not in plan.reason


def test_on_ones_own_cluster_gpus_without_nvlink_may_be_taken_after_those_with() -> None:
    plan = plan_for("r1-70b", resources={"infra": ["kubernetes"]})
    several = [c.gpu.nvlink for c in plan.candidates if c.accelerator.count > 1]
    assert True in several
    assert False in several
    assert several == sorted(several, reverse=True)


def test_on_ones_own_cluster_a_large_model_takes_only_what_documents_have_and_says_so_of_the_rest() -> None:
    plan = plan_for("r1", resources={"infra": ["kubernetes"]})
    assert plan.accelerators == ("H200:8", "B200:8")
    left_out = {str(c.accelerator): c.reason for c in plan.alternatives}
    assert left_out["B300:4"] == "no engine's documentation has it for DeepSeek-R1; name it in resources.accelerators"


def test_on_ones_own_cluster_what_clouds_take_less_for_comes_before_what_has_less_memory() -> None:
    names = plan_for("r1-7b", resources={"infra": ["kubernetes"]}).accelerators
    assert names.index("L40:1") < names.index("A10G:1")


def test_of_a_node_of_ones_own_a_part_is_taken() -> None:
    rented = plan_for("v4-flash", resources={"infra": []})
    own = plan_for("v4-flash", resources={"infra": ["kubernetes"]})
    assert rented.accelerators[0] == "H200:8"
    assert "H200:4" in own.accelerators
    assert "H200:8" not in own.accelerators


def test_more_gpus_than_a_recipe_shares_a_model_over_become_copies() -> None:
    plan = plan_for("sgl-project/DeepSeek-V4-Flash-FP8", resources={"accelerators": ["H200:8"]})
    assert (plan.tensor_parallel_size, plan.data_parallel_size) == (4, 2)
    assert plan.environment["SGLANG_DSV4_FP4_EXPERTS"] == "0"


def test_the_page_shows_them(request: pytest.FixtureRequest) -> None:
    lines = ["| models | machine | layout | what supports it |", "|---|---|---|---|"]
    lines += [f"| {family} | {machine} | {layout} | {why} |" for (family, machine, layout), why in SUPPORT.items()]
    table = "\n".join(lines)
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    shown, after = rest.split(END)
    if request.config.getoption("--regenerate-expected", default=False):
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
        return
    assert shown.strip() == table
