"""What a user gives a command, and the sentence with which the command ends if it is wrong."""

import json
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

import typer
import yaml
from pydantic import BaseModel, ValidationError

from deepseek_operator.api.places import unknown_cloud
from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.api.wording import field_of, problem_of, value_of
from deepseek_operator.catalog import Catalog
from deepseek_operator.planning import Plan, PlanInputError, plan

__all__ = ["EXIT_BAD_INPUT", "EXIT_DOES_NOT_FIT", "fail", "plan_of", "read_spec", "read_yaml", "sentence"]

EXIT_BAD_INPUT: Final = 2
EXIT_DOES_NOT_FIT: Final = 3


def fail(message: str, status: int = EXIT_BAD_INPUT) -> NoReturn:
    """Say what is wrong on standard error, and end the command."""
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(status)


def read_yaml(file: str | Path) -> list[Any]:
    """Return the documents of a file; ``-`` is standard input."""
    try:
        text = sys.stdin.read() if str(file) == "-" else Path(file).read_text(encoding="utf-8")
        return list(yaml.safe_load_all(text))
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: also of a date such as 2026-13-45
        fail(f"{file} is not YAML: {' '.join(str(error).split())}")


def sentence(error: ValidationError, root: type[BaseModel], *above: str) -> str:
    """Return the first problem in a document: its field, below those ``above`` it, its value, and what would do."""
    return sentences(error, root, *above)[0]


def sentences(error: ValidationError, root: type[BaseModel], *above: str) -> list[str]:
    """Return all problems in a document as :func:`sentence` does, one for each field."""
    found: dict[str, str] = {}
    for one in error.errors():
        place = field_of(one, *above)
        found.setdefault(place, ": ".join(filter(None, (place, value_of(one), problem_of(one, root)))))
    return list(found.values())


def read_spec(raw: dict[str, Any], where: str = "") -> DeepSeekDeploymentSpec:
    """Return a spec as the API server would accept it; ``where`` stands in front of what is wrong."""
    try:
        text = json.dumps(raw, default=str)
    except (TypeError, ValueError) as error:  # a date as a key, or an alias of what it stands in
        fail(f"{where}spec: nothing that JSON could hold, as the API server wants it: {error}")
    try:
        # Strictly, as the API server reads it: "2" is no number.
        spec = DeepSeekDeploymentSpec.model_validate_json(text, strict=True)
    except ValidationError as error:
        *others, last = sentences(error, DeepSeekDeploymentSpec, "spec")
        for one in others:
            typer.echo(f"Error: {where}{one}", err=True)
        fail(f"{where}{last}")
    for problem in filter(None, map(unknown_cloud, spec.resources.infra)):
        fail(f"{where}spec.{problem}")
    return spec


def plan_of(spec: DeepSeekDeploymentSpec, catalog: Catalog, where: str = "") -> Plan:
    """Return the plan of a spec, whatever its verdict."""
    try:
        return plan(spec, catalog)
    except PlanInputError as error:
        fail(f"{where}{error}")
