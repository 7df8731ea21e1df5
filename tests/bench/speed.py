"""Fit the factors of the speed model: ``python -m tests.bench.speed`` prints them and the worst errors.

Coordinate descent on the squared logarithms of predicted over measured, from the shipped factors, with every case that
is not held out. What no case measured (PCIe, networks) stays as it is.
"""

import json
from dataclasses import replace
from math import log

from deepseek_operator.planning.factors import FACTORS, Factors
from tests.unit.planning.measured import CASES, figures

__all__ = ["FITTED", "fit", "loss"]

FITTED = (
    "bandwidth",
    "experts",
    "tuned_experts",
    "prefill",
    "prefill_experts",
    "layer",
    "expert_layer",
    "quantized_layer",
    "eager_layer",
    "step",
    "sampled",
    "prompt",
    "link",
)
_AT_MOST = {"bandwidth": 0.95, "experts": 0.95, "tuned_experts": 0.95, "prefill": 0.95}


def loss(factors: Factors, *, held_out: bool = False) -> float:
    """Return the mean squared logarithm of predicted over measured."""
    errors = [
        log(figure.predicted / figure.measured) ** 2
        for case in CASES
        if case.held_out is held_out
        for figure in figures(case, factors)
        if figure.what != "start"
    ]
    return sum(errors) / len(errors)


def fit(rounds: int = 40) -> Factors:
    """Return the factors with the least loss."""
    best, least, size = FACTORS, loss(FACTORS), 0.1
    for _ in range(rounds):
        before = least
        for name in FITTED:
            for step in (1 + size, 1 / (1 + size)):
                value = min(getattr(best, name) * step, _AT_MOST.get(name, float("inf")))
                tried = replace(best, **{name: value})
                if (found := loss(tried)) < least:
                    best, least = tried, found
        if least > before * 0.999:
            size /= 2
    return best


if __name__ == "__main__":
    fitted = fit()
    print(json.dumps({name: float(f"{getattr(fitted, name):.2g}") for name in FITTED}, indent=2))
    for held_out in (False, True):
        worst = max(
            (abs(figure.error), case.name, figure.what)
            for case in CASES
            if case.held_out is held_out
            for figure in figures(case, fitted)
        )
        print("held out" if held_out else "used", round(loss(fitted, held_out=held_out) ** 0.5, 3), worst)
