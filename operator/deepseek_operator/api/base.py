"""Building blocks shared by every model of the API."""

from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
)
from pydantic.alias_generators import to_camel

__all__ = ["LENIENT", "CelRule", "IntOrString", "SpecModel", "StatusModel", "rules"]


LENIENT: Final = {"lenient": True}
"""Validation context in which a :class:`StatusModel` replaces unreadable values by their defaults."""


class SpecModel(BaseModel):
    """Base of what users write: immutable, camelCase on the wire, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class StatusModel(BaseModel):
    """Base of what the operator writes.

    An older operator can start on a status that a newer one wrote: unknown fields are ignored, and with
    :data:`LENIENT` as validation context a value that cannot be read becomes the field's default.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _default_if_unreadable(cls, value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        try:
            return read(value)
        except ValidationError:
            declared = cls.model_fields[info.field_name] if info.field_name is not None else None
            if info.context is not LENIENT or declared is None or declared.is_required():
                raise
            return declared.get_default(call_default_factory=True)


def _to_str(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


IntOrString = Annotated[
    str,
    BeforeValidator(_to_str),
    WithJsonSchema({"x-kubernetes-int-or-string": True}),
]
"""A number or a string in YAML (``4`` or ``"4+"``), always a string in Python."""

CelRule = dict[str, str]


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Return ``json_schema_extra`` with CEL rules that the API server enforces at admission.

    Parameters
    ----------
    pairs
        ``(rule, message)``: the CEL expression that must be true, and the sentence shown when it is not.
    """
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def field(description: str, **kwargs: Any) -> Any:
    """Return a pydantic field whose description is what ``kubectl explain`` prints."""
    return Field(description=description, **kwargs)


def list_of(item: dict[str, Any], *, max_items: int, **extra: Any) -> WithJsonSchema:
    """Return the schema of a bounded list whose items have the schema ``item``."""
    return WithJsonSchema(
        {"type": "array", "items": item, "maxItems": max_items, "x-kubernetes-list-type": "atomic", **extra}
    )
