"""The figures beside what is wanted, what an earlier operator needed, and what KubeRay needs."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.bench.scale.phases import Figures

__all__ = ["median", "table"]


def median(runs: Sequence[Figures]) -> Figures:
    """Return the median of each figure over some runs."""
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def table(figures: Figures, count: int) -> str:
    """Return the table in Markdown; a figure that misses its goal is marked."""
    rows: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("goals.yaml").read_text())
    lines = [
        f"| {count:,} deployments | this run | goal for 1,000 | commit f5f9b8e | KubeRay |",
        "|---|---|---|---|---|",
    ]
    lines += [_line(row, figures) for row in rows if all(key in figures for key in row["keys"])]
    return "\n".join(lines)


def _line(row: dict[str, Any], figures: Figures) -> str:
    values = [figures[key] for key in row["keys"]]
    beside = [figures.get(f"kuberay.{key}") for key in row.get("kuberayKeys", row["keys"])]
    measured = [value for value in beside if value is not None]
    kuberay = _shown(measured) if measured else row.get("kuberay", "")
    goals = measured if row.get("goalIsKuberay") and measured else row.get("goals", [])
    missed = " (missed)" if any(value > goal for value, goal in zip(values, goals, strict=False)) else ""
    wanted = f"<= {' / '.join(f'{goal:.3g}' for goal in goals)}" if goals else ""
    return f"| {row['what']} | {_shown(values)}{missed} | {wanted} | {row.get('before', '')} | {kuberay} |"


def _shown(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.3g}" for value in values)
