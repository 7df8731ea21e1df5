"""Which kernels an engine runs for a number format, and what they reach: for the speed model.

The format in force is that of the weights in the GPU's memory: what ``--quantization`` makes of them while they load,
else what was published.
"""

from deepseek_operator.catalog import Dtype, Fp8Support, GpuInfo, ModelInfo
from deepseek_operator.planning.factors import Factors
from deepseek_operator.planning.layout import Layout
from deepseek_operator.planning.memory import weights_gib
from deepseek_operator.planning.overrides import Overrides

__all__ = ["expert_efficiency", "layer_micros", "prefill_share", "rate_tflops", "read_gib"]

_TUNED = {Dtype.FP8: {(256, 128), (256, 256)}, Dtype.BF16: {(128, 192)}}
"""Experts, and the width of each on one GPU, for which vLLM 0.27.1 ships settings tuned on A100, H100, H200 or B200
(``fused_moe/configs``): R1 in FP8 over 16 and 8 GPUs, Qwen3-235B in BF16 over 8."""
_EIGHT_BITS = (Dtype.FP8, Dtype.FP4, Dtype.NVFP4, Dtype.W4A8)
"""Formats whose activations are quantised to eight bits or fewer in every layer."""


def _format(model: ModelInfo, overrides: Overrides) -> Dtype:
    if overrides.quantization == "fp8" and model.weights.dtype is Dtype.BF16:
        return Dtype.FP8
    return model.weights.dtype


def read_gib(model: ModelInfo, overrides: Overrides) -> float:
    """Return GiB of all weights as a step reads them.

    bitsandbytes makes them smaller and widens them again in every step: they are taken to be no faster for it.
    """
    return model.weights.gib if overrides.quantization == "bitsandbytes" else weights_gib(model, overrides)


def rate_tflops(model: ModelInfo, gpu: GpuInfo, overrides: Overrides) -> float:
    """Return TFLOP/s of the unit that decode runs on."""
    assert gpu.bf16_tflops is not None
    dtype = _format(model, overrides)
    if dtype is Dtype.INT8:
        return 2 * gpu.bf16_tflops
    if dtype in _EIGHT_BITS and gpu.fp8 is Fp8Support.NATIVE:
        return gpu.fp8_tflops or 2 * gpu.bf16_tflops
    return gpu.bf16_tflops


def prefill_share(model: ModelInfo, gpu: GpuInfo, overrides: Overrides, factors: Factors) -> float:
    """Return which share of the BF16 rate the weights reach in prefill."""
    if model.shape.moe:
        return factors.prefill_experts
    if _format(model, overrides) is Dtype.FP8 and gpu.fp8 is Fp8Support.NATIVE:
        return factors.prefill_fp8
    return factors.prefill


def expert_efficiency(model: ModelInfo, layout: Layout, overrides: Overrides, factors: Factors) -> float:
    """Return which share of the memory bandwidth the routed experts are read at."""
    moe = model.shape.moe
    if moe is None:
        return factors.experts
    width = moe.intermediate_size // (1 if layout.expert_parallel else layout.tensor_parallel_size)
    tuned = (moe.experts, width) in _TUNED.get(_format(model, overrides), ())
    return factors.tuned_experts if tuned else factors.experts


def layer_micros(model: ModelInfo, overrides: Overrides, factors: Factors) -> float:
    """Return microseconds in which the kernels of a layer start, from a CUDA graph."""
    if not model.shape.moe:
        return factors.layer
    sparse = factors.sparse_layer if model.shape.mla and model.shape.mla.sparse_tokens else 0.0
    dtype = _format(model, overrides)
    if dtype is Dtype.AWQ:
        return sparse + factors.awq_layer
    return sparse + (factors.quantized_layer if dtype in _EIGHT_BITS else factors.expert_layer)
