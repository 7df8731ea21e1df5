"""Load on an engine: so many clients at once, each asking again as soon as it has its answer; and what came of it."""

import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from deepseek_operator.plugin.completions import CompletionError, Reply, Server
from deepseek_operator.plugin.lines import Line, Segment, columns

__all__ = ["Level", "Sample", "ask", "chart", "document", "percentile", "run_level", "table"]

_BAR: Final = 40
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_WORDS: Final = ("river", "stone", "window", "garden", "letter", "winter", "bridge", "silver", "market", "candle")


@dataclass(frozen=True)
class Sample:
    """One request. Seconds are from before the connection is made; ``error`` is empty if it was answered in full."""

    first_after: float
    seconds: float
    tokens: int
    error: str = ""


@dataclass(frozen=True)
class Level:
    """What came of one number of clients.

    Attributes
    ----------
    seconds
        From the first request to the last answer.
    """

    clients: int
    seconds: float
    samples: tuple[Sample, ...]

    @property
    def answered(self) -> tuple[Sample, ...]:
        """Requests that were answered in full."""
        return tuple(sample for sample in self.samples if not sample.error)

    @property
    def failed(self) -> int:
        """Number of the others."""
        return len(self.samples) - len(self.answered)

    @property
    def tokens_per_second(self) -> float:
        """Tokens of all clients together."""
        return sum(sample.tokens for sample in self.answered) / self.seconds if self.seconds else 0.0

    def first_after(self, share: float) -> float | None:
        """Return a percentile of the time to the first token, seconds."""
        return percentile([sample.first_after for sample in self.answered], share)

    def latency(self, share: float) -> float | None:
        """Return a percentile of the time to the end of the answer, seconds."""
        return percentile([sample.seconds for sample in self.answered], share)


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least ``share`` of all do not exceed (nearest rank); None for no values.

    Of fewer than 100 values the 99th percentile is the largest.
    """
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def ask(server: Server, model: str, number: int, words: int, max_tokens: int) -> Sample:
    """Send one request and read the whole answer.

    The prompt begins with its number, so that no engine answers it from the cache of another one's prefix, and the
    engine is told not to stop early, so that all answers have one length.
    """
    text = " ".join(_WORDS[(number + index) % len(_WORDS)] for index in range(words))
    messages = [{"role": "user", "content": f"{number}: write on from these words: {text}"}]
    settings: dict[str, Any] = {"max_tokens": max_tokens, "ignore_eos": True}
    reply = Reply()
    try:
        for event in server.chat(model, messages, settings):
            reply.add(event)
    except (CompletionError, OSError) as error:
        return Sample(0.0, time.monotonic() - reply.began, 0, str(error) or type(error).__name__)
    if reply.first_after is None or reply.seconds is None:
        return Sample(0.0, time.monotonic() - reply.began, 0, "the answer was empty")
    return Sample(reply.first_after, reply.seconds, reply.tokens)


def run_level(clients: int, requests: int, one: Callable[[int], Sample], progress: Callable[[int], None]) -> Level:
    """Send ``requests`` requests, at most ``clients`` at once.

    Parameters
    ----------
    one
        Sends the request of a number.
    progress
        Told how many have ended.
    """
    numbers, lock = itertools.count(), threading.Lock()
    samples: list[Sample] = []

    def work() -> None:
        while True:
            with lock:
                number = next(numbers)
            if number >= requests:
                return
            sample = one(number)
            with lock:
                samples.append(sample)
                progress(len(samples))

    began = time.monotonic()
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(clients, requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Level(clients, time.monotonic() - began, tuple(samples))


def table(levels: Sequence[Level]) -> list[Line]:
    """Return a line for each level; times in seconds."""
    headings = ("CLIENTS", "REQUESTS", "FAILED", "TOKENS/S", "TTFT P50", "TTFT P99", "LATENCY P50", "LATENCY P99")
    rows = [
        (
            Segment(str(level.clients), "head"),
            Segment(str(len(level.samples))),
            Segment(str(level.failed), "bad" if level.failed else ""),
            Segment(f"{level.tokens_per_second:.1f}", "good"),
            *(Segment(_seconds(value)) for value in (level.first_after(0.5), level.first_after(0.99))),
            *(Segment(_seconds(value)) for value in (level.latency(0.5), level.latency(0.99))),
        )
        for level in levels
    ]
    return columns(headings, rows, right=frozenset(headings))


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def chart(levels: Sequence[Level]) -> list[Line]:
    """Return bars of tokens a second by number of clients, exact to an eighth of a column."""
    most = max((level.tokens_per_second for level in levels), default=0.0)
    if not most:
        return []
    width = max(len(str(level.clients)) for level in levels)
    lines: list[Line] = [(Segment("tokens/s by clients", "faint"),)]
    for level in levels:
        eighths = round(level.tokens_per_second / most * _BAR * 8)
        bar = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
        value = f" {level.tokens_per_second:.1f}"
        lines.append((Segment(f"{level.clients:>{width}} "), Segment(bar, "good"), Segment(value)))
    return lines


def document(level: Level) -> dict[str, Any]:
    """Return a level for programs."""
    return {
        "clients": level.clients,
        "requests": len(level.samples),
        "failed": level.failed,
        "tokens": sum(sample.tokens for sample in level.answered),
        "seconds": round(level.seconds, 4),
        "tokensPerSecond": round(level.tokens_per_second, 2),
        "timeToFirstTokenSeconds": {"p50": _exact(level.first_after(0.5)), "p99": _exact(level.first_after(0.99))},
        "latencySeconds": {"p50": _exact(level.latency(0.5)), "p99": _exact(level.latency(0.99))},
        "errors": dict(Counter(sample.error for sample in level.samples if sample.error)),
    }


def _exact(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
