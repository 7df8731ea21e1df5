"""``spec.podTemplate``: further settings of the pods of replicas that run on Kubernetes."""

from typing import Annotated, Any

from pydantic import WithJsonSchema

from deepseek_operator.api.base import SpecModel, field, list_of

__all__ = ["PodTemplate", "Toleration"]


class Toleration(SpecModel):
    """A taint that replicas tolerate."""

    key: str | None = field("Key of the taint. Unset with operator Exists: every taint.", default=None, max_length=316)
    operator: str | None = field("Exists or Equal (default).", default=None, pattern="^(Exists|Equal)$")
    value: str | None = field("Value of the taint.", default=None, max_length=63)
    effect: str | None = field(
        "Effect of the taint. Unset: all.", default=None, pattern="^(NoSchedule|PreferNoSchedule|NoExecute)$"
    )
    toleration_seconds: int | None = field("How long a NoExecute taint is tolerated.", default=None, ge=0)


_StringMap = Annotated[
    dict[str, str],
    WithJsonSchema(
        {"type": "object", "maxProperties": 50, "additionalProperties": {"type": "string", "maxLength": 4096}}
    ),
]
_FreeObjects = Annotated[
    tuple[dict[str, Any], ...],
    list_of({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, max_items=20),
]


class PodTemplate(SpecModel):
    """Further settings of the pods of replicas on Kubernetes. Not used for rented machines."""

    labels: _StringMap = field("Labels added to the pods.", default_factory=dict)
    annotations: _StringMap = field("Annotations added to the pods.", default_factory=dict)
    node_selector: _StringMap = field("Labels that a node must have.", default_factory=dict)
    tolerations: tuple[Toleration, ...] = field("Taints that are tolerated.", default=(), max_length=20)
    priority_class_name: str | None = field("PriorityClass of the pods.", default=None, max_length=253)
    scheduler_name: str | None = field("Scheduler of the pods.", default=None, max_length=253)
    image_pull_secrets: Annotated[
        tuple[str, ...], list_of({"type": "string", "minLength": 1, "maxLength": 253}, max_items=10)
    ] = field("Names of Secrets for pulling the image.", default=())
    volumes: _FreeObjects = field("Volumes of the pods, as in a PodSpec.", default=())
    volume_mounts: _FreeObjects = field("Where the volumes are mounted, as in a container.", default=())
