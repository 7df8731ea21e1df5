"""GPU memory of one rank: weights, overhead, and what is left for the KV cache.

The vLLM formula is calibrated on an H200 with 25 model and batch shapes and on two H100 with 7 (docs/planning.md):
within -15 % .. 0 % of the measured KV memory, never above it. It follows shapes, not a share of the weights.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor

from deepseek_operator.api.spec import EngineName
from deepseek_operator.catalog import Dtype, GpuInfo, ModelInfo
from deepseek_operator.planning.activations import forward_bytes, prefill_bytes
from deepseek_operator.planning.communication import inside_gib, outside_gib
from deepseek_operator.planning.layout import Batch, Layout
from deepseek_operator.planning.overrides import Overrides
from deepseek_operator.planning.sglang_memory import engine_batch, reserve_gib

__all__ = [
    "VLLM_UTILIZATION",
    "Batch",
    "Layout",
    "Memory",
    "default_batch",
    "graphs_gib",
    "kv_bytes_per_token",
    "measure",
    "sglang_reserve",
    "small_batch",
    "utilization",
    "weights_gib",
]

GIB = 2**30
VLLM_UTILIZATION = 0.92
"""vLLM's default ``--gpu-memory-utilization`` since 0.2x: share of the total memory that the engine may use."""
_SGLANG_COMMUNICATION_GIB = 0.6
"""SGLang's buffers of a rank with others: with it the planner was 1.0 to 3.9 % below three cases on two H100."""
_ONLINE_QUANTIZATION = {"fp8": 0.5, "bitsandbytes": 0.27}
"""Bytes left of a 16-bit linear layer when the engine quantises while loading."""


_FP4_ON_HOPPER_GIB = 1.35
"""More than shapes say where FP4 weights run without FP4 units (Marlin): what V4-Flash on two GH200 needed, the one
start that was found published (docs/planning.md). B200 needed nothing more."""


@dataclass(frozen=True)
class Memory:
    """Memory of the fullest GPU of a replica, in GiB, and its room for tokens."""

    usable: float
    """What the engine takes for itself: total times utilization, or total less SGLang's reserve."""
    weights: float
    overhead: float
    kv_bytes_per_token: float
    kv_bytes_per_sequence: float
    """What every running request needs besides its tokens."""
    kv_bytes_to_start: float = 0.0
    """The same of the one longest request for which the engine insists on room when it starts; never less."""

    @property
    def kv_cache(self) -> float:
        """GiB left for the KV cache; negative where weights and overhead do not fit."""
        return self.usable - self.weights - self.overhead

    @property
    def tokens(self) -> int:
        """Tokens of one request that the KV cache holds."""
        return max(0, int((self.kv_cache * GIB - self._longest_fixed) / self.kv_bytes_per_token))

    def reported_tokens(self, context: int) -> int:
        """Return the size of the KV cache as vLLM reports it: that of requests of ``context`` tokens, all together."""
        each = context * self.kv_bytes_per_token + self._longest_fixed
        return max(0, int(self.kv_cache * GIB / each * context))

    @property
    def _longest_fixed(self) -> float:
        """Bytes that the one longest request needs besides its tokens."""
        return max(self.kv_bytes_per_sequence, self.kv_bytes_to_start)


def default_batch(engine: EngineName, gpu: GpuInfo, layout: Layout, overrides: Overrides) -> Batch:
    """Return the batch limits that the engine picks for this GPU, unless the user gave them."""
    if engine is EngineName.VLLM:
        large = gpu.memory_gib >= 70 and gpu.capability != (8, 0)
        seqs, tokens = (1024, 16384 if gpu.memory_gib >= 160 else 8192) if large else (256, 2048)
    else:
        seqs, tokens = engine_batch(gpu.memory_gib, layout.tensor_parallel_size)
    return Batch(overrides.max_num_seqs or seqs, overrides.max_num_batched_tokens or tokens)


def small_batch(default: Batch, overrides: Overrides) -> Batch:
    """Return the limits that make room where memory is tight; what the user gave stays."""
    return Batch(
        overrides.max_num_seqs or min(64, default.max_num_seqs),
        overrides.max_num_batched_tokens or min(2048, default.max_num_batched_tokens),
    )


def utilization(model: ModelInfo, gpu: GpuInfo, layout: Layout, overrides: Overrides) -> float:
    """Return ``--gpu-memory-utilization``: the user's, or vLLM's default, or less where CUDA and NCCL need more.

    What no budget counts must find room beside the budget, else vLLM refuses to start. Lowered to whole per cents.
    """
    if overrides.memory_fraction is not None:
        return overrides.memory_fraction
    most = 1 - outside_gib(model, layout) / gpu.memory_gib
    return VLLM_UTILIZATION if most >= VLLM_UTILIZATION else max(0.01, floor(most * 100) / 100)


def sglang_reserve(model: ModelInfo, gpu: GpuInfo, layout: Layout, batch: Batch, overrides: Overrides) -> float:
    """Return GiB that SGLang keeps free: by its own rule, or by the user's ``--mem-fraction-static``."""
    if overrides.memory_fraction is not None:
        return gpu.memory_gib * (1 - overrides.memory_fraction)
    return reserve_gib(model, gpu, layout, batch)


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
    if layout.shares_experts and model.shape.moe:
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
    model: ModelInfo,
    gpu: GpuInfo,
    layout: Layout,
    engine: EngineName,
    batch: Batch,
    context: int,
    overrides: Overrides,
    *,
    flashinfer: bool = True,
    batches: int | None = None,
) -> Memory:
    """Return the memory of one rank for a longest request of ``context`` tokens.

    Parameters
    ----------
    flashinfer
        False compares with runs of vLLM that did without the package, which the released images have.
    batches
        Steps whose tokens vLLM counts as not settled, of another release than the pinned one. That one prepares a step
        while each stage runs one.
    """
    weights = _rank_weights(model, layout, overrides)
    in_flight = batch.max_num_batched_tokens * (batches or layout.pipeline_parallel_size + 1)
    if engine is EngineName.VLLM:
        usable = gpu.memory_gib * utilization(model, gpu, layout, overrides)
        overhead = _vllm_overhead(model, layout, batch, context, overrides.eager, flashinfer)
        overhead += inside_gib(gpu, layout, flashinfer=flashinfer)
        if model.weights.dtype is Dtype.FP4 and gpu.capability < (10, 0):
            overhead += _FP4_ON_HOPPER_GIB
    else:
        usable = gpu.memory_gib - sglang_reserve(model, gpu, layout, batch, overrides)
        # CUDA context 0.51 GiB and kernels 0.65 GiB: measured with vLLM, the same libraries.
        overhead = 1.16 + (_SGLANG_COMMUNICATION_GIB if layout.parallel else 0.0)
    return Memory(
        usable=usable,
        weights=weights,
        overhead=overhead + gpu.overhead_gib,
        kv_bytes_per_token=kv_bytes_per_token(model, layout, overrides),
        kv_bytes_per_sequence=_per_sequence(model, layout, engine, overrides, context, in_flight=0),
        kv_bytes_to_start=_per_sequence(model, layout, engine, overrides, context, in_flight=in_flight),
    )


def _per_sequence(
    model: ModelInfo, layout: Layout, engine: EngineName, overrides: Overrides, context: int, *, in_flight: int
) -> float:
    """Return KV bytes of one request besides its tokens, on one GPU.

    vLLM keeps sliding windows and compressors' states in blocks of the pool that everything else comes from, so that
    each costs as much as a block of the whole cache: a megabyte for four tokens. Until a step is settled it keeps the
    tokens of that step as well, and does not start without room for that.

    Parameters
    ----------
    context
        Tokens of the longest request: it has no more in flight.
    in_flight
        Tokens of steps that are not settled yet.
    """
    if engine is not EngineName.VLLM or not model.kv_windows or model.kv_block is None:
        return float(model.kv_bytes_per_sequence)
    blocks = sum(ceil(min(window.tokens - 1 + in_flight, context) / window.block) + 1 for window in model.kv_windows)
    return blocks * model.kv_block * kv_bytes_per_token(model, layout, overrides)


_LOGIT_BYTES = 6
"""Of the sampler: logits in BF16 and in 32 bits."""
_FLASHINFER_LOGIT_BYTES = 8
"""More with FlashInfer's sampler: probabilities and a copy. vLLM 0.30 had 0.73 GiB less for Qwen3-8B than without."""


@lru_cache(maxsize=64)
def _captures(seqs: int) -> int:
    """Return how many CUDA graphs vLLM captures: all sizes piecewise, those up to ``seqs`` whole as well."""
    largest = min(2 * seqs, 512)
    sizes = [size for size in (1, 2, 4, *range(8, 256, 8), *range(256, 513, 16)) if size <= largest]
    return len(sizes) + len([size for size in sizes if size <= seqs])


def _vllm_overhead(
    model: ModelInfo, layout: Layout, batch: Batch, context: int, eager: bool, flashinfer: bool
) -> float:
    """Return GiB that vLLM needs beside weights and KV cache.

    Fitted constants: 0.50 and 0.65 (kernels, cuBLAS, allocator slack) and the graph line. The rest follows from shapes.
    """
    shape, tp = model.shape, layout.tensor_parallel_size
    seqs, tokens = batch.max_num_seqs, batch.max_num_batched_tokens
    base = (0.65 if model.weights.dtype in (Dtype.FP8, Dtype.FP4) else 0.50) * GIB
    sampler_buffers = 4.125 * seqs * shape.vocab_size
    forward = forward_bytes(model, layout, batch, context)
    logit = _LOGIT_BYTES + (_FLASHINFER_LOGIT_BYTES if flashinfer else 0)
    sampler = logit * seqs * shape.vocab_size + 2 * tokens * shape.hidden_size
    first_compile = 2 * shape.vocab_size / tp * shape.hidden_size + 4 * tokens * shape.hidden_size
    graphs = 0.0 if eager else graphs_gib(model, layout, batch) * GIB + prefill_bytes(model, layout, batch, context)
    return (base + sampler_buffers + max(forward, sampler, first_compile) + graphs) / GIB


def graphs_gib(model: ModelInfo, layout: Layout, batch: Batch) -> float:
    """Return GiB of vLLM's CUDA graphs, which count against its budget since 0.21."""
    shape, tp, seqs = model.shape, layout.tensor_parallel_size, batch.max_num_seqs
    width = (shape.mla.kv_lora_rank if shape.mla else shape.head_dim) * shape.attention_heads / tp
    layers = ceil(shape.layers / layout.pipeline_parallel_size)
    # One GPU: grows with the square of the batch. With tensor parallelism 256 requests needed 0.11 GiB more than
    # that (70B, two H100), so it grows in proportion there.
    batch_share = (min(512, seqs) / 512) ** (1 if tp > 1 else 2)
    return 0.25 + 1e-4 * layers * _captures(seqs) + 0.5 * batch_share * width / 4096
