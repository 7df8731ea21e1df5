"""From a spec to a plan: candidates -> parallelism -> memory -> verdict -> choice."""

from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal

from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.api.status import Verdict
from deepseek_operator.catalog import Catalog
from deepseek_operator.planning.candidates import (
    MOST_NODES,
    all_accelerators,
    evaluate,
    node_counts,
    user_accelerators,
)
from deepseek_operator.planning.cpu import plan_cpu
from deepseek_operator.planning.errors import PlanInputError
from deepseek_operator.planning.request import Request, read_request
from deepseek_operator.planning.result import Candidate, Plan, dollars
from deepseek_operator.planning.serve import make_plan

__all__ = ["plan"]

_MOST_CHOSEN = 16
_DEAREST_CHOSEN = 3
"""How many times the cheapest machine's price another may cost to be taken in its stead, without the user's word."""
_SHORTEST_CHOSEN = 8192
"""Context that a machine must hold to be chosen for the user: reasoning takes thousands of tokens."""
_MOST_ALTERNATIVES = 12
# A model of unknown size is launched on what the user named as readily as one that is known to fit.
_ORDER = {Verdict.FITS: 0, Verdict.UNKNOWN: 0, Verdict.TIGHT: 1, Verdict.DOES_NOT_FIT: 2}


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
    return make_plan(request, choice.chosen, choice.others, _instance_cap(request, choice.chosen[0].nodes))


@dataclass(frozen=True)
class _Choice:
    chosen: tuple[Candidate, ...]
    others: tuple[Candidate, ...]


def _choose(request: Request, catalog: Catalog) -> _Choice:
    """Choose the GPUs: the cheapest that fit, and others as good that SkyPilot may find sooner."""
    looked_at = sorted(_evaluate_all(request, catalog), key=_rank)
    fitting = [candidate for candidate in looked_at if _good_enough(candidate, request)]
    affordable = _affordable(request, fitting)
    if not fitting:
        best = min(looked_at, key=lambda candidate: (not candidate.fits, *_closest(candidate)))
        return _Choice((_with_cheapest(request, catalog, best),), _alternatives(looked_at, (best,)))
    if not affordable:
        _refuse_cap(request, fitting)
    best = affordable[0]
    same = [
        candidate
        for candidate in affordable
        if candidate.nodes == best.nodes
        and candidate.engine is best.engine
        and candidate.verdict is best.verdict
        and (candidate.max_model_len or 0) >= _context(best)
        and candidate.gpu.bf16 == best.gpu.bf16
        and _near_in_price(candidate, best)
    ]
    if request.only_kubernetes:
        same = _fewest_of_each(same)
    chosen, dropped = _compatible(tuple(same[:_MOST_CHOSEN]))
    return _Choice(chosen, _alternatives([*dropped, *looked_at], chosen))


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
    fitting = sorted((candidate for candidate in looked_at if candidate.fits), key=_rank)
    if not fitting:
        first = [candidate for candidate in looked_at if candidate.nodes == counts[0]]
        best = min(first, key=_closest)
        return _Choice((_with_cheapest(request, catalog, best),), _alternatives(first, (best,), given=True))
    affordable = _affordable(request, fitting)
    if not affordable:
        _refuse_cap(request, fitting)
    chosen, dropped = _compatible(tuple(affordable))
    return _Choice(chosen, _alternatives([*dropped, *looked_at], chosen, given=True))


def _evaluate_all(request: Request, catalog: Catalog) -> list[Candidate]:
    found: list[Candidate] = []
    for accelerator, gpu in all_accelerators(request, catalog):
        for nodes in node_counts(request, accelerator, gpu):
            candidate = evaluate(request, catalog, accelerator, gpu, nodes)
            found.append(candidate)
            if candidate.verdict is Verdict.FITS:
                break  # more of the same only costs more
    return found


def _context(candidate: Candidate) -> int:
    return candidate.fit.max_model_len if candidate.fit else 0


def _good_enough(candidate: Candidate, request: Request) -> bool:
    if not candidate.fits or request.model is None:
        return candidate.fits
    asked = any(item.overrides.max_model_len for item in request.engines.values())
    return asked or _context(candidate) >= min(_SHORTEST_CHOSEN, request.model.context_length)


def _rank(candidate: Candidate) -> tuple[int, bool, bool, Decimal, float, int, str]:
    """Order by verdict, then price for the whole replica; without one, by memory, which is what money buys.

    GPUs that only emulate the model's number format come after those that have it: they are dear by the token.
    """
    memory = candidate.gpu.memory_gib * candidate.accelerator.count * candidate.nodes
    amount = candidate.price and (candidate.price.on_demand or candidate.price.spot)
    proxy = candidate.hourly_cost or (amount * candidate.nodes if amount else None)
    name = str(candidate.accelerator)
    order = _ORDER[candidate.verdict]
    return (order, candidate.emulated, proxy is None, proxy or Decimal(0), memory, candidate.nodes, name)


def _closest(candidate: Candidate) -> tuple[bool, float, str]:
    fit = candidate.fit
    missing = -fit.memory.kv_cache * candidate.accelerator.count * candidate.nodes if fit else 0.0
    return fit is None, missing, str(candidate.accelerator)


def _affordable(request: Request, fitting: list[Candidate]) -> list[Candidate]:
    """Drop candidates above the price limit.

    Nodes of your own Kubernetes cluster always pass. If no candidate has a known price, all pass.
    """
    if request.cap is None or request.kubernetes:
        return fitting
    share = request.cap / max(1, request.spec.replicas)
    priced = [candidate for candidate in fitting if candidate.hourly_cost is not None]
    if not priced:
        return fitting  # SkyPilot holds each machine to its share
    return [candidate for candidate in priced if candidate.hourly_cost is not None and candidate.hourly_cost <= share]


def _fewest_of_each(candidates: list[Candidate]) -> list[Candidate]:
    """Keep the smallest number of each GPU: on Kubernetes one GPU of a large node can be had alone."""
    fewest: dict[str, Candidate] = {}
    for candidate in candidates:
        name = candidate.accelerator.name
        if name not in fewest or candidate.accelerator.count < fewest[name].accelerator.count:
            fewest[name] = candidate
    return sorted(fewest.values(), key=_rank)


def _near_in_price(candidate: Candidate, best: Candidate) -> bool:
    """Return whether taking this machine instead is no surprise on the bill; one's own machines never are."""
    if not best.hourly_cost:
        return True
    return candidate.hourly_cost is not None and candidate.hourly_cost <= _DEAREST_CHOSEN * best.hourly_cost


def _refuse_cap(request: Request, fitting: list[Candidate]) -> None:
    cheapest = min((c for c in fitting if c.price), key=lambda c: (c.hourly_cost or Decimal(0), str(c.accelerator)))
    replicas = max(1, request.spec.replicas)
    assert cheapest.hourly_cost is not None
    assert cheapest.price is not None
    total = cheapest.hourly_cost * replicas
    plural = "s" if replicas > 1 else ""
    times = f"{replicas} replica{plural} of {cheapest.nodes}\N{MULTIPLICATION SIGN}{cheapest.accelerator}"
    raise PlanInputError(
        "resources.maxHourlyCost",
        request.spec.resources.max_hourly_cost,
        f"is below the cheapest that fits: {times} on {cheapest.price.cloud} for {dollars(total)} $/h "
        f"(catalog price{_dated(cheapest)}); raise it to that or more, or add kubernetes to resources.infra",
    )


def _dated(candidate: Candidate) -> str:
    return f" of {candidate.price.as_of}" if candidate.price and candidate.price.as_of else ", undated"


def _instance_cap(request: Request, nodes: int) -> Decimal | None:
    if request.cap is None:
        return None
    share = request.cap / (max(1, request.spec.replicas) * nodes)
    return share.quantize(Decimal("0.0001"), rounding=ROUND_DOWN)


def _compatible(candidates: tuple[Candidate, ...]) -> tuple[tuple[Candidate, ...], list[Candidate]]:
    """Keep what one task can serve: one number of nodes, one engine, one set of flags per number of GPUs."""
    first = candidates[0]
    kept: dict[int, Candidate] = {}
    chosen, dropped = [], []
    for candidate in candidates:
        leader = kept.setdefault(candidate.accelerator.count, candidate)
        other = None
        if candidate.nodes != first.nodes:
            other = f"it needs {candidate.nodes} nodes"
        elif candidate.engine is not first.engine:
            other = f"it needs {candidate.engine}"
        elif _flags(candidate) != _flags(leader):
            other = f"it needs other flags than {leader.accelerator}"
        if other is None:
            chosen.append(candidate)
        else:
            dropped.append(replace(candidate, reason=f"not beside {first.accelerator}: {other}"))
    return tuple(chosen), dropped


def _flags(candidate: Candidate) -> tuple[object, ...]:
    return candidate.layout, candidate.gpu.bf16, candidate.fit.memory_fraction if candidate.fit else None


def _alternatives(
    looked_at: list[Candidate], chosen: tuple[Candidate, ...], *, given: bool = False
) -> tuple[Candidate, ...]:
    """Return those that tell most: what fits and is next in price, then what is closest to fitting.

    GPUs that no engine runs on are named only where the user gave them.
    """
    taken = {(str(c.accelerator), c.nodes) for c in chosen}
    seen: dict[tuple[str, int], Candidate] = {}
    for candidate in looked_at:
        key = (str(candidate.accelerator), candidate.nodes)
        if key not in taken:
            seen.setdefault(key, candidate)
    fit = sorted((c for c in seen.values() if c.fits), key=_rank)
    rest = sorted((c for c in seen.values() if not c.fits and (c.fit or given)), key=_closest)
    half = _MOST_ALTERNATIVES // 2
    picked = [*fit[: max(half, _MOST_ALTERNATIVES - len(rest))], *rest]
    return tuple(_explained(candidate, chosen[0]) for candidate in picked[:_MOST_ALTERNATIVES])


def _explained(candidate: Candidate, best: Candidate) -> Candidate:
    if not candidate.fits or candidate.reason.startswith("not beside"):
        return candidate
    if candidate.verdict is Verdict.TIGHT and best.verdict is not Verdict.TIGHT:
        return candidate  # its own reason says how tight
    if candidate.hourly_cost is not None and best.hourly_cost is not None and candidate.hourly_cost > best.hourly_cost:
        why = f"{dollars(candidate.hourly_cost - best.hourly_cost)} $/h more than {best.accelerator}"
    elif _context(candidate) < _context(best):
        why = f"a context of {_context(candidate):,} only; {best.accelerator} holds {_context(best):,}"
    elif candidate.hourly_cost is None:
        why = "its price is not known"
    else:
        why = f"{best.accelerator} comes first"
    return replace(candidate, reason=why)


def _with_cheapest(request: Request, catalog: Catalog, candidate: Candidate) -> Candidate:
    """Add to a refusal what would fit: of the user's own GPUs, and of all others the cheapest."""
    if request.model is None:
        return candidate
    changes = _smaller_changes(request, catalog, candidate) if request.accelerators else []
    free = replace(request, accelerators=None, spec=_with_nodes(request.spec, None))
    fitting = [c for c in _evaluate_all(free, catalog) if _good_enough(c, free)]
    sentences = [candidate.reason, *(["; ".join(changes)] if changes else [])]
    if not fitting:
        return replace(candidate, reason=f"{'. '.join(sentences)}. Nothing in the catalog fits.")
    sold = [c for c in fitting if c.price is not None] or fitting
    best = min(sold, key=_size if request.only_kubernetes else _rank)
    nodes = "" if best.nodes == 1 else f" on each of {best.nodes} nodes"
    engine = f" with {best.engine}" if best.engine is not candidate.engine else ""
    if best.price is None or request.only_kubernetes:
        what = f"Smallest that fits: {best.accelerator}{nodes}{engine}"
    else:
        what = f"Cheapest that fits: {best.accelerator}{nodes}{engine}"
        what += f" on {best.price.cloud} for {dollars(best.hourly_cost)} $/h" if best.hourly_cost is not None else ""
    return replace(candidate, reason=f"{'. '.join([*sentences, what])}.")


def _smaller_changes(request: Request, catalog: Catalog, candidate: Candidate) -> list[str]:
    """Return what to change where the user's GPUs are too few: more of them in a machine, or more machines."""
    changes = []
    accelerator, gpu, nodes = candidate.accelerator, candidate.gpu, candidate.nodes
    for count in sorted(gpu.counts):
        if count <= accelerator.count:
            continue
        larger = accelerator.model_copy(update={"count": count})
        if _good_enough(evaluate(request, catalog, larger, gpu, nodes), request):
            changes.append(f"{larger} fits")
            break
    for more in range(nodes + 1, MOST_NODES + 1):
        wider = replace(request, spec=_with_nodes(request.spec, more))
        if _good_enough(evaluate(wider, catalog, accelerator, gpu, more), wider):
            changes.append(f"{more} nodes fit: set nodes: {more}")
            break
    return changes


def _size(candidate: Candidate) -> tuple[int, int, float, object]:
    memory = candidate.gpu.memory_gib * candidate.accelerator.count
    return candidate.nodes, _ORDER[candidate.verdict], memory, _rank(candidate)


def _with_nodes(spec: DeepSeekDeploymentSpec, nodes: int | None) -> DeepSeekDeploymentSpec:
    return spec.model_copy(update={"resources": spec.resources.model_copy(update={"nodes": nodes})})
