"""What a written status means for metrics, traces and the log: stages that have ended, launches, failures.

Everything is read off the difference between two statuses, as Events are: it is counted once, also by the process that
follows one that was killed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

import structlog

from deepseek_operator.api.base import read_time
from deepseek_operator.api.reasons import ConditionType, Reason
from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.api.status import DeepSeekDeploymentStatus, EngineStatus, Instance, Phase
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.clock import format_time
from deepseek_operator.facts.store import Key
from deepseek_operator.runtime import metrics, series
from deepseek_operator.runtime.tracing import EndedLaunch, Stage, Tracer

__all__ = ["Recorder"]

log = structlog.get_logger(__name__)

_EXPORTED: Final = (ConditionType.READY, ConditionType.STALLED)
UNKNOWN: Final = "unknown"
"""Label of what failed before SkyPilot had said where it would run."""
CPU: Final = "cpu"
"""Label of a replica without GPUs."""


@dataclass
class Recorder:
    """Turns statuses into metrics, log lines and spans of launches.

    Attributes
    ----------
    deployments
        Where the series of the deployments come from.
    """

    deployments: series.DeploymentCollector = field(default_factory=lambda: series.DEPLOYMENTS)
    tracer: Tracer = field(default_factory=Tracer)
    _exported: dict[Key, tuple[DeepSeekDeploymentSpec, DeepSeekDeploymentStatus]] = field(default_factory=dict)
    """What was exported last. A pass that changes nothing has the same objects."""
    _ended: dict[Key, dict[str, datetime | None]] = field(default_factory=dict)
    """Launches whose result has been counted: replica and time of the launch. An engine that is started again on the
    same nodes is no launch."""
    _queued: dict[Key, dict[str, datetime]] = field(default_factory=dict)
    """Since when launches under way had waited for a launch slot, before SkyPilot was asked."""

    def saw(self, deployment: DeepSeekDeployment, status: DeepSeekDeploymentStatus) -> None:
        """Export what is so now. Called in each pass, whether or not the status is written."""
        spec, cost = deployment.spec, status.cost
        known = self._exported.get(deployment.key)
        if known is not None and known[0] is spec and known[1] is status:
            return
        self._exported[deployment.key] = (spec, status)
        facts = series.DeploymentFacts(
            model=spec.model.name,
            desired=0 if spec.suspend else spec.replicas,
            replicas=status.replicas,
            ready=status.ready_replicas,
            hourly_cost=float(Decimal(cost.hourly)) if cost is not None and cost.hourly else 0.0,
            conditions=tuple(
                (one.type, one.status == "True", one.reason) for one in status.conditions if one.type in _EXPORTED
            ),
            serving=tuple(_series(status)),
        )
        self.deployments.put(deployment.key, facts)
        for instance in status.instances:
            metrics.expect_failures(_infra(instance))

    def wrote(self, key: Key, before: DeepSeekDeploymentStatus, after: DeepSeekDeploymentStatus) -> None:
        """Count and log what has happened between two written statuses."""
        earlier = {instance.name: instance for instance in before.instances}
        ended = self._ended.setdefault(key, {name: _result_known(one) for name, one in earlier.items()})
        for gone in ended.keys() - {instance.name for instance in after.instances}:
            del ended[gone]
            self._queued.get(key, {}).pop(gone, None)
        performance = after.plan.performance if after.plan is not None else None
        expected_s = performance.start_seconds if performance is not None else 0.0
        for instance in after.instances:
            old = earlier.get(instance.name)
            self._count(key, old, instance, expected_s)
            if old is None or (old.phase, old.reason) != (instance.phase, instance.reason):
                say = log.warning if instance.phase is Phase.FAILED else log.info
                say(
                    "replica",
                    replica=instance.name,
                    phase=str(instance.phase),
                    reason=instance.reason,
                    message=instance.message,
                )
        for name in earlier.keys() - {instance.name for instance in after.instances}:
            log.info("replica", replica=name, phase="Gone", reason="TornDown")

    def forget(self, key: Key) -> None:
        """Drop everything of a deployment that is gone, its series among it."""
        self._exported.pop(key, None)
        self._ended.pop(key, None)
        self._queued.pop(key, None)
        self.deployments.forget(key)

    def _count(self, key: Key, old: Instance | None, new: Instance, expected_s: float) -> None:
        ended = self._ended[key]
        infra = _infra(new)
        launched = new.ledger.launched_at
        if old is not None and old.ledger.launched_at != launched and (queued := _queued_since(old)) is not None:
            self._queued.setdefault(key, {})[new.name] = queued
        underway = launched is not None and ended.get(new.name) != launched
        failed = new.ledger.counted if old is None or old.ledger.counted != new.ledger.counted else ""
        if failed:
            metrics.FAILURES.labels(new.ledger.failure_reason, infra).inc()
        if not underway:
            return
        if infra != UNKNOWN:
            metrics.expect_launch(infra)
        if failed:
            metrics.LAUNCHES.labels(new.ledger.failure_reason, infra).inc()
            ended[new.name] = launched
            self._trace(key, new, _up_since(old, new), infra, new.ledger.failure_reason, None)
        elif new.ledger.ready_since is not None:
            metrics.LAUNCHES.labels(str(Reason.READY), infra).inc()
            up = _up_since(old, new)
            for stage, seconds in _stages(new, up):
                metrics.STAGE_SECONDS.labels(stage, infra).observe(seconds)
                if stage == "engine" and expected_s > 0:
                    metrics.START_RATIO.labels(infra).observe(seconds / expected_s)
            ended[new.name] = launched
            self._trace(key, new, up, infra, str(Reason.READY), new.ledger.ready_since)

    def _trace(
        self, key: Key, new: Instance, up: datetime | None, infra: str, result: str, ended: datetime | None
    ) -> None:
        """Make a trace of a launch that has ended, from what the ledger knows of it."""
        launched = new.ledger.launched_at
        assert launched is not None  # it was under way
        queued = self._queued.get(key, {}).pop(new.name, None)
        moments = (("slot", queued, launched), ("nodes", launched, up), ("engine", up, ended))
        stages = tuple(
            Stage(name, began, max(began, until)) for name, began, until in moments if began is not None and until
        )
        since = format_time(launched)  # both as the status has them, so that one that nobody can read ends no pass
        tried = tuple(one for one in new.places_tried if one.time >= since)
        self.tracer.launch_ended(EndedLaunch(key, new.name, infra, queued or launched, ended, result, stages, tried))


def _infra(instance: Instance) -> str:
    return instance.infra or instance.ledger.infra or UNKNOWN


def _series(status: DeepSeekDeploymentStatus) -> Iterator[series.ReplicaSeries]:
    for instance in status.instances:
        address = Address.parse(instance.address or "")
        if instance.phase is Phase.READY and address is not None:
            engine = instance.engine or EngineStatus()
            yield series.ReplicaSeries(
                instance.name,
                address,
                instance.accelerators or CPU,
                engine.kv_cache_tokens,
                engine.planned_kv_cache_tokens,
            )


def _queued_since(instance: Instance) -> datetime | None:
    """Return since when a replica has waited for a launch slot; None where it does not, or nobody can read it."""
    waits = instance.phase is Phase.PENDING and instance.reason == Reason.QUEUED
    return read_time(instance.since) if waits else None


def _result_known(instance: Instance) -> datetime | None:
    """Return the launch of a replica if its result was counted by an earlier process."""
    ledger = instance.ledger
    known = ledger.ready_since is not None or ledger.restarts > 0 or instance.phase is Phase.FAILED
    return ledger.launched_at if known else None


def _up_since(old: Instance | None, new: Instance) -> datetime | None:
    """Return since when the nodes of a launch are up, which a ledger forgets once the engine has answered.

    None where no status said so, because the engine answered in the same moment.
    """
    if new.ledger.starting_since is not None or old is None or old.ledger.launched_at != new.ledger.launched_at:
        return new.ledger.starting_since
    return old.ledger.starting_since


def _stages(instance: Instance, up: datetime | None) -> Iterator[tuple[str, float]]:
    """Return the stages of a launch that has led to an answer, and their seconds."""
    launched, ready = instance.ledger.launched_at, instance.ledger.ready_since
    if launched is None or ready is None:
        return
    if up is not None:
        yield "nodes", max(0.0, (up - launched).total_seconds())
        yield "engine", max(0.0, (ready - up).total_seconds())
    yield "ready", max(0.0, (ready - launched).total_seconds())
