"""Reads the catalog from YAML: package data first, then a user's files, whose rows add to or replace it.

An override file is one YAML mapping with any of ``models``, ``gpus``, ``machines`` and ``prices`` (and ``sources`` for
its own source keys), in the form of the files in ``data/``. A row replaces the one with the same ``id``, ``name``, or
cloud and instance type; ``base: ID`` starts it from a copy of a row read before.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from deepseek_operator.api.wording import field_of, problem_of
from deepseek_operator.catalog.catalog import Catalog
from deepseek_operator.catalog.errors import CatalogError
from deepseek_operator.catalog.schema import GpuInfo, MachineInfo, ModelInfo, PriceInfo

__all__ = ["load_catalog"]

_PACKAGE_FILES = ("models.yaml", "gpus.yaml", "machines.yaml", "prices.yaml")
_SECTIONS = {"models", "gpus", "machines", "prices", "sources"}
_MODEL_FIGURES = ("parameters", "weights", "shape", "contextLength", "kvBytesPerToken", "engines", "recommended")
_GPU_FIGURES = (
    "memoryGib",
    "computeCapability",
    "counts",
    "memoryBandwidth",
    "bf16Tflops",
    "fp8Tflops",
    "linkBandwidth",
    "networkBandwidth",
    "overheadGib",
    "efficiency",
    "notRented",
)
_Row = TypeVar("_Row", bound=BaseModel)
_Sold = TypeVar("_Sold", MachineInfo, PriceInfo)
_Raw = dict[str, Any]


class _Rows:
    """Raw rows of one kind by key, each with the file it came from."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.rows: dict[str, tuple[str, _Raw]] = {}

    def add(self, file: str, index: int, raw: object) -> None:
        if not isinstance(raw, dict):
            raise CatalogError(file, f"row {index + 1}", "", f"must be a mapping, is {type(raw).__name__}")
        row = dict(raw)
        base = row.pop("base", None)
        if base is not None:
            if not isinstance(base, str) or base not in self.rows:
                raise CatalogError(
                    file, str(row.get(self.key, f"row {index + 1}")), "base", f"no row {base!r} before it"
                )
            row = _merge(self.rows[base][1], row)
        name = row.get(self.key)
        if not isinstance(name, str):
            raise CatalogError(file, f"row {index + 1}", self.key, "must be given")
        self.rows[name] = (file, row)


def load_catalog(overrides: Iterable[Path] = ()) -> Catalog:
    """Return the catalog of the package with a user's rows added or put in place of its own.

    Parameters
    ----------
    overrides
        YAML files, or directories whose ``*.yaml`` files are read in the order of their names (a mounted ConfigMap).

    Raises
    ------
    CatalogError
        A file cannot be read, or a row is wrong; names file, row and field.
    """
    paths = tuple(overrides)
    return _parse((*_package_files(), *_override_files(paths))) if paths else _package_catalog()


@cache
def _package_catalog() -> Catalog:
    return _parse(tuple(_package_files()))


def _package_files() -> Iterator[tuple[str, Traversable | Path]]:
    data = files("deepseek_operator.catalog").joinpath("data")
    for name in _PACKAGE_FILES:
        yield name, data.joinpath(name)


def _override_files(paths: Iterable[Path]) -> Iterator[tuple[str, Traversable | Path]]:
    for path in paths:
        members = sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
        for member in members:
            yield str(member), member


def _parse(documents: Iterable[tuple[str, Traversable | Path]]) -> Catalog:
    sources: set[str] = set()
    models, gpus, machines, prices = _Rows("id"), _Rows("name"), _Rows("_key"), _Rows("_key")
    for file, path in documents:
        document = _read(file, path)
        sources |= set(_section(file, document, "sources", dict))
        for index, raw in enumerate(_section(file, document, "models", list)):
            models.add(file, index, raw)
        for index, raw in enumerate(_section(file, document, "gpus", list)):
            gpus.add(file, index, raw)
        for index, raw in enumerate(_section(file, document, "machines", list)):
            machines.add(file, index, _with_key(raw))
        for index, raw in enumerate(_section(file, document, "prices", list)):
            prices.add(file, index, _with_key(raw))
    return Catalog(
        models=_models(models, sources),
        gpus=_checked(gpus, GpuInfo, _GPU_FIGURES, sources),
        prices=tuple(_keyed(prices, PriceInfo, sources).values()),
        machines=_keyed(machines, MachineInfo, sources),
    )


def _read(file: str, path: Traversable | Path) -> _Raw:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogError(file, "", "", f"cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: also of a date such as 2026-02-30
        raise CatalogError(file, "", "", f"is not YAML: {' '.join(str(error).split())}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise CatalogError(file, "", "", "must be a mapping with models, gpus, machines, prices or sources")
    unknown = set(document) - _SECTIONS
    if unknown:
        raise CatalogError(
            file, "", ", ".join(sorted(map(str, unknown))), "is not models, gpus, machines, prices or sources"
        )
    return document


def _section(file: str, document: _Raw, name: str, kind: type) -> Any:
    section = document.get(name)
    if section is None:
        return kind()
    if not isinstance(section, kind):
        raise CatalogError(file, "", name, f"must be a {'list' if kind is list else 'mapping'}")
    return section


def _merge(base: _Raw, change: _Raw) -> _Raw:
    """Return ``base`` with ``change`` over it: mappings merge key by key, null removes, anything else replaces."""
    merged = dict(base)
    for key, value in change.items():
        if value is None and key in merged:
            del merged[key]
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _with_key(raw: object) -> object:
    if not isinstance(raw, dict):
        return raw
    parts = (raw.get("cloud"), raw.get("instanceType"), raw.get("region"))
    return {**raw, "_key": "/".join(str(part) for part in parts if part is not None)}


def _models(rows: _Rows, sources: set[str]) -> dict[str, ModelInfo]:
    models = _checked(rows, ModelInfo, _MODEL_FIGURES, sources)
    taken = {name.lower(): name for name in models}
    for model in models.values():
        for alias in model.aliases:
            owner = taken.setdefault(alias.lower(), model.id)
            if owner != model.id:
                raise CatalogError(rows.rows[model.id][0], model.id, "aliases", f"{alias!r} already means {owner}")
    return models


def _keyed(rows: _Rows, kind: type[_Sold], sources: set[str]) -> dict[str, _Sold]:
    found = {}
    for name, (file, raw) in rows.rows.items():
        row = _validated(file, name, kind, {key: value for key, value in raw.items() if key != "_key"})
        if row.source not in sources:
            raise CatalogError(file, name, "source", f"{row.source!r} is not among the sources")
        found[name] = row
    return found


def _checked(rows: _Rows, kind: type[_Row], figures: Iterable[str], sources: set[str]) -> dict[str, _Row]:
    checked = {}
    for name, (file, raw) in rows.rows.items():
        checked[name] = _validated(file, name, kind, raw)
        cited = raw["sources"]
        for figure in figures:
            if figure not in cited and figure in raw:
                raise CatalogError(file, name, f"sources.{figure}", "must be given: every figure names its source")
        for figure, source in cited.items():
            if source not in sources:
                raise CatalogError(file, name, f"sources.{figure}", f"{source!r} is not among the sources")
    return checked


def _validated(file: str, name: str, kind: type[_Row], raw: _Raw) -> _Row:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field, message = field_of(first), problem_of(first, kind)
        if not field and ": " in message:
            field, message = message.split(": ", 1)
        raise CatalogError(file, name, field, message) from error
