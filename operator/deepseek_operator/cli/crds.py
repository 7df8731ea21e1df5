"""``deepseek-operator crds``: print the CustomResourceDefinitions of this version."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from deepseek_operator.api.crd import custom_resource_definition

__all__ = ["register", "render"]


def render() -> str:
    """Return the CRD as the YAML that is committed in ``crds/`` and shipped in the chart."""
    body = yaml.safe_dump(custom_resource_definition(), sort_keys=False, width=110, allow_unicode=True)
    return f"# Generated from the API models by `deepseek-operator crds`; edit those instead.\n{body}"


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command(short_help="Print the CustomResourceDefinitions, for kubectl apply -f -.")
    def crds(
        output: Annotated[
            str, typer.Option("-o", "--output", metavar="FILE", help="File to write; - is standard output.")
        ] = "-",
    ) -> None:
        """Print the CustomResourceDefinitions, for kubectl apply -f -.

        The chart brings them, too; this is for those who install them apart.

        \b
        Example:
          deepseek-operator crds | kubectl apply --server-side -f -
        """
        if output == "-":
            typer.echo(render(), nl=False)
        else:
            try:
                Path(output).write_text(render(), encoding="utf-8")
            except OSError as error:
                raise typer.BadParameter(
                    f"{output} cannot be written: {error.strerror}", param_hint="--output"
                ) from error
