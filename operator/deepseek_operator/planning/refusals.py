"""Sentences that refuse: what would fit, what it would cost, how fast it would be."""

from collections.abc import Callable
from dataclasses import replace

from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.catalog import Catalog
from deepseek_operator.facts.text import counted
from deepseek_operator.planning.candidates import MOST_NODES, evaluate, evaluate_all, numbers_of_gpus
from deepseek_operator.planning.errors import PlanInputError
from deepseek_operator.planning.performance import Performance, unmet
from deepseek_operator.planning.ranking import good_enough, rank_of, recommended, size_of
from deepseek_operator.planning.request import Request
from deepseek_operator.planning.result import Candidate, dollars
from deepseek_operator.planning.serve import at_least_one, total_by_list_price

__all__ = ["refuse_cap", "refuse_objective", "with_cheapest"]


def refuse_cap(request: Request, fitting: list[Candidate]) -> None:
    """Refuse a price limit below everything that fits.

    Raises
    ------
    PlanInputError
        Always.
    """
    totals = [(total, c) for c in fitting if (total := total_by_list_price(request, c)) is not None]
    total, cheapest = min(totals, key=lambda pair: (pair[0], str(pair[1].accelerator)))
    wanted = at_least_one(request)
    where, source = "", "on demand: no spot price of it is known"
    if cheapest.price is not None:
        seen = cheapest.price.seen(spot=request.spot)
        where, source = f" on {cheapest.price.cloud}", f"catalog price of {seen}" if seen else "catalog price, undated"
    times = (
        f"{counted(wanted.spec.replicas, 'replica')} of {cheapest.nodes}\N{MULTIPLICATION SIGN}{cheapest.accelerator}"
    )
    if wanted.base and wanted.spot:
        times += f" ({wanted.base} on demand)"
    raise PlanInputError(
        "resources.maxHourlyCost",
        request.spec.resources.max_hourly_cost,
        f"is below the cheapest that fits: {times}{where} for {dollars(total, round_up=True)} $/h "
        f"({source}); raise it to that or more, or add kubernetes to resources.infra",
    )


def refuse_objective(request: Request, affordable: list[Candidate]) -> None:
    """Refuse an objective that nothing reaches, with the best figure of what fits and may be paid.

    Raises
    ------
    PlanInputError
        Always.
    """
    objective = request.spec.objective
    wanted = objective.model_dump(mode="json", by_alias=True, exclude_none=True)
    known = [(c, c.performance) for c in affordable if c.performance is not None]
    if not known:
        field = next(name for name in _BEST if name in wanted)
        why = "cannot be planned with: the catalog has no speed of any GPU that fits"
        raise PlanInputError(f"objective.{field}", wanted[field], why)
    limit = f" within maxHourlyCost {request.spec.resources.max_hourly_cost}" if request.cap is not None else ""
    for field, better in _BEST.items():
        if any(field not in unmet(found, objective) for _, found in known):
            continue
        best, found = max(known, key=lambda pair: (better(pair[1], objective.concurrency), str(pair[0].accelerator)))
        raise PlanInputError(
            f"objective.{field}",
            wanted[field],
            f"is beyond what fits{limit}: at best {unmet(found, objective)[field]}, on {_label(best)}; "
            f"{_CHANGE[field]}",
        )
    # Each can be reached alone; which machine misses fewest of them?
    best, found = min(known, key=lambda pair: (len(unmet(pair[1], objective)), rank_of(pair[0])))
    field, figure = next(iter(unmet(found, objective).items()))
    raise PlanInputError(
        f"objective.{field}",
        wanted[field],
        f"cannot be reached together with the rest of the objective{limit}: {_label(best)} has {figure}; "
        f"{_CHANGE[field]}",
    )


def _each(performance: Performance, concurrency: int | None) -> float:
    if concurrency is None:
        return performance.decode_tokens_per_second
    return performance.tokens_per_second_per_request


_BEST: dict[str, Callable[[Performance, int | None], float]] = {
    "concurrency": lambda found, _: float(found.concurrency),
    "minTokensPerSecondPerRequest": _each,
    "maxTimeToFirstTokenSeconds": lambda found, _: -found.time_to_first_token_seconds,
}
_CHANGE = {
    "concurrency": "lower it, or add replicas",
    "minTokensPerSecondPerRequest": "lower it, or concurrency, or name faster accelerators",
    "maxTimeToFirstTokenSeconds": "raise it, or name faster accelerators",
}


def _label(candidate: Candidate) -> str:
    cost = dollars(candidate.hourly_cost)
    price = f" for {cost} $/h" if candidate.hourly_cost else ""
    return f"{candidate.nodes}\N{MULTIPLICATION SIGN}{candidate.accelerator}{price}"


def with_cheapest(request: Request, catalog: Catalog, candidate: Candidate) -> Candidate:
    """Add to a refusal what would fit: of the user's own GPUs, and of all others the cheapest."""
    if request.model is None:
        return candidate
    changes = _smaller_changes(request, catalog, candidate) if request.accelerators else []
    free = replace(request, accelerators=None, spec=_with_nodes(request.spec, None))
    fitting = recommended([c for c in evaluate_all(free, catalog) if good_enough(c, free)], free)
    sentences = [candidate.reason, *(["; ".join(changes)] if changes else [])]
    if not fitting:
        return replace(candidate, reason=f"{'. '.join(sentences)}. Nothing in the catalog fits.")
    if request.only_kubernetes:
        best = min(fitting, key=size_of)
    else:
        best = min([c for c in fitting if c.price is not None] or fitting, key=rank_of)
    nodes = "" if best.nodes == 1 else f" on each of {best.nodes} nodes"
    engine = f" with {best.engine}" if best.engine is not candidate.engine else ""
    if best.price is None or request.only_kubernetes:
        what = f"Smallest that fits: {best.accelerator}{nodes}{engine}"
    else:
        what = f"Cheapest that fits: {best.accelerator}{nodes}{engine}"
        what += f" on {best.price.cloud} for {dollars(best.hourly_cost)} $/h"
    return replace(candidate, reason=f"{'. '.join([*sentences, what])}.")


def _smaller_changes(request: Request, catalog: Catalog, candidate: Candidate) -> list[str]:
    """Return what to change where the user's GPUs are too few: more of them in a machine, or more machines."""
    changes = []
    accelerator, gpu, nodes = candidate.accelerator, candidate.gpu, candidate.nodes
    for larger, same in numbers_of_gpus(request, catalog):
        if same is not gpu or larger.count <= accelerator.count:
            continue
        if good_enough(evaluate(request, catalog, larger, gpu, nodes), request):
            changes.append(f"{larger} fits")
            break
    for more in range(nodes + 1, MOST_NODES + 1):
        wider = replace(request, spec=_with_nodes(request.spec, more))
        if good_enough(evaluate(wider, catalog, accelerator, gpu, more), wider):
            changes.append(f"{more} nodes fit: set nodes: {more}")
            break
    return changes


def _with_nodes(spec: DeepSeekDeploymentSpec, nodes: int | None) -> DeepSeekDeploymentSpec:
    return spec.model_copy(update={"resources": spec.resources.model_copy(update={"nodes": nodes})})
