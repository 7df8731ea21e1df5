"""``deepseek-operator``: the one command of this package."""

import typer

import deepseek_operator
from deepseek_operator.cli import audit, calibrate, catalog, check, crds, plan, run, verify

__all__ = ["app"]

app = typer.Typer(
    name="deepseek-operator",
    help="Serve DeepSeek models on any infrastructure: one Kubernetes object, planned and launched through SkyPilot.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(deepseek_operator.__version__)


for module in (run, plan, catalog, calibrate, verify, audit, check, crds):
    module.register(app)
