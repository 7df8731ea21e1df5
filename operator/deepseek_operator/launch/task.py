"""From a plan to what SkyPilot is asked to launch: the task, and the settings that a task may not hold.

What SkyPilot 0.14.1 does with each key, and why it is set as it is, stands in docs/planning.md. In short: on Kubernetes
no ``ports`` (its load balancer would send requests to workers), secrets by ``secretKeyRef`` (SkyPilot keeps task
secrets in its request database), namespace through the request's own configuration (a task may not set it).
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from deepseek_operator.api.places import Place
from deepseek_operator.api.spec import CapacityType, DeepSeekDeploymentSpec, EngineRuntime, SecretKeyRef
from deepseek_operator.api.v1alpha1 import GROUP
from deepseek_operator.engines import Engine, get_engine
from deepseek_operator.launch.packages import setup_script, with_packages
from deepseek_operator.launch.pod import pod_config
from deepseek_operator.launch.script import TLS_VARIABLE, run_script
from deepseek_operator.planning import Plan, Planned

__all__ = ["Identity", "LaunchTask", "SecretValue", "build_task"]

_TAG_PREFIX = "deepseek-operator-"
"""Prefix of cloud tags: GCP allows neither dots nor slashes in a label's key, and SkyPilot refuses the task then."""
_CLOUDS_WITH_CREDENTIAL_FILES: Final = ("aws", "azure", "gcp", "nebius", "oci", "vast")
"""Clouds whose credential files SkyPilot would copy to every node that it starts, pods included, unless told not to.
Those of which its configuration can say so (0.14.1, ``sky/utils/schemas.py``)."""
_TAG_LENGTH = 63
_LEAST_LIMIT: Final = Decimal("0.0001")
"""US dollars an hour, less than any machine costs. What a budget leaves for each of several nodes may be rounded to 0,
which SkyPilot refuses together with the whole task, its entry for the cluster included."""


@dataclass(frozen=True)
class Identity:
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
    override_skypilot_config: dict[str, Any]
    secrets: tuple[SecretValue, ...] = field(default=())
    """Empty where only Kubernetes is used: there the kubelet reads them."""
    encrypted: bool = False
    """The client has to fill in an engine's identity as well: ``task["secrets"][TLS_VARIABLE]``."""


def build_task(planned: Planned, identity: Identity) -> LaunchTask:
    """Return the launch request of one replica."""
    spec = planned.spec
    places, clouds = planned.places, planned.rents
    kubernetes = not places or any(place.is_kubernetes for place in places)
    secrets = planned.secrets
    own_key = planned.own_api_key(identity.deployment_name)
    engine = get_engine(planned.engine)
    key_variable = engine.api_key_variable
    rented = secrets if own_key is None else {**secrets, key_variable: own_key}
    run = run_script(engine, planned.serve, encrypted=clouds, own_key=key_variable if own_key is not None else None)
    task: dict[str, Any] = {
        "name": identity.cluster_name,
        "num_nodes": planned.nodes,
        "resources": _resources(planned, identity),
        **_scripts(engine, run, spec.engine.runtime),
    }
    if planned.environment:
        task["envs"] = dict(planned.environment)
    if clouds:
        task["secrets"] = dict.fromkeys((*rented, TLS_VARIABLE))
    # Whoever takes over an engine would have the accounts otherwise; a node that serves needs none of them.
    override: dict[str, Any] = {cloud: {"remote_identity": "NO_UPLOAD"} for cloud in _CLOUDS_WITH_CREDENTIAL_FILES}
    if kubernetes:
        task["config"] = {"kubernetes": _kubernetes_config(spec, identity, secrets)}
        override["kubernetes"] = {"namespace": identity.namespace, "ports": "podip"}
    return LaunchTask(
        task=task,
        cluster_name=identity.cluster_name,
        override_skypilot_config=override,
        secrets=tuple(SecretValue(name, ref) for name, ref in rented.items()) if clouds else (),
        encrypted=clouds,
    )


def _scripts(engine: Engine, run: str, runtime: EngineRuntime) -> dict[str, str]:
    if runtime is EngineRuntime.IMAGE:
        return {"run": run}
    return {"setup": setup_script(engine), "run": with_packages(engine, run)}


def _kubernetes_config(
    spec: DeepSeekDeploymentSpec, identity: Identity, secrets: Mapping[str, SecretKeyRef]
) -> dict[str, Any]:
    labels = {f"{GROUP}/{key}": value for key, value in _identity(identity).items()}
    return {
        "remote_identity": identity.service_account,
        "provision_timeout": spec.resources.provision_timeout_seconds,
        "pod_config": pod_config(spec.pod_template, secrets),
        # Put on pods and on SkyPilot's Services, so that both can be found when SkyPilot has forgotten them.
        "custom_metadata": {"labels": labels},
    }


def _identity(identity: Identity) -> dict[str, str]:
    name = identity.deployment_name[:_TAG_LENGTH].rstrip("-._")
    return {"name": name, "uid": identity.deployment_uid, "revision": identity.revision}


def _tags(identity: Identity) -> dict[str, str]:
    tags = {f"{_TAG_PREFIX}{key}": value.replace(".", "-").lower() for key, value in _identity(identity).items()}
    return tags | {f"{_TAG_PREFIX}namespace": identity.namespace}


def _resources(planned: Planned, identity: Identity) -> dict[str, Any]:
    """Return ``resources``: one block, or a list in the user's order of infra, GPUs and capacity."""
    spec = planned.spec
    common = _common(spec, planned)
    entries = [
        copy.deepcopy({**place, **accelerator, **capacity})
        for place in _places(planned, identity)
        for capacity in _capacity(spec, place)
        for accelerator in _accelerators(planned)
    ]
    if len(entries) == 1:
        return {**common, **entries[0]}
    # Places have an order, and spot comes before on-demand; which GPU it is, the optimizer decides.
    return {**common, ("ordered" if spec.resources.ordered else "any_of"): entries}


def _common(spec: DeepSeekDeploymentSpec, plan: Plan) -> dict[str, Any]:
    resources: dict[str, Any] = {}
    if spec.engine.runtime is EngineRuntime.IMAGE:
        resources["image_id"] = f"docker:{plan.image}"
    cpus = spec.resources.cpus or (f"{plan.cpus}+" if plan.cpus else None)
    memory = spec.resources.memory or (f"{plan.memory_gb}+" if plan.memory_gb else None)
    if cpus is not None:
        resources["cpus"] = cpus
    if memory is not None:
        resources["memory"] = memory
    return resources


def _places(planned: Planned, identity: Identity) -> list[dict[str, Any]]:
    cloud = _cloud(planned.spec, planned, identity)
    return [_place(place, cloud, identity) for place in planned.places] or [cloud]


def _place(place: Place, cloud: dict[str, Any], identity: Identity) -> dict[str, Any]:
    if not place.is_kubernetes:
        return {"infra": str(place), **cloud}
    context = place.context or identity.kubernetes_context
    return {"infra": f"k8s/{context}" if context else "k8s"}


def _cloud(spec: DeepSeekDeploymentSpec, plan: Plan, identity: Identity) -> dict[str, Any]:
    place: dict[str, Any] = {"ports": [plan.port], "labels": _tags(identity)}
    disk = spec.resources.disk_size or plan.disk_gb
    if disk is not None:
        place["disk_size"] = disk
    if plan.network_tier is not None:
        place["network_tier"] = plan.network_tier
    if plan.max_instance_hourly_cost is not None:
        place["max_hourly_cost"] = float(max(plan.max_instance_hourly_cost, _LEAST_LIMIT))
    return place


def _capacity(spec: DeepSeekDeploymentSpec, place: dict[str, Any]) -> list[dict[str, Any]]:
    kind = spec.resources.capacity_type
    if kind is CapacityType.ON_DEMAND or str(place.get("infra", "")).startswith("k8s"):
        return [{}]
    return [{"use_spot": spot} for spot in kind.spot]


def _accelerators(plan: Plan) -> list[dict[str, Any]]:
    return [{"accelerators": text} for text in plan.accelerators] or [{}]
