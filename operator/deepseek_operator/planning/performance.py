"""What a candidate would do for its money: speed, start-up time and price per token, from the speed model."""

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from math import floor

from deepseek_operator.api.spec import EngineName, Objective
from deepseek_operator.api.status import PerformanceStatus
from deepseek_operator.catalog import Dtype, GpuInfo
from deepseek_operator.planning.confidence import error_percent
from deepseek_operator.planning.fit import Fit
from deepseek_operator.planning.interconnect import Network
from deepseek_operator.planning.memory import default_batch, weights_gib
from deepseek_operator.planning.speed import (
    Traffic,
    prefill_tokens_per_second,
    ready_seconds,
    step_seconds,
    time_to_first_token_seconds,
)
from deepseek_operator.planning.workload import Workload

__all__ = ["Performance", "estimate", "unmet"]

GIB = 2**30
PROMPT = 2000
"""Tokens of the prompt that plans speak of."""
_ANSWER = 500
"""Tokens of its answer: a request takes both in the KV cache, and half of the answer on average while it decodes."""
_MOST = 256
"""Requests at once that a plan speaks of where the user names no number: the most that was measured is 300."""
_SGLANG_RUNNING = 2048
_DOWNLOAD_GBS = 0.5
"""GB/s of one node from Hugging Face (not measured)."""
_LOAD_GBS = 2.0
"""GB/s of one node from disk to its GPUs (not measured)."""
_IMPORTS_S = 20.0
"""Measured: 11 to 27 s."""
_FAST_GBS = 25.0
"""GB/s per GPU between machines on the user's word alone, where the catalog has no figure: 200 Gbit/s."""


@dataclass(frozen=True)
class Performance:
    """What one replica does, by the speed model: prompts of 2,000 tokens, answers of 500. Computed when asked for.

    Attributes
    ----------
    network_gbs
        GB/s of one machine over a fast network between nodes; None for Ethernet.
    concurrency
        Requests at once: as many as the user named, or as fit, up to 256; never more than fit.
    limited_by_engine
        No more requests would run at once although the KV cache has room for them.
    hourly_cost
        US dollars an hour for the replica; None where it is unknown, 0 where the machines are one's own.
    """

    workload: Workload
    gpu: GpuInfo
    fit: Fit
    network_gbs: float | None
    concurrency: int
    limited_by_engine: bool
    hourly_cost: Decimal | None

    def _decode(self, requests: int) -> float:
        traffic = Traffic(requests, min(PROMPT + _ANSWER // 2, self.fit.max_model_len))
        asked = self.workload
        step = step_seconds(
            asked.model, self.gpu, self.fit.layout, traffic, asked.overrides, network_gbs=self.network_gbs
        )
        return requests / step

    @property
    def _prompt(self) -> int:
        return min(PROMPT, self.fit.max_model_len)

    @cached_property
    def decode_tokens_per_second(self) -> float:
        """Output tokens a second of one request alone."""
        return self._decode(1)

    @cached_property
    def decode_tokens_per_second_at_concurrency(self) -> float:
        """The same of all concurrent requests together."""
        return self._decode(self.concurrency)

    @cached_property
    def prefill_tokens_per_second(self) -> float:
        """Tokens of prompts a second while nothing else is done."""
        asked, layout = self.workload, self.fit.layout
        return prefill_tokens_per_second(
            asked.model, self.gpu, layout, asked.overrides, prompt=self._prompt, network_gbs=self.network_gbs
        )

    @cached_property
    def time_to_first_token_seconds(self) -> float:
        """Of one prompt at an idle engine."""
        asked, layout = self.workload, self.fit.layout
        return time_to_first_token_seconds(
            asked.model, self.gpu, layout, asked.overrides, prompt=self._prompt, network_gbs=self.network_gbs
        )

    @cached_property
    def start_seconds(self) -> float:
        """From nodes that are up to the first answer: download, loading, compiling. Without the image."""
        model, overrides = self.workload.model, self.workload.overrides
        weights = weights_gib(model, overrides) * GIB / 1e9 / self.fit.layout.nodes
        download = model.weights.gib * GIB / 1e9 / _DOWNLOAD_GBS if self.workload.downloads else 0.0
        return download + weights / _LOAD_GBS + _IMPORTS_S + ready_seconds(model, overrides)

    @property
    def error_percent(self) -> int | None:
        """Within how many per cent most measured cases like this one lie; None where none are known."""
        model, fast = self.workload.model, self.network_gbs is not None
        quantized = self.workload.overrides.quantization is not None and model.weights.dtype is Dtype.BF16
        return error_percent(model, self.gpu, self.fit.layout, fast=fast, quantized=quantized)

    @property
    def tokens_per_second_per_request(self) -> float:
        """What each of the concurrent requests gets."""
        return self.decode_tokens_per_second_at_concurrency / self.concurrency

    @property
    def dollars_per_million_tokens(self) -> float | None:
        """Price of a million output tokens at full load."""
        return self.price_of(self.hourly_cost)

    @property
    def dollars_per_million_tokens_at_half_load(self) -> float | None:
        """The same with half of the requests."""
        half = self._decode(max(1, self.concurrency // 2))
        return float(self.hourly_cost) * 1e6 / (3600 * half) if self.hourly_cost else None

    def price_of(self, hourly_cost: Decimal | None) -> float | None:
        """Return US dollars per million output tokens at full load on a machine with this price an hour."""
        if not hourly_cost:
            return None
        return float(hourly_cost) * 1e6 / (3600 * self.decode_tokens_per_second_at_concurrency)

    def to_status(self) -> PerformanceStatus:
        """Return the figures as they stand in ``status.plan.performance``."""
        price = self.dollars_per_million_tokens
        return PerformanceStatus(
            decode_tokens_per_second=round(self.decode_tokens_per_second, 1),
            concurrency=self.concurrency,
            decode_tokens_per_second_at_concurrency=round(self.decode_tokens_per_second_at_concurrency, 1),
            prefill_tokens_per_second=round(self.prefill_tokens_per_second),
            time_to_first_token_seconds=round(self.time_to_first_token_seconds, 3),
            start_seconds=round(self.start_seconds),
            dollars_per_million_tokens=None if price is None else round(price, 4),
            error_percent=self.error_percent,
        )


def estimate(
    workload: Workload, engine: EngineName, gpu: GpuInfo, fit: Fit, network: Network, hourly_cost: Decimal | None
) -> Performance | None:
    """Return what a candidate that fits would do; None where the catalog has no speed of its GPU."""
    if gpu.memory_bandwidth is None or gpu.bf16_tflops is None:
        return None
    copies = fit.layout.data_parallel_size
    room, running = copies * _room(fit), copies * _running(workload, engine, gpu, fit)
    concurrency = max(1, min(workload.concurrency or _MOST, room, running))
    between = _between(gpu, fit.layout.gpus_per_node, network)
    return Performance(workload, gpu, fit, between, concurrency, running < room, hourly_cost)


def _between(gpu: GpuInfo, count: int, network: Network) -> float | None:
    """Return GB/s of one machine over a fast network, or None for Ethernet."""
    if not network.fast:
        return None
    return network.gbs or count * (gpu.network_bandwidth or _FAST_GBS)


def _room(fit: Fit) -> int:
    """Return how many requests of 2,500 tokens the KV cache of one copy holds."""
    memory = fit.memory
    each = min(PROMPT + _ANSWER, fit.max_model_len) * memory.kv_bytes_per_token + memory.kv_bytes_per_sequence
    return floor(memory.kv_cache * GIB / each)


def _running(workload: Workload, engine: EngineName, gpu: GpuInfo, fit: Fit) -> int:
    """Return how many requests one copy of the engine runs at once."""
    if fit.batch is not None:
        return fit.batch.max_num_seqs
    if engine is EngineName.SGLANG:
        return workload.overrides.max_num_seqs or _SGLANG_RUNNING
    return default_batch(engine, gpu, fit.layout, workload.overrides).max_num_seqs


def unmet(performance: Performance | None, objective: Objective) -> dict[str, str]:
    """Return which fields of the objective a candidate does not reach, each with its own figure."""
    wanted = {
        "concurrency": objective.concurrency,
        "minTokensPerSecondPerRequest": objective.min_tokens_per_second_per_request,
        "maxTimeToFirstTokenSeconds": objective.max_time_to_first_token_seconds,
    }
    asked = {field: value for field, value in wanted.items() if value is not None}
    if performance is None:
        return dict.fromkeys(asked, "how fast it is, is not known")
    missing = {}
    if objective.concurrency is not None and performance.concurrency < objective.concurrency:
        limit = ", the engine's limit (engine.args)" if performance.limited_by_engine else ""
        missing["concurrency"] = f"{performance.concurrency} requests of {PROMPT + _ANSWER:,} tokens at once{limit}"
    least = objective.min_tokens_per_second_per_request
    each = (
        performance.decode_tokens_per_second
        if objective.concurrency is None
        else performance.tokens_per_second_per_request
    )
    if least is not None and each < least:
        at_once = "" if objective.concurrency is None else f" with {performance.concurrency} at once"
        missing["minTokensPerSecondPerRequest"] = f"{each:.1f} tokens/s per request{at_once}"
    longest = objective.max_time_to_first_token_seconds
    if longest is not None and performance.time_to_first_token_seconds > longest:
        missing["maxTimeToFirstTokenSeconds"] = (
            f"{performance.time_to_first_token_seconds:.2f} s to the first token of a {PROMPT:,}-token prompt"
        )
    return missing
