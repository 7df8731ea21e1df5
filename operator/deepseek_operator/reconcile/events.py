"""Kubernetes Events, read off the difference between two statuses: only transitions, and only after the write."""

from dataclasses import dataclass
from typing import Final

from deepseek_operator.api.reasons import ConditionType, Reason
from deepseek_operator.api.status import Condition, DeepSeekDeploymentStatus, EngineStatus, Instance, Phase
from deepseek_operator.reconcile.engine import too_optimistic

__all__ = ["EventNote", "notes"]

_NORMAL: Final = frozenset(
    {
        Reason.STARTING,
        Reason.PLANNING,
        Reason.PLANNED,
        Reason.QUEUED,
        Reason.AWAITING_APPROVAL,
        Reason.LAUNCHING,
        Reason.ENGINE_STARTING,
        Reason.PUBLISHING_ENDPOINT,
        Reason.READY,
        Reason.ROLLING_OUT,
        Reason.TERMINATING,
        Reason.SUSPENDED,
        Reason.SCALED_TO_ZERO,
        Reason.ENDPOINT_PUBLISHED,
    }
)


@dataclass(frozen=True)
class EventNote:
    """One Event to be made. ``type`` is Normal or Warning."""

    type: str
    reason: str
    message: str


def notes(before: DeepSeekDeploymentStatus, after: DeepSeekDeploymentStatus) -> tuple[EventNote, ...]:
    """Return what happened between two statuses, as far as a person wants to read it in ``kubectl describe``."""
    found: list[EventNote] = []
    earlier = {instance.name: instance for instance in before.instances}
    for instance in after.instances:
        old = earlier.get(instance.name)
        if _worth_an_event(old, instance):
            found.append(_of_instance(instance))
        elif old is not None and old.phase is Phase.READY and instance.reason == Reason.AWAITING_APPROVAL:
            found.append(EventNote("Warning", instance.reason, f"{instance.name}: {instance.message}"))
    left = {instance.name for instance in after.instances}
    found += [
        EventNote("Normal", "TornDown", f"{instance.name}: nothing is left of it")
        for instance in before.instances
        if instance.name not in left
    ]
    if after.plan_warned_revision not in (None, before.plan_warned_revision):
        warned = [one for one in after.instances if one.revision == after.plan_warned_revision and too_optimistic(one)]
        found += [_optimism(instance, instance.engine) for instance in warned[:1] if instance.engine is not None]
    for kind in (ConditionType.READY, ConditionType.STALLED, ConditionType.RECONCILING):
        old_condition, new_condition = _find(before, kind), _find(after, kind)
        if new_condition is None or not _turned(old_condition, new_condition):
            continue
        if kind is ConditionType.RECONCILING and new_condition.reason != Reason.AWAITING_APPROVAL:
            continue  # what else is under way is said by the Events of the replicas
        # What is not Ready has its cause named by the Event of a replica, but for what stands in front of all of them.
        if new_condition.status == "True" or new_condition.reason == Reason.PROXY_REFUSED:
            found.append(EventNote(_type(new_condition.reason), new_condition.reason, new_condition.message))
    return tuple(dict.fromkeys(found))


_QUIET: Final = frozenset({Reason.PLANNING, Reason.STARTING, Reason.READY, Reason.AWAITING_APPROVAL})
"""Stages of a replica that say nothing new; the conditions have Events of their own for Ready and AwaitingApproval."""


def _worth_an_event(old: Instance | None, new: Instance) -> bool:
    if old is None:
        return new.reason not in _QUIET
    if (old.phase, old.reason, old.ledger.counted) == (new.phase, new.reason, new.ledger.counted):
        return False
    return new.reason not in _QUIET or (new.reason == Reason.READY and old.phase is Phase.FAILED)


def _of_instance(instance: Instance) -> EventNote:
    return EventNote(_type(instance.reason), instance.reason, f"{instance.name}: {instance.message}")


def _optimism(instance: Instance, engine: EngineStatus) -> EventNote:
    measured, planned = engine.kv_cache_tokens or 0, engine.planned_kv_cache_tokens or 1
    message = (
        f"{instance.name}: the KV cache holds {measured:,} tokens, {1 - measured / planned:.0%} fewer than the "
        f"{planned:,} that were planned; fewer or shorter requests run at once"
    )
    return EventNote("Warning", Reason.PLAN_TOO_OPTIMISTIC, message)


def _turned(old: Condition | None, new: Condition) -> bool:
    return old is None or (old.status, old.reason) != (new.status, new.reason)


def _find(status: DeepSeekDeploymentStatus, kind: ConditionType) -> Condition | None:
    return next((condition for condition in status.conditions if condition.type == kind), None)


def _type(reason: str) -> str:
    return "Normal" if reason in _NORMAL else "Warning"
