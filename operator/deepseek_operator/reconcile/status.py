"""The status of a pass, from the same assessments as its actions."""

from collections.abc import Mapping
from decimal import Decimal

from deepseek_operator.api.status import (
    Cost,
    DeepSeekDeploymentStatus,
    EndpointStatus,
    Instance,
)
from deepseek_operator.api.v1alpha1 import LABEL_UID
from deepseek_operator.reconcile.clock import format_time
from deepseek_operator.reconcile.conditions import Replica, Verdicts, conditions
from deepseek_operator.reconcile.naming import ClusterName
from deepseek_operator.reconcile.view import View

__all__ = ["compute_status"]


def compute_status(verdicts: Verdicts, views: Mapping[ClusterName, View]) -> DeepSeekDeploymentStatus:
    """Return the status; equal to the one before when nothing that it says has changed."""
    world = verdicts.world
    deployment, plan = world.deployment, world.plan
    instances = tuple(_instance(verdicts, replica, views[replica.name]) for replica in verdicts.replicas)
    return DeepSeekDeploymentStatus(
        observed_generation=deployment.metadata.generation,
        replicas=len(instances),
        ready_replicas=verdicts.ready,
        updated_replicas=sum(replica.current for replica in verdicts.replicas),
        selector=f"{LABEL_UID}={deployment.metadata.uid},skypilot-head-node=1",
        endpoint=_endpoint(verdicts),
        plan=plan.to_status() if plan is not None else deployment.status.plan,
        cost=_cost(verdicts, instances),
        instances=tuple(sorted(instances, key=lambda instance: instance.name)),
        conditions=conditions(verdicts),
    )


def _instance(verdicts: Verdicts, replica: Replica, view: View) -> Instance:
    assessment, previous, row, plan = replica.assessment, view.previous, view.row, verdicts.world.plan
    same = previous is not None and (previous.phase, previous.reason) == (assessment.phase, assessment.reason)
    infra = row.cloud.lower() if row is not None and row.cloud else None
    return Instance(
        name=replica.name,
        revision=replica.name.revision,
        phase=assessment.phase,
        infra=infra,
        region=(row.region or None) if row is not None else None,
        accelerators=(row.accelerators or None) if row is not None else None,
        nodes=view.nodes,
        hourly_cost=_instance_cost(infra, plan.hourly_cost if plan is not None else None),
        address=view.address,
        restarts=assessment.restarts,
        attempts=assessment.attempts,
        failure=assessment.counted,
        reason=assessment.reason,
        message=assessment.message,
        since=previous.since if previous is not None and same else format_time(verdicts.world.now),
        retry_after=format_time(assessment.retry_after) if assessment.retry_after is not None else None,
    )


def _instance_cost(infra: str | None, planned: Decimal | None) -> str | None:
    """Return US dollars an hour; nodes of the cluster itself are paid for already, and count as 0."""
    if infra is None:
        return None
    if infra == "kubernetes":
        return "0.00"
    return f"{planned:.2f}" if planned is not None else None


def _cost(verdicts: Verdicts, instances: tuple[Instance, ...]) -> Cost:
    spec = verdicts.world.deployment.spec
    known = [Decimal(instance.hourly_cost) for instance in instances if instance.hourly_cost is not None]
    return Cost(hourly=f"{sum(known, Decimal(0)):.2f}", max_hourly=spec.resources.max_hourly_cost)


def _endpoint(verdicts: Verdicts) -> EndpointStatus | None:
    service, metadata = verdicts.world.service, verdicts.world.deployment.metadata
    if not service.exists or service.foreign or service.port is None:
        return None
    outside = f"http://{service.external_host}:{service.port}/v1" if service.external_host else None
    inside = f"http://{metadata.name}.{metadata.namespace}.svc:{service.port}/v1"
    return EndpointStatus(url=outside, internal_url=inside)
