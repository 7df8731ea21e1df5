"""The address at which the model answers, and how the replicas behind it change."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, WithJsonSchema

from deepseek_operator.api.base import IntOrString, SpecModel, field, rules
from deepseek_operator.api.spec.model import SecretKeyRef

__all__ = ["Endpoint", "ServiceType", "UpdateStrategy"]

_ReplicaCount = Annotated[
    IntOrString,
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            **rules(
                (
                    r"type(self) == int ? self >= 0 && self <= 100 "
                    r": string(self).matches('^([0-9]|[1-9][0-9]|100)%$')",
                    'must be a number of replicas from 0 to 100 or a percentage, such as 1 or "25%"',
                )
            ),
        }
    ),
]


class UpdateStrategy(SpecModel):
    """How many replicas may be added or missing while a change of the spec rolls out."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!(string(self.maxSurge) in ['0', '0%']) || !(string(self.maxUnavailable) in ['0', '0%'])",
                "maxSurge and maxUnavailable must not both be 0: nothing could ever change",
            )
        )
    )

    max_surge: _ReplicaCount = field(
        "Replicas above the wanted number while changing: a number or a percentage, rounded up.", default="1"
    )
    max_unavailable: _ReplicaCount = field(
        "Replicas that may be missing while changing: a number or a percentage, rounded down. Where that and maxSurge "
        "come to 0, one may be missing.",
        default="0",
    )


class ServiceType(StrEnum):
    """Type of the Service in front of the replicas."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


class Endpoint(SpecModel):
    """The address at which the model answers."""

    port: int | None = field(
        "Port of the Service and of the engine. Unset: 8000 for VLLM, 30000 for SGLang.", default=None, ge=1, le=65_535
    )
    type: ServiceType = field("Type of the Service.", default=ServiceType.CLUSTER_IP)
    api_key_secret_ref: SecretKeyRef | None = field(
        "Secret with the key that requests must bring as a bearer token. Unset: requests through the Service need "
        "none; rented machines ask for one that the operator makes, and its proxy adds it.",
        default=None,
    )
    proxy: bool = field(
        "true: a proxy stands between the Service and the replicas even where all of them run in this cluster. As soon "
        "as one replica is rented there is always one.",
        default=False,
    )
