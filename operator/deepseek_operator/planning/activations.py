"""What one forward pass needs for a while, from shapes. Measured with vLLM on an H200; SGLang runs the same kernels."""

from deepseek_operator.catalog import ModelInfo
from deepseek_operator.planning.layout import Batch, Layout

__all__ = ["forward_bytes", "prefill_bytes"]


def prefill_bytes(model: ModelInfo, layout: Layout, batch: Batch, context: int) -> float:
    """Return bytes of MLA's context, up-projected for chunked prefill; 0 for other attention."""
    mla = model.shape.mla
    if mla is None:
        return 0.0
    seqs = batch.max_num_seqs
    chunk = max(min(max(8 * context, 64 * seqs), 65536), 16 * seqs)
    heads = model.shape.attention_heads / layout.tensor_parallel_size
    return chunk * heads * (mla.qk_nope_head_dim + mla.v_head_dim) * 2


def forward_bytes(model: ModelInfo, layout: Layout, batch: Batch, context: int) -> float:
    """Return bytes of the largest layer's activations for a full step.

    Fitted: 12 hidden copies and 1000 values per head of a mixture with latent attention. The rest follows from shapes.
    """
    shape, tp = model.shape, layout.tensor_parallel_size
    tokens, hidden = batch.max_num_batched_tokens, shape.hidden_size
    dense = 6 * tokens * (hidden + shape.intermediate_size / tp)
    if not shape.moe:
        return dense
    width = shape.moe.intermediate_size / tp
    workspace = 2 * tokens * shape.moe.experts_per_token * (max(width, hidden) + max(2 * width, hidden))
    per_head = 1000 * shape.attention_heads / tp if model.kv_replicated else 0
    copies = 2 * tokens * (12 * hidden + per_head)
    return max(dense, copies) + workspace + prefill_bytes(model, layout, batch, context)
