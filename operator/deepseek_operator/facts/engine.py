"""What an engine says of itself: how much its KV cache holds, and how busy it is."""

from dataclasses import dataclass
from typing import Final

from deepseek_operator.api.spec import EngineName
from deepseek_operator.facts.base import Encryption

__all__ = ["EngineReading", "EngineTarget", "Load", "differs"]

_NOTICEABLE: Final = 0.25
"""Share by which two figures must differ for anybody to be told."""


@dataclass(frozen=True)
class EngineTarget:
    """Which engine answers at an address, and how to know it where it answers over TLS."""

    engine: EngineName
    encryption: Encryption | None = None


@dataclass(frozen=True)
class Load:
    """How busy an engine is.

    Attributes
    ----------
    tokens_per_second
        Output tokens of all its requests, over the last minute.
    running, waiting
        Requests that it works on, and that it holds in its queue; None where it does not say.
    kv_cache_usage
        Share of its KV cache in use, 0 to 1.
    """

    tokens_per_second: float
    running: int | None = None
    waiting: int | None = None
    kv_cache_usage: float | None = None


@dataclass(frozen=True)
class EngineReading:
    """What one engine has reported.

    Attributes
    ----------
    kv_cache_tokens
        Tokens that its KV cache holds; None where it does not say.
    load
        None until it has been watched for a minute.
    """

    kv_cache_tokens: int | None = None
    load: Load | None = None


def differs(before: Load | None, after: Load | None) -> bool:
    """Return whether an engine is noticeably busier, or less busy: by a quarter, or by whether it is busy at all.

    Steady traffic makes no difference, however long it lasts; nor does what is unknown, and an idle engine of which
    nothing was known yet.
    """
    if after is None:
        return False
    if before is None:
        return after.tokens_per_second > 0 or bool(after.waiting)
    pairs = ((before.tokens_per_second, after.tokens_per_second), (before.waiting or 0, after.waiting or 0))
    return any(abs(new - old) > _NOTICEABLE * max(old, new) for old, new in pairs)
