"""Deployments whose plan needs an approval, and one pass over them."""

from dataclasses import replace
from typing import Any

from deepseek_operator.api.status import DeepSeekDeploymentStatus
from deepseek_operator.api.v1alpha1 import ANNOTATION_APPROVED_PLAN, DeepSeekDeployment
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.reconcile.actions import Launch
from deepseek_operator.reconcile.approval import PlanHash
from deepseek_operator.reconcile.decide import Decision
from tests.unit.reconcile import builders as b


def waiting(*infra: str, **fields: Any) -> DeepSeekDeployment:
    """A deployment whose plan needs an approval and has none."""
    return b.rented_deployment(*infra, approval="Required", **fields)


def approve(of: DeepSeekDeployment, text: str | PlanHash) -> DeepSeekDeployment:
    """The deployment with the approval of a plan."""
    metadata = of.metadata.model_copy(update={"annotations": {ANNOTATION_APPROVED_PLAN: str(text)}})
    return of.model_copy(update={"metadata": metadata})


def passes(of: DeepSeekDeployment, *running: ClusterName, **fields: Any) -> tuple[Decision, DeepSeekDeploymentStatus]:
    """One pass in which these replicas are rented and serve."""
    places = {name: Address(f"54.0.0.{number}", 8000) for number, name in enumerate(running, 1)}
    ledgers = {
        name: b.ledger(infra="aws", renting=True, price="0.8048", ready_since=b.ago(60), address=str(at))
        for name, at in places.items()
    }
    known = [b.facts(name, skypilot=b.seen(b.row(name, cloud="AWS", region="us-east-1"))) for name in running]
    world = b.world(
        b.remembering(of, ledgers), *known, secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED,
        probes=b.answering(*places.values()), endpoints=tuple([b.endpoints(*places.values())] if places else []),
    )  # fmt: skip
    return b.step(replace(world, **fields))


def launches(decision: Decision) -> list[int]:
    """The ordinals of the replicas that are launched."""
    return [name.ordinal for name, action in decision.actions if isinstance(action, Launch)]
