"""``status`` of a DeepSeekDeployment: what is, why it is so, and what it costs."""

from typing import Any, Final

from pydantic import Field, field_validator

from deepseek_operator.api.base import StatusModel, field
from deepseek_operator.api.status.cost import Cost
from deepseek_operator.api.status.instance import EngineStatus, Instance, Phase, PlaceTriedStatus
from deepseek_operator.api.status.ledger import ExcludedPlace, Ledger
from deepseek_operator.api.status.plan import Alternative, PerformanceStatus, PlanStatus, Verdict

__all__ = [
    "Alternative",
    "Condition",
    "Cost",
    "DeepSeekDeploymentStatus",
    "EndpointStatus",
    "EngineStatus",
    "ExcludedPlace",
    "Instance",
    "Ledger",
    "PerformanceStatus",
    "Phase",
    "PlaceTriedStatus",
    "PlanStatus",
    "Verdict",
]

_ATOMIC: Final = {"x-kubernetes-map-type": "atomic"}
"""One owner for all fields of an object. The operator alone writes them, and each field of which the API server keeps
account by itself costs CPU with every write. Conditions are a map by type, as they are everywhere in Kubernetes."""


class Condition(StatusModel):
    """One condition in the form of metav1.Condition."""

    type: str = field("Type of the condition.", min_length=1, max_length=316)
    status: str = field("True, False or Unknown.", pattern="^(True|False|Unknown)$")
    reason: str = field("Reason in CamelCase, for programs.", min_length=1, max_length=128)
    message: str = field("Sentence for people: what is so, and what to do.", default="", max_length=4096)
    observed_generation: int | None = field("Generation of the spec that this speaks of.", default=None, ge=0)
    last_transition_time: str = field(
        "When status last changed.", max_length=40, json_schema_extra={"format": "date-time"}
    )


class EndpointStatus(StatusModel):
    """Addresses at which the model answers, as base URLs of the OpenAI API."""

    url: str | None = field(
        "Address from outside the cluster: that of the load balancer, if there is one.", default=None, max_length=300
    )
    internal_url: str | None = Field(
        description="Address from inside the cluster.", default=None, max_length=300, alias="internalURL"
    )
    api_key_secret_name: str | None = field(
        "Secret with the key that engines ask for. Where the user named none it is the operator's own, and requests "
        "through the Service need not bring it.",
        default=None,
        max_length=253,
    )


class DeepSeekDeploymentStatus(StatusModel):
    """What is."""

    observed_generation: int | None = field("Generation of the spec that this status speaks of.", default=None, ge=0)
    replicas: int = field("Replicas that exist.", default=0, ge=0)
    ready_replicas: int = field("Replicas whose engine answers.", default=0, ge=0)
    updated_replicas: int = field("Replicas of the newest revision.", default=0, ge=0)
    selector: str | None = field("Label selector of the pods, for the scale subresource.", default=None, max_length=500)
    endpoint: EndpointStatus | None = field("Where the model answers.", default=None, json_schema_extra=_ATOMIC)
    plan: PlanStatus | None = field("What the planner made of the spec.", default=None, json_schema_extra=_ATOMIC)
    cost: Cost | None = field("What it costs.", default=None, json_schema_extra=_ATOMIC)
    instances: tuple[Instance, ...] = field(
        "The replicas, one by one.",
        default=(),
        max_length=200,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},  # for the same reason
    )
    plan_warned_revision: str | None = field(
        "Revision of which an Event has said that its plan was too optimistic.", default=None, max_length=16
    )
    conditions: tuple[Condition, ...] = field(
        "Ready, Reconciling, Stalled, Planned and EndpointPublished.",
        default=(),
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )

    @field_validator("instances", mode="before")
    @classmethod
    def _named_only(cls, value: Any) -> Any:
        """Drop what is not an instance at all, so that one such entry does not hide the others."""
        if not isinstance(value, list):
            return value
        return [item for item in value if not isinstance(item, dict) or isinstance(item.get("name"), str)]
