"""What serves the model: the engine, its arguments and its variables."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict

from deepseek_operator.api.base import SpecModel, field, list_of, rules
from deepseek_operator.api.spec.model import SecretKeyRef

__all__ = ["RESERVED_VARIABLES", "Engine", "EngineName", "EngineRuntime", "EnvVar", "EnvVarSource"]

RESERVED_VARIABLES = "DEEPSEEK_OPERATOR_"
"""How variables begin by which the operator tells the script of an engine whether it has to encrypt."""


class EngineName(StrEnum):
    """The serving engine."""

    AUTO = "Auto"
    VLLM = "VLLM"
    SGLANG = "SGLang"


class EngineRuntime(StrEnum):
    """What the engine is started from on each machine."""

    IMAGE = "Image"
    PACKAGES = "Packages"


class EnvVarSource(SpecModel):
    """Where the value of a variable comes from."""

    secret_key_ref: SecretKeyRef = field("A key of a Secret in the namespace of the deployment.")


class EnvVar(SpecModel):
    """An environment variable of the engine."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.value) != has(self.valueFrom)", "exactly one of value and valueFrom must be set"),
            (
                f"!self.name.startsWith('{RESERVED_VARIABLES}')",
                f"names that begin with {RESERVED_VARIABLES} are the operator's own; take another name",
            ),
        )
    )

    name: str = field("Name of the variable.", min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    value: str | None = field("Its value. Never put a secret here: use valueFrom.", default=None, max_length=4096)
    value_from: EnvVarSource | None = field("Where the value comes from.", default=None)


class Engine(SpecModel):
    """What serves the model."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.runtime) || self.runtime != 'Packages' || !has(self.image)",
                "image must be unset with runtime Packages, which installs the engine's own packages",
            )
        )
    )

    name: EngineName = field(
        "Auto, VLLM or SGLang. Auto: the engine that the model's recipe wants; else VLLM on one node and SGLang on "
        "several.",
        default=EngineName.AUTO,
    )
    image: str | None = field(
        "Container image. Unset: the pinned release of the engine.",
        default=None,
        min_length=1,
        max_length=500,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$",
    )
    runtime: EngineRuntime = field(
        "Image or Packages. Image: a container image, on rented machines run by their Docker. Packages: the pinned "
        "Python packages of the engine, installed on each machine before its first start; for rented machines only.",
        default=EngineRuntime.IMAGE,
    )
    max_model_len: int | None = field(
        "Longest context in tokens, prompt and answer together. Unset: the longest that fits, as status.plan shows.",
        default=None,
        ge=1,
        le=10_485_760,
    )
    args: Annotated[tuple[str, ...], list_of({"type": "string", "maxLength": 2048}, max_items=100)] = field(
        "Further arguments of the engine, passed through as they are. A flag given here wins over the planned one, "
        "which status.plan.overrides then lists. Flags that are the operator's, such as --port, are refused.",
        default=(),
    )
    env: tuple[EnvVar, ...] = field(
        "Environment variables of the engine. Names that begin with DEEPSEEK_OPERATOR_ are the operator's own.",
        default=(),
        max_length=50,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
