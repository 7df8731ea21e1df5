"""Which engine and which layout a machine gets where several would do, or none."""

from typing import Any

from deepseek_operator.api.status import Verdict
from tests.unit.planning.builders import plan_for


def test_the_preferred_engine_is_taken_where_it_fits_only_just() -> None:
    resources = {"accelerators": ["B200:1"]}
    plan = plan_for("v4-flash", resources=resources)
    assert plan.engine == "VLLM"
    assert plan.verdict is Verdict.TIGHT
    assert plan_for("v4-flash", engine={"name": "SGLang"}, resources=resources).verdict is Verdict.FITS


def test_of_two_layouts_that_fit_only_just_the_first_is_taken() -> None:
    engine = {"name": "VLLM", "maxModelLen": 8192, "args": ["--gpu-memory-utilization", "0.24"]}
    plan = plan_for("r1-7b", engine=engine, resources={"accelerators": ["L4:8"], "nodes": 1})
    assert plan.verdict is Verdict.TIGHT
    assert (plan.data_parallel_size, plan.pipeline_parallel_size) == (2, 1)  # copies, and not stages


def test_a_refusal_speaks_of_the_layout_that_comes_closest() -> None:
    engine = {"name": "VLLM", "maxModelLen": 131_072}
    own: dict[str, Any] = {"accelerators": ["GB200:4"], "nodes": 1, "infra": ["kubernetes"]}
    plan = plan_for("v3.2", engine=engine, resources=own)
    assert not plan.launchable
    assert "the longest that does is 62,464" in plan.reason
    assert "(tensor parallel 4)" in plan.reason


def test_a_refusal_names_the_longest_context_only_where_there_is_one() -> None:
    engine = {"name": "VLLM", "maxModelLen": 4096, "args": ["--gpu-memory-utilization", "0.75"]}
    plan = plan_for("r1-8b", engine=engine, resources={"accelerators": ["L4:1"], "nodes": 1})
    assert "needs 15.0 GiB for weights in BF16; 1\N{MULTIPLICATION SIGN}L4 offer 16.5 GiB usable, but " in plan.reason


def test_expert_parallelism_of_a_model_without_experts_changes_nothing() -> None:
    resources = {"accelerators": ["L4:2"], "nodes": 1}
    args = ["--data-parallel-size", "2", "--tensor-parallel-size", "1"]
    plain = plan_for("r1-8b", engine={"name": "VLLM", "args": args}, resources=resources)
    shared = plan_for(
        "r1-8b", engine={"name": "VLLM", "args": [*args, "--enable-expert-parallel"]}, resources=resources
    )
    assert plain.memory
    assert shared.memory
    assert shared.memory.weights == plain.memory.weights
