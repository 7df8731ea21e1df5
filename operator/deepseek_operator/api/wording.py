"""What pydantic finds wrong with a document, in the words of this project: the field, its value, and what would do."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

__all__ = ["field_of", "problem_of", "value_of"]

_WORDS: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "missing": lambda _: "must be given",
    "model_type": lambda _: "must be a mapping of fields",
    "model_attributes_type": lambda _: "must be a mapping of fields",
    "dict_type": lambda _: "must be a mapping",
    "list_type": lambda _: "must be a list",
    "tuple_type": lambda _: "must be a list",
    "string_type": lambda _: "must be text; put it in quotes",
    "int_type": lambda _: "must be a whole number, without quotes",
    "int_parsing": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "float_type": lambda _: "must be a number, without quotes",
    "float_parsing": lambda _: "must be a number",
    "bool_type": lambda _: "must be true or false, without quotes",
    "bool_parsing": lambda _: "must be true or false",
    "string_too_short": lambda _: "must not be empty",
    "string_too_long": lambda of: f"must have at most {of['max_length']} characters",
    "string_pattern_mismatch": lambda of: f"must match {of['pattern']}",
    "too_long": lambda of: f"must have at most {of['max_length']} items",
    "greater_than": lambda of: f"must be above {of['gt']:,}",
    "greater_than_equal": lambda of: f"must be at least {of['ge']:,}",
    "less_than": lambda of: f"must be below {of['lt']:,}",
    "less_than_equal": lambda of: f"must be at most {of['le']:,}",
    "enum": lambda of: f"must be {of['expected'].replace(chr(39), '')}",
}
"""By pydantic's type of error, from its context."""


def field_of(error: ErrorDetails, *above: str) -> str:
    """Return where the error is, ``spec.resources.infra[0]``, below the fields ``above``."""
    text = ".".join(above)
    for part in error["loc"]:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def value_of(error: ErrorDetails) -> str:
    """Return the wrong value as YAML would have it; empty where a mapping or nothing stands there."""
    value = error["input"]
    if isinstance(value, dict):
        return ""
    return value if isinstance(value, str) and value else json.dumps(value, default=str)


def problem_of(error: ErrorDetails, root: type[BaseModel]) -> str:
    """Return what is wrong, and what would do.

    Parameters
    ----------
    root
        Model that the document was read as.
    """
    if error["type"] == "extra_forbidden":
        return f"there is no such field; there are {', '.join(sorted(_fields(root, error['loc'][:-1])))}"
    words = _WORDS.get(error["type"])
    return words(error.get("ctx", {})) if words else error["msg"].removeprefix("Value error, ")


def _fields(model: type[BaseModel], place: Iterable[int | str]) -> set[str]:
    """Return the names of the fields at a place below a model."""
    for name in place:
        if isinstance(name, str):
            (field,) = (one for key, one in model.model_fields.items() if name in (one.alias, key))
            model = next(_models(field.annotation))
    return {one.alias or key for key, one in model.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
