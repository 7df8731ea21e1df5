"""From the chosen candidates to a plan: what each node runs, and what it asks for."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from math import ceil

from deepseek_operator.api.spec import Ranking
from deepseek_operator.catalog import EngineSupport
from deepseek_operator.engines import ServeOptions
from deepseek_operator.planning.hardware import activation_dtype
from deepseek_operator.planning.money import Prices
from deepseek_operator.planning.ranking import good_enough, meets, rank_of, wants_nvlink
from deepseek_operator.planning.request import EngineRequest, Request
from deepseek_operator.planning.result import Candidate, Plan, dollars
from deepseek_operator.planning.verdicts import rank

__all__ = ["at_least_one", "make_plan", "model_options", "plan_environment", "prices_of", "total_by_list_price"]

GB_PER_GIB = 2**30 / 10**9


def model_options(request: Request, item: EngineRequest) -> dict[str, object]:
    """Return the options that follow from the model alone."""
    support = request.model.engines[item.engine.name] if request.model else EngineSupport()
    return {
        "model": request.source,
        "served_names": request.served_names,
        "port": request.spec.endpoint.port or item.engine.port,
        "reasoning_parser": support.reasoning_parser,
        "tool_parser": support.tool_parser,
        "tokenizer_mode": support.tokenizer_mode,
        "trust_remote_code": support.trust_remote_code,
        "api_key": needs_api_key(request),
        "model_args": support.args,
        "user": item.arguments,
    }


def needs_api_key(request: Request) -> bool:
    """Return whether the engine asks for a key: whenever the user gave one, and on every rented machine."""
    return request.spec.endpoint.api_key_secret_ref is not None or not request.only_kubernetes


def prices_of(request: Request, candidate: Candidate) -> Prices:
    """Return what the replicas of a deployment cost on these machines."""
    return Prices(request.spec.replicas, request.base, candidate.hourly_cost, candidate.on_demand_cost)


def at_least_one(request: Request) -> Request:
    """Return the request with one replica at least: a price limit has to allow that, although none runs now."""
    return replace(request, spec=request.spec.model_copy(update={"replicas": max(1, request.spec.replicas)}))


def total_by_list_price(request: Request, candidate: Candidate) -> Decimal | None:
    """Return US dollars an hour of all replicas, of one at least; None if nobody knows a price.

    Of a spot machine without a known price that on demand counts.
    """
    return prices_of(at_least_one(request), replace(candidate, hourly_cost=candidate.list_price)).total


def make_plan(
    request: Request, chosen: tuple[Candidate, ...], others: tuple[Candidate, ...], instance_cap: Decimal | None
) -> Plan:
    """Return the plan for candidates that share nodes and engine; the first one is what the status shows."""
    first = chosen[0]
    item = request.engines[first.engine]
    engine = item.engine
    context = _shared_context(request, item, chosen)
    serve = _serve_by_count(request, item, chosen, context) if first.fits else {}
    options = serve.get(first.accelerator.count)
    weights = request.model.weights.gib if request.model else None
    startup = engine.startup_seconds(weights if request.spec.model.path is None else (weights or 0) / 2, first.nodes)
    verdict = max((candidate.verdict for candidate in chosen), key=rank)
    layout = first.layout
    support = request.model.engines[engine.name] if request.model else EngineSupport()
    return Plan(
        engine=engine.name,
        image=request.spec.engine.image or support.image or engine.image,
        port=request.spec.endpoint.port or engine.port,
        verdict=verdict,
        reason=_reason(request, first, context, others),
        model=request.model,
        served_names=request.served_names,
        accelerators=tuple(str(candidate.accelerator) for candidate in chosen),
        nodes=first.nodes,
        tensor_parallel_size=layout.tensor_parallel_size if layout else 1,
        pipeline_parallel_size=layout.pipeline_parallel_size if layout else 1,
        data_parallel_size=layout.data_parallel_size if layout else 1,
        max_model_len=context,
        memory=first.fit.memory if first.fit else None,
        health_path=engine.health_path,
        startup_seconds=startup,
        graceful_stop_seconds=engine.graceful_stop_seconds,
        hourly_cost=first.hourly_cost,
        replicas=request.spec.replicas,
        base=request.base,
        on_demand_cost=first.on_demand_cost,
        max_instance_hourly_cost=instance_cap,
        price=None if request.only_kubernetes else first.price,
        overrides=engine.planned(options) if options else (),
        candidates=chosen if first.fits else (),
        alternatives=others,
        serve=serve,
        environment=plan_environment(request, item, options, startup) if options else {},
        memory_gb=_memory_gb(weights, first.nodes),
        cpus=8 * first.accelerator.count if _memory_gb(weights, first.nodes) else None,
        disk_gb=_disk_gb(weights),
        needs_api_key=needs_api_key(request),
        network_tier="best" if layout and layout.spans_nodes and first.network.gbs else None,
    )


def plan_environment(request: Request, item: EngineRequest, options: ServeOptions, startup: int) -> Mapping[str, str]:
    """Return the variables of the engine, the user's over the planned ones; no secrets."""
    support = request.model.engines[item.engine.name] if request.model else EngineSupport()
    planned = {**item.engine.environment(options, startup), **support.env}
    users = {variable.name: variable.value for variable in request.spec.engine.env if variable.value is not None}
    return {**planned, **users}


def _shared_context(request: Request, item: EngineRequest, chosen: tuple[Candidate, ...]) -> int | None:
    """Return the context that holds on every chosen machine."""
    if request.model is None:
        return item.overrides.max_model_len
    if not chosen[0].fits:
        return None
    return min(candidate.fit.max_model_len for candidate in chosen if candidate.fit)


def _serve_by_count(
    request: Request, item: EngineRequest, chosen: tuple[Candidate, ...], context: int | None
) -> dict[int, ServeOptions]:
    serve: dict[int, ServeOptions] = {}
    for candidate in chosen:
        count = candidate.accelerator.count
        layout = candidate.layout
        if layout is None:
            continue
        batches = [c.fit.batch for c in chosen if c.accelerator.count == count and c.fit and c.fit.batch]
        batch = min(batches, key=lambda b: (b.max_num_seqs, b.max_num_batched_tokens)) if batches else None
        fit = candidate.fit
        serve.setdefault(
            count,
            ServeOptions(
                **model_options(request, item),  # type: ignore[arg-type]
                nodes=candidate.nodes,
                tensor_parallel_size=layout.tensor_parallel_size,
                pipeline_parallel_size=layout.pipeline_parallel_size,
                data_parallel_size=layout.data_parallel_size,
                expert_parallel=layout.expert_parallel,
                max_model_len=context,
                max_num_seqs=batch.max_num_seqs if batch else None,
                max_num_batched_tokens=batch.max_num_batched_tokens if batch else None,
                gpu_memory_utilization=fit.memory_fraction if fit else None,
                dtype=activation_dtype(request.model, candidate.gpu, candidate.engine),
            ),
        )
    return serve


def _reason(request: Request, first: Candidate, context: int | None, others: tuple[Candidate, ...]) -> str:
    parts = [first.reason if first.reason.endswith(".") else f"{first.reason}."]
    own = first.fit.max_model_len if first.fit else None
    if context is not None and own is not None and context < own:
        parts.append(f"Context {context:,}, so that it holds on each of the accelerators.")
    if first.fits and not request.only_kubernetes:
        parts.append(_price(request, first))
        if cheaper := _much_cheaper(request, first, others):
            parts.append(f"{cheaper.accelerator} would do for {dollars(cheaper.hourly_cost)} $/h: {cheaper.reason}.")
    if first.fits and (words := _kinds(request, first)):
        parts.append(words)
    return " ".join(parts)


def _much_cheaper(request: Request, first: Candidate, others: tuple[Candidate, ...]) -> Candidate | None:
    """Return a machine that costs half as much or less, and that only the want of NVLink keeps from being taken."""
    if request.accelerators is not None or request.model is None or request.model.recommended:
        return None
    if first.hourly_cost is None or request.spec.objective.ranking is Ranking.LOWEST_COST_PER_TOKEN:
        return None
    able = (
        other
        for other in others
        if wants_nvlink(other) and other.nodes == 1 and good_enough(other, request) and meets(other, request)
    )
    priced = [other for other in able if other.hourly_cost and 2 * other.hourly_cost <= first.hourly_cost]
    return min(priced, key=rank_of, default=None)


def _price(request: Request, first: Candidate) -> str:
    if first.price is not None:
        seen = first.price.seen(spot=request.spot)
        day = f"price of {seen}" if seen else "undated price"
        return f"Cheapest known: {first.price.instance_type} on {first.price.cloud}, {day}."
    kind = "No spot price" if request.spot else "No price"
    where = f" on {' or '.join(request.clouds)}" if request.clouds else ""
    why = f": {first.gpu.not_rented}" if first.gpu.not_rented else ""
    most = f"; on demand it would be {dollars(first.list_price)} $/h" if first.list_price else ""
    return f"{kind} of {first.accelerator}{where} is known{why}{most}."


def _kinds(request: Request, first: Candidate) -> str:
    """Return how many replicas are on demand and how many not, where that is not all the same."""
    base, replicas = request.spec.resources.capacity.on_demand_base, request.spec.replicas
    if not base or request.only_kubernetes:
        return ""
    if base > replicas:
        return (
            f"resources.capacity.onDemandBase {base} is more than the {replicas} of spec.replicas: all are on demand; "
            f"lower it to {replicas} or less if that is not meant."
        )
    others, kind = replicas - base, request.spec.resources.capacity_type.value
    prices = prices_of(request, first)
    total = f": {dollars(prices.total)} $/h together" if prices.total else ""
    each = f" for {dollars(prices.on_demand)} $/h each" if prices.on_demand else ""
    rest = f" for {dollars(prices.each)} $/h each" if prices.each and others else ""
    return f"On demand: {base} of {replicas}{each}; {kind}: {others}{rest}{total}."


def _memory_gb(weights: float | None, nodes: int) -> int | None:
    """Return GB of memory for a node that loads over 64 GiB of weights; SkyPilot's own default is 16 GB per GPU."""
    share = (weights or 0) / nodes
    return ceil(share * GB_PER_GIB * 0.75) if share > 64 else None


def _disk_gb(weights: float | None) -> int | None:
    """Return GB of disk for weights once, 20 % for partial downloads, and 120 GB of images and system."""
    if weights is None:
        return None
    needed = weights * GB_PER_GIB * 1.2 + 120
    return max(256, ceil(needed / 50) * 50)
