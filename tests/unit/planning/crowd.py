"""Requests that come all at once, played step by step as vLLM schedules them, with the planner's times for each step.

Published runs of this kind give one figure for prompts and answers together. Answers are no small part of it: they fill
the KV cache while they are written, so fewer prompts are read beside them.
"""

from dataclasses import dataclass

from deepseek_operator.api.spec import EngineName
from deepseek_operator.catalog import GpuInfo, ModelInfo
from deepseek_operator.planning.layout import Layout
from deepseek_operator.planning.memory import Memory, default_batch
from deepseek_operator.planning.overrides import Overrides
from deepseek_operator.planning.speed import Traffic, prefill_tokens_per_second, step_seconds

__all__ = ["Crowd", "seconds_for"]

_FLASH_ATTENTION_2 = 8
"""Major compute capability of the GPUs that have no newer one."""


@dataclass(frozen=True)
class Crowd:
    """So many requests, and the tokens of each one's prompt and answer."""

    requests: int
    prompt: int
    answer: int

    @property
    def tokens(self) -> int:
        """Those of all prompts and answers."""
        return self.requests * (self.prompt + self.answer)


@dataclass
class _Request:
    read: int = 0
    written: int = 0


def _reads(model: ModelInfo, gpu: GpuInfo, layout: Layout) -> float:
    """Return how often a step with prompts in it reads the KV cache of those that write.

    FlashAttention 2, which is what Ampere and Ada have, takes prompts and answers in one call then, and not the way in
    which the query heads of one KV head read the cache together (vLLM's pull request 58013). The cache of all requests
    is larger than the GPU's L2, and a head begins when the one before has gone through all requests.
    """
    if gpu.capability[0] != _FLASH_ATTENTION_2 or model.shape.mla is not None:
        return 1.0
    shape, ranks = model.shape, layout.tensor_parallel_size
    return max(1.0, shape.attention_heads / ranks / max(1.0, shape.kv_heads / ranks))


def seconds_for(
    crowd: Crowd, model: ModelInfo, gpu: GpuInfo, layout: Layout, overrides: Overrides, memory: Memory
) -> float:
    """Return how long vLLM with its default batch and this memory takes until the last answer is written."""
    batch = default_batch(EngineName.VLLM, gpu, layout, overrides)
    places = min(memory.tokens // (crowd.prompt + crowd.answer), batch.max_num_seqs)
    rate = prefill_tokens_per_second(model, gpu, layout, overrides, prompt=crowd.prompt, served=False)

    def decode(requests: int, context: float) -> float:
        return step_seconds(model, gpu, layout, Traffic(requests, int(context)), overrides)

    reads = _reads(model, gpu, layout)

    seconds, waiting, running = 0.0, crowd.requests, list[_Request]()
    while waiting or running:
        come = min(waiting, places - len(running))
        running += [_Request() for _ in range(come)]
        waiting -= come
        writing = [one for one in running if one.read == crowd.prompt]
        left = budget = batch.max_num_batched_tokens - len(writing)
        for one in running:
            piece = min(crowd.prompt - one.read, left)
            one.read, left = one.read + piece, left - piece
        context = sum(one.read + one.written for one in writing) / max(1, len(writing))
        step = decode(len(writing), context) if writing else 0.0
        if left < budget:  # weights are read once for prompts and answers
            cache = step - decode(len(writing), 0) if writing else 0.0
            step = max(step, (budget - left) / rate + reads * cache)
        seconds += step
        for one in writing:
            one.written += 1
        running = [one for one in running if one.written < crowd.answer]
    return seconds
