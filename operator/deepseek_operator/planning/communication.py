"""GPU memory that a rank needs because it talks to others, inside and outside the engine's budget.

Measured with vLLM 0.25.1 on two H100 with NVLink (docs/planning.md). One NCCL communicator takes 0.475 GiB per GPU, the
first one 0.44 GiB more because NCCL's kernels are loaded with it. vLLM makes them before it looks how much is free, so
they count against what the budget leaves, not against the budget.
"""

from deepseek_operator.catalog import GpuInfo, ModelInfo
from deepseek_operator.planning.layout import Layout

__all__ = ["communicators", "inside_gib", "outside_gib"]

_CONTEXT_GIB = 0.55
"""CUDA context: 0.515 measured on H200 and H100."""
_FIRST_GIB = 0.95
"""First communicator with NCCL's kernels, and the custom all-reduce: 0.955 with tensor parallelism, 0.92 without."""
_NEXT_GIB = 0.48
"""Each further communicator: 0.475 measured for the one that every mixture of experts has."""
_TENSOR_GIB = 0.35
"""Inside the budget with tensor parallelism: 0.32 measured. Pipeline parallelism alone needs nothing there."""
_FUSED_GIB = 0.5
"""Workspace of FlashInfer's fused all-reduce, from source (vLLM 0.25.1, FlashInfer 0.6.13)."""
_FUSED = frozenset({(9, 2), (10, 2), (10, 4)})
"""Major compute capability and tensor-parallel size for which that workspace is as large; else below 0.03 GiB."""
_SHARED_EXPERTS_GIB = 0.6
"""Inside the budget where copies share experts (llm-d planner's figure; not measured)."""


def communicators(model: ModelInfo, layout: Layout) -> int:
    """Return how many NCCL communicators vLLM makes on each GPU before it measures free memory."""
    count = (layout.tensor_parallel_size > 1) + (layout.pipeline_parallel_size > 1) + layout.shares_experts
    if model.shape.moe and (layout.tensor_parallel_size > 1 or layout.shares_experts):
        count += 1
    return count


def outside_gib(model: ModelInfo, layout: Layout) -> float:
    """Return GiB per GPU that no budget counts and that must be free beside it, or vLLM refuses to start."""
    count = communicators(model, layout)
    return _CONTEXT_GIB + (_FIRST_GIB + _NEXT_GIB * (count - 1) if count else 0.0)


def inside_gib(gpu: GpuInfo, layout: Layout, *, flashinfer: bool = True) -> float:
    """Return GiB per GPU that communication takes of vLLM's budget, with or without FlashInfer's all-reduce."""
    size = layout.tensor_parallel_size
    needed = _SHARED_EXPERTS_GIB if layout.shares_experts else 0.0
    if size > 1:
        fused = flashinfer and (gpu.capability[0], size) in _FUSED
        needed = max(needed, _TENSOR_GIB + (_FUSED_GIB if fused else 0.0))
    return needed
