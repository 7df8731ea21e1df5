"""The options of ``deepseek-operator run``: how each is written, its environment variable, and what its help says.

``audit`` has those by which the SkyPilot server is reached as well. Whatever can be seen to be wrong before anything
starts is refused here, in a sentence that names the option.
"""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from pydantic import ValidationError

from deepseek_operator.cli import logs
from deepseek_operator.cli.input import sentence
from deepseek_operator.launch.proxy_pod import ProxyPod as Pod
from deepseek_operator.runtime.health import address_of
from deepseek_operator.skypilot.authority import AuthorityFile

ENV = "DEEPSEEK_OPERATOR_"


def web_address(url: str) -> str:
    """Return a URL, or refuse it."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # half an IPv6 address, or a port that is none
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise typer.BadParameter(f"{url!r} is no URL such as http://127.0.0.1:46580")
    return url


def user_id(value: str) -> str:
    """Return a SkyPilot user id, or refuse it."""
    if not re.fullmatch("[0-9a-f]{8}", value):
        raise typer.BadParameter("must be 8 lower-case hexadecimal digits")
    return value


def authorities(file: Path | None) -> Path | None:
    """Return a file that holds certificates, or refuse it."""
    try:
        if file is not None:
            AuthorityFile(file)
    except OSError as error:
        raise typer.BadParameter(f"{file} holds no certificate in PEM") from error
    return file


def proxy_pod(text: str | None) -> str | None:
    """Return what may be said of the pods of proxies, or refuse it."""
    try:
        Pod.model_validate_json(text or "{}")
    except ValidationError as error:
        raise typer.BadParameter(sentence(error, Pod)) from error
    return text


def lease(value: str | None) -> str | None:
    """Return the namespace and the name of a Lease, or refuse them."""
    if value and not re.fullmatch("[^/]+/[^/]+", value):
        raise typer.BadParameter(f"{value!r} is not NAMESPACE/NAME")
    return value


def address(value: str | None) -> str | None:
    """Return where to listen, or refuse it."""
    try:
        if value:
            address_of(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return value


def namespaces(values: list[str] | None) -> list[str] | None:
    """Return names that namespaces may have, or refuse the first that is none."""
    for value in values or ():
        if not re.fullmatch("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", value):
            raise typer.BadParameter(f"{value!r} is no name of a namespace")
    return values


SkypilotEndpoint = Annotated[
    str,
    typer.Option(envvar=f"{ENV}SKYPILOT_ENDPOINT", callback=web_address, help="Base URL of the SkyPilot API server."),
]
SkypilotUserId = Annotated[
    str,
    typer.Option(
        envvar=f"{ENV}SKYPILOT_USER_ID",
        callback=user_id,
        help="8 hexadecimal digits that end every name on the cloud. Never change it while anything runs.",
    ),
]
SkypilotTokenFile = Annotated[
    Path | None,
    typer.Option(
        envvar=f"{ENV}SKYPILOT_TOKEN_FILE",
        exists=True,
        dir_okay=False,
        help="File with a SkyPilot service-account token.",
    ),
]
SkypilotCaFile = Annotated[
    Path | None,
    typer.Option(
        envvar=f"{ENV}SKYPILOT_CA_FILE",
        exists=True,
        dir_okay=False,
        callback=authorities,
        help="File with the certificates, in PEM, by which that of the SkyPilot API server is believed. "
        "Unset: the public ones of this machine.",
    ),
]
KubernetesContext = Annotated[
    str | None,
    typer.Option(
        envvar=f"{ENV}KUBERNETES_CONTEXT",
        help="Context of the SkyPilot server in which replicas on Kubernetes run. Unset: its own cluster.",
    ),
]
DefaultInfra = Annotated[
    list[str] | None,
    typer.Option(
        envvar=f"{ENV}DEFAULT_INFRA",
        help="Where deployments without resources.infra run; may be repeated. Unset: kubernetes.",
    ),
]
Namespace = Annotated[
    list[str] | None,
    typer.Option(
        envvar=f"{ENV}NAMESPACES", callback=namespaces, help="Namespace to serve; may be repeated. Unset: all."
    ),
]
Catalog = Annotated[
    list[Path] | None,
    typer.Option(
        envvar=f"{ENV}CATALOG",
        help="File or directory that adds or replaces models, GPUs and prices; may be repeated.",
    ),
]
Workers = Annotated[
    int, typer.Option(envvar=f"{ENV}WORKERS", min=1, max=64, help="Deployments worked on side by side.")
]
LaunchSlots = Annotated[
    int,
    typer.Option(
        envvar=f"{ENV}LAUNCH_SLOTS", min=1, max=4096, help="Launches in flight at the SkyPilot server at once."
    ),
]
ProxyImage = Annotated[
    str,
    typer.Option(
        envvar=f"{ENV}PROXY_IMAGE", help="Image of the proxy in front of rented machines: HAProxy 2.6 or newer."
    ),
]
ProxyReplicas = Annotated[
    int, typer.Option(envvar=f"{ENV}PROXY_REPLICAS", min=1, max=16, help="Pods of the proxy of each deployment.")
]
ProxyPod = Annotated[
    str | None,
    typer.Option(
        envvar=f"{ENV}PROXY_POD",
        callback=proxy_pod,
        help="What is said of the pods of every proxy, as JSON: labels, annotations, imagePullSecrets, nodeSelector, "
        "tolerations, affinity, priorityClassName, resources, and of securityContext runAsUser and runAsGroup. "
        "Unset: both ids are 65532.",
    ),
]
Lease = Annotated[
    str | None,
    typer.Option(
        envvar=f"{ENV}LEASE",
        callback=lease,
        help="NAMESPACE/NAME of the Lease to hold before acting. Unset: act at once, with no other operator near.",
    ),
]
Instance = Annotated[
    str | None,
    typer.Option(
        envvar=f"{ENV}INSTANCE",
        help="Name of this process in its Lease and in Events; no two may share one. Unset: the host's name.",
    ),
]
HealthAddress = Annotated[
    str,
    typer.Option(
        envvar=f"{ENV}HEALTH_ADDRESS",
        callback=address,
        help="host:port of the liveness probe at /healthz. Without a host: every address, IPv4 and IPv6.",
    ),
]
ReadinessAddress = Annotated[
    str | None,
    typer.Option(
        envvar=f"{ENV}READINESS_ADDRESS",
        callback=address,
        help="host:port of the readiness probe at /readyz: whether SkyPilot answers. Unset: none is served.",
    ),
]
MetricsPort = Annotated[
    int,
    typer.Option(envvar=f"{ENV}METRICS_PORT", min=0, max=65535, help="Port of the Prometheus metrics; 0 serves none."),
]
TracingEndpoint = Annotated[
    str | None,
    typer.Option(
        envvar="OTEL_EXPORTER_OTLP_ENDPOINT",
        help="Base URL to send traces to, by OTLP over HTTP: http://collector:4318. Unset: none are made.",
    ),
]
LogFormat = Annotated[logs.LogFormat, typer.Option(envvar=f"{ENV}LOG_FORMAT", help="json or console.")]
