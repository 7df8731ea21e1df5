"""The options of ``deepseek-operator run``: how each is written, its environment variable, and what its help says."""

from pathlib import Path
from typing import Annotated

import typer

from deepseek_operator.cli import logs

_ENV = "DEEPSEEK_OPERATOR_"

SkypilotEndpoint = Annotated[
    str, typer.Option(envvar=f"{_ENV}SKYPILOT_ENDPOINT", help="Base URL of the SkyPilot API server.")
]
SkypilotUserId = Annotated[
    str,
    typer.Option(
        envvar=f"{_ENV}SKYPILOT_USER_ID",
        help="8 hexadecimal digits that end every name on the cloud. Never change it while anything runs.",
    ),
]
SkypilotTokenFile = Annotated[
    Path | None,
    typer.Option(envvar=f"{_ENV}SKYPILOT_TOKEN_FILE", help="File with a SkyPilot service-account token."),
]
KubernetesContext = Annotated[
    str | None,
    typer.Option(
        envvar=f"{_ENV}KUBERNETES_CONTEXT",
        help="Context of the SkyPilot server in which replicas on Kubernetes run. Unset: its own cluster.",
    ),
]
DefaultInfra = Annotated[
    list[str] | None,
    typer.Option(
        envvar=f"{_ENV}DEFAULT_INFRA",
        help="Where deployments without resources.infra run; may be repeated. Unset: kubernetes.",
    ),
]
Namespace = Annotated[
    list[str] | None,
    typer.Option(envvar=f"{_ENV}NAMESPACES", help="Namespace to serve; may be repeated. Unset: all."),
]
Catalog = Annotated[
    list[Path] | None,
    typer.Option(envvar=f"{_ENV}CATALOG", help="File that adds or replaces models and GPUs; may be repeated."),
]
Workers = Annotated[
    int, typer.Option(envvar=f"{_ENV}WORKERS", min=1, max=64, help="Deployments worked on side by side.")
]
LaunchSlots = Annotated[
    int,
    typer.Option(
        envvar=f"{_ENV}LAUNCH_SLOTS", min=1, max=4096, help="Launches in flight at the SkyPilot server at once."
    ),
]
ProxyImage = Annotated[
    str,
    typer.Option(
        envvar=f"{_ENV}PROXY_IMAGE", help="Image of the proxy in front of rented machines: HAProxy 2.6 or newer."
    ),
]
ProxyReplicas = Annotated[
    int, typer.Option(envvar=f"{_ENV}PROXY_REPLICAS", min=1, max=16, help="Pods of the proxy of each deployment.")
]
ProxyPod = Annotated[
    str | None,
    typer.Option(
        envvar=f"{_ENV}PROXY_POD",
        help="Part of a PodSpec for the pods of every proxy, as JSON: imagePullSecrets, nodeSelector, tolerations, "
        "affinity, priorityClassName, resources, and of securityContext runAsUser and runAsGroup. "
        "Unset: both ids are 65532.",
    ),
]
Lease = Annotated[
    str | None,
    typer.Option(
        envvar=f"{_ENV}LEASE",
        help="NAMESPACE/NAME of the Lease to hold before acting. Unset: act at once, with no other operator near.",
    ),
]
Instance = Annotated[
    str | None,
    typer.Option(
        envvar=f"{_ENV}INSTANCE",
        help="Name of this process in its Lease and in Events; no two may share one. Unset: the host's name.",
    ),
]
HealthAddress = Annotated[
    str, typer.Option(envvar=f"{_ENV}HEALTH_ADDRESS", help="host:port of the liveness probe at /healthz.")
]
ReadinessAddress = Annotated[
    str | None,
    typer.Option(
        envvar=f"{_ENV}READINESS_ADDRESS",
        help="host:port of the readiness probe at /readyz: whether SkyPilot answers. Unset: none is served.",
    ),
]
MetricsPort = Annotated[
    int, typer.Option(envvar=f"{_ENV}METRICS_PORT", help="Port of the Prometheus metrics; 0 serves none.")
]
TracingEndpoint = Annotated[
    str | None,
    typer.Option(
        envvar="OTEL_EXPORTER_OTLP_ENDPOINT",
        help="Base URL to send traces to, by OTLP over HTTP: http://collector:4318. Unset: none are made.",
    ),
]
LogFormat = Annotated[logs.LogFormat, typer.Option(envvar=f"{_ENV}LOG_FORMAT", help="json or console.")]
