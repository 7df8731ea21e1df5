"""``deepseek-operator plan``: what a deployment would come to. Works offline and needs no cluster."""

import re
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import typer

from deepseek_operator.api.places import Place, unknown_region
from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.api.status import Verdict
from deepseek_operator.api.v1alpha1 import KIND, NAME_MAX_LENGTH, NAME_PATTERN
from deepseek_operator.catalog import Catalog
from deepseek_operator.catalog.checks import MOST_DAYS, age_in_days
from deepseek_operator.cli import plan_options as options
from deepseek_operator.cli.catalog import CatalogFiles, open_catalog
from deepseek_operator.cli.input import EXIT_DOES_NOT_FIT, fail, plan_of, read_spec, read_yaml
from deepseek_operator.cli.places import Ask, Live
from deepseek_operator.cli.plan_output import PlanFormat, render_plans
from deepseek_operator.planning import Plan

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``. For ``--skypilot`` the context's object is an :data:`Ask`."""
    app.command("plan", short_help="Show which GPUs a deployment would get, how fast and at what price.")(plan_command)


def plan_command(
    context: typer.Context,
    file: options.File = None,
    model: options.Model = None,
    accelerators: options.Accelerators = None,
    nodes: options.Nodes = None,
    replicas: options.Replicas = None,
    engine: options.Engine = None,
    max_model_len: options.MaxModelLen = None,
    infra: options.Infra = None,
    capacity_type: options.CapacityType = None,
    max_hourly_cost: options.MaxHourlyCost = None,
    interconnect: options.Interconnect = None,
    min_tokens_per_second: options.MinTokensPerSecond = None,
    max_time_to_first_token: options.MaxTimeToFirstToken = None,
    concurrency: options.Concurrency = None,
    ranking: options.Ranking = None,
    arg: options.Arg = None,
    output: options.Output = PlanFormat.TABLE,
    catalog: CatalogFiles = None,
    skypilot: options.Skypilot = None,
    skypilot_token_file: options.SkypilotTokenFile = None,
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
    given = {
        "model.name": model,
        "engine.name": engine,
        "engine.maxModelLen": max_model_len,
        "engine.args": arg,
        "resources.accelerators": accelerators,
        "resources.nodes": nodes,
        "resources.infra": infra,
        "resources.capacityType": capacity_type,
        "resources.maxHourlyCost": max_hourly_cost,
        "resources.interconnect": interconnect,
        "objective.minTokensPerSecondPerRequest": min_tokens_per_second,
        "objective.maxTimeToFirstTokenSeconds": max_time_to_first_token,
        "objective.concurrency": concurrency,
        "objective.ranking": ranking,
        "replicas": replicas,
    }
    if (file is None) == (model is None):
        fail("exactly one of --file and --model must be given")
    known = open_catalog(catalog)
    documents = [("", {})] if file is None else list(_read(file))
    specs = [(name, read_spec(_overlaid(spec, given), _where(name))) for name, spec in documents]
    live = _ask(context.obj, skypilot, skypilot_token_file, [spec for _, spec in specs])
    plans = [(name, spec, plan_of(spec, _priced(known, live, spec), _where(name))) for name, spec in specs]
    typer.echo(render_plans(plans, output, known, live))
    _warn_of_old_prices([item for _, _, item in plans])
    if live is None:
        _warn_of_regions(spec for _, spec, _ in plans)
    if any(item.verdict is Verdict.DOES_NOT_FIT for _, _, item in plans):
        raise typer.Exit(EXIT_DOES_NOT_FIT)


def _where(name: str) -> str:
    return f"{name}: " if name else ""


def _read(file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and raw spec of each DeepSeekDeployment in a file."""
    found = 0
    for document in read_yaml(file):
        if not isinstance(document, dict) or document.get("kind") != KIND:
            continue
        spec = document.get("spec")
        if not isinstance(spec, dict):
            fail(f"{file}: a {KIND} without spec")
        metadata = document.get("metadata")
        name = str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
        if name and (len(name) > NAME_MAX_LENGTH or not re.fullmatch(NAME_PATTERN, name)):
            fail(
                f"{file}: metadata.name: {name}: must be a DNS label of at most {NAME_MAX_LENGTH} characters that "
                "starts with a letter, because a Service of this name is made"
            )
        found += 1
        yield name, spec
    if not found:
        fail(f"{file} holds no {KIND}")


def _overlaid(spec: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of the file with what the command line says over it, by field.

    A section that is no mapping stays as it is, and is refused with the rest of the spec.
    """
    merged = dict(spec)
    for field, value in given.items():
        section, _, name = field.rpartition(".")
        there = merged.get(section) or {}
        if value is not None and section and isinstance(there, dict):
            merged[section] = {**there, name: value}
        elif value is not None and not section:
            merged[name] = value
    return merged


def _ask(ask: Ask | None, url: str | None, token_file: Path | None, specs: list[DeepSeekDeploymentSpec]) -> Live | None:
    """Ask the SkyPilot server of ``--skypilot`` about the clouds of these specs."""
    if url is None:
        return None
    if ask is None:  # the kubectl plugin has nothing of what that takes
        fail("--skypilot: only deepseek-operator plan can ask a server")
    if not url.startswith(("http://", "https://")):
        fail(f"--skypilot {url}: must be the URL of a SkyPilot API server, such as http://127.0.0.1:46580")
    places = [[Place.parse(text) for text in spec.resources.infra] for spec in specs]
    clouds = tuple(sorted({place.cloud for given in places for place in given if not place.is_kubernetes}))
    try:
        token = token_file.read_text(encoding="utf-8").strip() if token_file is not None else None
        return ask(url.rstrip("/"), token, clouds if all(places) else None)
    except OSError as error:
        fail(f"--skypilot {url}: {error}")


def _priced(catalog: Catalog, live: Live | None, spec: DeepSeekDeploymentSpec) -> Catalog:
    return catalog if live is None else live.priced(catalog, map(Place.parse, spec.resources.infra))


def _warn_of_old_prices(plans: list[Plan]) -> None:
    for price in {item.price for item in plans if item.price is not None}:
        age = age_in_days(price, date.today())
        if age is not None and age > MOST_DAYS:
            words = f"the price of {price.instance_type} on {price.cloud} is of {price.as_of}, {age} days ago"
            typer.echo(f"Warning: {words}; `deepseek-operator catalog check` lists old prices", err=True)


def _warn_of_regions(specs: Iterable[DeepSeekDeploymentSpec]) -> None:
    for place in dict.fromkeys(place for spec in specs for place in spec.resources.infra):
        if words := unknown_region(place):
            typer.echo(f"Warning: spec.{words} SkyPilot decides when it launches; --skypilot URL asks it now", err=True)
