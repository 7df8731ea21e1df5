"""The matrix of the guide this project replaces: 12 cells, today's verdict and why. docs/guide-matrix.md says more."""

from pathlib import Path

import pytest

from deepseek_operator.api.status import Verdict
from deepseek_operator.planning import PlanInputError
from tests.unit.planning.builders import plan_for

PAGE = Path(__file__).parents[3] / "docs" / "guide-matrix.md"
QWEN, LLAMA, R1 = "DeepSeek-R1-Distill-Qwen-7B", "DeepSeek-R1-Distill-Llama-70B", "DeepSeek-R1"

# model, accelerators, the guide's answer, our verdict on one node, (tensor, pipeline, data) parallel, words of why
MATRIX = [
    (QWEN, "L4:1", True, Verdict.FITS, (1, 1, 1), "70,879 tokens"),
    (LLAMA, "L4:1", False, Verdict.DOES_NOT_FIT, None, "needs 131 GiB for weights in BF16; 1×L4 offer 20.3 GiB"),
    (R1, "L4:1", False, Verdict.DOES_NOT_FIT, None, "needs 641 GiB for weights in FP8; 1×L4 offer 20.3 GiB"),
    (QWEN, "L4:8", True, Verdict.FITS, (4, 1, 2), "tensor parallel 4, data parallel 2"),
    (LLAMA, "L4:8", False, Verdict.TIGHT, (8, 1, 1), "at most 64 requests and 2048 tokens"),
    (R1, "L4:8", False, Verdict.DOES_NOT_FIT, None, "needs 641 GiB for weights in FP8; 8×L4 offer 160 GiB"),
    (QWEN, "A100:8", True, Verdict.FITS, (4, 1, 2), "tensor parallel 4, data parallel 2"),
    (LLAMA, "A100:8", True, Verdict.FITS, (8, 1, 1), "context 131,072"),
    (R1, "A100:8", False, Verdict.DOES_NOT_FIT, None, "8×A100 offer 290 GiB"),
    # No cloud sells twelve; on nodes of one's own that have them:
    (QWEN, "A100-80GB:12", True, Verdict.FITS, (4, 1, 3), "tensor parallel 4, data parallel 3"),
    (LLAMA, "A100-80GB:12", True, Verdict.FITS, (4, 1, 3), "tensor parallel 4, data parallel 3"),
    (R1, "A100-80GB:12", True, Verdict.FITS, (4, 3, 1), "tensor parallel 4, pipeline parallel 3"),
]


@pytest.mark.parametrize(("model", "accelerators", "guide", "verdict", "layout", "words"), MATRIX)
def test_each_cell_of_the_guide_has_todays_verdict_and_reason(
    model: str,
    accelerators: str,
    guide: bool,
    verdict: Verdict,
    layout: tuple[int, int, int] | None,
    words: str,
) -> None:
    plan = plan_for(model, resources={"accelerators": [accelerators], "nodes": 1, "infra": ["kubernetes"]})
    assert plan.verdict is verdict
    assert words in plan.reason
    if layout is not None:
        assert (plan.tensor_parallel_size, plan.pipeline_parallel_size, plan.data_parallel_size) == layout
    if guide:
        assert plan.launchable


@pytest.mark.parametrize(("accelerators", "context"), [("A100-80GB:2", 22_016), ("H100:2", 10_496)])
def test_two_gpus_of_80_gb_hold_llama_70b_with_the_context_that_the_page_says(accelerators: str, context: int) -> None:
    plan = plan_for(LLAMA, resources={"accelerators": [accelerators], "infra": ["kubernetes"]})
    assert plan.max_model_len == context
    assert f"{context:,}" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("model", [QWEN, LLAMA, R1])
def test_twelve_a100_are_refused_on_clouds_because_nobody_sells_them(model: str) -> None:
    with pytest.raises(PlanInputError, match="no cloud sells a machine with 12 of them; use one of A100-80GB:1"):
        plan_for(model, resources={"accelerators": ["A100-80GB:12"]})


def test_the_guides_context_of_4096_is_far_below_what_fits() -> None:
    for model, accelerators in ((QWEN, "L4:1"), (R1, "A100-80GB:12")):
        plan = plan_for(model, resources={"accelerators": [accelerators], "nodes": 1, "infra": ["kubernetes"]})
        assert plan.max_model_len is not None
        assert plan.max_model_len > 10 * 4096


@pytest.mark.parametrize("tp", [8, 12])
def test_the_guides_own_flag_is_refused_for_28_heads(tp: int) -> None:
    with pytest.raises(PlanInputError, match="28 attention heads"):
        plan_for(
            QWEN,
            engine={"name": "VLLM", "args": ["--tensor-parallel-size", str(tp)]},
            resources={"accelerators": [f"A100-80GB:{tp}"], "infra": ["kubernetes"]},
        )


def test_the_guides_pinned_engine_is_refused_for_r1() -> None:
    with pytest.raises(PlanInputError, match=r"needs VLLM 0\.12\.0 or newer"):
        plan_for(R1, engine={"image": "vllm/vllm-openai:v0.6.6.post1"}, resources={"accelerators": ["H200:8"]})


def test_the_guides_70b_on_two_a100_80gb_fits_with_4096() -> None:
    plan = plan_for(LLAMA, engine={"maxModelLen": 4096}, resources={"accelerators": ["A100-80GB:2"]})
    assert plan.verdict is Verdict.FITS


def test_the_guides_r1_on_two_nodes_of_a100_is_refused_by_sglang_and_served_by_vllm() -> None:
    resources = {"accelerators": ["A100-80GB:8"], "nodes": 2}
    refused = plan_for(R1, engine={"name": "SGLang"}, resources=resources)
    assert refused.verdict is Verdict.DOES_NOT_FIT
    assert "FP8 expert kernels need FP8 tensor cores" in refused.reason
    served = plan_for(R1, resources=resources)
    assert (served.engine.value, served.tensor_parallel_size, served.pipeline_parallel_size) == ("VLLM", 8, 2)
