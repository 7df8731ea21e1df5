"""Parameter counts and KV sizes follow from the shapes: a typing error in either shows here."""

import pytest

from deepseek_operator.catalog import Dtype, ModelInfo, load_catalog
from deepseek_operator.catalog.checks import dense_parameters

MODELS = {model.short_name: model for model in load_catalog().models.values()}
Q_LORA_RANK = {"DeepSeek-R1": 1536, "DeepSeek-Coder-V2-Instruct": 1536, "DeepSeek-V2-Lite-Chat": None}
DENSE_LAYERS = {"DeepSeek-R1": 3, "DeepSeek-Coder-V2-Instruct": 1, "DeepSeek-V2-Lite-Chat": 1}
SHARED_EXPERTS = {"DeepSeek-R1": 1, "DeepSeek-Coder-V2-Instruct": 2, "DeepSeek-V2-Lite-Chat": 2}


def mla_parameters(model: ModelInfo) -> int:
    s, rope = model.shape, 64
    assert s.mla
    assert s.moe
    q_rank = Q_LORA_RANK[model.short_name]
    q_out = s.attention_heads * (s.mla.qk_nope_head_dim + rope)
    query = s.hidden_size * q_rank + q_rank + q_rank * q_out if q_rank else s.hidden_size * q_out
    latent = s.hidden_size * (s.mla.kv_lora_rank + rope) + s.mla.kv_lora_rank
    up = s.mla.kv_lora_rank * s.attention_heads * (s.mla.qk_nope_head_dim + s.mla.v_head_dim)
    out = s.attention_heads * s.mla.v_head_dim * s.hidden_size
    attention = query + latent + up + out + 2 * s.hidden_size
    dense_layers = DENSE_LAYERS[model.short_name]
    expert = 3 * s.hidden_size * s.moe.intermediate_size
    router = s.hidden_size * s.moe.experts + (s.moe.experts if model.short_name == "DeepSeek-R1" else 0)
    mixture = (s.moe.experts + SHARED_EXPERTS[model.short_name]) * expert + router
    dense = 3 * s.hidden_size * s.intermediate_size
    layers = s.layers * attention + dense_layers * dense + (s.layers - dense_layers) * mixture
    return layers + 2 * s.vocab_size * s.hidden_size + s.hidden_size


DENSE = [name for name, m in MODELS.items() if m.shape.moe is None and m.weights.dtype is Dtype.BF16]


@pytest.mark.parametrize("name", DENSE)
def test_parameters_of_dense_models_follow_from_their_shape(name: str) -> None:
    assert dense_parameters(MODELS[name]) == MODELS[name].parameters


@pytest.mark.parametrize("name", DENSE_LAYERS)
def test_parameters_of_mixtures_follow_from_their_shape(name: str) -> None:
    assert mla_parameters(MODELS[name]) == pytest.approx(MODELS[name].parameters, rel=1e-5)


@pytest.mark.parametrize("name", DENSE)
def test_kv_bytes_of_grouped_attention_follow_from_the_shape(name: str) -> None:
    model = MODELS[name]
    s = model.shape
    assert model.kv_bytes_per_token == 2 * s.layers * s.kv_heads * s.head_dim * 2


@pytest.mark.parametrize("name", ["DeepSeek-R1", "DeepSeek-V3", "DeepSeek-V2-Lite-Chat", "DeepSeek-Coder-V2-Instruct"])
def test_kv_bytes_of_latent_attention_follow_from_the_shape(name: str) -> None:
    model = MODELS[name]
    assert model.shape.mla
    assert model.kv_bytes_per_token == model.shape.layers * (model.shape.mla.kv_lora_rank + 64) * 2


@pytest.mark.parametrize("name", [n for n, m in MODELS.items() if m.weights.dtype is Dtype.BF16 and m.family != "ocr"])
def test_bfloat16_weights_are_two_bytes_a_parameter(name: str) -> None:
    model = MODELS[name]
    assert model.weights.gib * 2**30 == pytest.approx(2 * model.parameters, rel=0.01)


def test_r1_has_the_tensor_parallel_sizes_that_divide_128_heads() -> None:
    assert MODELS["DeepSeek-R1"].shape.tensor_parallel_sizes() == (1, 2, 4, 8, 16, 32, 64, 128)


def test_qwen_7b_has_the_tensor_parallel_sizes_that_divide_28_heads() -> None:
    assert MODELS["DeepSeek-R1-Distill-Qwen-7B"].shape.tensor_parallel_sizes() == (1, 2, 4, 7, 14, 28)


def test_no_gpu_is_sold_in_more_than_a_machine_holds() -> None:
    """Eight, but for the sixteen A100 of a2-megagpu-16g on Google Cloud."""
    most = {gpu.name: max(gpu.counts) for gpu in load_catalog().gpus.values() if gpu.counts}
    assert {name: count for name, count in most.items() if count > 8} == {"A100": 16}
