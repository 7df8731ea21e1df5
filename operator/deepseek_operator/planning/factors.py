"""Efficiency factors of the speed model."""

from dataclasses import dataclass, replace

from deepseek_operator.catalog import GpuInfo, Vendor

__all__ = ["FACTORS", "Factors", "factors_of"]


@dataclass(frozen=True)
class Factors:
    """Measured constants of the roofline, fitted by tests/bench/speed.py.

    Fractions are of the GPU's data sheet, times are microseconds.

    Attributes
    ----------
    bandwidth
        Share of the memory bandwidth that reading weights reaches.
    experts, tuned_experts
        The same for experts, whose kernel (Triton) has tuned settings for a few shapes only.
    prefill, prefill_experts
        Share of the GPU's BF16 rate in prefill: dense models and every attention, and the weights of mixtures of
        experts in whatever number format.
    prefill_fp8
        The same for dense models in FP8, on GPUs that have it: what vLLM needed for 8,192 tokens of Qwen3-8B on an H100
        (published, docs/planning.md).
    layer, expert_layer, quantized_layer
        Start of a layer's kernels from a CUDA graph: dense, a mixture, and a mixture with FP8 or smaller weights.
    awq_layer
        The same for a mixture in AWQ (Marlin): what vLLM of July 2025 needed for R1 on eight H100, the newest figure
        that was found. It is on the safe side: that engine needed more for every format than today's.
    sparse_layer
        More for a layer whose indexer picks the tokens to attend to: what SGLang needed for DeepSeek-Math-V2, not for
        R1, on eight B200 (published, docs/planning.md).
    eager_layer
        The same without CUDA graphs.
    step
        Scheduler and sampler of one step.
    sampled
        Bytes that sampling moves per logit.
    prompt
        Front end, once for each request: HTTP, template, tokeniser. Not there where the engine is called in its own
        process. What it does for each token runs beside the engine and does not hold it up (docs/planning.md).
    launch
        A mixture's layer in the prefill of one prompt, whose kernels the CPU starts one by one: no prompt is faster.
        What SGLang needed for R1 on eight B200 (published, docs/planning.md). Dense models start from CUDA graphs.
    link
        Start of an all-reduce over NVLink, for each doubling of the ranks and once more.
    bus
        The same over PCIe (not measured: NCCL's usual figure).
    fabric
        Start of an all-reduce between machines over InfiniBand: what is left of the 23.1 ms per token that SGLang
        needed for R1 on two H100:8 (published, docs/planning.md). EFA is taken to be as fast.
    ethernet
        The same over TCP: what is left of the 87 ms per token that SkyPilot's guide shows for R1 on two H100:8.
    link_bandwidth
        Share of a link's bandwidth that an all-reduce reaches.
    """

    bandwidth: float = 0.86
    experts: float = 0.45
    tuned_experts: float = 0.83
    prefill: float = 0.62
    prefill_experts: float = 0.22
    prefill_fp8: float = 0.74
    layer: float = 30.0
    expert_layer: float = 45.0
    quantized_layer: float = 100.0
    awq_layer: float = 205.0
    sparse_layer: float = 160.0
    eager_layer: float = 860.0
    step: float = 550.0
    sampled: float = 43.0
    prompt: float = 6500.0
    launch: float = 2100.0
    link: float = 2.5
    bus: float = 15.0
    fabric: float = 114.0
    ethernet: float = 600.0
    link_bandwidth: float = 0.6


FACTORS = Factors()
_ROCM = replace(FACTORS, bandwidth=0.645, experts=0.34, tuned_experts=0.62, quantized_layer=320.0)
"""ROCm's kernels read three quarters as fast and start later: what SGLang needed for DeepSeek-V3.1 on eight MI300X with
one request and with 91 (published, docs/planning.md). Dense models and prefill were not measured there."""


def factors_of(gpu: GpuInfo) -> Factors:
    """Return the factors of the kernels that run on a GPU."""
    return FACTORS if gpu.vendor is Vendor.NVIDIA else _ROCM
