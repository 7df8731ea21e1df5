"""Models that the catalog does not have and others measured: their shapes are those of their config.json."""

from deepseek_operator.catalog import ModelInfo
from deepseek_operator.catalog.schema import Dtype, Moe, Shape, Weights
from tests.unit.planning.builders import CATALOG

__all__ = ["OTHERS"]

GIB = 2**30
HEAD = 128


def mixture(name: str, shape: Shape, *, parameters: float, active: float) -> ModelInfo:
    """Return a mixture of experts in BF16 with grouped attention."""
    base = CATALOG.find("r1-8b")
    assert base
    parts = {
        "id": f"others/{name}",
        "shape": shape,
        "parameters": int(parameters),
        "active_parameters": int(active),
        "weights": Weights(dtype=Dtype.BF16, gib=2 * parameters / GIB),
        "kv_bytes_per_token": 2 * 2 * shape.layers * shape.kv_heads * shape.head_dim,
    }
    return base.model_copy(update=parts)


QWEN3_235B = Shape(
    layers=94,
    hidden_size=4096,
    intermediate_size=1536,
    vocab_size=151936,
    attention_heads=64,
    kv_heads=4,
    head_dim=HEAD,
    moe=Moe(experts=128, experts_per_token=8, intermediate_size=1536, expert_weight_share=0.966),
)
GLM_4_5_AIR = Shape(  # without the layer for MTP, which was off
    layers=46,
    hidden_size=4096,
    intermediate_size=10944,
    vocab_size=151552,
    attention_heads=96,
    kv_heads=8,
    head_dim=HEAD,
    moe=Moe(experts=128, experts_per_token=8, intermediate_size=1408, expert_weight_share=0.933),
)
GLM_4_6 = Shape(
    layers=92,
    hidden_size=5120,
    intermediate_size=12288,
    vocab_size=151552,
    attention_heads=96,
    kv_heads=8,
    head_dim=HEAD,
    moe=Moe(experts=160, experts_per_token=8, intermediate_size=1536, expert_weight_share=0.952),
)
OTHERS = {
    "qwen3-235b": mixture("qwen3-235b", QWEN3_235B, parameters=235.1e9, active=22.1e9),
    "glm-4.5-air": mixture("glm-4.5-air", GLM_4_5_AIR, parameters=106.85e9, active=13.4e9),
    "glm-4.6": mixture("glm-4.6", GLM_4_6, parameters=352.8e9, active=33.6e9),
}
