"""Deployments whose plan needs an approval, and one pass over them."""

from typing import Any

from deepseek_operator.api.v1alpha1 import ANNOTATION_APPROVED_PLAN, DeepSeekDeployment
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


def launches(decision: Decision) -> list[int]:
    """The ordinals of the replicas that are launched."""
    return [name.ordinal for name, action in decision.actions if isinstance(action, Launch)]
