"""Every refusal is a sentence: which field, which value, what would work."""

from typing import Any

import pytest

from deepseek_operator.launch.script import IN_CLUSTER_VARIABLE, TLS_VARIABLE
from deepseek_operator.planning import PlanInputError
from tests.unit.planning.builders import plan_for

K8S = ["kubernetes"]

# model, parts of the spec, field, value, words that say what would work
CASES: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("r1-8b", {"resources": {"accelerators": ["H10:1"]}}, "resources.accelerators", "H10:1", "did you mean"),
    (
        "r1-8b",
        {"resources": {"accelerators": ["L4:3"]}},
        "resources.accelerators",
        "L4:3",
        "use one of L4:1, L4:2, L4:4, L4:8",
    ),
    (
        "r1",
        {"resources": {"accelerators": ["MI300X:8"]}},
        "resources.accelerators",
        "MI300X:8",
        "set engine.image to a ROCm",
    ),
    (
        "r1-8b",
        {"replicas": 2, "resources": {"infra": ["aws"], "capacity": {"onDemandBase": 1}}},
        "resources.capacity.onDemandBase",
        "1",
        "set capacityType to Spot or SpotThenOnDemand, or remove it",
    ),
    (
        "r1-8b",
        {"resources": {"infra": ["lambda"], "capacityType": "Spot"}},
        "resources.capacityType",
        "Spot",
        "lambda has no spot machines that SkyPilot rents; use OnDemand or SpotThenOnDemand, or another cloud",
    ),
    ("r1-8b", {"resources": {"accelerators": ["L4:x"]}}, "resources.accelerators", "L4:x", "NAME or NAME:COUNT"),
    ("r1-8b", {"resources": {"infra": ["AWS east"]}}, "resources.infra", "AWS east", "aws/us-east-1"),
    (
        "r1-8b",
        {"engine": {"runtime": "Packages"}, "resources": {"infra": ["aws", "kubernetes"], "accelerators": ["L4:1"]}},
        "engine.runtime",
        "Packages",
        "pods start from an image; use Image, or name only clouds in resources.infra",
    ),
    (
        "r1-8b",
        {"engine": {"runtime": "Packages"}, "resources": {"accelerators": ["L4:1"]}},
        "engine.runtime",
        "Packages",
        "name only clouds in resources.infra",
    ),
    (
        "r1-8b",
        {"engine": {"runtime": "Packages"}, "resources": {"infra": ["aws"], "accelerators": [], "cpus": "8+"}},
        "engine.runtime",
        "Packages",
        "use Image, or set resources.accelerators",
    ),
    (
        "r1-8b",
        {"engine": {"runtime": "Packages", "image": "vllm:1"}, "resources": {"infra": ["aws"]}},
        "engine.image",
        "vllm:1",
        "remove one",
    ),
    ("no/such-model", {}, "model.name", "no/such-model", "set resources.accelerators"),
    (
        "deepseek-ai/DeepSeek-R1-Distill-Lama-8B",
        {},
        "model.name",
        "deepseek-ai/DeepSeek-R1-Distill-Lama-8B",
        "lists; did you mean",
    ),
    (
        "r1-8b",
        {"model_fields": {"path": "/models/x", "huggingFaceTokenSecretRef": {"name": "hf"}}},
        "model.huggingFaceTokenSecretRef",
        "hf",
        "remove one of the two",
    ),
    (
        "r1-7b",
        {"engine": {"args": ["--tensor-parallel-size=8"], "name": "VLLM"}, "resources": {"accelerators": ["L4:8"]}},
        "engine.args",
        "tensor parallel size 8",
        "use 1, 2, 4 or 7",
    ),
    (
        "r1",
        {"engine": {"args": ["--tp", "32"], "name": "SGLang"}, "resources": {"accelerators": ["H100:8"], "nodes": 4}},
        "engine.args",
        "tensor parallel size 32",
        "FP8 blocks of 128",
    ),
    (
        "r1-8b",
        {"engine": {"args": ["-tp", "2", "-pp", "4"], "name": "VLLM"}, "resources": {"accelerators": ["L4:4"]}},
        "engine.args",
        "tensor 2 x pipeline 4 x data 1 parallel",
        "needs 8 GPUs; 1 x 4 are 4",
    ),
    ("r1-8b", {"engine": {"maxModelLen": 131073}}, "engine.maxModelLen", "131073", "use 131072 or less"),
    ("r1-8b", {"engine": {"args": ["--max-model-len", "200k"]}}, "engine.args", "200000", "use 131072 or less"),
    (
        "meituan/DeepSeek-R1-Block-INT8",
        {"engine": {"name": "VLLM"}},
        "engine.name",
        "VLLM",
        "SGLang can",
    ),
    (
        "r1",
        {"engine": {"image": "vllm/vllm-openai:v0.6.6.post1"}},
        "engine.image",
        "vllm/vllm-openai:v0.6.6.post1",
        "needs VLLM 0.12.0 or newer; use vllm/vllm-openai:v",
    ),
    (
        "r1-8b",
        {"engine": {"maxModelLen": 4096, "args": ["--max-model-len", "8192"]}},
        "engine.args",
        "--max-model-len 8192",
        "contradicts engine.maxModelLen 4096; keep one",
    ),
    (
        "r1-8b",
        {"engine": {"args": ["--max-num-seqs", "8", "--max_num_seqs=16"]}},
        "engine.args",
        "--max_num_seqs",
        "is given twice, with 8 and with 16; keep one",
    ),
    *(
        ("r1-8b", {"engine": {"name": engine, "args": written.split()}}, "engine.args", written, words)
        for engine, written, words in (
            (
                "VLLM",
                "--kv-cache-dtype fp9",
                "VLLM 0.33.0; did you mean fp8? --kv-cache-dtype takes auto,",
            ),
            ("VLLM", "--kv-cache-dtype FP8", "did you mean fp8?"),
            ("VLLM", "--quantization fp88", "did you mean fp8? --quantization takes awq, "),
            (
                "VLLM",
                "--quantization bitsandbytes",
                "is no value of VLLM 0.33.0",
            ),  # a plugin's, in no image of ours
            ("VLLM", "--dtype floaty", "did you mean float?"),
            ("VLLM", "--dtype", "--dtype takes auto, half, float16, bfloat16, float, float32"),
            ("VLLM", "--load-format xyz", "is no value of VLLM 0.33.0; --load-format takes auto, "),
            ("VLLM", "--max-model-len abc", "whole number"),
            ("SGLang", "--kv-cache-dtype fp8", "is no value of SGLang 0.5.23; did you mean mxfp8?"),
            ("SGLang", "--quantization FP8", "did you mean fp8?"),
        )
    ),
    ("r1-8b", {"engine": {"args": ["--port", "9000"]}}, "engine.args", "--port", "use endpoint.port instead"),
    ("r1-8b", {"engine": {"args": ["--api-key=abc"]}}, "engine.args", "--api-key", "use endpoint.apiKeySecretRef"),
    ("r1-8b", {"engine": {"args": ["serve"]}}, "engine.args", "serve", "follows no flag"),
    ("r1-8b", {"engine": {"args": ["--max-num-seqs", "many"]}}, "engine.args", "--max-num-seqs many", "whole number"),
    ("r1-8b", {"engine": {"args": ["--max-num-seqs", "0"]}}, "engine.args", "--max-num-seqs 0", "1 or more"),
    (
        "r1-8b",
        {"engine": {"args": ["--gpu-memory-utilization", "92"]}},
        "engine.args",
        "--gpu-memory-utilization 92",
        "above 0 and at most 1",
    ),
    (
        "r1-8b",
        {"engine": {"name": "VLLM", "args": ["--mem-fraction-static", "0.8"]}},
        "engine.args",
        "--mem-fraction-static",
        "its name there is --gpu-memory-utilization",
    ),
    (
        "r1-8b",
        {"engine": {"name": "SGLang", "args": ["--enable-dp-attention"]}},
        "engine.args",
        "--enable-dp-attention",
        "--attn-dp-size N",
    ),
    (
        "r1-8b",
        {"engine": {"env": [{"name": "HF_TOKEN", "value": "hf_x"}]}},
        "engine.env",
        "HF_TOKEN",
        "use model.huggingFaceTokenSecretRef",
    ),
    (
        "r1-8b",
        {"engine": {"env": [{"name": "SGLANG_API_KEY", "value": "x"}]}},
        "engine.env",
        "SGLANG_API_KEY",
        "use endpoint.apiKeySecretRef",
    ),
    *(
        ("r1-8b", {"engine": {"env": [{"name": "A", **given}]}}, "engine.env", "A", "needs exactly one of value")
        for given in ({}, {"value": "x", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}})
    ),
    *(
        ("r1-8b", {"engine": {"env": [{"name": name, "value": "1"}]}}, "engine.env", name, "take another name")
        for name in (IN_CLUSTER_VARIABLE, TLS_VARIABLE)
    ),
    (
        "r1-8b",
        {"resources": {"maxHourlyCost": "0.5"}},
        "resources.maxHourlyCost",
        "0.5",
        "1 replica of 1×L4:1 on gcp for 0.70 $/h",
    ),
    (
        "r1",
        {"resources": {"maxHourlyCost": "100", "infra": ["aws"]}, "replicas": 2},
        "resources.maxHourlyCost",
        "100",
        "2 replicas of 1×H200:8 on aws for 126.60 $/h",
    ),
    ("r1-8b", {"resources": {"maxHourlyCost": "0"}}, "resources.maxHourlyCost", "0", "above 0"),
    ("r1-8b", {"resources": {"maxHourlyCost": "0.00"}}, "resources.maxHourlyCost", "0.00", "above 0"),
    ("r1-8b", {"resources": {"cpus": "0.0+"}}, "resources.cpus", "0.0+", "above 0"),
    ("r1-8b", {"model_fields": {"path": "/models/../etc"}}, "model.path", "/models/../etc", "must not contain .."),
    ("r1-8b", {"model_fields": {"path": "/models/.."}}, "model.path", "/models/..", "must not contain .."),
    (
        "r1-8b",
        {"updateStrategy": {"maxSurge": 0, "maxUnavailable": "0%"}},
        "updateStrategy.maxSurge",
        "0",
        "together with maxUnavailable 0%: nothing could ever change",
    ),
    ("r1-8b", {"updateStrategy": {"maxSurge": 0}}, "updateStrategy.maxSurge", "0", "set one of them to 1 or more"),
    ("r1-8b", {"resources": {"maxHourlyCost": "much"}}, "resources.maxHourlyCost", "much", 'such as "40"'),
    ("r1-8b", {"resources": {"accelerators": []}}, "resources.cpus", "unset", 'such as "8+"'),
    (
        "r1-8b",
        {"engine": {"name": "SGLang"}, "resources": {"accelerators": [], "cpus": "8"}},
        "engine.name",
        "SGLang",
        "use VLLM or Auto",
    ),
    (
        "meituan/DeepSeek-R1-Block-INT8",
        {"resources": {"accelerators": [], "cpus": "8"}},
        "engine.name",
        "Auto",
        "VLLM cannot run DeepSeek-R1-Block-INT8",
    ),
    (
        "r1-7b",
        {"resources": {"accelerators": [], "cpus": "8", "memory": "64", "nodes": 3}},
        "resources.nodes",
        "3",
        "28 attention heads",
    ),
    ("r1-8b", {"resources": {"accelerators": [], "cpus": "lots"}}, "resources.cpus", "lots", '"32+"'),
]


@pytest.mark.parametrize(("model", "parts", "field", "value", "words"), CASES)
def test_bad_input_is_refused_with_field_value_and_what_would_work(
    model: str, parts: dict[str, Any], field: str, value: str, words: str
) -> None:
    with pytest.raises(PlanInputError) as caught:
        plan_for(model, **parts)
    assert caught.value.field == field
    assert str(caught.value.value) == value
    assert words in caught.value.message
    assert str(caught.value) == f"spec.{field}: {value}: {caught.value.message}"


def test_a_name_that_is_like_no_other_is_refused_without_a_guess() -> None:
    with pytest.raises(PlanInputError, match=r"or use a model that `deepseek-operator models` lists$"):
        plan_for("no/such-model")


def test_a_stretched_context_is_allowed_where_the_user_overrides_the_models_configuration() -> None:
    plan = plan_for(
        "r1-8b",
        engine={"name": "VLLM", "maxModelLen": 200_000, "args": ["--hf-overrides", '{"rope_scaling": {}}']},
        resources={"accelerators": ["H100:1"]},
    )
    assert plan.max_model_len == 200_000


def test_a_count_nobody_sells_is_fine_on_nodes_of_ones_own() -> None:
    assert plan_for("r1-8b", resources={"accelerators": ["L4:3"], "infra": K8S}).launchable


def test_a_model_that_does_not_fit_is_no_error_but_a_verdict_with_the_arithmetic() -> None:
    plan = plan_for("r1", resources={"accelerators": ["L4:8"], "nodes": 1})
    assert plan.reason == (
        "DeepSeek-R1 needs 641 GiB for weights in FP8; 8×L4 offer 160 GiB usable. "
        "Cheapest that fits: H200:8 on nebius for 36.00 $/h."
    )


def test_a_context_that_does_not_fit_is_refused_with_the_longest_that_does() -> None:
    plan = plan_for("r1-8b", engine={"maxModelLen": 65536}, resources={"accelerators": ["L4:1"], "nodes": 1})
    assert not plan.launchable
    assert "a context of 65,536 tokens does not fit 1×L4: the longest that does is 2" in plan.reason
    assert "L4:2 fits; 2 nodes fit: set nodes: 2. Cheapest that fits: " in plan.reason


def test_a_utilization_that_leaves_cuda_nothing_is_refused() -> None:
    args = ["--gpu-memory-utilization", "0.99"]
    plan = plan_for("r1-8b", engine={"name": "VLLM", "args": args}, resources={"accelerators": ["L4:1"], "nodes": 1})
    assert not plan.launchable
    assert "leaves 0.22 GiB of L4 for CUDA itself: 0.55 GiB are needed, so use at most 0.97" in plan.reason
