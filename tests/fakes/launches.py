"""What a launch asks for, how it may end, and whose clusters are whose."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import yaml

from tests.fakes.nodes import Wanted
from tests.fakes.payloads import Failed

__all__ = ["EVERY", "Crash", "Fault", "any_belongs", "belongs", "name_of", "read"]

EVERY: Final = "*"
_CLUSTER_NAME: Final = re.compile(r"[a-zA-Z]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?")
_TASK_KEYS: Final = frozenset(
    {"name", "num_nodes", "resources", "run", "setup", "envs", "secrets", "config", "workdir", "file_mounts"}
)


@dataclass(frozen=True)
class Fault:
    """How a launch fails, in SkyPilot's words; see :meth:`FakeSkyPilot.fail_next_launch`."""

    error_type: str
    message: str
    log: str
    keeps_nodes: bool


@dataclass
class Crash:
    """How an engine ends: its last lines and the status of its job."""

    log: str
    status: str


def name_of(body: dict[str, Any]) -> str:
    """Return the name of the cluster that a request is about; empty if it is about none."""
    return str(body.get("cluster_name") or "")


def any_belongs(cluster: str, deployments: Iterable[str]) -> bool:
    """Whether a cluster belongs to one of these deployments."""
    return any(belongs(cluster, deployment) for deployment in list(deployments))


def belongs(cluster: str, deployment: str) -> bool:
    """Whether a cluster belongs to a deployment, by the names that the operator gives."""
    return (
        re.fullmatch(rf"{re.escape(deployment[:13].rstrip('-'))}-[0-9a-f]{{8}}-[0-9a-f]{{8}}-\d+", cluster) is not None
    )


def read(body: dict[str, Any]) -> tuple[Wanted, int]:
    """Return what a launch asks for and the port of its engine, or refuse it in SkyPilot's words."""
    name = name_of(body)
    if not _CLUSTER_NAME.fullmatch(name):
        raise Failed("InvalidClusterNameError", f'Cluster name "{name}" is invalid')
    try:
        task = yaml.load(body["task"], Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise Failed("ParserError", str(error)) from error
    if unknown := sorted(set(task) - _TASK_KEYS):
        raise Failed("InvalidSkyPilotConfigError", f"Invalid task YAML: Instead of '{unknown[0]}', did you mean ...?")
    resources = task.get("resources") or {}
    resources |= next(iter(resources.get("ordered") or resources.get("any_of") or ()), {})
    cloud, _, context = str(resources.get("infra", "k8s")).partition("/")
    if cloud not in ("k8s", "kubernetes"):
        raise Failed("ResourcesUnavailableError", f"Task requires {cloud} which is not enabled. To enable access, ...")
    if context not in ("", "in-cluster"):
        raise Failed("ValueError", f"Context {context} not found in kubeconfig.")
    if resources.get("accelerators"):
        gpu, _, count = str(resources["accelerators"]).partition(":")
        what = f"1x Kubernetes({ {gpu: int(count or 1)} })"
        text = f"Kubernetes cluster does not contain any instances satisfying the request: {what}."
        raise Failed("ResourcesUnavailableError", text)
    user = body.get("env_vars", {}).get("SKYPILOT_USER_ID", "00000000")
    kubernetes = (task.get("config") or {}).get("kubernetes") or {}
    namespace = ((body.get("override_skypilot_config") or {}).get("kubernetes") or {}).get("namespace", "default")
    image = str(resources.get("image_id", "")).removeprefix("docker:")
    wanted = Wanted(
        cluster=name,
        on_cloud=f"{re.sub('[._]', '-', name.lower())}-{user}",
        user=str(body.get("env_vars", {}).get("SKYPILOT_USER", "")),
        namespace=namespace,
        nodes=int(task.get("num_nodes") or 1),
        image=image,
        kubernetes=kubernetes,
    )
    port = re.search(r"--port[= ](\d+)", str(task.get("run")))
    return wanted, int(port[1]) if port else 8000
