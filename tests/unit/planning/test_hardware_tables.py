"""The engines' own tables of hardware for DeepSeek-V3 and R1, cell by cell.

SGLang: docs/basic_usage/deepseek_v3.md of 0.5.23. vLLM: vllm-project/recipes, models/deepseek-ai.
"""

import pytest

from deepseek_operator.api.spec import EngineName
from deepseek_operator.catalog import Fp8Support
from deepseek_operator.planning.hardware import activation_dtype, emulates, refuse
from tests.unit.planning.builders import plan_for
from tests.unit.planning.measured import gpu_named, model_named

R1 = "deepseek-ai/DeepSeek-R1"
BF16 = "unsloth/DeepSeek-R1-0528-BF16"
INT8 = "meituan/DeepSeek-R1-Channel-INT8"
BLOCK_INT8 = "meituan/DeepSeek-R1-Block-INT8"
AWQ = "QuixiAI/DeepSeek-R1-0528-AWQ"
W4A8 = "novita/Deepseek-R1-0528-W4AFP8"
W8A8 = "RedHatAI/DeepSeek-R1-Distill-Llama-70B-quantized.w8a8"
NVFP4 = "nvidia/DeepSeek-R1-0528-NVFP4-v2"

SGLANG = [
    (R1, "H200:8", 1, True),
    (R1, "B200:8", 1, True),
    (R1, "MI300X:8", 1, True),
    (R1, "H100:8", 2, True),
    (BF16, "H200:8", 2, True),
    (BF16, "MI300X:8", 2, True),
    (BF16, "H100:8", 4, True),
    (BF16, "A100-80GB:8", 4, True),
    (INT8, "A100-80GB:8", 2, True),
    (BLOCK_INT8, "A100-80GB:8", 2, True),
    (INT8, "L40S:8", 4, True),
    (W4A8, "H100:8", 1, True),
    (W4A8, "H200:4", 1, True),
    (AWQ, "H100:8", 1, True),
    (AWQ, "A100-80GB:8", 1, True),
    (NVFP4, "B200:8", 1, True),
    (NVFP4, "B200:4", 1, True),
    # and what the tables leave out
    (R1, "H100:8", 1, False),
    (R1, "A100-80GB:8", 2, False),
    (BF16, "A100-80GB:8", 2, False),
    (NVFP4, "H100:8", 1, False),
    (W4A8, "A100-80GB:8", 1, False),
    # sgl-kernel: int8_scaled_mm for compute capability 7.5 to 9.0, cutlass_w4a8_moe_mm for 9.0
    (INT8, "B200:8", 1, False),
    (BLOCK_INT8, "B200:8", 1, False),
    (W4A8, "B200:8", 1, False),
    (W4A8, "RTXPRO6000:8", 1, False),
]
VLLM = [
    (R1, "H200:8", 1, True),
    (R1, "H100:8", 2, True),
    (NVFP4, "B200:4", 1, True),
    ("deepseek-ai/DeepSeek-V3.2", "H200:8", 1, True),
    ("deepseek-ai/DeepSeek-V4-Flash", "H200:8", 1, True),
    ("deepseek-ai/DeepSeek-V4-Flash", "GB200:4", 1, True),
    ("deepseek-ai/DeepSeek-V4-Flash", "H100:3", 1, True),
    ("deepseek-ai/DeepSeek-V4-Pro", "B300:8", 1, True),
    ("deepseek-ai/DeepSeek-V4-Pro", "GB200:4", 2, True),
    ("deepseek-ai/DeepSeek-V4.1-Flash", "GB200:4", 1, True),
    ("deepseek-ai/DeepSeek-V4.1-Flash", "H200:8", 1, True),
    (R1, "A100-80GB:8", 2, True),  # FP8 weights through Marlin kernels
    (R1, "H100:8", 1, False),
    ("deepseek-ai/DeepSeek-V3.2", "A100-80GB:8", 4, False),
    ("deepseek-ai/DeepSeek-V4-Flash", "A100-80GB:8", 1, False),
    (W8A8, "H100:2", 1, True),
    (W8A8, "B200:1", 1, False),  # docs.vllm.ai, INT8 W8A8: not on Blackwell
    (W8A8, "RTXPRO6000:2", 1, False),
]
ROWS = [("SGLang", *row) for row in SGLANG] + [("VLLM", *row) for row in VLLM]


@pytest.mark.parametrize(("engine", "model", "accelerators", "nodes", "serves"), ROWS)
def test_the_engines_own_hardware_tables_are_reproduced(
    engine: str, model: str, accelerators: str, nodes: int, serves: bool
) -> None:
    image = "example.com/rocm:1" if accelerators.startswith("MI") else None
    plan = plan_for(
        model,
        engine={"name": engine, "image": image},
        resources={"accelerators": [accelerators], "nodes": nodes, "infra": ["kubernetes"]},
    )
    assert plan.launchable is serves, plan.reason


def test_v4_flash_on_three_h100_runs_as_three_pipeline_stages() -> None:
    plan = plan_for("v4-flash", resources={"accelerators": ["H100:3"], "infra": ["kubernetes"]})
    assert (plan.tensor_parallel_size, plan.pipeline_parallel_size) == (1, 3)


def test_v32_takes_data_parallel_attention_over_eight_h200() -> None:
    plan = plan_for("v3.2", resources={"accelerators": ["H200:8"]})
    assert (plan.tensor_parallel_size, plan.data_parallel_size) == (1, 8)


def test_r1_on_two_h100_nodes_with_a_fast_network_is_sglang_with_tensor_parallel_16() -> None:
    plan = plan_for(R1, resources={"accelerators": ["H100:8"], "nodes": 2, "interconnect": "Fast"})
    assert (plan.engine.value, plan.tensor_parallel_size, plan.pipeline_parallel_size) == ("SGLang", 16, 1)


def test_fp8_experts_stop_tensor_parallelism_at_16_without_expert_parallelism() -> None:
    plan = plan_for(R1, engine={"name": "SGLang"}, resources={"accelerators": ["H100:8"], "nodes": 4})
    assert plan.tensor_parallel_size * plan.pipeline_parallel_size == 32
    assert plan.tensor_parallel_size <= 16


@pytest.mark.parametrize("model", ["r1-1.5b", "acme/own"])
def test_gpus_below_the_lowest_compute_capability_are_refused(model: str) -> None:
    plan = plan_for(model, resources={"accelerators": ["V100:1"]})
    assert not plan.launchable
    assert "VLLM needs compute capability 7.5; V100 has 7.0" in plan.reason


@pytest.mark.parametrize("model", ["r1-1.5b", "acme/own"])
def test_gpus_without_bfloat16_compute_in_half_precision(model: str) -> None:
    plan = plan_for(model, resources={"accelerators": ["T4:1"]})
    assert plan.serve[1].dtype == "half"


def test_a_model_that_names_its_precision_keeps_it() -> None:
    assert activation_dtype(model_named(AWQ), gpu_named("T4"), EngineName.VLLM) is None


def test_a_format_whose_kernels_ended_is_refused_with_the_last_gpus_that_have_them() -> None:
    plan = plan_for(W8A8, resources={"accelerators": ["B200:1"]})
    assert "(compute capability 10.0): its INT8 kernels are for GPUs up to Hopper" in plan.reason


def test_fp8_weights_are_refused_where_nothing_can_run_them() -> None:
    gpu = gpu_named("A100").model_copy(update={"fp8": Fp8Support.NONE})
    assert refuse(model_named("r1"), gpu, EngineName.VLLM) == "A100 has no way to run FP8 weights"
    assert refuse(model_named("r1-8b"), gpu, EngineName.VLLM) is None


def test_gpus_that_must_emulate_a_format_come_last_however_cheap_they_are() -> None:
    resources = {"accelerators": ["A100-80GB:8", "H100:8"], "nodes": 2}
    plan = plan_for(R1, engine={"name": "VLLM"}, resources=resources)
    assert plan.accelerators == ("H100:8", "A100-80GB:8")
    native, emulated = plan.candidates
    assert native.hourly_cost
    assert emulated.hourly_cost
    assert native.hourly_cost > emulated.hourly_cost


def test_what_amds_kernels_do_is_not_judged() -> None:
    gpu = gpu_named("MI300X").model_copy(update={"fp8": Fp8Support.MARLIN})
    assert not emulates(model_named("r1"), gpu)
