"""What a candidate would do for its money: speed, start-up time and price per token, from the speed model."""

from dataclasses import dataclass
from decimal import Decimal
from math import floor

from deepseek_operator.api.spec import EngineName, Objective
from deepseek_operator.api.status import PerformanceStatus
from deepseek_operator.catalog import GpuInfo
from deepseek_operator.planning.fit import Fit
from deepseek_operator.planning.interconnect import Network
from deepseek_operator.planning.memory import default_batch, weights_gib
from deepseek_operator.planning.question import Question
from deepseek_operator.planning.speed import (
    Traffic,
    prefill_tokens_per_second,
    ready_seconds,
    step_seconds,
    time_to_first_token_seconds,
)

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
    """What one replica does, by the speed model: a prompt of 2,000 tokens, an answer of 500.

    Attributes
    ----------
    decode_tokens_per_second
        Of one request alone.
    concurrency
        Requests at once: as many as the user named, or as fit, up to 256; never more than fit.
    decode_tokens_per_second_at_concurrency
        Of all requests together.
    decode_tokens_per_second_at_half_load
        Of half as many together.
    prefill_tokens_per_second
        Tokens of prompts while nothing else is done.
    time_to_first_token_seconds
        Of one prompt at an idle engine.
    start_seconds
        From nodes that are up to the first answer: download, loading, compiling. Without the image.
    hourly_cost
        US dollars an hour for the replica; None where it is unknown or the machines are one's own.
    """

    decode_tokens_per_second: float
    concurrency: int
    decode_tokens_per_second_at_concurrency: float
    decode_tokens_per_second_at_half_load: float
    prefill_tokens_per_second: float
    time_to_first_token_seconds: float
    start_seconds: float
    hourly_cost: Decimal | None

    @property
    def tokens_per_second_per_request(self) -> float:
        """What each of the concurrent requests gets."""
        return self.decode_tokens_per_second_at_concurrency / self.concurrency

    @property
    def dollars_per_million_tokens(self) -> float | None:
        """Price of a million output tokens at full load."""
        return self._price(self.decode_tokens_per_second_at_concurrency)

    @property
    def dollars_per_million_tokens_at_half_load(self) -> float | None:
        """The same with half of the requests."""
        return self._price(self.decode_tokens_per_second_at_half_load)

    def _price(self, tokens_per_second: float) -> float | None:
        return float(self.hourly_cost) * 1e6 / (3600 * tokens_per_second) if self.hourly_cost else None

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
        )


def estimate(
    question: Question, engine: EngineName, gpu: GpuInfo, fit: Fit, network: Network, hourly_cost: Decimal | None
) -> Performance | None:
    """Return what a candidate that fits would do; None where the catalog has no speed of its GPU."""
    if gpu.memory_bandwidth is None or gpu.bf16_tflops is None or not fit.max_model_len:
        return None
    model, overrides, layout = question.model, question.overrides, fit.layout
    between = _between(gpu, layout.gpus_per_node, network)
    prompt = min(PROMPT, fit.max_model_len)
    concurrency = min(question.concurrency or _MOST, _most_requests(question, engine, gpu, fit))

    def decode(requests: int) -> float:
        traffic = Traffic(requests, min(PROMPT + _ANSWER // 2, fit.max_model_len))
        return requests / step_seconds(model, gpu, layout, traffic, overrides, network_gbs=between)

    return Performance(
        decode_tokens_per_second=decode(1),
        concurrency=concurrency,
        decode_tokens_per_second_at_concurrency=decode(concurrency),
        decode_tokens_per_second_at_half_load=decode(max(1, concurrency // 2)),
        prefill_tokens_per_second=prefill_tokens_per_second(model, gpu, layout, network_gbs=between, prompt=prompt),
        time_to_first_token_seconds=time_to_first_token_seconds(
            model, gpu, layout, overrides, prompt=prompt, network_gbs=between
        ),
        start_seconds=_start(question, layout.nodes),
        hourly_cost=hourly_cost or None,
    )


def _between(gpu: GpuInfo, count: int, network: Network) -> float | None:
    """Return GB/s of one machine over a fast network, or None for Ethernet."""
    if not network.fast:
        return None
    return network.gbs or count * (gpu.network_bandwidth or _FAST_GBS)


def _most_requests(question: Question, engine: EngineName, gpu: GpuInfo, fit: Fit) -> int:
    """Return how many requests of 2,500 tokens can run at once: room in the KV cache, and the engine's limit."""
    memory, copies = fit.memory, fit.layout.data_parallel_size
    each = min(PROMPT + _ANSWER, fit.max_model_len) * memory.kv_bytes_per_token + memory.kv_bytes_per_sequence
    room = floor(memory.kv_cache * GIB / each)
    if fit.batch is not None:
        running = fit.batch.max_num_seqs
    elif engine is EngineName.SGLANG:
        running = question.overrides.max_num_seqs or _SGLANG_RUNNING
    else:
        running = default_batch(engine, gpu, fit.layout, question.overrides).max_num_seqs
    return max(1, copies * min(room, running))


def _start(question: Question, nodes: int) -> float:
    weights = weights_gib(question.model, question.overrides) * GIB / 1e9
    download = question.model.weights.gib * GIB / 1e9 / _DOWNLOAD_GBS if question.downloads else 0.0
    return download + weights / nodes / _LOAD_GBS + _IMPORTS_S + ready_seconds(question.model, question.overrides)


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
        missing["concurrency"] = f"{performance.concurrency} requests of {PROMPT + _ANSWER:,} tokens at once"
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
