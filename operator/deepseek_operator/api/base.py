"""Building blocks shared by every model of the API."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

__all__ = [
    "ApiModel",
    "CelRule",
    "IntOrString",
    "Moment",
    "SpecModel",
    "StatusModel",
    "read_amount",
    "read_time",
    "rules",
    "without_unreadable",
]

_NO_FIELDS: Final[set[str]] = set()


class ApiModel(BaseModel):
    """Base of every model of the API. Its objects do not know which of their fields were given.

    Nothing asks, and pydantic's set of their names for each object would be half of what a deployment takes in memory.
    """

    def model_post_init(self, _: Any) -> None:
        """Let all objects share an empty set; what copies one makes a set of its own."""
        object.__setattr__(self, "__pydantic_fields_set__", _NO_FIELDS)


class SpecModel(ApiModel):
    """Base of what users write: immutable, camelCase on the wire, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class StatusModel(ApiModel):
    """Base of what the operator writes.

    An older operator can start on a status that a newer one wrote: unknown fields are ignored, and
    :func:`without_unreadable` takes out what this version cannot read.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    @classmethod
    def after(cls, before: Self | None, **values: Any) -> Self:
        """Return what has these values, which are all that it has: ``before`` itself where it has them already.

        Most passes change nothing, and to make and to compare a new object costs more than to look at the old one.
        """
        known = vars(before) if before is not None else {}
        for name, value in values.items():
            if name not in known:
                return cls(**values)
            same = known[name]
            if same is not value and same != value:  # two models are compared field by field even where they are one
                return cls(**values)
        return before if before is not None else cls()


def without_unreadable(value: Any, place: tuple[int | str, ...]) -> Any:
    """Return a copy of a JSON value without what stands at ``place``, so that its default is used instead.

    Where nothing stands there, because a required field is missing, the value that misses it is left out. A place that
    leads through something else than fields and items ends where the last of those does.
    """
    if not place:
        return None
    first, rest = place[0], place[1:]
    if isinstance(value, dict) and first in value:
        inner = without_unreadable(value[first], rest)
        return {
            key: inner if key == first else kept for key, kept in value.items() if key != first or inner is not None
        }
    if isinstance(value, list) and isinstance(first, int) and first < len(value):
        inner = without_unreadable(value[first], rest)
        return [*value[:first], *([] if inner is None else [inner]), *value[first + 1 :]]
    return None


def read_time(text: str | None) -> datetime | None:
    """Return the moment that a status holds as text; None for none, and for one that cannot be read."""
    try:
        return _in_utc(datetime.fromisoformat(text)) if text is not None else None
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def read_amount(text: str | None) -> Decimal | None:
    """Return the amount that a status holds as text; None for none, and for one that cannot be read."""
    try:
        amount = Decimal(text) if text is not None else None
    except ArithmeticError:
        return None
    return amount if amount is not None and amount.is_finite() else None


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(_in_utc)]
"""A moment in a status. One without a time zone, which only a person writes, is of UTC: all others have one, and two
moments can be compared only where both have."""


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
