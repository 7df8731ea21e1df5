"""The order of candidates, and which are good enough to be taken for a user."""

from deepseek_operator.api.spec import Ranking
from deepseek_operator.api.status import Verdict
from deepseek_operator.planning.performance import unmet
from deepseek_operator.planning.request import Request
from deepseek_operator.planning.result import Candidate

__all__ = [
    "closest",
    "context_of",
    "cost_per_token",
    "good_enough",
    "meets",
    "rank_of",
    "recommended",
    "size_of",
    "wants_nvlink",
    "why_not_recommended",
]

_SHORTEST_CHOSEN = 8192
"""Context that a machine must hold to be chosen for the user: reasoning takes thousands of tokens."""
# A model of unknown size is launched on what the user named as readily as one that is known to fit.
_ORDER = {Verdict.FITS: 0, Verdict.UNKNOWN: 0, Verdict.TIGHT: 1, Verdict.DOES_NOT_FIT: 2}


def rank_of(candidate: Candidate) -> tuple[object, ...]:
    """Order by verdict, then price; without one, by memory, which is what money buys.

    The price is that of the whole replica, or of its output tokens where the user wants that. GPUs that only emulate
    the model's number format come after those that have it.
    """
    memory = candidate.gpu.memory_gib * candidate.accelerator.count * candidate.nodes
    price = candidate.list_price
    tail = (price is None, price, memory, candidate.nodes, str(candidate.accelerator))
    head = (_ORDER[candidate.verdict], candidate.emulated)
    if candidate.workload is None or candidate.workload.ranking is not Ranking.LOWEST_COST_PER_TOKEN:
        return (*head, *tail)
    token = cost_per_token(candidate)
    return (*head, token is None, token, *tail)


def cost_per_token(candidate: Candidate) -> float | None:
    """Return US dollars of one output token at full load; on one's own machines at what a cloud would take for them."""
    million = candidate.performance.price_of(candidate.list_price) if candidate.performance else None
    return None if million is None else million / 1e6


def size_of(candidate: Candidate) -> tuple[object, ...]:
    """Order by nodes, verdict and memory: what is smallest, whatever it costs."""
    memory = candidate.gpu.memory_gib * candidate.accelerator.count
    return (candidate.nodes, _ORDER[candidate.verdict], memory, *rank_of(candidate))


def closest(candidate: Candidate) -> tuple[bool, float, str]:
    """Order by what is missing of memory."""
    fit = candidate.fit
    missing = -fit.memory.kv_cache * candidate.accelerator.count * candidate.nodes if fit else 0.0
    return fit is None, missing, str(candidate.accelerator)


def context_of(candidate: Candidate) -> int:
    """Return the context that the candidate would serve, 0 where none."""
    return candidate.fit.max_model_len if candidate.fit else 0


def good_enough(candidate: Candidate, request: Request) -> bool:
    """Return whether a candidate may be chosen for the user."""
    if not candidate.fits or request.model is None:
        return candidate.fits
    asked = any(item.overrides.max_model_len for item in request.engines.values())
    return asked or context_of(candidate) >= min(_SHORTEST_CHOSEN, request.model.context_length)


def why_not_recommended(candidate: Candidate, request: Request) -> str | None:
    """Return why a machine is not taken without the user's word, or None where an engine's documentation supports it.

    That has machines for the large models. For others it has tensor parallelism in a machine, and says that this wants
    GPUs connected by NVLink: those without are not rented; of one's own cluster only its owner knows what is there.
    """
    model, gpu, count = request.model, candidate.gpu, candidate.accelerator.count
    if model is None:
        return None
    if model.recommended:
        machine = f"{gpu.chip}:{count}" if candidate.nodes == 1 else f"{candidate.nodes} x {gpu.chip}:{count}"
        if machine not in model.recommended:
            return f"no engine's documentation has it for {model.short_name}; name it in resources.accelerators"
    elif wants_nvlink(candidate) and not request.only_kubernetes:
        return f"{gpu.name} have no NVLink, which tensor parallelism wants; name it in resources.accelerators"
    return None


def wants_nvlink(candidate: Candidate) -> bool:
    """Return whether GPUs of one machine share a model without the link that this wants."""
    return candidate.accelerator.count > 1 and not candidate.gpu.nvlink


def recommended(candidates: list[Candidate], request: Request) -> list[Candidate]:
    """Return those that may be taken without the user's word; all where that would leave none.

    They keep their order, but several GPUs without NVLink come last.
    """
    first = [candidate for candidate in candidates if why_not_recommended(candidate, request) is None]
    return sorted(first, key=wants_nvlink) or candidates


def meets(candidate: Candidate, request: Request) -> bool:
    """Return whether a candidate reaches the objective."""
    return not request.demanding or not unmet(candidate.performance, request.spec.objective)
