"""How fast a layout is: a roofline of one step of the engine, with efficiency factors measured on two kinds of GPU.

A step reads the weights it needs and the KV cache of every request, computes, starts kernels for every layer and waits
for other GPUs. The factors are fitted to runs of vLLM 0.25.1 on an H200 and on two H100 with dummy weights
(docs/planning.md has every case with its error). All times are seconds; bandwidths are GB/s, 10^9 bytes.
"""

from dataclasses import dataclass
from math import log2

from deepseek_operator.catalog import GpuInfo, ModelInfo
from deepseek_operator.planning.factors import Factors, factors_of
from deepseek_operator.planning.kernels import expert_efficiency, layer_micros, prefill_share, rate_tflops, read_gib
from deepseek_operator.planning.layout import Layout
from deepseek_operator.planning.memory import kv_bytes_per_token
from deepseek_operator.planning.overrides import Overrides

__all__ = [
    "Traffic",
    "prefill_tokens_per_second",
    "ready_seconds",
    "step_seconds",
    "time_to_first_token_seconds",
]

GIB = 2**30
GB = 10**9
TFLOP = 10**12
MICRO = 1e-6


_ETHERNET_GBS = 5.0
"""GB/s of one machine over TCP (not measured: 100 Gbit/s shared by few streams)."""
_READY = (24.0, 0.87)
_READY_EXPERTS = (48.0, 1.7)
"""Seconds from an engine's first touch of the GPU to its first answer, and more for each layer: compiling, measuring
memory and capturing graphs, without imports and reading weights. Dense models, and mixtures of experts."""
_READY_EAGER_S = 9.6
_INDEX_SCALE = 4
"""Bytes beside each of the indexer's keys, which are FP8."""
_FULL_PIPELINE = 8
"""Chunks in flight when a pipeline's prefill is busy."""


@dataclass(frozen=True)
class Traffic:
    """What the engine works on.

    Attributes
    ----------
    requests
        Requests that decode at the same time.
    context
        Tokens of each in the KV cache.
    routed
        Exponent on the requests: 1 where every token chooses its experts by itself. Dummy weights send the tokens of a
        step to few experts; only a comparison with such runs sets it lower.
    """

    requests: int = 1
    context: int = 2048
    routed: float = 1.0


def step_seconds(
    model: ModelInfo,
    gpu: GpuInfo,
    layout: Layout,
    traffic: Traffic,
    overrides: Overrides,
    *,
    network_gbs: float | None = None,
    connected: bool = True,
    factors: Factors | None = None,
) -> float:
    """Return the time in which every request gets one more token.

    Parameters
    ----------
    network_gbs
        GB/s of one machine to others over a fast network; None: Ethernet.
    connected
        False leaves communication out: one rank's shapes measured alone.
    factors
        None: those of the GPU's kernels.
    """
    assert gpu.memory_bandwidth is not None
    factors = factors or factors_of(gpu)
    copies, stages = layout.data_parallel_size, layout.pipeline_parallel_size
    here = max(1.0, traffic.requests / (copies * stages))
    bandwidth = gpu.memory_bandwidth * GB
    read = _dense_bytes(model, layout, overrides) / (bandwidth * factors.bandwidth)
    experts = expert_efficiency(model, layout, overrides, factors)
    read += _expert_bytes(model, layout, traffic, overrides) / (bandwidth * experts)
    cache = here * _cache_bytes(model, layout, traffic.context, overrides) * stages
    read += cache / (bandwidth * factors.bandwidth)
    attended = _attended(model, traffic.context)
    arithmetic = _matrix_flops(model, layout, head=True) + _attention_flops(model, layout, attended, absorbed=True)
    compute = here * arithmetic / (rate_tflops(model, gpu, overrides) * TFLOP)
    sampling = here * factors.sampled * model.shape.vocab_size / (bandwidth * factors.bandwidth)
    busy = read + compute + sampling
    layers = model.shape.layers * MICRO
    if overrides.eager:  # the CPU starts kernels while the GPU works
        busy = max(busy, layers * factors.eager_layer)
    else:
        busy += layers * layer_micros(model, overrides, factors)
    talking = _communication(model, gpu, layout, here, network_gbs, factors) if connected else 0.0
    return (busy + talking + MICRO * factors.step) / gpu.efficiency.decode


def prefill_tokens_per_second(
    model: ModelInfo,
    gpu: GpuInfo,
    layout: Layout,
    overrides: Overrides,
    *,
    network_gbs: float | None = None,
    connected: bool = True,
    prompt: int = 2000,
    served: bool = True,
    factors: Factors | None = None,
) -> float:
    """Return tokens per second of prompts while the engine does nothing else, all copies together."""
    factors = factors or factors_of(gpu)
    busy = _prefill_seconds(model, gpu, layout, overrides, prompt, network_gbs, connected, factors)
    stages = layout.pipeline_parallel_size
    bubbles = (_FULL_PIPELINE + stages - 1) / _FULL_PIPELINE
    front = MICRO * factors.prompt if served else 0.0
    seconds = busy / stages * bubbles + front
    return layout.data_parallel_size * prompt / seconds * gpu.efficiency.prefill


def time_to_first_token_seconds(
    model: ModelInfo,
    gpu: GpuInfo,
    layout: Layout,
    overrides: Overrides,
    *,
    prompt: int,
    network_gbs: float | None = None,
) -> float:
    """Return the time from a prompt's arrival at an idle engine to its first token: prefill, then one step."""
    factors = factors_of(gpu)
    busy = _prefill_seconds(model, gpu, layout, overrides, prompt, network_gbs, True, factors)
    if model.shape.moe:
        busy = max(busy, MICRO * factors.launch * model.shape.layers)
    traffic = Traffic(requests=1, context=prompt)
    step = step_seconds(model, gpu, layout, traffic, overrides, network_gbs=network_gbs)
    return busy / gpu.efficiency.prefill + step + MICRO * factors.prompt


def ready_seconds(model: ModelInfo, overrides: Overrides) -> float:
    """Return how long an engine that has read its weights takes to its first answer, with a cold compile cache."""
    if overrides.eager:
        return _READY_EAGER_S
    base, layer = _READY_EXPERTS if model.shape.moe else _READY
    return base + layer * model.shape.layers


def _prefill_seconds(
    model: ModelInfo,
    gpu: GpuInfo,
    layout: Layout,
    overrides: Overrides,
    prompt: int,
    network_gbs: float | None,
    connected: bool,
    factors: Factors,
) -> float:
    assert gpu.bf16_tflops is not None
    each = _matrix_flops(model, layout, head=False) / prefill_share(model, gpu, overrides, factors)
    each += _prompt_flops(model, layout, prompt) / factors.prefill
    talking = _communication(model, gpu, layout, prompt, network_gbs, factors) if connected else 0.0
    return prompt * each / (gpu.bf16_tflops * TFLOP) + talking


def _matrix_flops(model: ModelInfo, layout: Layout, *, head: bool) -> float:
    """Return floating-point operations of one token with the weights, on one GPU of each stage, over all stages.

    Parameters
    ----------
    head
        With the vocabulary's logits: decode needs them, prefill only for its last token.
    """
    shape = model.shape
    table = shape.vocab_size * shape.hidden_size
    active = max(0, (model.active_parameters or model.parameters) - table * (1 if head else 2))
    whole = _on_every_gpu(model)
    return 2.0 * (max(0, active - whole) / layout.tensor_parallel_size + whole)


def _attended(model: ModelInfo, context: int) -> int:
    """Return to how many of the tokens before it a token attends: with an indexer to few, else to all."""
    mla = model.shape.mla
    return min(context, (mla and mla.sparse_tokens) or context)


def _cache_bytes(model: ModelInfo, layout: Layout, context: int, overrides: Overrides) -> float:
    """Return KV bytes of one request that a step reads: with an indexer all of its keys, and few of the others."""
    each, mla = kv_bytes_per_token(model, layout, overrides), model.shape.mla
    if mla is None or mla.sparse_tokens is None:
        return context * each
    keys = each * (mla.index_head_dim + _INDEX_SCALE) * model.shape.layers / model.kv_bytes_per_token
    return context * keys + _attended(model, context) * (each - keys)


def _prompt_flops(model: ModelInfo, layout: Layout, prompt: int) -> float:
    """Return those of a prompt's average token with the tokens before it."""
    mla = model.shape.mla
    if mla is None or mla.sparse_tokens is None:
        return _attention_flops(model, layout, prompt / 2, absorbed=False)
    few = _attended(model, prompt)
    attended = few - few * few / (2 * prompt)
    index = 2.0 * model.shape.layers * mla.index_heads * mla.index_head_dim * prompt / 2
    return _attention_flops(model, layout, attended, absorbed=True) + index


def _attention_flops(model: ModelInfo, layout: Layout, context: float, *, absorbed: bool) -> float:
    """Return those of one token with the tokens before it.

    Parameters
    ----------
    context
        Tokens before it.
    absorbed
        On MLA's compressed vectors, as in decode; prefill expands them first.
    """
    shape = model.shape
    keys = values = shape.head_dim
    if shape.mla and absorbed:
        values = shape.mla.kv_lora_rank
        keys = values + shape.head_dim - shape.mla.qk_nope_head_dim
    elif shape.mla:
        values = shape.mla.v_head_dim
    return 2.0 * shape.layers * shape.attention_heads * (keys + values) * context / layout.tensor_parallel_size


def _on_every_gpu(model: ModelInfo) -> float:
    """Return parameters that tensor parallelism does not divide: MLA's projections down, and the experts' router."""
    shape = model.shape
    each = shape.moe.experts if shape.moe else 0
    if shape.mla:
        rope = shape.head_dim - shape.mla.qk_nope_head_dim
        each += (shape.mla.q_lora_rank or 0) + shape.mla.kv_lora_rank + rope
    return float(shape.layers * shape.hidden_size * each)


def _dense_bytes(model: ModelInfo, layout: Layout, overrides: Overrides) -> float:
    """Return bytes of the weights that every step reads on one GPU of each stage, over all stages.

    That is everything but the input's embedding, of which a step reads a few rows, and the routed experts.
    """
    shape, moe = model.shape, model.shape.moe
    table = float(shape.vocab_size * shape.hidden_size)
    whole = read_gib(model, overrides) * GIB
    if moe is None:
        return (whole - 2 * table) / layout.tensor_parallel_size
    each = max(0.0, whole - 4 * table) / max(1.0, model.parameters - 2 * table)
    chosen = moe.expert_weight_share * model.parameters * moe.experts_per_token / moe.experts
    whole = _on_every_gpu(model)
    others = max(0.0, (model.active_parameters or model.parameters) - chosen - 2 * table - whole)
    return whole * each + (others * each + 2 * table) / layout.tensor_parallel_size


def _expert_bytes(model: ModelInfo, layout: Layout, traffic: Traffic, overrides: Overrides) -> float:
    """Return bytes of the experts that one GPU of each stage reads, over all stages."""
    moe = model.shape.moe
    if moe is None:
        return 0.0
    together = layout.pipeline_parallel_size * (1 if layout.shares_experts else layout.data_parallel_size)
    tokens = max(1.0, traffic.requests / together) ** traffic.routed
    chosen = 1.0 - float((1 - moe.experts_per_token / moe.experts) ** tokens)
    ranks = layout.tensor_parallel_size * (layout.data_parallel_size if layout.shares_experts else 1)
    return moe.expert_weight_share * read_gib(model, overrides) * GIB * chosen / ranks


def _communication(
    model: ModelInfo, gpu: GpuInfo, layout: Layout, tokens: float, network_gbs: float | None, factors: Factors
) -> float:
    """Return the time that ``tokens`` tokens wait for other GPUs: two all-reduces a layer, and a hop between stages."""
    hidden = 2.0 * tokens * model.shape.hidden_size
    network = (network_gbs or _ETHERNET_GBS) * GB * (factors.link_bandwidth if network_gbs else 1.0)
    start = MICRO * (factors.fabric if network_gbs else factors.ethernet)
    ranks = layout.tensor_parallel_size * (layout.data_parallel_size if layout.shares_experts else 1)
    inside = min(ranks, layout.gpus_per_node)
    each = moving = 0.0
    if inside > 1:
        link = (gpu.link_bandwidth or 16.0) * GB * factors.link_bandwidth
        each += MICRO * (factors.link if gpu.nvlink else factors.bus) * (1 + log2(inside))
        moving = hidden * 2 * (inside - 1) / inside / link
    if ranks > inside:
        machines = ranks / inside
        each += start
        # One piece crosses the network while the next one crosses NVLink: the slower of the two decides.
        moving = max(moving, hidden * 2 * (machines - 1) / machines / network)
    each += moving
    stages = layout.pipeline_parallel_size
    hop = start / 4 + hidden / network if layout.nodes > 1 else MICRO * factors.bus
    return 2 * model.shape.layers * each + (stages - 1) * hop
