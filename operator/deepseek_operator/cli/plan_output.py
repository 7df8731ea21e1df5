"""The four forms in which ``deepseek-operator plan`` prints a plan."""

import json
from enum import StrEnum
from typing import Any

import yaml

from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.cli.table import render_table
from deepseek_operator.launch import Identity, build_task
from deepseek_operator.planning import Candidate, Plan, Planned
from deepseek_operator.planning.result import dollars

__all__ = ["Literal", "PlanFormat", "dump", "render_plans"]

Named = tuple[str, DeepSeekDeploymentSpec, Plan]


_HEADER = ("CLOUD", "INSTANCE", "ACCELERATORS", "NODES", "PARALLELISM", "CONTEXT", "COST ($/h)", "VERDICT", "CHOSEN")


class PlanFormat(StrEnum):
    """Form of the output."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    TASK = "task"


def render_plans(plans: list[Named], output: PlanFormat) -> str:
    """Return plans in the form asked for; JSON and YAML have the field names of ``status.plan``."""
    if output is PlanFormat.TABLE:
        return "\n\n".join(_table(*item) for item in plans)
    if output is PlanFormat.TASK:
        return "\n---\n".join(_task(*item) for item in plans)
    documents = [plan.to_status().model_dump(mode="json", by_alias=True) for _, _, plan in plans]
    if output is PlanFormat.YAML:
        return _yaml(documents)
    return json.dumps(documents[0] if len(documents) == 1 else documents, indent=2)


def _yaml(documents: list[dict[str, Any]]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=110).rstrip("\n")


def _table(name: str, spec: DeepSeekDeploymentSpec, plan: Plan) -> str:
    model = plan.model.id if plan.model else spec.model.name
    title = f"{name}: " if name else ""
    plural = "s" if plan.nodes > 1 else ""
    replicas = "" if spec.replicas == 1 else f", {spec.replicas} replicas"
    lines = [f"{title}{model} with {plan.engine} ({plan.nodes} node{plural}{replicas}): {plan.verdict}", plan.reason]
    if plan.candidates or plan.alternatives:
        chosen = set(plan.accelerators) if plan.launchable else set()
        shown = plan.candidates or ()
        rows = [_row(candidate, str(candidate.accelerator) in chosen) for candidate in shown]
        rows += [_row(candidate, False) for candidate in plan.alternatives]
        lines += ["", f"Considered accelerators ({len(rows)}):"]
        lines.append(render_table(_HEADER, rows, right=frozenset({"NODES", "CONTEXT", "COST ($/h)"})))
    if plan.alternatives:
        lines.append("Why not:")
        lines += [f"  {_label(candidate)}: {candidate.reason}" for candidate in plan.alternatives]
    if plan.overrides:
        lines.append(f"Replaced by engine.args: {', '.join(plan.overrides)}")
    return "\n".join(lines)


def _label(candidate: Candidate) -> str:
    return str(candidate.accelerator) if candidate.nodes == 1 else f"{candidate.nodes} x {candidate.accelerator}"


def _row(candidate: Candidate, chosen: bool) -> tuple[str, ...]:
    free = candidate.hourly_cost == 0
    price = None if free else candidate.price
    layout = candidate.layout
    sizes = (
        (layout.tensor_parallel_size, layout.pipeline_parallel_size, layout.data_parallel_size) if layout else (0, 0, 0)
    )
    parallel = " ".join(f"{kind}{size}" for kind, size in zip(("TP", "PP", "DP"), sizes, strict=True) if size > 1)
    return (
        "kubernetes" if free else price.cloud if price else "-",
        price.instance_type if price else "-",
        str(candidate.accelerator),
        str(candidate.nodes),
        parallel or "-",
        f"{candidate.max_model_len}" if candidate.max_model_len else "-",
        dollars(candidate.hourly_cost) or "-",
        candidate.verdict.value,
        "\N{HEAVY CHECK MARK}" if chosen else "",
    )


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
    launch = build_task(Planned(spec, plan), identity)
    task = {**launch.task, "run": Literal(launch.task["run"])}
    text = dump(task).rstrip("\n")
    return f"# SkyPilot task of one replica. The operator sends it with cluster names and labels of the object.\n{text}"
