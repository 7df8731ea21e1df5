"""``DeepSeekDeployment`` of ``deepseek-operator.io/v1alpha1``: the object, its names and what is derived from them."""

from typing import Any, Final

from pydantic import ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from deepseek_operator.api.base import ApiModel, without_unreadable
from deepseek_operator.api.names import (
    ANNOTATION_ABANDON,
    ANNOTATION_APPROVED_PLAN,
    API_VERSION,
    FINALIZER,
    GROUP,
    KIND,
    LABEL_NAME,
    LABEL_UID,
    PLURAL,
    SINGULAR,
    VERSION,
)
from deepseek_operator.api.spec import DeepSeekDeploymentSpec, Model
from deepseek_operator.api.status import DeepSeekDeploymentStatus
from deepseek_operator.api.wording import field_of, problem_of

__all__ = [
    "ANNOTATION_ABANDON",
    "ANNOTATION_APPROVED_PLAN",
    "API_VERSION",
    "FINALIZER",
    "GROUP",
    "KIND",
    "LABEL_NAME",
    "LABEL_UID",
    "PLURAL",
    "SINGULAR",
    "VERSION",
    "DeepSeekDeployment",
    "InvalidObjectError",
    "Metadata",
]

NAME_MAX_LENGTH: Final = 50
"""Longest name of an object, so that names derived from it stay DNS labels."""
NAME_PATTERN: Final = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
"""Form of a name: a DNS label that starts with a letter, because a Service of this name is made."""


class InvalidObjectError(ValueError):
    """The stored object does not have the form of this API version.

    The API server checks objects at admission, so this is seen only when the installed CRD is not the one of this
    operator.
    """


class Metadata(ApiModel):
    """The part of metadata that the operator reads."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    name: str
    namespace: str
    uid: str
    generation: int = 1
    resource_version: str = ""
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()
    annotations: dict[str, str] = {}


class DeepSeekDeployment(ApiModel):
    """One model, served by any number of replicas at one address."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    metadata: Metadata
    spec: DeepSeekDeploymentSpec
    status: DeepSeekDeploymentStatus = DeepSeekDeploymentStatus()

    @classmethod
    def parse(cls, body: dict[str, Any]) -> "DeepSeekDeployment":
        """Return the typed object of what the API server sent, without what is unreadable in its status.

        Raises
        ------
        InvalidObjectError
            With one ``field: problem`` for each field that does not fit.
        """
        while True:
            try:
                return cls.model_validate(body)
            except ValidationError as error:
                found = error.errors()
                if places := [each["loc"] for each in found if each["loc"][0] == "status"]:
                    body = without_unreadable(body, places[0])
                    continue
                problems = "; ".join(f"{field_of(each)}: {problem_of(each, cls)}" for each in found)
                raise InvalidObjectError(problems) from error

    @classmethod
    def parse_leniently(cls, body: dict[str, Any]) -> "tuple[DeepSeekDeployment, str]":
        """Return the typed object and what is wrong with its spec.

        A spec that this version cannot read is replaced by one without replicas, so that the object can be deleted.
        """
        try:
            return cls.parse(body), ""
        except InvalidObjectError as error:
            stand_in = DeepSeekDeploymentSpec(model=Model(name="unreadable"), replicas=0)
            readable = {**body, "spec": stand_in.model_dump(by_alias=True, exclude_none=True)}
            return cls.parse(readable), str(error)

    @property
    def key(self) -> tuple[str, str]:
        """``(namespace, name)``, the identity under which work is queued."""
        return (self.metadata.namespace, self.metadata.name)

    @property
    def abandoned(self) -> frozenset[str]:
        """What :data:`ANNOTATION_ABANDON` holds: names of clusters, or ``true``."""
        text = self.metadata.annotations.get(ANNOTATION_ABANDON, "")
        return frozenset(filter(None, map(str.strip, text.split(","))))

    @property
    def deleting(self) -> bool:
        """Whether deletion was asked for."""
        return self.metadata.deletion_timestamp is not None
