"""``deepseek-operator plan``: what a deployment would come to. Works offline and needs no cluster."""

import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import yaml
from pydantic import ValidationError

from deepseek_operator.api.places import Place, unknown_cloud
from deepseek_operator.api.spec import CapacityType, DeepSeekDeploymentSpec, EngineName, Interconnect, Ranking
from deepseek_operator.api.status import Verdict
from deepseek_operator.api.v1alpha1 import KIND
from deepseek_operator.catalog import Catalog
from deepseek_operator.catalog.checks import MOST_DAYS, age_in_days
from deepseek_operator.cli.catalog import EXIT_BAD_INPUT, CatalogFiles, open_catalog
from deepseek_operator.cli.places import Ask, Live
from deepseek_operator.cli.plan_output import PlanFormat, render_plans
from deepseek_operator.planning import Plan, PlanInputError, plan

__all__ = ["register"]

EXIT_DOES_NOT_FIT = 3


def register(app: typer.Typer) -> None:
    """Add the command to ``app``. For ``--skypilot`` the context's object is an :data:`Ask`."""
    app.command("plan", short_help="Show which GPUs a deployment would get, how fast and at what price.")(plan_command)


def plan_command(
    context: typer.Context,
    file: Annotated[
        str | None,
        typer.Option("-f", "--file", metavar="FILE", help="YAML with DeepSeekDeployments; - reads standard input."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Hugging Face id or alias, instead of a file.")
    ] = None,
    accelerators: Annotated[
        list[str] | None,
        typer.Option(metavar="GPU:COUNT", help="GPUs of one node, such as L4:1; may be repeated. Unset: planned."),
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, max=64, help="Nodes of one replica. Unset: planned.")] = None,
    replicas: Annotated[int | None, typer.Option(min=0, max=100, help="Number of replicas.")] = None,
    engine: Annotated[EngineName | None, typer.Option(help="Auto, VLLM or SGLang.")] = None,
    max_model_len: Annotated[int | None, typer.Option(min=1, help="Longest context in tokens. Unset: planned.")] = None,
    infra: Annotated[
        list[str] | None,
        typer.Option(metavar="PLACE", help="Where replicas may run, such as aws/us-east-1; may be repeated."),
    ] = None,
    capacity_type: Annotated[CapacityType | None, typer.Option(help="OnDemand, Spot or SpotThenOnDemand.")] = None,
    max_hourly_cost: Annotated[
        str | None,
        typer.Option(metavar="DOLLARS", help="Most that all replicas together may cost in US dollars an hour."),
    ] = None,
    interconnect: Annotated[
        Interconnect | None, typer.Option(help="Network between nodes: Auto, or Fast for InfiniBand and the like.")
    ] = None,
    min_tokens_per_second: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="Fewest output tokens a second of each request.")
    ] = None,
    max_time_to_first_token: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Longest time to the first token of a 2,000-token prompt."),
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="Requests that one replica works on at once.")] = None,
    ranking: Annotated[Ranking | None, typer.Option(help="LowestHourlyCost or LowestCostPerToken.")] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(metavar="FLAG", help="Argument of the engine, such as --arg=--enforce-eager; may be repeated."),
    ] = None,
    output: Annotated[PlanFormat, typer.Option("-o", "--output", help="table, json, yaml or task.")] = PlanFormat.TABLE,
    catalog: CatalogFiles = None,
    skypilot: Annotated[
        str | None,
        typer.Option(metavar="URL", help="SkyPilot API server: show its places and prices, and why not the others."),
    ] = None,
    skypilot_token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with a service-account token of that server.")
    ] = None,
) -> None:
    """Show the GPUs, the layout, the longest context, the speed and the price that a deployment comes to.

    Asks no cluster and no cloud, and rents nothing; with --skypilot it asks that server for its catalog, and whether it
    has credentials for the clouds of the plan. Without --infra prices of every cloud are shown; the operator
    itself uses its own cluster then, unless it is configured otherwise. Options go over what a file says.

    \b
    Examples:
      deepseek-operator plan --model DeepSeek-R1-Distill-Llama-8B
          every machine that would do, the cheapest first
      deepseek-operator plan --model DeepSeek-R1 --accelerators H100:8 --nodes 2
          does it fit there, and how fast is it?
      deepseek-operator plan -f r1.yaml -o json
          for programs; field names are those of status.plan
      deepseek-operator plan -f r1.yaml -o task
          the SkyPilot task that would be launched
      deepseek-operator plan -f r1.yaml --skypilot http://127.0.0.1:46580
          where it would be launched, at that server's prices

    \b
    Exit status:
      0  it fits
      2  the input is wrong
      3  it does not fit
    """
    resources = {
        "accelerators": accelerators,
        "nodes": nodes,
        "infra": infra,
        "capacityType": capacity_type,
        "maxHourlyCost": max_hourly_cost,
        "interconnect": interconnect,
    }
    objective = {
        "minTokensPerSecondPerRequest": min_tokens_per_second,
        "maxTimeToFirstTokenSeconds": max_time_to_first_token,
        "concurrency": concurrency,
        "ranking": ranking,
    }
    overlay: dict[str, Any] = {
        "model": {"name": model},
        "engine": {"name": engine, "maxModelLen": max_model_len, "args": arg},
        "resources": resources,
        "objective": objective,
        "replicas": replicas,
    }
    if (file is None) == (model is None):
        _fail("exactly one of --file and --model must be given")
    known = open_catalog(catalog)
    documents = [("", {})] if file is None else list(_read(file))
    specs = [(name, _spec(name, _overlaid(spec, overlay))) for name, spec in documents]
    live = _ask(context.obj, skypilot, skypilot_token_file, [spec for _, spec in specs])
    plans = [(name, spec, _plan(name, spec, _priced(known, live, spec))) for name, spec in specs]
    typer.echo(render_plans(plans, output, known, live))
    for price in {item.price for _, _, item in plans if item.price is not None}:
        age = age_in_days(price, date.today())
        if age is not None and age > MOST_DAYS:
            words = f"the price of {price.instance_type} on {price.cloud} is of {price.as_of}, {age} days ago"
            typer.echo(f"Warning: {words}; `deepseek-operator catalog check` lists old prices", err=True)
    if any(item.verdict is Verdict.DOES_NOT_FIT for _, _, item in plans):
        raise typer.Exit(EXIT_DOES_NOT_FIT)


def _fail(message: str) -> NoReturn:
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(EXIT_BAD_INPUT)


def _read(file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and raw spec of each DeepSeekDeployment in a file."""
    found = 0
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        documents = list(yaml.safe_load_all(text))
    except OSError as error:
        _fail(f"{file}: {error.strerror}")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        _fail(f"{file} is not YAML: {' '.join(str(error).split())}")
    for document in documents:
        if not isinstance(document, dict) or document.get("kind") != KIND:
            continue
        spec = document.get("spec")
        if not isinstance(spec, dict):
            _fail(f"{file}: a {KIND} without spec")
        metadata = document.get("metadata")
        found += 1
        yield str(metadata.get("name", "")) if isinstance(metadata, dict) else "", spec or {}
    if not found:
        _fail(f"{file} holds no {KIND}")


def _overlaid(spec: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of the file with what the command line says over it."""
    merged = dict(spec)
    for key, value in overlay.items():
        if isinstance(value, dict):
            given = {name: item for name, item in value.items() if item is not None}
            if given:
                merged[key] = {**(merged.get(key) or {}), **given}
        elif value is not None:
            merged[key] = value
    return merged


def _ask(ask: Ask | None, url: str | None, token_file: Path | None, specs: list[DeepSeekDeploymentSpec]) -> Live | None:
    """Ask the SkyPilot server of ``--skypilot`` about the clouds of these specs."""
    if url is None:
        return None
    if ask is None:  # the kubectl plugin has nothing of what that takes
        _fail("--skypilot: only deepseek-operator plan can ask a server")
    places = [[Place.parse(text) for text in spec.resources.infra] for spec in specs]
    clouds = tuple(sorted({place.cloud for given in places for place in given if not place.is_kubernetes}))
    try:
        token = token_file.read_text(encoding="utf-8").strip() if token_file is not None else None
        return ask(url.rstrip("/"), token, clouds if all(places) else None)
    except OSError as error:
        _fail(f"--skypilot {url}: {error}")


def _priced(catalog: Catalog, live: Live | None, spec: DeepSeekDeploymentSpec) -> Catalog:
    return catalog if live is None else live.priced(catalog, map(Place.parse, spec.resources.infra))


def _spec(name: str, raw: dict[str, Any]) -> DeepSeekDeploymentSpec:
    where = f"{name}: " if name else ""
    try:
        spec = DeepSeekDeploymentSpec.model_validate(raw)
        for problem in filter(None, map(unknown_cloud, spec.resources.infra)):
            _fail(f"{where}spec.{problem}")
        return spec
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in ("spec", *first["loc"]))
        value = "" if isinstance(first["input"], dict) else f"{first['input']}: "
        _fail(f"{where}{field}: {value}{first['msg'].removeprefix('Value error, ')}")


def _plan(name: str, spec: DeepSeekDeploymentSpec, catalog: Catalog) -> Plan:
    try:
        return plan(spec, catalog)
    except PlanInputError as error:
        _fail(f"{f'{name}: ' if name else ''}{error}")
