"""Which machines are looked at, what each costs, and what the verdict on each is."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from deepseek_operator.api.places import CLOUDS, WITHOUT_SPOT
from deepseek_operator.api.similar import did_you_mean
from deepseek_operator.api.status import Verdict
from deepseek_operator.catalog import Accelerator, Catalog, GpuInfo, ModelInfo, PriceInfo, Vendor
from deepseek_operator.planning.errors import PlanInputError
from deepseek_operator.planning.fit import Fit, assess, gib
from deepseek_operator.planning.hardware import emulates, refuse
from deepseek_operator.planning.interconnect import ETHERNET, Network, network_between
from deepseek_operator.planning.layout import Layout
from deepseek_operator.planning.memory import weights_gib
from deepseek_operator.planning.ranking import meets
from deepseek_operator.planning.request import EngineRequest, Request
from deepseek_operator.planning.result import Candidate
from deepseek_operator.planning.verdicts import rank

__all__ = [
    "MOST_NODES",
    "all_accelerators",
    "evaluate",
    "evaluate_all",
    "node_counts",
    "numbers_of_gpus",
    "user_accelerators",
]

MOST_NODES = 4
"""Nodes that are tried when the user gives none: beyond, the network between them decides, not memory."""
_FULL = range(4, 9)
"""GPUs of a full machine: as many as clouds sell at most, up to 8; a GB200 tray has 4."""
_MOST_TOO_SMALL = 12
"""Machines that cannot hold the weights and are looked at nevertheless, to say what they lack: the largest."""


def user_accelerators(request: Request, catalog: Catalog) -> tuple[tuple[Accelerator, GpuInfo], ...]:
    """Return the GPUs of ``resources.accelerators``, each once, by the catalog's name: the user's case does not matter.

    Raises
    ------
    PlanInputError
        A GPU is unknown, or no cloud sells it or that many in one machine.
    """
    field = "resources.accelerators"
    found = []
    for accelerator in request.accelerators or ():
        gpu = catalog.find_gpu(accelerator.name)
        if gpu is None:
            hint = did_you_mean(catalog.similar_gpus(accelerator.name))
            way_out = f"{hint} `deepseek-operator gpus` lists them, and more can be added".lstrip()
            raise PlanInputError(field, accelerator, f"is not a GPU of the catalog; {way_out}")
        if accelerator.count not in gpu.counts and not request.kubernetes:
            counts = ", ".join(f"{gpu.name}:{count}" for count in gpu.counts)
            raise PlanInputError(
                field,
                accelerator,
                f"no cloud sells a machine with {accelerator.count} of them; use one of {counts}, "
                "or infra: [kubernetes] if your own nodes have them",
            )
        if request.clouds and _rented_nowhere(request, catalog, accelerator, gpu):
            instead = "use another one, or infra: [kubernetes] if your own nodes have it"
            raise PlanInputError(field, accelerator, f"{gpu.not_rented}; {instead}")
        if gpu.vendor is not Vendor.NVIDIA and request.spec.engine.image is None:
            raise PlanInputError(
                field, accelerator, f"needs an engine built for {gpu.vendor}; set engine.image to a ROCm image"
            )
        found.append((Accelerator(name=gpu.name, count=accelerator.count), gpu))
    return tuple(dict(found).items())


def numbers_of_gpus(request: Request, catalog: Catalog) -> tuple[tuple[Accelerator, GpuInfo], ...]:
    """Return every number of every GPU that can be had, the smallest of each first.

    Of a machine that clouds sell that is all of it. Of one's own nodes a part will do.
    """
    return catalog.parts if request.only_kubernetes else catalog.sold


def all_accelerators(request: Request, catalog: Catalog) -> Iterator[tuple[Accelerator, GpuInfo]]:
    """Yield every number of every GPU that can be had and that the default images run on.

    A cloud's own name for a chip (``H200-SXM``) counts only where the user named that cloud, and what no cloud rents
    only where one's own cluster may have it.
    """
    clouds = request.clouds or ()
    for accelerator, gpu in numbers_of_gpus(request, catalog):
        there = gpu.only_on is None or gpu.only_on in clouds
        if gpu.vendor is Vendor.NVIDIA and there and not _rented_nowhere(request, catalog, accelerator, gpu):
            yield accelerator, gpu


def _rented_nowhere(request: Request, catalog: Catalog, accelerator: Accelerator, gpu: GpuInfo) -> bool:
    """Return whether none of the places can have a GPU: the catalog says that no cloud rents it, and has no price."""
    return bool(gpu.not_rented) and not request.kubernetes and not catalog.prices_of(accelerator)


def node_counts(request: Request, accelerator: Accelerator, gpu: GpuInfo) -> tuple[int, ...]:
    """Return the numbers of nodes to try: the user's, or one, and several of full machines.

    A larger machine comes before several small ones: GPUs of one machine talk to each other far faster.
    """
    if request.spec.resources.nodes is not None:
        return (request.spec.resources.nodes,)
    full = min(_FULL.stop - 1, max(gpu.counts))
    return tuple(range(1, MOST_NODES + 1)) if full in _FULL and accelerator.count >= full else (1,)


def evaluate_all(request: Request, catalog: Catalog) -> list[Candidate]:
    """Return the verdicts on every machine worth a look, each with the fewest nodes that fit."""
    found: list[Candidate] = []
    for accelerator, gpu in _worth_a_look(request, catalog):
        for nodes in node_counts(request, accelerator, gpu):
            if nodes > 1 and _hopeless(request, accelerator, gpu, nodes):
                continue
            candidate = evaluate(request, catalog, accelerator, gpu, nodes)
            found.append(candidate)
            if candidate.verdict is Verdict.FITS:
                break  # more of the same only costs more
    return found


def _worth_a_look(request: Request, catalog: Catalog) -> list[tuple[Accelerator, GpuInfo]]:
    """Return the machines that may hold the weights, and the largest of those that do not."""
    large: list[tuple[Accelerator, GpuInfo]] = []
    small: list[tuple[Accelerator, GpuInfo]] = []
    for accelerator, gpu in all_accelerators(request, catalog):
        nodes = node_counts(request, accelerator, gpu)[-1]
        (small if _hopeless(request, accelerator, gpu, nodes) else large).append((accelerator, gpu))
    small.sort(key=lambda pair: pair[0].count * pair[1].memory_gib, reverse=True)
    return large + small[:_MOST_TOO_SMALL]


def evaluate(request: Request, catalog: Catalog, accelerator: Accelerator, gpu: GpuInfo, nodes: int) -> Candidate:
    """Return the verdict on one machine type and node count, with the first engine that can."""
    best: Candidate | None = None
    price = catalog.cheapest(accelerator, spot=request.spot, clouds=request.clouds)
    network = network_between(request, catalog, accelerator) if nodes > 1 else ETHERNET
    for item in request.engine_order(nodes):
        candidate = _evaluate(request, item, accelerator, gpu, nodes, price, network)
        if best is None or rank(candidate.verdict) < rank(best.verdict):
            best = candidate
        if best.fits or _hopeless(request, accelerator, gpu, nodes):
            break
    assert best is not None
    if not best.fits:
        return best
    on_demand = _on_demand_cost(request, catalog, best) if request.base else None
    return replace(best, list_price=_list_price(request, catalog, best), on_demand_cost=on_demand)


def _hopeless(request: Request, accelerator: Accelerator, gpu: GpuInfo, nodes: int) -> bool:
    """Return whether the weights alone are more than all memory, so that no engine and no layout helps."""
    return request.weights_gib > gpu.memory_gib * accelerator.count * nodes


def _evaluate(
    request: Request,
    item: EngineRequest,
    accelerator: Accelerator,
    gpu: GpuInfo,
    nodes: int,
    price: PriceInfo | None,
    network: Network,
) -> Candidate:
    engine, model = item.engine.name, request.model
    cost = _cost(request, price, nodes)

    def candidate(verdict: Verdict, reason: str, fit: Fit | None = None) -> Candidate:
        layout = fit.layout if fit else None
        widened = emulates(model, gpu)
        workload = request.workloads.get(engine)
        return Candidate(
            accelerator, gpu, nodes, engine, verdict, layout, fit, reason, price, cost, widened, network, workload
        )

    refusal = refuse(model, gpu, engine)
    if refusal is not None:
        return candidate(Verdict.DOES_NOT_FIT, refusal)
    options = request.layouts(item, accelerator.count, nodes, fast=network.fast)
    if model is None:
        layout = options[0]
        reason = f"{request.spec.model.name} is not in the catalog: whether it fits {accelerator} is not known"
        return Candidate(accelerator, gpu, nodes, engine, Verdict.UNKNOWN, layout, None, reason, price, cost)
    if not options:
        return candidate(Verdict.DOES_NOT_FIT, f"{model.short_name} has fewer layers than {nodes} nodes need")

    def judged(fit: Fit) -> Candidate:
        reason = fit.reason
        if fit.verdict is Verdict.DOES_NOT_FIT:
            reason = _too_big(model, item, accelerator, nodes, fit)
        elif nodes > 1:
            reason = f"{reason}; {_over_nodes(fit.layout, network)}"
        return candidate(fit.verdict, reason, fit)

    fits = (assess(model, gpu, layout, item.engine.name, item.overrides) for layout in options)
    if len(options) == 1:
        return judged(next(fits))
    tried: list[Fit] = []
    for fit in fits:
        tried.append(fit)
        if fit.verdict is Verdict.FITS and meets(judged(fit), request):
            return judged(fit)
    return judged(min(tried, key=_closest))


def _closest(fit: Fit) -> tuple[int, float]:
    """Order layouts of one machine: what fits, else by what is missing of memory. The first of equals is the best."""
    return rank(fit.verdict), -fit.memory.kv_cache if not fit.max_model_len else 0


def _over_nodes(layout: Layout, network: Network) -> str:
    if layout.spans_nodes:
        return f"tensor parallel over nodes, whose network is fast: {network.why}"
    if network.fast:
        return "pipeline stages between nodes"
    return f"pipeline stages between nodes, whose network is {network.why} (resources.interconnect)"


def _too_big(model: ModelInfo, item: EngineRequest, accelerator: Accelerator, nodes: int, fit: Fit) -> str:
    """Return the sentence that refuses, with the arithmetic."""
    gpus = accelerator.count * nodes
    total = weights_gib(model, item.overrides)
    usable = fit.memory.usable * gpus
    what = f"{gpus}\N{MULTIPLICATION SIGN}{accelerator.name} offer {gib(usable)} GiB usable"
    needs = f"{model.short_name} needs {gib(total)} GiB for weights in {model.weights.dtype}"
    if total > usable:
        return f"{needs}; {what}"
    wanted = item.overrides.max_model_len
    if wanted is not None and fit.longest >= 1024:
        return (
            f"a context of {wanted:,} tokens does not fit {gpus}\N{MULTIPLICATION SIGN}{accelerator.name}: "
            f"the longest that does is {fit.longest:,} ({fit.reason})"
        )
    return f"{needs}; {what}, but {fit.reason}"


def _list_price(request: Request, catalog: Catalog, candidate: Candidate) -> Decimal | None:
    """Return what ranks a replica: its cost, else what it costs at most or is worth, in US dollars an hour.

    A spot machine without a known price costs no more than on demand, where its cloud has both. A part of one's own
    node is worth its share of what clouds take for the whole.
    """
    if candidate.hourly_cost:
        return candidate.hourly_cost
    if request.only_kubernetes:
        amount = catalog.worth(candidate.accelerator)
    else:
        clouds = request.clouds
        if request.spot:
            clouds = tuple(cloud for cloud in clouds or CLOUDS if cloud not in WITHOUT_SPOT)
        price = catalog.cheapest(candidate.accelerator, spot=False, clouds=clouds)
        amount = price.on_demand if price else None
    return None if amount is None else amount * candidate.nodes


def _cost(request: Request, price: PriceInfo | None, nodes: int) -> Decimal | None:
    if request.only_kubernetes:
        return Decimal(0)
    amount = None if price is None else price.spot if request.spot else price.on_demand
    return None if amount is None else amount * nodes


def _on_demand_cost(request: Request, catalog: Catalog, candidate: Candidate) -> Decimal | None:
    """Return US dollars an hour of one replica on demand, where others are spot machines."""
    if request.only_kubernetes:
        return candidate.hourly_cost
    price = catalog.cheapest(candidate.accelerator, spot=False, clouds=request.clouds)
    return None if price is None or price.on_demand is None else price.on_demand * candidate.nodes
