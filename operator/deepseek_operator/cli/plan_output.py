"""The four forms in which ``deepseek-operator plan`` prints a plan."""

import json
from decimal import Decimal
from enum import StrEnum
from typing import Any

import yaml

from deepseek_operator.api.places import Place
from deepseek_operator.api.spec import DeepSeekDeploymentSpec, Resources
from deepseek_operator.catalog import Catalog
from deepseek_operator.cli import places
from deepseek_operator.cli.places import Live
from deepseek_operator.cli.table import render_table
from deepseek_operator.facts.text import counted
from deepseek_operator.launch import Identity, build_task
from deepseek_operator.planning import Candidate, Plan, Planned
from deepseek_operator.planning.offers import Considered, consider
from deepseek_operator.planning.performance import Performance
from deepseek_operator.planning.result import dollars

__all__ = ["Literal", "PlanFormat", "dump", "render_plans"]

Named = tuple[str, DeepSeekDeploymentSpec, Plan]


_SPEED = ("tok/s (1)", "tok/s (n)", "TTFT (s)", "$/Mtok")
_HEADER = (
    "CLOUD",
    "INSTANCE",
    "ACCELERATORS",
    "NODES",
    "PARALLELISM",
    "CONTEXT",
    "COST ($/h)",
    *_SPEED,
    "VERDICT",
    "CHOSEN",
)


class PlanFormat(StrEnum):
    """Form of the output."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    TASK = "task"


def render_plans(plans: list[Named], output: PlanFormat, catalog: Catalog, live: Live | None = None) -> str:
    """Return plans in the form asked for; JSON and YAML have the field names of ``status.plan``.

    Parameters
    ----------
    live
        What a SkyPilot server said of the places; JSON and YAML then have ``places`` besides.
    """
    if output is PlanFormat.TABLE:
        return "\n\n".join(_table(*item, catalog, live) for item in plans)
    if output is PlanFormat.TASK:
        return "\n---\n".join(_task(*item) for item in plans)
    documents = [_document(spec, plan, live) for _, spec, plan in plans]
    if output is PlanFormat.YAML:
        return _yaml(documents)
    return json.dumps(documents[0] if len(documents) == 1 else documents, indent=2)


def _document(spec: DeepSeekDeploymentSpec, plan: Plan, live: Live | None) -> dict[str, Any]:
    found = plan.to_status().model_dump(mode="json", by_alias=True)
    return found if live is None else found | {"places": places.document(_considered(spec, plan, live))}


def _considered(spec: DeepSeekDeploymentSpec, plan: Plan, live: Live) -> tuple[Considered, ...]:
    return consider(spec, plan, live.offers, live.refused) if plan.launchable else ()


def _yaml(documents: list[dict[str, Any]]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=110).rstrip("\n")


def _table(name: str, spec: DeepSeekDeploymentSpec, plan: Plan, catalog: Catalog, live: Live | None) -> str:
    model = plan.model.id if plan.model else spec.model.name
    title = f"{name}: " if name else ""
    replicas = "" if spec.replicas == 1 else f", {spec.replicas} replicas"
    lines = [
        f"{title}{model} with {plan.engine} ({counted(plan.nodes, 'node')}{replicas}): {plan.verdict}",
        plan.reason,
    ]
    if live is not None and plan.launchable:
        lines += ["", places.render(plan, _considered(spec, plan, live), live)]
    elif plan.candidates or plan.alternatives:
        chosen = set(plan.accelerators) if plan.launchable else set()
        shown = plan.candidates or ()
        rows = [row for c in shown for row in _rows(c, spec, catalog, chosen=str(c.accelerator) in chosen)]
        rows += [row for c in plan.alternatives for row in _rows(c, spec, catalog, chosen=False)]
        lines += ["", f"Considered accelerators ({len(rows)}):"]
        lines.append(render_table(_HEADER, rows, right=frozenset({"NODES", "CONTEXT", "COST ($/h)", *_SPEED})))
    if plan.performance is not None:
        lines.append(_expected(plan.accelerators[0], plan.performance))
    if plan.alternatives:
        lines.append("Why not:")
        lines += [f"  {_label(candidate)}: {candidate.reason}" for candidate in plan.alternatives]
    if plan.overrides:
        lines.append(f"Replaced by engine.args: {', '.join(plan.overrides)}")
    return "\n".join(lines)


def _label(candidate: Candidate) -> str:
    return str(candidate.accelerator) if candidate.nodes == 1 else f"{candidate.nodes} x {candidate.accelerator}"


def _kinds(resources: Resources) -> tuple[bool, ...]:
    """Return whether on-demand machines (False) and spot machines (True) are shown."""
    kinds = {*resources.capacity_type.spot, *([False] if resources.capacity.on_demand_base else [])}
    return tuple(sorted(kinds))


def _rows(
    candidate: Candidate, spec: DeepSeekDeploymentSpec, catalog: Catalog, *, chosen: bool
) -> list[tuple[str, ...]]:
    """Return one row for each place and capacity type with a price, the cheapest first; one where there is none."""
    given = [Place.parse(text) for text in spec.resources.infra]
    offers = [(Decimal(0), "kubernetes", "-")] if any(place.is_kubernetes for place in given) else []
    named = {place.cloud for place in given if not place.is_kubernetes}
    if not given:
        named = {price.cloud for price in catalog.prices_of(candidate.accelerator)}
    for cloud in sorted(named):
        for spot in _kinds(spec.resources):
            price = catalog.cheapest(candidate.accelerator, spot=spot, clouds=[cloud])
            amount = None if price is None else price.spot if spot else price.on_demand
            if price is not None and amount is not None:
                offers.append((amount * candidate.nodes, cloud, f"{price.instance_type}{'[Spot]' if spot else ''}"))
    if not offers:
        return [_row(candidate, "-", "-", None, chosen)]
    return [_row(candidate, cloud, instance, cost, chosen) for cost, cloud, instance in sorted(offers)]


def _row(candidate: Candidate, cloud: str, instance: str, cost: Decimal | None, chosen: bool) -> tuple[str, ...]:
    layout = candidate.layout
    sizes = (
        (layout.tensor_parallel_size, layout.pipeline_parallel_size, layout.data_parallel_size) if layout else (0, 0, 0)
    )
    parallel = " ".join(f"{kind}{size}" for kind, size in zip(("TP", "PP", "DP"), sizes, strict=True) if size > 1)
    return (
        cloud,
        instance,
        str(candidate.accelerator),
        str(candidate.nodes),
        parallel or "-",
        f"{candidate.max_model_len}" if candidate.max_model_len else "-",
        dollars(cost) or "-",
        *_speed(candidate.performance, cost),
        candidate.verdict.value,
        "\N{HEAVY CHECK MARK}" if chosen else "",
    )


def _speed(performance: Performance | None, cost: Decimal | None) -> tuple[str, str, str, str]:
    if performance is None:
        return ("-", "-", "-", "-")
    price = performance.price_of(cost)
    return (
        f"{performance.decode_tokens_per_second:.0f}",
        f"{performance.decode_tokens_per_second_at_concurrency:.0f} ({performance.concurrency})",
        f"{performance.time_to_first_token_seconds:.2f}",
        "-" if price is None else f"{price:.2f}",
    )


def _expected(accelerator: str, performance: Performance) -> str:
    parts = [
        f"{performance.decode_tokens_per_second:.0f} tokens/s for one request",
        f"{performance.tokens_per_second_per_request:.0f} for each of {performance.concurrency} at once",
        f"{performance.time_to_first_token_seconds:.2f} s to the first token of a 2,000-token prompt",
        f"{performance.start_seconds / 60:.0f} min to start",
    ]
    full, half = performance.dollars_per_million_tokens, performance.dollars_per_million_tokens_at_half_load
    if full is not None and half is not None:
        parts.append(f"{full:.2f} $ per million output tokens at full load, {half:.2f} $ at half")
    return f"Expected of {accelerator}: {', '.join(parts)}. {_sure(performance)}"


def _sure(performance: Performance) -> str:
    percent = performance.error_percent
    if percent is None:
        return "No measured case is like this one: its speed may be off by half or more."
    return f"Most measured cases like this one were within {percent} % of such a plan."


class Literal(str):
    """Text that YAML should show as a block, line by line."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """A dumper of its own, so that the block style below stays here."""


_Dumper.add_representer(
    Literal, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")
)


def dump(document: dict[str, Any]) -> str:
    """Return a document as YAML, :class:`Literal` text as blocks."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _task(name: str, spec: DeepSeekDeploymentSpec, plan: Plan) -> str:
    if not plan.launchable:
        return f"# {plan.verdict}: {plan.reason}"
    # Names that the operator would derive from the object's UID.
    identity = Identity(
        cluster_name=name or "deepseek",
        namespace="default",
        deployment_name=name or "deepseek",
        deployment_uid="00000000-0000-0000-0000-000000000000",
        revision="00000000",
        service_account=f"{name or 'deepseek'}-engine",
    )
    launch = build_task(Planned.of(spec, plan), identity)
    task = {key: Literal(value) if key in ("setup", "run") else value for key, value in launch.task.items()}
    text = dump(task).rstrip("\n")
    return f"# SkyPilot task of one replica. The operator sends it with cluster names and labels of the object.\n{text}"
