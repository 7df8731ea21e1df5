"""What a status says of an engine's own figures, so that it is written when somebody learns from it and not otherwise.

- How many tokens the KV cache holds is written when it becomes known and when it changes, beside what was planned for
  these very nodes then.
- How busy the engine is, when that differs by a quarter from what is written, at most once a minute; two significant
  digits. Steady traffic and no traffic write nothing. Live values are metrics (docs/metrics.md).
- What is not known changes nothing: neither a reading that failed nor a restart of the operator takes anything back.
"""

from typing import Final

from deepseek_operator.api.status import EngineStatus, Instance
from deepseek_operator.facts.base import Fact, Known
from deepseek_operator.facts.engine import EngineReading, Load, differs
from deepseek_operator.planning import Planned, Refused

__all__ = ["engine_status", "too_optimistic"]

_NOTHING: Final = EngineStatus()

_MARGIN: Final = 0.05
"""Share by which the KV cache may be smaller than planned before anybody is warned. A verdict of ``Fits`` has 15 %."""


def engine_status(
    previous: Instance | None,
    fact: Fact[EngineReading] | None,
    plan: Planned | Refused,
    accelerators: str | None,
    *,
    current: bool,
    serving: bool,
) -> EngineStatus | None:
    """Return what the status of a replica says of its engine; None while nothing was ever known.

    Parameters
    ----------
    fact
        What the engine reports; None where it has not been read yet.
    accelerators
        GPUs of one of its nodes, as SkyPilot has them.
    current
        It runs what ``plan`` plans.
    serving
        The Service leads to it. An engine that does not serve has no load.
    """
    before = previous.engine if previous is not None else None
    reading = fact.value if isinstance(fact, Known) else EngineReading()
    after = before or _NOTHING
    tokens = reading.kv_cache_tokens
    if tokens is not None and (tokens != after.kv_cache_tokens or after.planned_kv_cache_tokens is None):
        planned = plan.kv_cache_tokens(accelerators) if current and isinstance(plan, Planned) else None
        after = after.model_copy(update={"kv_cache_tokens": tokens, "planned_kv_cache_tokens": planned})
    if not serving:
        after = after.model_copy(update=dict.fromkeys(_LOAD))
    elif reading.load is not None and differs(_load(after), reading.load):
        after = after.model_copy(update=_written(reading.load))
    return after if after != _NOTHING else None


def too_optimistic(instance: Instance) -> bool:
    """Return whether an engine has noticeably less room for its KV cache than was planned."""
    engine = instance.engine
    if engine is None or engine.kv_cache_tokens is None or engine.planned_kv_cache_tokens is None:
        return False
    return engine.kv_cache_tokens < (1 - _MARGIN) * engine.planned_kv_cache_tokens


_LOAD: Final = ("tokens_per_second", "running", "waiting", "kv_cache_usage")


def _load(status: EngineStatus) -> Load | None:
    if status.tokens_per_second is None:
        return None
    return Load(status.tokens_per_second, status.running, status.waiting, status.kv_cache_usage)


def _written(load: Load) -> dict[str, float | int | None]:
    usage = load.kv_cache_usage
    return {
        "tokens_per_second": float(f"{load.tokens_per_second:.2g}"),
        "running": load.running,
        "waiting": load.waiting,
        "kv_cache_usage": round(min(1.0, usage), 2) if usage is not None else None,
    }
