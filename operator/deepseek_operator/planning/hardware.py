"""Whether an engine has kernels for a model's number format on a GPU. Memory is somebody else's question."""

from deepseek_operator.api.spec import EngineName
from deepseek_operator.catalog import Dtype, Fp8Support, GpuInfo, ModelInfo, Vendor

__all__ = ["activation_dtype", "emulates", "refuse"]

_LOWEST = {EngineName.VLLM: (7, 5), EngineName.SGLANG: (8, 0)}
"""Lowest compute capability that the released images have kernels for."""

_DTYPES: dict[tuple[EngineName, Dtype], tuple[tuple[int, int], str]] = {
    (EngineName.SGLANG, Dtype.FP8): ((8, 9), "its FP8 expert kernels need FP8 tensor cores"),
    (EngineName.VLLM, Dtype.FP4): ((9, 0), "DeepSeek-V4's kernels need Hopper or newer"),
    (EngineName.SGLANG, Dtype.FP4): ((10, 0), "on Hopper it needs the FP8 conversion of the model"),
    (EngineName.VLLM, Dtype.NVFP4): ((10, 0), "NVFP4 needs Blackwell"),
    (EngineName.SGLANG, Dtype.NVFP4): ((10, 0), "NVFP4 needs Blackwell"),
    (EngineName.SGLANG, Dtype.W4A8): ((9, 0), "its W4A8 kernels are for Hopper"),
    (EngineName.VLLM, Dtype.W4A8): ((9, 0), "W4A8 needs Hopper or newer"),
}
"""From which compute capability an engine has kernels for a number format."""

_ENDED: dict[tuple[EngineName, Dtype], tuple[tuple[int, int], str]] = {
    (EngineName.VLLM, Dtype.INT8): ((10, 0), "its INT8 kernels are for GPUs up to Hopper"),
    (EngineName.SGLANG, Dtype.INT8): ((10, 0), "its INT8 kernels are for GPUs up to Hopper"),
    (EngineName.SGLANG, Dtype.W4A8): ((10, 0), "its W4A8 kernels are for Hopper"),
}
"""From which one it has none any more: vLLM's page on INT8 W8A8; ``int8_scaled_mm`` and ``cutlass_w4a8_moe_mm_sm90`` of
sgl-kernel."""


def _version(capability: str) -> tuple[int, int]:
    major, minor = capability.split(".")
    return int(major), int(minor)


def refuse(model: ModelInfo | None, gpu: GpuInfo, engine: EngineName) -> str | None:
    """Return why this engine cannot run this model on this GPU however much memory there is, or None.

    AMD GPUs are not judged: their kernels depend on the ROCm image that the user names.
    """
    if gpu.vendor is not Vendor.NVIDIA:
        return None
    has = gpu.capability
    lowest = _LOWEST[engine]
    if has < lowest:
        return f"{engine} needs compute capability {lowest[0]}.{lowest[1]}; {gpu.name} has {gpu.compute_capability}"
    if model is None:
        return None
    dtype = model.weights.dtype
    needed, why = _DTYPES.get((engine, dtype), (lowest, ""))
    ended, why_ended = _ENDED.get((engine, dtype), (None, ""))
    if has < needed or (ended is not None and has >= ended):
        why = why if has < needed else why_ended
        return (
            f"{engine} cannot run {dtype} weights of {model.short_name} on {gpu.name} "
            f"(compute capability {gpu.compute_capability}): {why}"
        )
    own = model.engines[engine].min_compute_capability
    if own is not None and has < _version(own):
        return f"{model.short_name} needs compute capability {own} on {engine}; {gpu.name} has {gpu.compute_capability}"
    if dtype is Dtype.FP8 and gpu.fp8 is Fp8Support.NONE:
        return f"{gpu.name} has no way to run FP8 weights"
    return None


def emulates(model: ModelInfo | None, gpu: GpuInfo) -> bool:
    """Return whether the GPU lacks hardware for the weights' format, so that kernels widen them while they compute."""
    if model is None or gpu.vendor is not Vendor.NVIDIA:
        return False
    return model.weights.dtype is Dtype.FP8 and gpu.fp8 is not Fp8Support.NATIVE


def activation_dtype(model: ModelInfo | None, gpu: GpuInfo, engine: EngineName) -> str | None:
    """Return the value of ``--dtype`` that the GPU needs, or None: GPUs without bfloat16 compute in half precision."""
    if gpu.bf16 or (model is not None and "--dtype" in model.engines[engine].args):
        return None
    return "half"
