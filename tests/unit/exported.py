"""The operator's metrics as Prometheus sees them, read off the modules that define them."""

from typing import Any, NamedTuple

from deepseek_operator.runtime import metrics
from deepseek_operator.runtime.series import DEPLOYMENTS

__all__ = ["Exported", "exported", "series"]


class Exported(NamedTuple):
    """One metric. ``name`` has the suffix _total where Prometheus shows it with one."""

    name: str
    kind: str
    labels: tuple[str, ...]
    documentation: str


def exported() -> list[Exported]:
    """Return every metric, in the order in which the modules define them."""
    found: dict[str, Exported] = {}
    for value in vars(metrics).values():
        if hasattr(value, "_labelnames"):
            name = f"{value._name}_total" if value._type == "counter" else value._name
            found.setdefault(name, Exported(name, value._type, tuple(value._labelnames), value._documentation))
    for family in DEPLOYMENTS.describe():
        labels: Any = getattr(family, "_labelnames")  # noqa: B009 - the library has no public name for them
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found.setdefault(name, Exported(name, family.type, labels, family.documentation))
    return list(found.values())


def series() -> dict[str, frozenset[str]]:
    """Return the labels of each series that a query can name: histograms have three."""
    names: dict[str, frozenset[str]] = {}
    for one in exported():
        labels = frozenset(one.labels)
        if one.kind == "histogram":
            names |= {f"{one.name}_bucket": labels | {"le"}, f"{one.name}_sum": labels, f"{one.name}_count": labels}
        else:
            names[one.name] = labels
    return names
