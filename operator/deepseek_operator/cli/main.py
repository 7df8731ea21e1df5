"""``deepseek-operator``: the one command of this package."""

from typing import Annotated

import typer

import deepseek_operator
from deepseek_operator.cli import audit, calibrate, catalog, check, crds, live, plan, run, verify

__all__ = ["app"]

app = typer.Typer(
    name="deepseek-operator",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(deepseek_operator.__version__)
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Serve DeepSeek models on any infrastructure: one Kubernetes object, planned and launched through SkyPilot."""
    context.obj = live.ask  # for plan --skypilot


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(deepseek_operator.__version__)


for module in (run, plan, catalog, calibrate, verify, audit, check, crds):
    module.register(app)
