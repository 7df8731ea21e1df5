"""The operators of a cluster: their Deployments, and the pods in which they can be asked.

The chart's labels are also on the Deployment of a SkyPilot server that has one of its own.
"""

import argparse
from collections.abc import Iterable, Mapping
from typing import Any, Final

from deepseek_operator.plugin.kubectl import Kubectl, KubectlError, Reading

__all__ = [
    "DEFAULT_NAMESPACE",
    "containers",
    "is_skypilot",
    "look_for",
    "namespace_option",
    "pods_of",
    "read",
    "running",
]

DEFAULT_NAMESPACE: Final = "deepseek-system"
"""Namespace of the operator in the README; looked into by those who may not look into all."""
_SELECTOR: Final = "app.kubernetes.io/name=deepseek-operator"


def look_for(kubectl: Kubectl, namespace: str) -> tuple[Reading, Reading]:
    """Start looking for operators everywhere, and in their namespace."""
    everywhere = kubectl.get("deployments.apps", "--all-namespaces", "--selector", _SELECTOR)
    return everywhere, kubectl.within(namespace).get("deployments.apps", "--selector", _SELECTOR)


def read(readings: Iterable[Reading]) -> tuple[list[dict[str, Any]], str]:
    """Return the operators of the first reading that was allowed; else why none was."""
    why = ""
    for reading in readings:
        try:
            return reading.items(), ""
        except KubectlError as error:
            why = error.message
    return [], why


def containers(deployment: Mapping[str, Any]) -> list[str]:
    """Return the names of the containers of a Deployment's pods."""
    return [str(container["name"]) for container in deployment["spec"]["template"]["spec"]["containers"]]


def is_skypilot(deployment: Mapping[str, Any]) -> bool:
    """Return whether a Deployment of the chart is that of SkyPilot (``skypilot.mode=deployment``)."""
    return "skypilot" in containers(deployment) and "operator" not in containers(deployment)


def pods_of(kubectl: Kubectl, operator: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the pods of an operator, in whose namespace ``kubectl`` looks.

    Raises
    ------
    KubectlError
        If they cannot be listed.
    """
    labels = operator["spec"]["selector"]["matchLabels"]
    return kubectl.get("pods", "--selector", ",".join(f"{key}={value}" for key, value in labels.items())).items()


def running(pods: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the name of a pod that runs."""
    found = (pod for pod in pods if (pod.get("status") or {}).get("phase") == "Running")
    return next((str(pod["metadata"]["name"]) for pod in found), None)


def namespace_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--operator-namespace``."""
    parser.add_argument(
        "--operator-namespace",
        default=DEFAULT_NAMESPACE,
        metavar="NAMESPACE",
        help=f"where the operator is, for those who may not look into all namespaces (default: {DEFAULT_NAMESPACE})",
    )
