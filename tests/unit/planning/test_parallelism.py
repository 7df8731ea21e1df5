"""How a replica is spread over its GPUs: what follows from the model, and what the user fixes."""

from typing import Any

import pytest

from deepseek_operator.api.spec import EngineName
from deepseek_operator.api.status import Verdict
from deepseek_operator.catalog import Catalog, ModelInfo
from deepseek_operator.catalog.schema import Dtype
from deepseek_operator.planning import Plan, PlanInputError
from tests.unit.planning.builders import CATALOG, plan_for

OCR = "deepseek-ai/DeepSeek-OCR"
BF16 = "unsloth/DeepSeek-R1-0528-BF16"


def spread(model: str, engine: str, args: str, accelerators: str, nodes: int | None = None, **resources: Any) -> Plan:
    fields = {"accelerators": [accelerators], "nodes": nodes, "infra": ["kubernetes"], **resources}
    return plan_for(model, engine={"name": engine, "args": args.split()}, resources=fields)


# model, engine, arguments, GPUs, nodes; sizes of tensor, pipeline and data parallelism, expert parallelism
LAYOUTS = [
    ("r1", "VLLM", "", "H200:8", 1, (8, 1, 1, True)),  # as its recipe
    ("r1", "VLLM", "--no-enable-expert-parallel", "H200:8", 1, (8, 1, 1, False)),
    ("v2-lite", "VLLM", "--enable-expert-parallel", "L4:4", 1, (4, 1, 1, True)),
    ("r1", "SGLang", "", "H200:8", 1, (8, 1, 1, False)),
    ("r1", "SGLang", "--ep-size 8", "H200:8", 1, (8, 1, 1, True)),
    ("r1", "SGLang", "--ep-size 1", "H200:8", 1, (8, 1, 1, False)),
    # one GPU has nobody to share experts with
    ("v2-lite", "VLLM", "--enable-expert-parallel", "H100:1", 1, (1, 1, 1, False)),
    ("v2-lite", "VLLM", "--enable-expert-parallel", "H100:1", 2, (1, 2, 1, False)),
    ("v2-lite", "VLLM", "-tp 1 --enable-expert-parallel", "H100:1", 1, (1, 1, 1, False)),
    ("v2-lite", "VLLM", "-tp 1 -dp 2 --enable-expert-parallel", "H100:2", 1, (1, 1, 2, True)),
    # whole blocks of 128 are for FP8, and for experts that are divided
    ("r1", "SGLang", "--tp 32 --ep-size 32", "H100:8", 4, (32, 1, 1, True)),
    (BF16, "SGLang", "--tp 32", "H100:8", 4, (32, 1, 1, False)),
    # 10 heads and 28 heads
    (OCR, "VLLM", "", "L4:4", 1, (2, 1, 2, False)),
    ("r1-7b", "VLLM", "", "L4:8", 1, (4, 1, 2, False)),
    # stages where no copy fits one GPU, and copies where the recipe shares a model over fewer
    ("r1", "SGLang", "", "H100:12", 1, (4, 3, 1, False)),
    ("v2-lite", "VLLM", "--enable-expert-parallel", "L4:3", 1, (1, 3, 1, False)),
    ("sgl-project/DeepSeek-V4-Flash-FP8", "SGLang", "", "H200:8", 1, (4, 1, 2, False)),
    # copies of the attention layers, whose recipe is for one machine
    ("v3.2", "VLLM", "", "H200:8", 1, (1, 1, 8, True)),
    ("v3.2", "VLLM", "", "H200:8", 2, (8, 2, 1, True)),
    # what the user leaves out follows from what he gives
    ("acme/own", "VLLM", "-pp 2", "L4:4", 1, (2, 2, 1, False)),
    ("acme/own", "VLLM", "-dp 2", "L4:4", 1, (2, 1, 2, False)),
    ("acme/own", "VLLM", "-dp 2", "L4:4", 2, (2, 2, 2, False)),
    ("acme/own", "VLLM", "-tp 16", "L4:8", 2, (16, 1, 1, False)),
    ("v2-lite", "VLLM", "", "L4:4", 27, (4, 27, 1, False)),  # a layer for each node
]


@pytest.mark.parametrize(("model", "engine", "args", "accelerators", "nodes", "sizes"), LAYOUTS)
def test_a_replica_is_spread_as_the_model_allows_and_the_user_says(
    model: str, engine: str, args: str, accelerators: str, nodes: int, sizes: tuple[int, int, int, bool]
) -> None:
    plan = spread(model, engine, args, accelerators, nodes)
    (options,) = plan.serve.values()
    found = (plan.tensor_parallel_size, plan.pipeline_parallel_size, plan.data_parallel_size, options.expert_parallel)
    assert found == sizes


# model, arguments of SGLang, nodes; sizes of tensor, pipeline and data parallelism
FAST = [
    ("r1", "", 2, (16, 1, 1)),
    ("r1", "", 4, (8, 4, 1)),  # its FP8 experts cannot be divided by 32
    ("r1", "--ep-size 32", 4, (32, 1, 1)),
    ("r1-7b", "", 2, (4, 4, 1)),  # 28 heads
    ("acme/own", "", 2, (16, 1, 1)),
    ("acme/own", "--pp-size 2", 2, (8, 2, 1)),
    ("acme/own", "--dp-size 2", 2, (8, 1, 2)),
]


@pytest.mark.parametrize(("model", "args", "nodes", "sizes"), FAST)
def test_over_a_fast_network_tensor_parallelism_spans_nodes_where_the_model_can_be_divided(
    model: str, args: str, nodes: int, sizes: tuple[int, int, int]
) -> None:
    plan = spread(model, "SGLang", args, "H100:8", nodes, interconnect="Fast")
    assert (plan.tensor_parallel_size, plan.pipeline_parallel_size, plan.data_parallel_size) == sizes


def test_a_model_has_no_more_pipeline_stages_than_layers() -> None:
    plan = spread("v2-lite", "VLLM", "", "L4:4", 28)
    assert plan.verdict is Verdict.DOES_NOT_FIT
    assert plan.reason.startswith("DeepSeek-V2-Lite-Chat has fewer layers than 28 nodes need")


def in_fp8(name: str) -> Catalog:
    """The catalog with another number format of a model."""
    base = CATALOG.find(name)
    assert base
    return with_model(base.model_copy(update={"weights": base.weights.model_copy(update={"dtype": Dtype.FP8})}))


def with_model(model: ModelInfo) -> Catalog:
    return Catalog({**CATALOG.models, model.id: model}, CATALOG.gpus, CATALOG.prices)


def test_a_model_without_experts_is_divided_by_its_heads_whatever_its_number_format() -> None:
    plan = plan_for("r1-8b", in_fp8("r1-8b"), resources={"accelerators": ["L4:4"]})
    assert plan.tensor_parallel_size == 4


def test_experts_in_fp8_leave_fewer_sizes_than_the_heads_do() -> None:
    engine = {"name": "VLLM", "args": ["-tp", "4"]}
    with pytest.raises(PlanInputError, match=r"in whole FP8 blocks of 128 without expert parallelism; use 1$"):
        plan_for("v2-lite", in_fp8("v2-lite"), engine=engine, resources={"accelerators": ["L4:4"]})


def test_one_gpu_runs_no_copies_of_the_attention_layers() -> None:
    base = CATALOG.find("v2-lite")
    assert base
    recipe = base.engines[EngineName.VLLM].model_copy(update={"data_parallel": True})
    catalog = with_model(base.model_copy(update={"engines": {EngineName.VLLM: recipe}}))
    for gpus, shares in (("H100:1", False), ("H100:2", True)):
        (options,) = plan_for("v2-lite", catalog, resources={"accelerators": [gpus]}).serve.values()
        assert options.expert_parallel is shares


@pytest.mark.parametrize(
    ("model", "engine", "args", "accelerators", "nodes", "words"),
    [
        ("r1-7b", "VLLM", "-tp 8", "L4:4", 2, "8 GPUs cannot share evenly; use 1, 2 or 4"),
        ("r1-7b", "VLLM", "-tp 3", "L4:1", 1, "3 GPUs cannot share evenly; use 1"),
    ],
)
def test_a_size_that_does_not_divide_the_model_is_refused_with_those_that_do(
    model: str, engine: str, args: str, accelerators: str, nodes: int, words: str
) -> None:
    with pytest.raises(PlanInputError) as caught:
        spread(model, engine, args, accelerators, nodes)
    assert caught.value.message.endswith(words)
