"""An engine's answer at ``/metrics``, read line by line as far as anybody wants to know it.

A full parser of Prometheus' text format takes fifty times as long (``python -m tests.bench.engine_metrics``):
most of an answer are buckets of histograms, which :meth:`bytes.find` passes over without looking.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Final

from deepseek_operator.engines.base import Metrics

__all__ = ["Figures", "read_figures", "total"]

_LABEL: Final = re.compile(rb'(\w+)="([0-9]+)"')


@dataclass(frozen=True)
class Figures:
    """What an engine reports at one moment; None where it does not say.

    Attributes
    ----------
    kv_cache_tokens
        Tokens that its KV cache holds: of the smallest copy, where data parallelism makes several. A request lives in
        one copy, and the planner counts like this, too.
    generation_tokens
        Output tokens since its start.
    kv_cache_usage
        Share of the KV cache in use, 0 to 1: of the fullest copy.
    """

    kv_cache_tokens: int | None = None
    generation_tokens: float | None = None
    running: int | None = None
    waiting: int | None = None
    kv_cache_usage: float | None = None


def read_figures(metrics: Metrics, body: bytes) -> Figures:
    """Return the figures in an answer in Prometheus' text format; what is missing or cannot be read is None."""
    usage = _values(body, metrics.kv_cache_usage)
    running, waiting = total(body, metrics.running), total(body, metrics.waiting)
    return Figures(
        kv_cache_tokens=_kv_cache_tokens(metrics, body),
        generation_tokens=total(body, metrics.generation_tokens),
        running=int(running) if running is not None else None,
        waiting=int(waiting) if waiting is not None else None,
        kv_cache_usage=max(usage) if usage else None,
    )


def _kv_cache_tokens(metrics: Metrics, body: bytes) -> int | None:
    if metrics.kv_cache_labels:
        found = [_from_labels(metrics, labels) for labels, _ in _series(body, metrics.kv_cache)]
    else:
        found = [int(value) for value in _values(body, metrics.kv_cache)]
    return min((tokens for tokens in found if tokens), default=None)


def _from_labels(metrics: Metrics, text: bytes) -> int | None:
    """Return the product of the first group of labels that a series has."""
    labels = {name.decode(): int(value) for name, value in _LABEL.findall(text)}
    for group in metrics.kv_cache_labels:
        if all(name in labels for name in group):
            tokens = 1
            for name in group:
                tokens *= labels[name]
            return tokens
    return None


def total(body: bytes, name: str) -> float | None:
    """Return the sum of all series of a metric; None where there is none that can be read."""
    values = _values(body, name)
    return sum(values) if values else None


def _values(body: bytes, name: str) -> list[float]:
    found = []
    for _, text in _series(body, name):
        try:
            value = float(text)
        except ValueError:
            continue
        if isfinite(value) and value >= 0:
            found.append(value)
    return found


def _series(body: bytes, name: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield labels and value of each series of a metric. Time stamps are left out: no engine sends them."""
    wanted = name.encode()
    at = body.find(wanted)
    while at >= 0:
        end = body.find(b"\n", at)
        if end < 0:
            end = len(body)
        rest = body[at + len(wanted) : end].rstrip()
        if (at == 0 or body[at - 1 : at] == b"\n") and rest[:1] in (b"{", b" "):
            labels, _, value = rest.rpartition(b" ")
            yield labels, value
        at = body.find(wanted, end)
