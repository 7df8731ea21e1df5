"""The verdict on one candidate: does the model fit, how tightly, and how long a context does it leave room for."""

from dataclasses import dataclass

from deepseek_operator.api.spec import EngineName
from deepseek_operator.api.status import Verdict
from deepseek_operator.catalog import GpuInfo, ModelInfo
from deepseek_operator.planning.memory import Batch, Layout, Memory, default_batch, measure, small_batch
from deepseek_operator.planning.overrides import Overrides

__all__ = ["Fit", "assess", "gib"]

_MARGIN = 1.15
"""KV cache that a comfortable fit has over one request of full length: the formula's worst error, rounded up."""
_RESERVE_GIB = 1.0
"""KV cache below which a fit is tight whatever the context."""
_UNMEASURED_GIB = 0.6
"""Added to the reserve where GPUs talk to each other: communication buffers were not measured."""
_OUTSIDE_GIB = 0.6
"""CUDA context and driver: memory that no budget counts, so the engine must leave it free."""
_STEP = 256
_SHORTEST = 1024
"""A context below this serves nobody."""


@dataclass(frozen=True)
class Fit:
    """Verdict on one layout on one GPU type."""

    verdict: Verdict
    layout: Layout
    memory: Memory
    max_model_len: int
    """Context that is served: as asked, or the longest that fits. 0 where nothing does."""
    longest: int
    """Longest context that fits, in tokens."""
    batch: Batch | None
    """Batch limits to pass, where the engine's own would not leave enough room."""
    reason: str


def assess(model: ModelInfo, gpu: GpuInfo, layout: Layout, engine: EngineName, overrides: Overrides) -> Fit:
    """Return the verdict for one layout.

    ``Fits``: with the engine's default batch, 15 % and at least 1 GiB to spare. ``Tight``: only just, or only with
    smaller batches. ``DoesNotFit``: not even those.
    """
    default = default_batch(engine, gpu, layout, overrides)
    small = small_batch(default, overrides)
    wanted = overrides.max_model_len
    most = _most(model, gpu, layout, engine, default, overrides)
    tight = _most(model, gpu, layout, engine, small, overrides)
    reserve = _RESERVE_GIB + (_UNMEASURED_GIB if layout.parallel else 0.0)
    outside = _outside(gpu, engine, overrides)

    def fit(verdict: Verdict, memory: Memory, context: int, longest: int, batch: Batch | None) -> Fit:
        reason = _reason(verdict, gpu, layout, memory, context, batch, outside)
        return Fit(verdict, layout, memory, context, longest, batch, reason)

    limit = model.context_length
    comfortable = min(limit, _rounded(most.tokens / _MARGIN))
    if outside is None and most.kv_cache >= reserve and comfortable >= min(wanted or _SHORTEST, limit):
        return fit(Verdict.FITS, most, wanted or comfortable, comfortable, None)
    longest = min(limit, _rounded(tight.tokens))
    context = wanted or min(longest, max(_SHORTEST, _power_of_two(tight.tokens // 2)))
    if outside is None and longest >= max(context, min(_SHORTEST, limit) if wanted is None else 1):
        return fit(Verdict.TIGHT, tight, context, longest, small if small != default else None)
    return fit(Verdict.DOES_NOT_FIT, tight, 0, longest, None)


def _most(
    model: ModelInfo, gpu: GpuInfo, layout: Layout, engine: EngineName, batch: Batch, overrides: Overrides
) -> Memory:
    """Return the memory for the context asked for, or for the longest the model allows.

    Overhead grows with the context up to about 8,000 tokens (chunked prefill of MLA), so the longest is the safe side.
    """
    context = overrides.max_model_len or model.context_length
    return measure(model, gpu, layout, engine, batch, context, overrides)


def _outside(gpu: GpuInfo, engine: EngineName, overrides: Overrides) -> str | None:
    if engine is not EngineName.VLLM or overrides.memory_fraction is None:
        return None
    left = gpu.memory_gib * (1 - overrides.memory_fraction)
    if left >= _OUTSIDE_GIB:
        return None
    most = (gpu.memory_gib - _OUTSIDE_GIB) / gpu.memory_gib
    return (
        f"--gpu-memory-utilization {overrides.memory_fraction:g} leaves {left:.2f} GiB of {gpu.name} for CUDA itself, "
        f"which needs {_OUTSIDE_GIB} GiB: use at most {int(most * 100) / 100:g}"
    )


def _rounded(tokens: float) -> int:
    return int(tokens) // _STEP * _STEP if tokens >= _STEP else int(tokens)


def _power_of_two(tokens: int) -> int:
    return 1 << (tokens.bit_length() - 1) if tokens > 0 else 0


def gib(value: float) -> str:
    """Return GiB for people: one decimal below 100, none above."""
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def _reason(
    verdict: Verdict,
    gpu: GpuInfo,
    layout: Layout,
    memory: Memory,
    context: int,
    batch: Batch | None,
    outside: str | None,
) -> str:
    if outside is not None:
        return outside
    spread = _spread(layout)
    parts = f"{gib(memory.weights)} GiB weights and {gib(memory.overhead)} GiB overhead of {gib(memory.usable)} GiB"
    where = f"usable on each {gpu.name} ({spread})"
    if memory.kv_cache <= 0:
        return f"{parts} {where}: {gib(-memory.kv_cache)} GiB too much"
    room = f"leave {gib(memory.kv_cache)} GiB for the KV cache, {memory.tokens:,} tokens"
    if verdict is Verdict.DOES_NOT_FIT:
        return f"{parts} {where} {room}: too few"
    if verdict is Verdict.TIGHT and batch is not None:
        room += f", with at most {batch.max_num_seqs} requests and {batch.max_num_batched_tokens} tokens in one step"
    return f"{parts} {where} {room}; context {context:,}"


def _spread(layout: Layout) -> str:
    parts = [f"tensor parallel {layout.tensor_parallel_size}"]
    if layout.pipeline_parallel_size > 1:
        parts.append(f"pipeline parallel {layout.pipeline_parallel_size}")
    if layout.data_parallel_size > 1:
        parts.append(f"data parallel {layout.data_parallel_size}")
    return ", ".join(parts)
