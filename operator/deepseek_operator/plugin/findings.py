"""What ``doctor`` makes of what it has read: each finding with what to fix. Pure, but for the catalog's parser."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deepseek_operator.api.names import API_VERSION, VERSION
from deepseek_operator.facts.text import clean
from deepseek_operator.plugin.objects import condition

__all__ = [
    "INSTALL",
    "RIGHTS",
    "SKYPILOT_VERSION",
    "Finding",
    "Right",
    "about_crd",
    "about_gpus",
    "about_kubernetes",
    "about_namespace",
    "about_operator",
    "about_rights",
    "about_skypilot",
]

SKYPILOT_VERSION: Final = "0.14.1"
"""Version of SkyPilot that the operator of this version was tested against; a test compares the two."""
OLDEST_KUBERNETES: Final = (1, 30)
"""The chart's ``kubeVersion``."""
INSTALL: Final = (
    "helm upgrade --install deepseek-operator charts/deepseek-operator -n deepseek-system --create-namespace"
)
_GPUS: Final = ("nvidia.com/gpu", "amd.com/gpu")
_LABELS: Final = (
    "skypilot.co/accelerator",
    "nvidia.com/gpu.product",
    "cloud.google.com/gke-accelerator",
    "gpu.nvidia.com/class",
    "karpenter.k8s.aws/instance-gpu-name",
    "nebius.com/gpu-name",
)
"""Labels by which SkyPilot 0.14.1 tells which GPUs a node has (sky/provision/kubernetes/utils.py)."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``level`` is ``ok``, ``warning`` or ``fault``."""

    check: str
    level: str
    message: str
    fix: str = ""


@dataclass(frozen=True)
class Right:
    """A right of the user, and what it is for."""

    verb: str
    resource: str
    purpose: str
    needed: bool = False
    """Without it the plugin is of no use."""

    @property
    def rule(self) -> str:
        """The rule of a Role that grants it."""
        kind, _, group = self.resource.partition(".")
        return f'{{apiGroups: ["{group}"], resources: [{kind}], verbs: [{self.verb}]}}'


_DSD: Final = "deepseekdeployments.deepseek-operator.io"
RIGHTS: Final = (
    Right("get", _DSD, "every command", needed=True),
    Right("list", _DSD, "status", needed=True),
    Right("create", _DSD, "creating deployments"),
    Right("patch", _DSD, "approve, and changing deployments"),
    Right("delete", _DSD, "deleting deployments"),
    Right("list", "pods", "the nodes in status, logs, chat and bench"),
    Right("create", "pods/exec", "logs"),
    Right("create", "pods/portforward", "chat and bench"),
    Right("list", "events", "events"),
)


def about_kubernetes(version: Mapping[str, Any]) -> Finding:
    """Judge the version of the API server."""
    text = str(version.get("gitVersion", "?")).removeprefix("v")
    match = re.match(r"(\d+)\.(\d+)", text)
    if match is not None and (int(match[1]), int(match[2])) < OLDEST_KUBERNETES:
        oldest = ".".join(map(str, OLDEST_KUBERNETES))
        return Finding("Kubernetes", "fault", f"version {text}", f"the operator needs {oldest}: upgrade the cluster")
    return Finding("Kubernetes", "ok", f"version {text}")


def about_crd(crd: Mapping[str, Any] | None, known: Mapping[str, Any], *, same_version: bool) -> Iterator[Finding]:
    """Judge the installed CRD; None if there is none.

    Parameters
    ----------
    known
        The CRD of the plugin's own version.
    same_version
        The operator that runs has this version, too: it writes fields that the CRD then has to know.
    """
    if crd is None:
        yield Finding("CRD", "fault", "is not installed", INSTALL)
        return
    served = [version["name"] for version in crd["spec"]["versions"] if version.get("served")]
    if VERSION not in served:
        yield Finding("CRD", "fault", f"serves {', '.join(served) or 'nothing'}, not {VERSION}", INSTALL)
        return
    if condition(crd, "Established").get("status") != "True":
        why = condition(crd, "NamesAccepted").get("message") or "it is not established"
        yield Finding("CRD", "fault", clean(str(why)), "remove what has the same names; kubectl describe crd names it")
        return
    missing = sorted(_fields(known) - _fields(crd))
    if missing:
        level = "fault" if same_version else "warning"
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        yield Finding("CRD", level, f"is older than this version: it does not know {shown}", INSTALL)
        return
    yield Finding("CRD", "ok", f"serves {API_VERSION}")


def _fields(crd: Mapping[str, Any]) -> set[str]:
    version: Mapping[str, Any] = next((each for each in crd["spec"]["versions"] if each["name"] == VERSION), {})
    return set(_paths((version.get("schema") or {}).get("openAPIV3Schema") or {}, ""))


def _paths(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, inner in (schema.get("properties") or {}).items():
        yield f"{path}{name}"
        yield from _paths(inner, f"{path}{name}.")
    items = schema.get("items")
    if isinstance(items, Mapping):
        yield from _paths(items, path)


def about_rights(allowed: Mapping[Right, bool | None]) -> Iterator[Finding]:
    """Judge the rights of the user; None where kubectl could not find out."""
    denied = [right for right, answer in allowed.items() if answer is False]
    for right in denied:
        yield Finding(
            "rights",
            "fault" if right.needed else "warning",
            f"you may not {right.verb} {right.resource}, needed for {right.purpose}",
            f"have this rule added to a Role of yours: {right.rule}",
        )
    if None in allowed.values():
        yield Finding("rights", "warning", "could not all be found out", "run: kubectl auth can-i --list")
    elif not denied:
        yield Finding("rights", "ok", "you may do everything that the plugin does")


def about_operator(
    deployment: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], plugin: str, what: str = "operator"
) -> Iterator[Finding]:
    """Judge one Deployment of the chart.

    Parameters
    ----------
    plugin
        The plugin's own version.
    what
        What runs in it: the operator, or SkyPilot.
    """
    metadata = deployment["metadata"]
    name = f"{metadata['namespace']}/{metadata['name']}"
    version = str((metadata.get("labels") or {}).get("app.kubernetes.io/version", "?"))
    if condition(deployment, "Available").get("status") == "True":
        yield Finding(what, "ok", f"{name} {version} is available")
    else:
        wanted = int((deployment.get("spec") or {}).get("replicas", 1))
        if wanted == 0:
            fix = f"kubectl scale -n {metadata['namespace']} deploy/{metadata['name']} --replicas=1"
            yield Finding(what, "fault", f"{name} is scaled to zero", fix)
        else:
            why = "; ".join(dict.fromkeys(_troubles(pods))) or "it has no pod"
            labels = ",".join(f"{key}={value}" for key, value in deployment["spec"]["selector"]["matchLabels"].items())
            fix = f"kubectl describe pods -n {metadata['namespace']} -l {labels}"
            yield Finding(what, "fault", f"{name} is not available: {why}", fix)
    if version not in ("?", plugin):
        yield Finding(what, "warning", f"{name} is {version}, this plugin {plugin}", "use the same version of both")


def _troubles(pods: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for pod in pods:
        for found in (pod.get("status") or {}).get("conditions") or ():
            if found.get("type") == "PodScheduled" and found.get("status") == "False":
                yield clean(str(found.get("message") or "no node has room"))
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            state = container.get("state") or {}
            waiting = state.get("waiting") or {}
            if waiting:
                yield clean(
                    f"container {container.get('name')}: {waiting.get('reason')} {waiting.get('message') or ''}"
                )
            elif not container.get("ready"):
                only = ", which it is only while SkyPilot answers" if container.get("name") == "operator" else ""
                yield f"container {container.get('name')} is not ready{only}"


def about_namespace(namespace: str, served: Iterable[frozenset[str]]) -> Iterator[Finding]:
    """Judge whether an operator serves the user's namespace; an empty set stands for one that serves all."""
    sets = tuple(served)
    if all(names and namespace not in names for names in sets):
        shown = ", ".join(sorted(frozenset().union(*sets)))
        fix = "add it to the chart's watchNamespaces, or use one of those"
        yield Finding("namespace", "warning", f"no operator serves {namespace}, but {shown}", fix)
    else:
        yield Finding("namespace", "ok", f"{namespace} is served")


def about_skypilot(health: Mapping[str, Any]) -> Finding:
    """Judge what the SkyPilot API server says of itself."""
    version, state = str(health.get("version", "?")), str(health.get("status", "?"))
    if state != "healthy":
        return Finding("SkyPilot", "fault", f"its API server is {state}", "read the log of the container skypilot")
    if version != SKYPILOT_VERSION:
        message = f"{version}; this operator was tested with {SKYPILOT_VERSION}"
        return Finding("SkyPilot", "warning", message, "use the chart's image of the skypilot container")
    return Finding("SkyPilot", "ok", f"{version} answers")


def about_gpus(nodes: Iterable[Mapping[str, Any]], names: Iterable[str]) -> Iterator[Finding]:
    """Judge the GPUs of the cluster's nodes; ``names`` are those that the catalog knows."""
    known, kinds, any_gpu = tuple(names), dict[str, int](), False
    for node in nodes:
        name, labels = node["metadata"]["name"], node["metadata"].get("labels") or {}
        label = next((key for key in _LABELS if labels.get(key)), None)
        count = _count(node, "capacity")
        if not count and label is None:
            continue
        any_gpu = True
        if not count:
            fix = "install the device plugin of the GPUs' vendor (NVIDIA: the GPU Operator brings it)"
            yield Finding("GPUs", "fault", f"node {name} has the label {label} but offers no GPU", fix)
        elif label is None:
            fix = (
                f"kubectl label node {name} {_LABELS[0]}=NAME (deepseek-operator gpus lists names), or install NVIDIA's"
            )
            yield Finding(
                "GPUs",
                "fault",
                f"node {name} has {count} GPUs and no label that tells SkyPilot which",
                f"{fix} GPU Feature Discovery",
            )
        else:
            yield from _about_node(node, name, str(labels[label]), known)
            kind = f"{count}×{labels[label]}"
            kinds[kind] = kinds.get(kind, 0) + 1
    if kinds:
        listed = ", ".join(f"{number} with {kind}" for kind, number in sorted(kinds.items()))
        yield Finding("GPUs", "ok", f"nodes: {listed}")
    if not any_gpu:
        message = "no node has GPUs; what is left are engines on CPUs and rented machines (resources.infra)"
        yield Finding("GPUs", "warning", message, "add nodes with GPUs if there should be some")


def _about_node(node: Mapping[str, Any], name: str, kind: str, known: Iterable[str]) -> Iterator[Finding]:
    count, offered = _count(node, "capacity"), _count(node, "allocatable")
    if offered < count:
        message = f"node {name} offers {offered} of its {count} GPUs; the others are unhealthy"
        yield Finding("GPUs", "warning", message, "see the log of the device plugin on that node, and nvidia-smi")
    if condition(node, "Ready").get("status") != "True":
        yield Finding("GPUs", "warning", f"node {name} with GPUs is not Ready", f"kubectl describe node {name}")
    elif (node.get("spec") or {}).get("unschedulable"):
        yield Finding("GPUs", "warning", f"node {name} with GPUs is cordoned", f"kubectl uncordon {name}")
    if not any(re.search(rf"\b{re.escape(each)}\b", kind, re.IGNORECASE) for each in known):
        message = f"node {name} has GPUs {kind}, which the catalog does not know"
        yield Finding("GPUs", "warning", message, "add a row for it: value catalog of the chart, examples/catalog.yaml")


def _count(node: Mapping[str, Any], what: str) -> int:
    amounts = (node.get("status") or {}).get(what) or {}
    return sum(int(amounts.get(key) or 0) for key in _GPUS)
