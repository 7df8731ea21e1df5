"""``deepseek-operator models``, ``gpus`` and ``catalog check``: what the catalog knows, and what is wrong with it."""

import json
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from deepseek_operator.catalog import Accelerator, Catalog, CatalogError, GpuInfo, ModelInfo, load_catalog
from deepseek_operator.catalog.checks import check_catalog
from deepseek_operator.cli.input import fail
from deepseek_operator.cli.table import render_table
from deepseek_operator.planning.result import dollars

__all__ = ["CatalogFiles", "ListFormat", "open_catalog", "register", "render_gpus", "render_models"]

EXIT_WRONG = 1

CatalogFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--catalog",
        metavar="PATH",
        help="File or directory that adds or replaces models, GPUs and prices; may be repeated.",
    ),
]


class ListFormat(StrEnum):
    """Form of the output."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[ListFormat, typer.Option("-o", "--output", help="table, json or yaml.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""

    @app.command()
    def models(output: Output = ListFormat.TABLE, catalog: CatalogFiles = None) -> None:
        """List the models that can be named in spec.model.name.

        Any other model that an engine serves can be named, too; it needs spec.resources.accelerators.

        \b
        Examples:
          deepseek-operator models
          deepseek-operator models -o json | jq '.[] | select(.parameters < 1e10) | .id'
          deepseek-operator models --catalog examples/catalog.yaml
        """
        typer.echo(render_models(open_catalog(catalog), output))

    @app.command(short_help="List the GPUs that resources.accelerators can name.")
    def gpus(output: Output = ListFormat.TABLE, catalog: CatalogFiles = None) -> None:
        """List the GPUs that can be named in spec.resources.accelerators, under SkyPilot's names.

        Prices are those of the shipped catalog. The operator asks SkyPilot's own where a deployment names a cloud.

        \b
        Examples:
          deepseek-operator gpus
          deepseek-operator gpus -o yaml
        """
        typer.echo(render_gpus(open_catalog(catalog), output))

    commands = typer.Typer(no_args_is_help=True, help="Check catalogs.")
    commands.command("check", short_help="Say which figures of a catalog contradict each other or are old.")(check)
    app.add_typer(commands, name="catalog")


def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Files of one's own. None: the shipped one."),
    ] = None,
) -> None:
    """Check a catalog file: what does not load, figures that contradict each other, prices older than 90 days, gaps.

    \b
    Examples:
      deepseek-operator catalog check
          the shipped catalog
      deepseek-operator catalog check catalog.yaml
          your own, over the shipped one

    \b
    Exit status:
      0  nothing is wrong
      1  a figure cannot be right
      2  it does not load
    """
    catalog = open_catalog(files)
    findings = check_catalog(catalog, today=date.today(), known=load_catalog() if files else None)
    for finding in findings:
        typer.echo(finding)
    wrong = sum(finding.wrong for finding in findings)
    typer.echo(f"{wrong} errors, {len(findings) - wrong} warnings")
    if wrong:
        raise typer.Exit(EXIT_WRONG)


def open_catalog(paths: list[Path] | None) -> Catalog:
    """Return the catalog, or end the command with the error of a bad file."""
    try:
        return load_catalog(paths or ())
    except CatalogError as error:
        fail(str(error))


def render_models(catalog: Catalog, output: ListFormat) -> str:
    """Return all models in the form asked for."""
    if output is not ListFormat.TABLE:
        return _dump([model.model_dump(mode="json", by_alias=True) for model in catalog.models.values()], output)
    header = ("MODEL", "ALIASES", "PARAMS (B)", "WEIGHTS (GiB)", "DTYPE", "CONTEXT", "ENGINES", "LICENCE")
    rows = [_model_row(model) for model in catalog.models.values()]
    return render_table(header, rows, right=frozenset({"PARAMS (B)", "WEIGHTS (GiB)", "CONTEXT"}))


def _model_row(model: ModelInfo) -> tuple[str, ...]:
    return (
        model.id,
        ", ".join(alias for alias in model.aliases if "/" not in alias) or "-",
        f"{model.parameters / 1e9:.1f}",
        f"{model.weights.gib:.1f}",
        model.weights.dtype.value,
        str(model.context_length),
        ", ".join(name.value for name in model.engines),
        model.licence,
    )


def render_gpus(catalog: Catalog, output: ListFormat) -> str:
    """Return all GPUs in the form asked for."""
    if output is not ListFormat.TABLE:
        return _dump([gpu.model_dump(mode="json", by_alias=True) for gpu in catalog.gpus.values()], output)
    header = ("GPU", "MEMORY (GiB)", "COMPUTE", "BF16", "FP8", "SOLD AS", "FROM ($/h)", "ON")
    rows = [_gpu_row(catalog, gpu) for gpu in catalog.gpus.values()]
    return render_table(header, rows, right=frozenset({"MEMORY (GiB)", "FROM ($/h)"}))


def _gpu_row(catalog: Catalog, gpu: GpuInfo) -> tuple[str, ...]:
    accelerators = [Accelerator(name=gpu.name, count=count) for count in gpu.counts]
    priced = [price for a in accelerators if (price := catalog.cheapest(a, spot=False)) is not None]
    cheapest = min(priced, key=lambda price: price.on_demand or 0) if priced else None
    return (
        gpu.name,
        f"{gpu.memory_gib:.1f}",
        gpu.compute_capability if gpu.compute_capability != "0.0" else gpu.vendor.value,
        "yes" if gpu.bf16 else "no",
        gpu.fp8.value,
        ", ".join(str(count) for count in gpu.counts),
        (dollars(cheapest.on_demand) or "-") if cheapest else "-",
        f"{cheapest.accelerators} {cheapest.cloud}, {cheapest.as_of or 'undated'}" if cheapest else "-",
    )


def _dump(value: Any, output: ListFormat) -> str:
    if output is ListFormat.JSON:
        return json.dumps(value, indent=2)
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110).rstrip("\n")
