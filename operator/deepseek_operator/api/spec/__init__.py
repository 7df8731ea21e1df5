"""``spec`` of a DeepSeekDeployment: which model, and optionally where, how big, how many and at what price.

Only ``model.name`` is needed; everything left out is planned. Every description below is what ``kubectl explain``
prints. Lists and strings are bounded because the API server refuses CEL rules whose estimated cost is unbounded.
"""

from enum import StrEnum

from deepseek_operator.api.base import SpecModel, field
from deepseek_operator.api.pod_template import PodTemplate
from deepseek_operator.api.spec.endpoint import Endpoint, ServiceType, UpdateStrategy
from deepseek_operator.api.spec.engine import (
    RESERVED_VARIABLES,
    Engine,
    EngineName,
    EngineRuntime,
    EnvVar,
    EnvVarSource,
)
from deepseek_operator.api.spec.model import Model, Objective, Ranking, SecretKeyRef
from deepseek_operator.api.spec.resources import ACCELERATOR_PATTERN, Capacity, CapacityType, Interconnect, Resources

__all__ = [
    "ACCELERATOR_PATTERN",
    "RESERVED_VARIABLES",
    "Approval",
    "Capacity",
    "CapacityType",
    "DeepSeekDeploymentSpec",
    "Endpoint",
    "Engine",
    "EngineName",
    "EngineRuntime",
    "EnvVar",
    "EnvVarSource",
    "Interconnect",
    "Model",
    "Objective",
    "Ranking",
    "Resources",
    "SecretKeyRef",
    "ServiceType",
    "UpdateStrategy",
]


class Approval(StrEnum):
    """Whether somebody has to approve a plan before anything of it is launched."""

    NOT_REQUIRED = "NotRequired"
    REQUIRED = "Required"


class DeepSeekDeploymentSpec(SpecModel):
    """What is wanted."""

    model: Model = field("Which model is served.")
    engine: Engine = field("What serves it.", default=Engine())
    resources: Resources = field("What each replica runs on, where, and at what price.", default=Resources())
    objective: Objective = field(
        "How fast and how cheap per token it should be. A spec that no machine can meet is refused with the figures.",
        default=Objective(),
    )
    replicas: int = field("Number of replicas.", default=1, ge=0, le=100)
    update_strategy: UpdateStrategy = field("How a change of the spec rolls out.", default=UpdateStrategy())
    endpoint: Endpoint = field("The address at which the model answers.", default=Endpoint())
    approval: Approval = field(
        "NotRequired or Required. Required: nothing of a plan is launched until the annotation "
        "deepseek-operator.io/approved-plan holds its status.plan.hash. What runs goes on meanwhile.",
        default=Approval.NOT_REQUIRED,
    )
    suspend: bool = field(
        "true: all replicas are torn down and the object stays. false again: they come back.", default=False
    )
    pod_template: PodTemplate = field(
        "Further settings of the pods of replicas on Kubernetes. Not used for rented machines.", default=PodTemplate()
    )
