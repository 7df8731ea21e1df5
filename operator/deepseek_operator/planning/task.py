"""From a plan to what SkyPilot is asked to launch: the task, and the settings that a task may not hold.

What SkyPilot 0.14.1 does with each key, and why it is set as it is, stands in docs/planning.md. In short: on Kubernetes
no ``ports`` (its load balancer would send requests to workers), secrets by ``secretKeyRef`` (SkyPilot keeps task
secrets in its request database), namespace through the request's own configuration (a task may not set it).
"""

import copy
from dataclasses import dataclass, field
from typing import Any

from deepseek_operator.api.spec import CapacityType, DeepSeekDeploymentSpec, SecretKeyRef
from deepseek_operator.engines import get_engine
from deepseek_operator.planning.pod import pod_config
from deepseek_operator.planning.request import is_kubernetes
from deepseek_operator.planning.result import Plan
from deepseek_operator.planning.script import run_script

__all__ = ["LABEL_PREFIX", "LaunchTask", "SecretValue", "TaskContext", "build_task", "secret_variables"]

LABEL_PREFIX = "deepseek-operator.io/"
_TAG_PREFIX = "deepseek-operator-"
"""Prefix of cloud tags: GCP allows neither dots nor slashes in a label's key, and SkyPilot refuses the task then."""
_TAG_LENGTH = 63


@dataclass(frozen=True)
class TaskContext:
    """For whom a task is made."""

    cluster_name: str
    namespace: str
    deployment_name: str
    deployment_uid: str
    revision: str
    service_account: str
    """Account of the pods; without rights, so that SkyPilot creates none."""
    kubernetes_context: str | None = None
    """Context for ``infra: kubernetes`` without one of its own; None leaves it to SkyPilot."""
    api_key_secret: SecretKeyRef | None = None
    """Secret with a key made by the operator: used where :attr:`Plan.needs_api_key` and the user named none."""


@dataclass(frozen=True)
class SecretValue:
    """A secret the client has to fill in before it sends the task: ``task["secrets"][variable]``."""

    variable: str
    secret: SecretKeyRef


@dataclass(frozen=True)
class LaunchTask:
    """One launch request, secrets still to be filled in."""

    task: dict[str, Any]
    cluster_name: str
    retry_until_up: bool
    override_skypilot_config: dict[str, Any]
    secrets: tuple[SecretValue, ...] = field(default=())
    """Empty where only Kubernetes is used: there the kubelet reads them."""


def build_task(spec: DeepSeekDeploymentSpec, plan: Plan, ctx: TaskContext) -> LaunchTask:
    """Return the launch request of one replica.

    Raises
    ------
    ValueError
        The plan does not fit: nothing may be launched.
    """
    if not plan.launchable:
        raise ValueError(f"a plan with the verdict {plan.verdict} must not be launched: {plan.reason}")
    infra = spec.resources.infra
    anywhere = not infra
    clouds = anywhere or not all(is_kubernetes(entry) for entry in infra)
    kubernetes = anywhere or any(is_kubernetes(entry) for entry in infra)
    secrets = secret_variables(spec, plan, ctx.api_key_secret)
    task: dict[str, Any] = {
        "name": ctx.cluster_name,
        "num_nodes": plan.nodes,
        "resources": _resources(spec, plan, ctx),
        "run": run_script(get_engine(plan.engine), plan.serve),
    }
    if plan.environment:
        task["envs"] = dict(plan.environment)
    if clouds and secrets:
        task["secrets"] = dict.fromkeys(secrets)
    override: dict[str, Any] = {}
    if kubernetes:
        task["config"] = {"kubernetes": _kubernetes_config(spec, ctx, secrets)}
        override["kubernetes"] = {"namespace": ctx.namespace, "ports": "podip"}
    return LaunchTask(
        task=task,
        cluster_name=ctx.cluster_name,
        retry_until_up=spec.resources.retry_until_up,
        override_skypilot_config=override,
        secrets=tuple(SecretValue(name, ref) for name, ref in secrets.items()) if clouds else (),
    )


def secret_variables(
    spec: DeepSeekDeploymentSpec, plan: Plan, api_key_secret: SecretKeyRef | None = None
) -> dict[str, SecretKeyRef]:
    """Return the secret environment variables of a replica, each with the key of the Secret it comes from.

    Parameters
    ----------
    api_key_secret
        Key to use where the plan needs one and ``endpoint.apiKeySecretRef`` is unset.
    """
    found: dict[str, SecretKeyRef] = {}
    if spec.model.hugging_face_token_secret_ref is not None:
        found["HF_TOKEN"] = spec.model.hugging_face_token_secret_ref
    api_key = spec.endpoint.api_key_secret_ref or (api_key_secret if plan.needs_api_key else None)
    if api_key is not None:
        found[get_engine(plan.engine).api_key_variable] = api_key
    for variable in spec.engine.env:
        if variable.value_from is not None:
            found[variable.name] = variable.value_from.secret_key_ref
    return found


def _kubernetes_config(
    spec: DeepSeekDeploymentSpec, ctx: TaskContext, secrets: dict[str, SecretKeyRef]
) -> dict[str, Any]:
    labels = {f"{LABEL_PREFIX}{key}": value for key, value in _identity(ctx).items()}
    return {
        "remote_identity": ctx.service_account,
        "provision_timeout": spec.resources.provision_timeout_seconds,
        "pod_config": pod_config(spec.pod_template, secrets),
        # Put on pods and on SkyPilot's Services, so that both can be found when SkyPilot has forgotten them.
        "custom_metadata": {"labels": labels},
    }


def _identity(ctx: TaskContext) -> dict[str, str]:
    name = ctx.deployment_name[:_TAG_LENGTH].rstrip("-._")
    return {"name": name, "uid": ctx.deployment_uid, "revision": ctx.revision}


def _tags(ctx: TaskContext) -> dict[str, str]:
    tags = {f"{_TAG_PREFIX}{key}": value.replace(".", "-").lower() for key, value in _identity(ctx).items()}
    return tags | {f"{_TAG_PREFIX}namespace": ctx.namespace}


def _resources(spec: DeepSeekDeploymentSpec, plan: Plan, ctx: TaskContext) -> dict[str, Any]:
    """Return ``resources``: one block, or a list in the user's order of infra, GPUs and capacity."""
    common = _common(spec, plan)
    entries = [
        copy.deepcopy({**place, **accelerator, **capacity})
        for place in _places(spec, plan, ctx)
        for capacity in _capacity(spec, place)
        for accelerator in _accelerators(plan)
    ]
    if len(entries) == 1:
        return {**common, **entries[0]}
    # Places have an order, and spot comes before on-demand; which GPU it is, the optimizer decides.
    ordered = len(spec.resources.infra) > 1 or spec.resources.capacity_type is CapacityType.SPOT_THEN_ON_DEMAND
    return {**common, ("ordered" if ordered else "any_of"): entries}


def _common(spec: DeepSeekDeploymentSpec, plan: Plan) -> dict[str, Any]:
    resources: dict[str, Any] = {"image_id": f"docker:{plan.image}"}
    cpus = spec.resources.cpus or (f"{plan.cpus}+" if plan.cpus else None)
    memory = spec.resources.memory or (f"{plan.memory_gb}+" if plan.memory_gb else None)
    if cpus is not None:
        resources["cpus"] = cpus
    if memory is not None:
        resources["memory"] = memory
    return resources


def _places(spec: DeepSeekDeploymentSpec, plan: Plan, ctx: TaskContext) -> list[dict[str, Any]]:
    if not spec.resources.infra:
        return [_cloud(spec, plan, ctx)]
    places = []
    for entry in spec.resources.infra:
        if is_kubernetes(entry):
            _, _, context = entry.partition("/")
            context = context or ctx.kubernetes_context or ""
            places.append({"infra": f"k8s/{context}" if context else "k8s"})
        else:
            places.append({"infra": entry, **_cloud(spec, plan, ctx)})
    return places


def _cloud(spec: DeepSeekDeploymentSpec, plan: Plan, ctx: TaskContext) -> dict[str, Any]:
    place: dict[str, Any] = {"ports": [plan.port], "labels": _tags(ctx)}
    disk = spec.resources.disk_size or plan.disk_gb
    if disk is not None:
        place["disk_size"] = disk
    if plan.max_instance_hourly_cost is not None:
        place["max_hourly_cost"] = float(plan.max_instance_hourly_cost)
    return place


def _capacity(spec: DeepSeekDeploymentSpec, place: dict[str, Any]) -> list[dict[str, Any]]:
    kind = spec.resources.capacity_type
    if kind is CapacityType.ON_DEMAND or str(place.get("infra", "")).startswith("k8s"):
        return [{}]
    if kind is CapacityType.SPOT:
        return [{"use_spot": True}]
    return [{"use_spot": True}, {"use_spot": False}]


def _accelerators(plan: Plan) -> list[dict[str, Any]]:
    return [{"accelerators": text} for text in plan.accelerators] or [{}]
