"""How many nodes are planned when nobody says, and what spans them."""

from typing import Any

import pytest

from deepseek_operator.api.status import Verdict
from deepseek_operator.launch import build_task
from deepseek_operator.planning.candidates import evaluate, node_counts
from deepseek_operator.planning.request import read_request
from tests.unit.planning.builders import CATALOG, IDENTITY, plan_for, planned, spec_for

# model, accelerators, words of the refusal
REFUSED = [
    ("r1-32b", "L4:1", ("1×L4 offer 20.3 GiB usable", "L4:4 fits")),
    ("r1-14b", "A10G:1", ("A10G:4 fits", "2 nodes fit: set nodes: 2")),
    ("r1-8b", "T4:1", ("T4:2 fits", "2 nodes fit: set nodes: 2")),
    ("r1", "H200:1", ("H200:8 fits",)),
    ("r1", "H100:4", ("3 nodes fit: set nodes: 3",)),
]


@pytest.mark.parametrize(("model", "accelerators", "words"), REFUSED)
def test_gpus_below_a_full_machine_are_one_node_or_a_refusal_that_names_the_smaller_change(
    model: str, accelerators: str, words: tuple[str, ...]
) -> None:
    plan = plan_for(model, resources={"accelerators": [accelerators]})
    assert plan.verdict is Verdict.DOES_NOT_FIT
    assert plan.nodes == 1
    for part in words:
        assert part in plan.reason
    assert "Cheapest that fits: " in plan.reason


@pytest.mark.parametrize(("model", "accelerators", "words"), REFUSED)
def test_what_a_refusal_names_does_fit(model: str, accelerators: str, words: tuple[str, ...]) -> None:
    for part in words:
        if part.endswith(" fits"):
            assert plan_for(model, resources={"accelerators": [part.removesuffix(" fits")]}).launchable
        if "set nodes: " in part:
            nodes = int(part[-1])
            plan = plan_for(model, resources={"accelerators": [accelerators], "nodes": nodes})
            assert plan.launchable
            assert plan.nodes == nodes
            assert not plan_for(model, resources={"accelerators": [accelerators], "nodes": nodes - 1}).launchable


@pytest.mark.parametrize(
    ("accelerators", "counts"),
    [
        ("L4:1", (1,)),
        ("L4:4", (1,)),
        ("L4:8", (1, 2, 3, 4)),
        ("A10:4", (1, 2, 3, 4)),
        ("GB200:4", (1, 2, 3, 4)),
        ("H100:8", (1, 2, 3, 4)),
        ("H100:12", (1, 2, 3, 4)),
        ("GH200:1", (1,)),
    ],
)
def test_several_nodes_are_planned_by_themselves_only_at_full_machines(
    accelerators: str, counts: tuple[int, ...]
) -> None:
    request = read_request(spec_for("r1", resources={"accelerators": [accelerators]}), CATALOG)
    assert request.accelerators
    gpu = CATALOG.find_gpu(request.accelerators[0].name)
    assert gpu
    assert node_counts(request, request.accelerators[0], gpu) == counts


# resources, tensor parallel, pipeline parallel, words of the reason
NETWORKS: list[tuple[dict[str, Any], int, int, str]] = [
    ({}, 8, 2, "pipeline stages between nodes, whose network is not known to be fast (resources.interconnect)"),
    ({"infra": ["kubernetes"]}, 8, 2, "not known to be fast"),
    ({"infra": ["lambda"]}, 8, 2, "not known to be fast"),
    ({"infra": ["aws", "lambda"]}, 8, 2, "not known to be fast"),
    ({"infra": ["aws", "kubernetes"]}, 8, 2, "not known to be fast"),
    ({"infra": ["aws", "fluidstack"]}, 8, 2, "not known to be fast"),
    ({"infra": ["aws"]}, 16, 1, "tensor parallel over nodes, whose network is fast: EFA of p5.48xlarge"),
    ({"infra": ["kubernetes"], "interconnect": "Fast"}, 16, 1, "is fast: resources.interconnect: Fast"),
]


@pytest.mark.parametrize(("resources", "tp", "pp", "words"), NETWORKS)
def test_pipeline_stages_span_nodes_unless_their_network_is_known_to_be_fast(
    resources: dict[str, Any], tp: int, pp: int, words: str
) -> None:
    plan = plan_for("r1", resources={"accelerators": ["H100:8"], "nodes": 2, **resources})
    assert (plan.engine.value, plan.tensor_parallel_size, plan.pipeline_parallel_size) == ("SGLang", tp, pp)
    assert words in plan.reason


def test_vllm_keeps_tensor_parallelism_inside_a_node() -> None:
    resources = {"accelerators": ["H100:8"], "nodes": 2, "interconnect": "Fast"}
    plan = plan_for("r1", engine={"name": "VLLM"}, resources=resources)
    assert (plan.tensor_parallel_size, plan.pipeline_parallel_size) == (8, 2)
    assert "; pipeline stages between nodes." in plan.reason


def test_a_network_that_the_catalog_knows_is_asked_for_in_the_task_and_the_users_word_is_not() -> None:
    resources = {"accelerators": ["H100:8"], "nodes": 2}
    key = {"apiKeySecretRef": {"name": "k"}}
    known = planned(spec_for("r1", resources={**resources, "infra": ["aws"]}, endpoint=key))
    assert build_task(known, IDENTITY).task["resources"]["network_tier"] == "best"
    word = planned(spec_for("r1", resources={**resources, "infra": ["lambda"], "interconnect": "Fast"}, endpoint=key))
    assert "network_tier" not in build_task(word, IDENTITY).task["resources"]
    stages = planned(spec_for("r1", engine={"name": "VLLM"}, resources={**resources, "infra": ["aws"]}, endpoint=key))
    assert "network_tier" not in build_task(stages, IDENTITY).task["resources"]
    one = planned(spec_for("r1", resources={"accelerators": ["H200:8"], "infra": ["aws"]}, endpoint=key))
    assert "network_tier" not in build_task(one, IDENTITY).task["resources"]


def test_a_users_parallel_sizes_span_nodes_as_the_user_says() -> None:
    resources = {"accelerators": ["H100:8"], "nodes": 2}
    engine = {"name": "SGLang", "args": ["--tp", "16"]}
    wide = plan_for("r1", engine=engine, resources=resources)
    assert (wide.tensor_parallel_size, wide.pipeline_parallel_size) == (16, 1)
    engine["args"] = ["--tp", "8"]
    narrow = plan_for("r1", engine=engine, resources=resources)
    assert (narrow.tensor_parallel_size, narrow.pipeline_parallel_size) == (8, 2)


def test_nothing_spans_small_machines_where_the_planner_chooses() -> None:
    for model in CATALOG.models.values():
        plan = plan_for(model.id)
        for candidate in (*plan.candidates, *plan.alternatives):
            if candidate.nodes > 1:
                assert candidate.accelerator.count >= 4, (model.id, str(candidate.accelerator))


def test_of_several_machines_only_numbers_that_hold_the_weights_are_named() -> None:
    plan = plan_for("meituan/DeepSeek-R1-Block-INT8")
    assert plan.model
    several = [candidate for candidate in plan.alternatives if candidate.nodes > 1]
    assert several
    for candidate in several:
        memory = candidate.gpu.memory_gib * candidate.accelerator.count * candidate.nodes
        assert memory >= plan.model.weights.gib, str(candidate.accelerator)


def test_of_machines_that_are_too_small_the_largest_are_named() -> None:
    named = {str(candidate.accelerator) for candidate in plan_for("novita/Deepseek-R1-0528-W4AFP8").alternatives}
    assert "H200:1" in named
    assert "GH200:1" not in named


def test_more_nodes_than_the_model_has_layers_are_refused() -> None:
    plan = plan_for("r1-1.5b", resources={"accelerators": ["L4:1"], "nodes": 29})
    assert not plan.launchable
    assert "DeepSeek-R1-Distill-Qwen-1.5B has fewer layers than 29 nodes need" in plan.reason


def test_a_refusal_on_ones_own_cluster_names_the_smallest_and_on_clouds_the_cheapest() -> None:
    own = plan_for("r1-70b", resources={"accelerators": ["L4:1"], "infra": ["kubernetes"]})
    assert "1×L4 offer 20.3 GiB usable. L4:8 fits. Smallest that fits: A100-80GB:2." in own.reason
    rented = plan_for("r1-70b", resources={"accelerators": ["L4:1"], "infra": ["aws"]})
    request = read_request(spec_for("r1-70b", resources={"infra": ["aws"]}), CATALOG)
    assert "Cheapest that fits: A100:8 on aws for 21.96 $/h." in rented.reason
    a100 = CATALOG.find_gpu("A100")
    assert a100
    cheapest = plan_for("r1-70b", resources={"infra": ["aws"]})
    assert cheapest.accelerators[0] == "A100:8"
    assert evaluate(request, CATALOG, cheapest.candidates[0].accelerator, a100, 1).verdict is Verdict.FITS


@pytest.mark.parametrize("model", ["meituan/DeepSeek-R1-Block-INT8", "sgl-project/DeepSeek-V4-Pro-FP8"])
def test_several_nodes_are_named_only_where_their_memory_holds_the_weights(model: str) -> None:
    plan = plan_for(model)
    several = [candidate for candidate in plan.alternatives if candidate.nodes > 1]
    assert several
    assert plan.model
    for one in several:
        assert one.gpu.memory_gib * one.accelerator.count * one.nodes > plan.model.weights.gib
