"""``deepseek-operator calibrate``: a catalog file from what engines reported."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import ValidationError

from deepseek_operator.cli.catalog import CatalogFiles, open_catalog
from deepseek_operator.cli.input import fail, read_yaml, sentence
from deepseek_operator.planning import PlanInputError
from deepseek_operator.planning.calibration import Comparison, Measurement, catalog_rows, compare

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(short_help="Turn figures that engines reported into a catalog file.")(calibrate)


def calibrate(
    file: Annotated[Path, typer.Option("-f", "--file", metavar="FILE", help="YAML with a list of measurements.")],
    source: Annotated[str, typer.Option(metavar="TEXT", help="Who measured, for the rows' sources.")] = "measured here",
    catalog: CatalogFiles = None,
) -> None:
    """Print a catalog file that makes plans agree with what was measured; the plan's errors stand above it.

    docs/planning.md has the form of the file.

    \b
    Example:
      deepseek-operator calibrate -f measurements.yaml > catalog.yaml

    \b
    Exit status:
      0  done
      2  the input is wrong
    """
    known = open_catalog(catalog)
    try:
        comparisons = compare(_read(file), known)
    except PlanInputError as error:
        fail(str(error))
    if not comparisons:
        fail(f"{file}: nothing was measured that a plan speaks of")
    for comparison in comparisons:
        typer.echo(f"# {_line(comparison)}")
    rows = catalog_rows(comparisons, source, date.today())
    typer.echo(yaml.safe_dump(rows, sort_keys=False, allow_unicode=True, width=110).rstrip("\n"))


def _line(comparison: Comparison) -> str:
    measurement = comparison.measurement
    nodes = f"{measurement.nodes} x " if measurement.nodes > 1 else ""
    figures = f"planned {comparison.planned:,.0f}, measured {comparison.measured:,.0f} ({comparison.error:+.0%})"
    return f"{measurement.model} on {nodes}{measurement.accelerators}: {comparison.what} {figures}"


def _read(file: Path) -> list[Measurement]:
    document = next(iter(read_yaml(file)), None)
    rows = document.get("measurements") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        fail(f"{file}: must be a mapping with a list of measurements")
    found = []
    for index, row in enumerate(rows):
        try:
            found.append(Measurement.model_validate(row))
        except ValidationError as error:
            fail(f"{file}: {sentence(error, Measurement, f'measurements[{index}]')}")
    return found
