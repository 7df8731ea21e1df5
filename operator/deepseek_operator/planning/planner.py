"""From a spec to a plan: candidates -> parallelism -> memory -> verdict -> choice."""

from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal

from deepseek_operator.api.spec import DeepSeekDeploymentSpec, Ranking
from deepseek_operator.api.status import Verdict
from deepseek_operator.catalog import Catalog
from deepseek_operator.planning.candidates import evaluate, evaluate_all, node_counts, user_accelerators
from deepseek_operator.planning.cpu import plan_cpu
from deepseek_operator.planning.performance import unmet
from deepseek_operator.planning.ranking import (
    closest,
    context_of,
    cost_per_token,
    good_enough,
    meets,
    rank_of,
    recommended,
    why_not_recommended,
)
from deepseek_operator.planning.refusals import refuse_cap, refuse_objective, with_cheapest
from deepseek_operator.planning.request import Request, read_request
from deepseek_operator.planning.result import Candidate, Plan, dollars
from deepseek_operator.planning.serve import make_plan, prices_of, total_by_list_price

__all__ = ["plan"]

_MOST_CHOSEN = 16
_DEAREST_CHOSEN = 3
"""How many times the cheapest machine's price another may cost to be taken in its stead, without the user's word."""
_DEARER_TOKENS = 1.1
"""The same for tokens, where these are ranked: SkyPilot takes the cheapest machine of those it may choose from."""
_MOST_ALTERNATIVES = 12


def plan(spec: DeepSeekDeploymentSpec, catalog: Catalog) -> Plan:
    """Return what a spec comes to. Deterministic: the same spec and catalog give the same plan.

    Raises
    ------
    PlanInputError
        Something in the spec cannot be; names the field, its value and what would work. A model that does not fit is
        no error but a plan with the verdict ``DoesNotFit``.
    """
    request = read_request(spec, catalog)
    if request.cpu:
        return plan_cpu(request)
    choose = _choose if request.accelerators is None else _choose_among_users
    choice = choose(request, catalog)
    return make_plan(request, choice.chosen, choice.others, _instance_cap(request, choice.chosen[0]))


@dataclass(frozen=True)
class _Choice:
    chosen: tuple[Candidate, ...]
    others: tuple[Candidate, ...]


def _choose(request: Request, catalog: Catalog) -> _Choice:
    """Choose the GPUs: the cheapest that fit, and others as good that SkyPilot may find sooner."""
    looked_at = sorted(evaluate_all(request, catalog), key=rank_of)
    enough = [candidate for candidate in looked_at if good_enough(candidate, request)]
    fitting = recommended(enough or [candidate for candidate in looked_at if candidate.fits], request)
    if not fitting:
        best = min(looked_at, key=closest)
        return _Choice((with_cheapest(request, catalog, best),), _alternatives(request, looked_at, (best,)))
    able = _able(request, fitting, _affordable(request, fitting))
    best = able[0]
    same = [
        candidate
        for candidate in able
        if candidate.nodes == best.nodes
        and candidate.engine is best.engine
        and candidate.verdict is best.verdict
        and (candidate.max_model_len or 0) >= context_of(best)
        and candidate.gpu.bf16 == best.gpu.bf16
        and _near_in_price(candidate, best, request)
    ]
    if request.only_kubernetes:
        same = _fewest_of_each(same)
    chosen, dropped = _compatible(tuple(same[:_MOST_CHOSEN]))
    return _Choice(chosen, _alternatives(request, [*dropped, *looked_at], chosen))


def _choose_among_users(request: Request, catalog: Catalog) -> _Choice:
    """Keep those of the user's GPUs that fit with one number of nodes, the fewest that will do."""
    given = user_accelerators(request, catalog)
    counts = sorted({nodes for accelerator, gpu in given for nodes in node_counts(request, accelerator, gpu)})
    looked_at: list[Candidate] = []
    for nodes in counts:
        round_ = [evaluate(request, catalog, accelerator, gpu, nodes) for accelerator, gpu in given]
        looked_at += round_
        if any(candidate.fits for candidate in round_):
            break
    fitting = sorted((candidate for candidate in looked_at if candidate.fits), key=rank_of)
    if not fitting:
        first = [candidate for candidate in looked_at if candidate.nodes == counts[0]]
        best = min(first, key=closest)
        return _Choice((with_cheapest(request, catalog, best),), _alternatives(request, first, (best,)))
    chosen, dropped = _compatible(tuple(_able(request, fitting, _affordable(request, fitting))))
    return _Choice(chosen, _alternatives(request, [*dropped, *looked_at], chosen))


def _able(request: Request, fitting: list[Candidate], affordable: list[Candidate]) -> list[Candidate]:
    """Return the affordable candidates that reach the objective.

    Raises
    ------
    PlanInputError
        Nothing is affordable, or nothing of it reaches the objective.
    """
    if not affordable:
        refuse_cap(request, fitting)
    able = [candidate for candidate in affordable if meets(candidate, request)]
    if not able:
        refuse_objective(request, affordable)
    return able


def _affordable(request: Request, fitting: list[Candidate]) -> list[Candidate]:
    """Drop candidates above the price limit.

    Nodes of your own Kubernetes cluster always pass. If no candidate has a price, all pass.
    """
    if request.cap is None or request.kubernetes:
        return fitting
    priced = [(c, total_by_list_price(request, c)) for c in fitting]
    if all(total is None for _, total in priced):
        return fitting  # SkyPilot holds each machine to its share
    return [candidate for candidate, total in priced if total is not None and total <= request.cap]


def _fewest_of_each(candidates: list[Candidate]) -> list[Candidate]:
    """Keep the smallest number of each GPU: on Kubernetes one GPU of a large node can be had alone."""
    fewest: dict[str, Candidate] = {}
    for candidate in candidates:
        name = candidate.accelerator.name
        if name not in fewest or candidate.accelerator.count < fewest[name].accelerator.count:
            fewest[name] = candidate
    return list(fewest.values())


def _dearer_tokens(candidate: Candidate, best: Candidate, request: Request) -> float | None:
    """Return how much more a token costs than with the best, where the user ranks by that."""
    if request.spec.objective.ranking is not Ranking.LOWEST_COST_PER_TOKEN:
        return None
    cost, least = cost_per_token(candidate), cost_per_token(best)
    return None if cost is None or least is None else cost - least


def _near_in_price(candidate: Candidate, best: Candidate, request: Request) -> bool:
    """Return whether taking this machine instead is no surprise on the bill; one's own machines never are."""
    if request.spec.objective.ranking is Ranking.LOWEST_COST_PER_TOKEN:
        cost, least = cost_per_token(candidate), cost_per_token(best)
        if least is not None and (cost is None or cost > _DEARER_TOKENS * least):
            return False
    if request.only_kubernetes or not best.list_price:
        return True
    return candidate.list_price is not None and candidate.list_price <= _DEAREST_CHOSEN * best.list_price


def _instance_cap(request: Request, candidate: Candidate) -> Decimal | None:
    if request.cap is None:
        return None
    share = prices_of(request, candidate).share(request.cap, on_demand=False) / candidate.nodes
    return share.quantize(Decimal("0.0001"), rounding=ROUND_DOWN)


def _compatible(candidates: tuple[Candidate, ...]) -> tuple[tuple[Candidate, ...], list[Candidate]]:
    """Keep what one task can serve: one engine, one set of flags per number of GPUs. All have one number of nodes."""
    first = candidates[0]
    kept: dict[int, Candidate] = {}
    chosen, dropped = [], []
    for candidate in candidates:
        leader = kept.setdefault(candidate.accelerator.count, candidate)
        other = None
        if candidate.engine is not first.engine:
            other = f"it needs {candidate.engine}"
        elif _flags(candidate) != _flags(leader):
            other = f"it needs other flags than {leader.accelerator}"
        if other is None:
            chosen.append(candidate)
        else:
            dropped.append(replace(candidate, reason=f"not beside {first.accelerator}: {other}"))
    return tuple(chosen), dropped


def _flags(candidate: Candidate) -> tuple[object, ...]:
    """Return what two candidates with one number of GPUs must share; smaller batches will do for both, if slower."""
    fit, workload = candidate.fit, candidate.workload
    batch = fit.batch if fit and workload and workload.concurrency else None
    return candidate.layout, candidate.gpu.bf16, fit.memory_fraction if fit else None, batch


def _alternatives(request: Request, looked_at: list[Candidate], chosen: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Return those that tell most: what fits and is next in price, then what is closest to fitting.

    GPUs that no engine runs on are named only where the user gave them.
    """
    given = request.accelerators is not None
    taken = {(str(c.accelerator), c.nodes) for c in chosen}
    seen: dict[tuple[str, int], Candidate] = {}
    for candidate in looked_at:
        key = (str(candidate.accelerator), candidate.nodes)
        if key not in taken:
            seen.setdefault(key, candidate)
    fit = sorted((c for c in seen.values() if c.fits), key=rank_of)
    rest = sorted((c for c in seen.values() if not c.fits and (c.fit or given)), key=closest)
    half = _MOST_ALTERNATIVES // 2
    picked = [*fit[: max(half, _MOST_ALTERNATIVES - len(rest))], *rest]
    return tuple(_explained(candidate, chosen[0], request) for candidate in picked[:_MOST_ALTERNATIVES])


def _explained(candidate: Candidate, best: Candidate, request: Request) -> Candidate:
    """Return a machine that is not taken with why; one that is not taken without the user's word says that."""
    if not candidate.fits or candidate.reason.startswith("not beside"):
        return candidate
    if request.accelerators is None and (doubt := why_not_recommended(candidate, request)) is not None:
        return replace(candidate, reason=doubt)
    if candidate.verdict is Verdict.TIGHT and best.verdict is not Verdict.TIGHT:
        return candidate  # its own reason says how tight
    if missing := unmet(candidate.performance, request.spec.objective):
        return replace(candidate, reason=f"does not reach the objective: {'; '.join(missing.values())}")
    more = candidate.hourly_cost - best.list_price if candidate.hourly_cost and best.list_price else None
    if (dearer := _dearer_tokens(candidate, best, request)) is not None:
        why = f"{1e6 * dearer:.2f} $ more per million tokens than {best.accelerator}"
    elif more is not None and more > 0:
        why = f"{'' if best.hourly_cost else 'at least '}{dollars(more)} $/h more than {best.accelerator}"
    elif context_of(candidate) < context_of(best):
        why = f"a context of {context_of(candidate):,} only; {best.accelerator} holds {context_of(best):,}"
    elif candidate.hourly_cost is None:
        most = f": at most {dollars(candidate.list_price)} $/h" if candidate.list_price else ""
        why = f"its price is not known{most}"
    else:
        why = f"{best.accelerator} comes first"
    return replace(candidate, reason=why)
