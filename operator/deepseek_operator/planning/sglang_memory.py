"""SGLang's own rule for ``--mem-fraction-static``, and what has to fit into the memory that it keeps free.

Read in 0.5.23 (``arg_groups/memory_hook.py``, ``model_executor/model_runner.py``) and checked on two H100 with 0.5.17.
"""

from deepseek_operator.catalog import GpuInfo, ModelInfo
from deepseek_operator.planning.activations import forward_bytes
from deepseek_operator.planning.layout import Batch, Layout

__all__ = ["engine_batch", "requests_that_fit", "reserve_gib"]

GIB = 2**30
_MIB = 2**20
_FEWEST, _MOST = 2048, 4096
"""Bounds of ``--max-running-requests`` where the user gives none; between them 512 per request of full length."""
_ENTRY = 4
"""Bytes per token of context in the request table (int32)."""
_GRAPHS_GIB = 1.5
"""CUDA graphs and allocator, out of the reserve: 1.25 measured (V2-Lite, two H100)."""
_STEPS = tuple(1 << power for power in range(11, 4, -1))


def engine_batch(memory_gib: float, tp: int) -> tuple[int, int]:
    """Return the largest batch with a CUDA graph, and the tokens of one prefill chunk, for a GPU of this size."""
    for limit, few, many, chunk in ((20, 8, 8, 2048), (35, 48, 160, 4096), (60, 32, 160, 4096), (160, 256, 512, 8192)):
        if memory_gib < limit:
            return (few if tp < 4 else many), chunk
    return 512, 16384


def reserve_gib(model: ModelInfo, gpu: GpuInfo, layout: Layout, batch: Batch) -> float:
    """Return GiB that SGLang keeps free of weights and KV cache (``handle_gpu_memory_settings``)."""
    ranks = layout.tensor_parallel_size * layout.pipeline_parallel_size
    decode_graphs = min(batch.max_num_seqs, engine_batch(gpu.memory_gib, layout.tensor_parallel_size)[0])
    mib = 512 + 1.5 * max(batch.max_num_batched_tokens, 2048) + ranks / 8 * 1024 + 2 * decode_graphs
    mib += 1536 if model.shape.mla else 512
    if gpu.memory_gib > 60:
        mib = max(mib, 10 * 1024)
    return mib * _MIB / GIB


def requests_that_fit(
    model: ModelInfo, layout: Layout, batch: Batch, context: int, tokens: int, reserve: float, asked: int | None
) -> int | None:
    """Return how many requests ``--max-running-requests`` may allow, or None where there is room for all.

    Every request that may run has a row of ``context`` entries in a table that SGLang does not count: it comes out of
    the reserve, beside activations and CUDA graphs.

    Parameters
    ----------
    tokens
        What the KV cache holds.
    reserve
        GiB kept free of weights and KV cache.
    asked
        Requests that are asked for; None leaves the number to SGLang.
    """
    own = asked or min(max(512 * tokens // max(1, context), _FEWEST), _MOST)
    left = reserve * GIB - _GRAPHS_GIB * GIB - forward_bytes(model, layout, batch, context)
    row = _ENTRY * context
    if own * row <= left:
        return None
    return next((requests for requests in _STEPS if requests * row <= left), _STEPS[-1])
