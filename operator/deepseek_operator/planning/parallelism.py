"""How a model can be spread over the GPUs of one replica: the layouts worth trying, best first.

Tensor parallelism divides the attention heads and, for FP8 experts, whole 128-wide scale blocks. On vLLM it stays
inside a node and pipeline stages span nodes; so they do on SGLang, unless the network between nodes is fast. GPUs
that tensor parallelism cannot use (28 heads on 8 GPUs) become copies of the model if one copy fits fewer GPUs, else
pipeline stages.
"""

from deepseek_operator.api.spec import EngineName
from deepseek_operator.catalog import Dtype, EngineSupport, ModelInfo
from deepseek_operator.planning.errors import PlanInputError
from deepseek_operator.planning.memory import Layout
from deepseek_operator.planning.overrides import Overrides

__all__ = ["layouts", "why_not_divisible"]

_BLOCK = 128


def why_not_divisible(model: ModelInfo, tp: int, *, expert_parallel: bool) -> str | None:
    """Return why ``tp`` GPUs cannot split the model's layers, or None where they can."""
    heads = model.shape.attention_heads
    if heads % tp:
        return f"{model.short_name} has {heads} attention heads, which {tp} GPUs cannot share evenly"
    moe = model.shape.moe
    if moe and model.weights.dtype is Dtype.FP8 and not expert_parallel and moe.intermediate_size % (tp * _BLOCK):
        return (
            f"an expert of {model.short_name} is {moe.intermediate_size} wide, which {tp} GPUs cannot share in whole "
            f"FP8 blocks of {_BLOCK} without expert parallelism"
        )
    return None


def layouts(
    model: ModelInfo | None, gpus: int, nodes: int, engine: EngineName, overrides: Overrides, *, fast: bool = False
) -> tuple[Layout, ...]:
    """Return the layouts worth trying on ``nodes`` machines with ``gpus`` GPUs each, best first.

    Parameters
    ----------
    fast
        There are several machines, and the network between them is known to be fast.

    Raises
    ------
    PlanInputError
        The user's own parallel sizes do not divide the model or do not fit the GPUs.
    """
    support = model.engines[engine] if model else EngineSupport()
    ep = support.expert_parallel if overrides.expert_parallel is None else overrides.expert_parallel
    over_nodes = fast and engine is EngineName.SGLANG
    if _user_sizes(overrides):
        return (_user_layout(model, gpus, nodes, overrides, ep, over_nodes),)
    if model is None:
        return (Layout(nodes, gpus, gpus * nodes) if over_nodes else Layout(nodes, gpus, gpus, nodes),)
    found: list[Layout] = []
    if support.data_parallel and nodes == 1 and gpus > 1:
        found.append(Layout(nodes, gpus, 1, 1, gpus, expert_parallel=True))
    if over_nodes and why_not_divisible(model, gpus * nodes, expert_parallel=ep) is None:
        found.append(Layout(nodes, gpus, gpus * nodes, expert_parallel=ep))
    tp = _largest_tp(model, min(gpus, support.most_tensor_parallel or gpus), ep)
    rest = gpus // tp
    if nodes > 1:
        found.append(Layout(nodes, gpus, tp, rest * nodes, expert_parallel=ep and tp > 1))
    elif rest == 1:
        found.append(Layout(1, gpus, tp, expert_parallel=ep and tp > 1))
    else:
        found += [Layout(1, gpus, tp, 1, rest), Layout(1, gpus, tp, rest, expert_parallel=ep and tp > 1)]
    return tuple(layout for layout in found if layout.pipeline_parallel_size <= model.shape.layers)


def _user_sizes(overrides: Overrides) -> bool:
    sizes = (overrides.tensor_parallel_size, overrides.pipeline_parallel_size, overrides.data_parallel_size)
    return any(size is not None for size in sizes)


def _user_layout(
    model: ModelInfo | None, gpus: int, nodes: int, overrides: Overrides, ep: bool, over_nodes: bool
) -> Layout:
    total = gpus * nodes
    dp = overrides.data_parallel_size or 1
    pp = overrides.pipeline_parallel_size
    tp = overrides.tensor_parallel_size
    if pp is None:
        spans = tp > gpus if tp is not None else over_nodes
        pp = 1 if spans else nodes
    if tp is None:
        tp = _largest_tp(model, max(1, total // (pp * dp)), ep)
    if model is not None and (why := why_not_divisible(model, tp, expert_parallel=ep)):
        sizes = [
            n
            for n in model.shape.tensor_parallel_sizes()
            if n <= gpus and not why_not_divisible(model, n, expert_parallel=ep)
        ]
        raise PlanInputError("engine.args", f"tensor parallel size {tp}", f"{why}; use {_one_of(sizes)}")
    if tp * pp * dp > total:
        raise PlanInputError(
            "engine.args",
            f"tensor {tp} x pipeline {pp} x data {dp} parallel",
            f"needs {tp * pp * dp} GPUs; {nodes} x {gpus} are {total}",
        )
    return Layout(nodes, gpus, tp, pp, dp, expert_parallel=ep and tp * dp > 1)


def _largest_tp(model: ModelInfo | None, gpus: int, ep: bool) -> int:
    if model is None:
        return gpus
    sizes = (n for n in range(gpus, 0, -1) if gpus % n == 0)
    return next(n for n in sizes if why_not_divisible(model, n, expert_parallel=ep) is None)


def _one_of(sizes: list[int]) -> str:
    words = [str(size) for size in sizes]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
