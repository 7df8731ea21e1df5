"""The verdict on one candidate: does the model fit, how tightly, and how long a context does it leave room for."""

from dataclasses import dataclass, replace

from deepseek_operator.api.spec import EngineName
from deepseek_operator.api.status import Verdict
from deepseek_operator.catalog import GpuInfo, ModelInfo
from deepseek_operator.planning.communication import outside_gib
from deepseek_operator.planning.memory import (
    VLLM_UTILIZATION,
    Batch,
    Layout,
    Memory,
    default_batch,
    measure,
    sglang_reserve,
    small_batch,
    utilization,
)
from deepseek_operator.planning.overrides import Overrides
from deepseek_operator.planning.sglang_memory import requests_that_fit

__all__ = ["Fit", "assess", "gib"]

_MARGIN = 1.15
"""KV cache that a comfortable fit has over one request of full length: the formula's worst error, rounded up."""
_RESERVE_GIB = 1.0
"""KV cache below which a fit is tight whatever the context."""
_UNMEASURED_GIB = 0.6
"""Added to the reserve where GPUs talk to each other otherwise than two over NVLink, which is what was measured."""
_MEASURED_RANKS = 2
_SMALL_GIB = 24
"""Memory of GPUs without NVLink on which NCCL's share decides whether an engine starts."""
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
    memory_fraction: float | None = None
    """``--gpu-memory-utilization`` to pass, where the engine's own would leave too little beside the budget."""


def assess(model: ModelInfo, gpu: GpuInfo, layout: Layout, engine: EngineName, overrides: Overrides) -> Fit:
    """Return the verdict for one layout.

    ``Fits``: with the engine's default batch, 15 % and at least 1 GiB to spare. ``Tight``: only just, or only with
    smaller batches. ``DoesNotFit``: not even those.
    """
    fit = _room(model, gpu, layout, engine, overrides)
    if engine is EngineName.SGLANG:
        return _with_request_table(fit, model, gpu, overrides) if fit.max_model_len else fit
    refusal = _outside(model, gpu, layout, overrides)
    if refusal is not None:
        return replace(fit, verdict=Verdict.DOES_NOT_FIT, max_model_len=0, batch=None, reason=refusal)
    share = utilization(model, gpu, layout, overrides)
    if overrides.memory_fraction is not None or share == VLLM_UTILIZATION:
        return fit
    return replace(fit, memory_fraction=share, reason=f"{fit.reason}; {_lowered(model, gpu, layout, share)}")


def _room(model: ModelInfo, gpu: GpuInfo, layout: Layout, engine: EngineName, overrides: Overrides) -> Fit:
    """Return the verdict on what weights and overhead leave of the engine's budget."""
    default = default_batch(engine, gpu, layout, overrides)
    wanted = overrides.max_model_len
    limit = model.context_length
    most = _most(model, gpu, layout, engine, default, overrides)
    comfortable = min(limit, _rounded(most.tokens / _MARGIN))
    if most.kv_cache >= _reserve(gpu, layout) and comfortable >= min(wanted or _SHORTEST, limit):
        context = wanted or comfortable
        reason = _reason(Verdict.FITS, gpu, layout, most, context, None)
        return Fit(Verdict.FITS, layout, most, context, comfortable, None, reason)
    if most.weights > most.usable:  # no batch is small enough
        return Fit(Verdict.DOES_NOT_FIT, layout, most, 0, 0, None, _too_much(gpu, layout, most))
    small = small_batch(default, overrides)
    tight = most if small == default else _most(model, gpu, layout, engine, small, overrides)
    longest = min(limit, _rounded(tight.tokens))
    context = wanted or min(longest, max(_SHORTEST, _power_of_two(tight.tokens // 2)))
    verdict, batch = Verdict.TIGHT, small if small != default else None
    if longest < max(context, min(_SHORTEST, limit) if wanted is None else 1):
        verdict, batch, context = Verdict.DOES_NOT_FIT, None, 0
    return Fit(verdict, layout, tight, context, longest, batch, _reason(verdict, gpu, layout, tight, context, batch))


def _reserve(gpu: GpuInfo, layout: Layout) -> float:
    ranks = layout.tensor_parallel_size * layout.pipeline_parallel_size
    measured = gpu.nvlink and ranks <= _MEASURED_RANKS and layout.nodes == 1 and not layout.shares_experts
    return _RESERVE_GIB + (_UNMEASURED_GIB if layout.parallel and not measured else 0.0)


def _most(
    model: ModelInfo, gpu: GpuInfo, layout: Layout, engine: EngineName, batch: Batch, overrides: Overrides
) -> Memory:
    """Return the memory for the context asked for, or for the longest the model allows.

    Overhead grows with the context up to about 8,000 tokens (chunked prefill of MLA), so the longest is the safe side.
    """
    context = overrides.max_model_len or model.context_length
    return measure(model, gpu, layout, engine, batch, context, overrides)


def _outside(model: ModelInfo, gpu: GpuInfo, layout: Layout, overrides: Overrides) -> str | None:
    """Return why the user's memory fraction leaves too little for what no budget counts, or None where it does not."""
    if overrides.memory_fraction is None:
        return None
    left = gpu.memory_gib * (1 - overrides.memory_fraction)
    needed = outside_gib(model, layout)
    if left >= needed:
        return None
    most = (gpu.memory_gib - needed) / gpu.memory_gib
    return (
        f"--gpu-memory-utilization {overrides.memory_fraction:g} leaves {left:.2f} GiB of {gpu.name} for "
        f"{_what(layout)}: {needed:.2f} GiB are needed{_where(gpu, layout)}, so use at most {int(most * 100) / 100:g}"
    )


def _lowered(model: ModelInfo, gpu: GpuInfo, layout: Layout, share: float) -> str:
    needed = outside_gib(model, layout)
    return (
        f"--gpu-memory-utilization {share:g} leaves {needed:.2f} GiB for {_what(layout)} beside the budget"
        f"{_where(gpu, layout)}"
    )


def _what(layout: Layout) -> str:
    return "CUDA and NCCL" if layout.parallel else "CUDA itself"


def _where(gpu: GpuInfo, layout: Layout) -> str:
    return " (measured on NVLink)" if layout.parallel and not gpu.nvlink and gpu.memory_gib < _SMALL_GIB else ""


def _with_request_table(fit: Fit, model: ModelInfo, gpu: GpuInfo, overrides: Overrides) -> Fit:
    """Return the fit with as many running requests as SGLang's reserve has room for in its request table."""
    used = fit.batch or default_batch(EngineName.SGLANG, gpu, fit.layout, overrides)
    asked = overrides.max_num_seqs or (fit.batch.max_num_seqs if fit.batch else None)
    reserve = sglang_reserve(model, gpu, fit.layout, used, overrides)
    context = fit.max_model_len
    most = requests_that_fit(model, fit.layout, used, context, fit.memory.tokens, reserve, asked)
    if most is None:
        return fit
    why = f"a table of 4 bytes for each request and token of context in the {gib(reserve)} GiB that SGLang keeps free"
    if overrides.max_num_seqs is not None:
        reason = f"--max-running-requests {overrides.max_num_seqs} needs {why}: use at most {most}"
        return replace(fit, verdict=Verdict.DOES_NOT_FIT, max_model_len=0, batch=None, reason=reason)
    batch = Batch(most, used.max_num_batched_tokens)
    return replace(fit, batch=batch, reason=f"{fit.reason}; at most {most:,} running requests, which need {why}")


def _rounded(tokens: float) -> int:
    return int(tokens) // _STEP * _STEP if tokens >= _STEP else int(tokens)


def _power_of_two(tokens: int) -> int:
    return 1 << (tokens.bit_length() - 1) if tokens > 0 else 0


def gib(value: float) -> str:
    """Return GiB for people: one decimal below 100, none above."""
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def _reason(verdict: Verdict, gpu: GpuInfo, layout: Layout, memory: Memory, context: int, batch: Batch | None) -> str:
    if memory.kv_cache <= 0:
        return _too_much(gpu, layout, memory)
    parts, where = _parts(memory), f"usable on each {gpu.name} ({_spread(layout)})"
    room = f"leave {gib(memory.kv_cache)} GiB for the KV cache, {memory.tokens:,} tokens"
    if verdict is Verdict.DOES_NOT_FIT:
        return f"{parts} {where} {room}: too few"
    if batch is not None:
        room += f", with at most {batch.max_num_seqs} requests and {batch.max_num_batched_tokens} tokens in one step"
    return f"{parts} {where} {room}; context {context:,}"


def _too_much(gpu: GpuInfo, layout: Layout, memory: Memory) -> str:
    where = f"usable on each {gpu.name} ({_spread(layout)})"
    return f"{_parts(memory)} {where}: {gib(-memory.kv_cache)} GiB too much"


def _parts(memory: Memory) -> str:
    return f"{gib(memory.weights)} GiB weights and {gib(memory.overhead)} GiB overhead of {gib(memory.usable)} GiB"


def _spread(layout: Layout) -> str:
    parts = [f"tensor parallel {layout.tensor_parallel_size}"]
    if layout.pipeline_parallel_size > 1:
        parts.append(f"pipeline parallel {layout.pipeline_parallel_size}")
    if layout.data_parallel_size > 1:
        parts.append(f"data parallel {layout.data_parallel_size}")
    return ", ".join(parts)
