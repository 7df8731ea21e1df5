"""What a written status means for the metrics and the log: stages that have ended, launches, failures.

Everything is read off the difference between two statuses, as Events are: it is counted once, also by the process that
follows one that was killed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

import structlog

from deepseek_operator.api.reasons import ConditionType, Reason
from deepseek_operator.api.status import DeepSeekDeploymentStatus, EngineStatus, Instance, Phase
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.store import Key
from deepseek_operator.runtime import metrics

__all__ = ["Recorder"]

log = structlog.get_logger(__name__)

_EXPORTED: Final = (ConditionType.READY, ConditionType.STALLED)
UNKNOWN: Final = "unknown"
"""Label of what failed before SkyPilot had said where it would run."""
CPU: Final = "cpu"
"""Label of a replica without GPUs."""


@dataclass
class Recorder:
    """Turns statuses into metrics and log lines.

    Attributes
    ----------
    deployments
        Where the series of the deployments come from.
    """

    deployments: metrics.DeploymentCollector = field(default_factory=lambda: metrics.DEPLOYMENTS)
    _ended: dict[Key, dict[str, datetime | None]] = field(default_factory=dict)
    """Launches whose result has been counted: replica and time of the launch. An engine that is started again on the
    same nodes is no launch."""

    def saw(self, deployment: DeepSeekDeployment, status: DeepSeekDeploymentStatus) -> None:
        """Export what is so now. Called in each pass, whether or not the status is written."""
        spec, cost = deployment.spec, status.cost
        facts = metrics.DeploymentFacts(
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

    def wrote(self, key: Key, before: DeepSeekDeploymentStatus, after: DeepSeekDeploymentStatus) -> None:
        """Count and log what has happened between two written statuses."""
        earlier = {instance.name: instance for instance in before.instances}
        ended = self._ended.setdefault(key, {name: _result_known(one) for name, one in earlier.items()})
        for gone in ended.keys() - {instance.name for instance in after.instances}:
            del ended[gone]
        performance = after.plan.performance if after.plan is not None else None
        expected_s = performance.start_seconds if performance is not None else 0.0
        for instance in after.instances:
            old = earlier.get(instance.name)
            self._count(ended, old, instance, expected_s)
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
        self._ended.pop(key, None)
        self.deployments.forget(key)

    def _count(self, ended: dict[str, datetime | None], old: Instance | None, new: Instance, expected_s: float) -> None:
        infra = new.infra or new.ledger.infra or UNKNOWN
        launched = new.ledger.launched_at
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
        elif new.ledger.ready_since is not None:
            metrics.LAUNCHES.labels(str(Reason.READY), infra).inc()
            for stage, seconds in _stages(new):
                metrics.STAGE_SECONDS.labels(stage, infra).observe(seconds)
                if stage == "engine" and expected_s > 0:
                    metrics.START_RATIO.labels(infra).observe(seconds / expected_s)
            ended[new.name] = launched


def _series(status: DeepSeekDeploymentStatus) -> Iterator[metrics.ReplicaSeries]:
    for instance in status.instances:
        address = Address.parse(instance.address or "")
        if instance.phase is Phase.READY and address is not None:
            engine = instance.engine or EngineStatus()
            yield metrics.ReplicaSeries(
                instance.name,
                address,
                instance.accelerators or CPU,
                engine.kv_cache_tokens,
                engine.planned_kv_cache_tokens,
            )


def _result_known(instance: Instance) -> datetime | None:
    """Return the launch of a replica if its result was counted by an earlier process."""
    ledger = instance.ledger
    known = ledger.ready_since is not None or ledger.restarts > 0 or instance.phase is Phase.FAILED
    return ledger.launched_at if known else None


def _stages(instance: Instance) -> Iterator[tuple[str, float]]:
    """Return the stages of a launch that has led to an answer, and their seconds."""
    launched, up, ready = instance.ledger.launched_at, instance.ledger.starting_since, instance.ledger.ready_since
    if launched is None or ready is None:
        return
    if up is not None:
        yield "nodes", max(0.0, (up - launched).total_seconds())
        yield "engine", max(0.0, (ready - up).total_seconds())
    yield "ready", max(0.0, (ready - launched).total_seconds())
