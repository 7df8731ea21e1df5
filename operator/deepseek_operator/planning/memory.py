"""GPU memory of one rank: weights, overhead, and what is left for the KV cache.

The vLLM formula is calibrated on an H200 with 25 model and batch shapes (docs/planning.md): within -11 % .. 0 % of the
measured KV memory, never above it. It follows shapes, not a share of the weights. The SGLang figures are that engine's
own rule for ``--mem-fraction-static`` (0.5.23, arg_groups/memory_hook.py).
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from deepseek_operator.api.spec import EngineName
from deepseek_operator.catalog import Dtype, GpuInfo, ModelInfo
from deepseek_operator.planning.overrides import Overrides

__all__ = ["Batch", "Layout", "Memory", "default_batch", "kv_bytes_per_token", "measure", "small_batch", "weights_gib"]

GIB = 2**30
MIB = 2**20
VLLM_UTILIZATION = 0.92
"""vLLM's default ``--gpu-memory-utilization`` since 0.2x: share of the total memory that the engine may use."""
_COMMUNICATION_GIB = 0.6
"""NCCL and all-reduce buffers of a rank with others (llm-d planner's figure; not measured by us)."""
_ONLINE_QUANTIZATION = {"fp8": 0.5, "bitsandbytes": 0.27}
"""Bytes left of a 16-bit linear layer when the engine quantises while loading."""


@dataclass(frozen=True)
class Layout:
    """How a replica is spread over its GPUs."""

    nodes: int
    gpus_per_node: int
    tensor_parallel_size: int
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    expert_parallel: bool = False

    @property
    def parallel(self) -> bool:
        """Whether a rank has others to talk to."""
        return self.tensor_parallel_size * self.pipeline_parallel_size > 1 or (
            self.expert_parallel and self.data_parallel_size > 1
        )


@dataclass(frozen=True)
class Batch:
    """Limits of one step: requests, and tokens of all of them."""

    max_num_seqs: int
    max_num_batched_tokens: int


@dataclass(frozen=True)
class Memory:
    """Memory of the fullest GPU of a replica, in GiB, and its room for tokens."""

    usable: float
    """What the engine takes for itself: total times utilization, or total less SGLang's reserve."""
    weights: float
    overhead: float
    kv_bytes_per_token: float
    kv_bytes_per_sequence: float

    @property
    def kv_cache(self) -> float:
        """GiB left for the KV cache; negative where weights and overhead do not fit."""
        return self.usable - self.weights - self.overhead

    @property
    def tokens(self) -> int:
        """Tokens of one request that the KV cache holds."""
        room = self.kv_cache * GIB - self.kv_bytes_per_sequence
        return max(0, int(room / self.kv_bytes_per_token))


def default_batch(engine: EngineName, gpu: GpuInfo, layout: Layout, overrides: Overrides) -> Batch:
    """Return the batch limits that the engine picks for this GPU, unless the user gave them."""
    if engine is EngineName.VLLM:
        large = gpu.memory_gib >= 70 and gpu.capability != (8, 0)
        seqs, tokens = (1024, 16384 if gpu.memory_gib >= 160 else 8192) if large else (256, 2048)
    else:
        seqs, tokens = _sglang_batch(gpu.memory_gib, layout.tensor_parallel_size)
    return Batch(overrides.max_num_seqs or seqs, overrides.max_num_batched_tokens or tokens)


def small_batch(default: Batch, overrides: Overrides) -> Batch:
    """Return the limits that make room where memory is tight; what the user gave stays."""
    return Batch(
        overrides.max_num_seqs or min(64, default.max_num_seqs),
        overrides.max_num_batched_tokens or min(2048, default.max_num_batched_tokens),
    )


def _sglang_batch(memory_gib: float, tp: int) -> tuple[int, int]:
    for limit, few, many, chunk in ((20, 8, 8, 2048), (35, 48, 160, 4096), (60, 32, 160, 4096), (160, 256, 512, 8192)):
        if memory_gib < limit:
            return (few if tp < 4 else many), chunk
    return 512, 16384


def weights_gib(model: ModelInfo, overrides: Overrides) -> float:
    """Return GiB of all weights as loaded; less than published where the user quantises while loading."""
    share = _ONLINE_QUANTIZATION.get(overrides.quantization or "")
    if share is None or model.weights.dtype is not Dtype.BF16:
        return model.weights.gib
    embeddings = 2 * 2 * model.shape.vocab_size * model.shape.hidden_size / GIB
    return embeddings + share * max(0.0, model.weights.gib - embeddings)


def _layer_share(model: ModelInfo, layout: Layout) -> float:
    """Return the share of the layers on the longest pipeline stage."""
    layers = model.shape.layers
    return ceil(layers / layout.pipeline_parallel_size) / layers


def _rank_weights(model: ModelInfo, layout: Layout, overrides: Overrides) -> float:
    total = weights_gib(model, overrides) * _layer_share(model, layout)
    if layout.expert_parallel and layout.data_parallel_size > 1 and model.shape.moe:
        experts = total * model.shape.moe.expert_weight_share
        ranks = layout.tensor_parallel_size * layout.data_parallel_size
        return experts / ranks + (total - experts) / layout.tensor_parallel_size
    return total / layout.tensor_parallel_size


def kv_bytes_per_token(model: ModelInfo, layout: Layout, overrides: Overrides) -> float:
    """Return KV-cache bytes of one token on one GPU.

    MLA and DeepSeek-V4 keep the whole cache on every tensor-parallel rank; others divide it by KV heads.
    """
    whole = float(model.kv_bytes_per_token)
    if overrides.fp8_kv_cache and model.weights.dtype is not Dtype.FP4:
        whole = model.kv_bytes_per_token_fp8 or whole / 2
    ranks = 1 if model.kv_replicated else min(layout.tensor_parallel_size, model.shape.kv_heads)
    return whole * _layer_share(model, layout) / ranks


def measure(
    model: ModelInfo, gpu: GpuInfo, layout: Layout, engine: EngineName, batch: Batch, context: int, overrides: Overrides
) -> Memory:
    """Return the memory of one rank for a longest request of ``context`` tokens."""
    weights = _rank_weights(model, layout, overrides)
    communication = _COMMUNICATION_GIB if layout.parallel else 0.0
    if engine is EngineName.VLLM:
        usable = gpu.memory_gib * (overrides.memory_fraction or VLLM_UTILIZATION)
        overhead = _vllm_overhead(model, layout, batch, context, overrides.eager) + communication
    else:
        reserved = _sglang_reserve(model, gpu, layout, batch)
        if overrides.memory_fraction is not None:
            reserved = gpu.memory_gib * (1 - overrides.memory_fraction)
        usable = gpu.memory_gib - reserved
        # CUDA context 0.51 GiB and kernels 0.65 GiB: measured with vLLM, the same libraries.
        overhead = 1.16 + communication
    return Memory(
        usable=usable,
        weights=weights,
        overhead=overhead,
        kv_bytes_per_token=kv_bytes_per_token(model, layout, overrides),
        kv_bytes_per_sequence=float(model.kv_bytes_per_sequence),
    )


@lru_cache(maxsize=64)
def _captures(seqs: int) -> int:
    """Return how many CUDA graphs vLLM captures: all sizes piecewise, those up to ``seqs`` whole as well."""
    largest = min(2 * seqs, 512)
    sizes = [size for size in (1, 2, 4, *range(8, 256, 8), *range(256, 513, 16)) if size <= largest]
    return len(sizes) + len([size for size in sizes if size <= seqs])


def _vllm_overhead(model: ModelInfo, layout: Layout, batch: Batch, context: int, eager: bool) -> float:
    """Return GiB that vLLM needs beside weights and KV cache.

    Fitted constants: 0.50 and 0.65 (kernels, cuBLAS, allocator slack), 12 hidden copies and 1000 values per head of a
    mixture's forward pass, and the graph line. The rest follows from shapes.
    """
    shape, tp = model.shape, layout.tensor_parallel_size
    seqs, tokens = batch.max_num_seqs, batch.max_num_batched_tokens
    hidden, vocab, heads = shape.hidden_size, shape.vocab_size, shape.attention_heads / tp
    base = (0.65 if model.weights.dtype in (Dtype.FP8, Dtype.FP4) else 0.50) * GIB
    sampler_buffers = 4.125 * seqs * vocab
    prefill = 0.0
    if shape.mla:  # context up-projected for chunked prefill
        chunk = max(min(max(8 * context, 64 * seqs), 65536), 16 * seqs)
        prefill = chunk * heads * (shape.mla.qk_nope_head_dim + shape.mla.v_head_dim) * 2
    forward = 6 * tokens * (hidden + shape.intermediate_size / tp)
    if shape.moe:
        width = shape.moe.intermediate_size / tp
        workspace = 2 * tokens * shape.moe.experts_per_token * (max(width, hidden) + max(2 * width, hidden))
        copies = 2 * tokens * (12 * hidden + (1000 * heads if model.kv_replicated else 0))
        forward = max(forward, copies) + workspace + prefill
    sampler = 6 * seqs * vocab + 2 * tokens * hidden
    first_compile = 2 * vocab / tp * hidden + 4 * tokens * hidden
    graphs = 0.0
    if not eager:
        attention = heads * (shape.mla.kv_lora_rank if shape.mla else shape.head_dim)
        layers = ceil(shape.layers / layout.pipeline_parallel_size)
        batch_share = min(512, seqs) / 512
        graphs = (0.25 + 1e-4 * layers * _captures(seqs) + 0.5 * batch_share**2 * attention / 4096) * GIB + prefill
    return (base + sampler_buffers + max(forward, sampler, first_compile) + graphs) / GIB


def _sglang_reserve(model: ModelInfo, gpu: GpuInfo, layout: Layout, batch: Batch) -> float:
    """Return GiB that SGLang keeps free of weights and KV cache (``handle_gpu_memory_settings``)."""
    ranks = layout.tensor_parallel_size * layout.pipeline_parallel_size
    decode_graphs = min(batch.max_num_seqs, _sglang_batch(gpu.memory_gib, layout.tensor_parallel_size)[0])
    mib = 512 + 1.5 * max(batch.max_num_batched_tokens, 2048) + ranks / 8 * 1024 + 2 * decode_graphs
    mib += 1536 if model.shape.mla else 512
    if gpu.memory_gib > 60:
        mib = max(mib, 10 * 1024)
    return mib * MIB / GIB
