"""``deepseek-operator run``: the operator itself."""

import asyncio
import importlib.util
import logging
import socket
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import structlog
import typer

from deepseek_operator.kube.client import missing_configuration
from deepseek_operator.launch.proxy import ProxySettings
from deepseek_operator.runtime.operator import run as run_operator
from deepseek_operator.runtime.settings import Settings

__all__ = ["check_user_id", "register"]

_DEFAULTS = Settings()
_ENV = "DEEPSEEK_OPERATOR_"


class LogFormat(StrEnum):
    """How log lines are written."""

    JSON = "json"
    CONSOLE = "console"


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(short_help="Watch DeepSeekDeployments and serve them until stopped.")(run)


def run(
    skypilot_endpoint: Annotated[
        str, typer.Option(envvar=f"{_ENV}SKYPILOT_ENDPOINT", help="Base URL of the SkyPilot API server.")
    ] = _DEFAULTS.skypilot_endpoint,
    skypilot_user_id: Annotated[
        str,
        typer.Option(
            envvar=f"{_ENV}SKYPILOT_USER_ID",
            help="8 hexadecimal digits that end every name on the cloud. Never change it while anything runs.",
        ),
    ] = _DEFAULTS.skypilot_user_id,
    skypilot_token_file: Annotated[
        Path | None,
        typer.Option(envvar=f"{_ENV}SKYPILOT_TOKEN_FILE", help="File with a SkyPilot service-account token."),
    ] = None,
    kubernetes_context: Annotated[
        str | None,
        typer.Option(
            envvar=f"{_ENV}KUBERNETES_CONTEXT",
            help="Context of the SkyPilot server in which replicas on Kubernetes run. Unset: its own cluster.",
        ),
    ] = None,
    default_infra: Annotated[
        list[str] | None,
        typer.Option(
            envvar=f"{_ENV}DEFAULT_INFRA",
            help="Where deployments without resources.infra run; may be repeated. Unset: kubernetes.",
        ),
    ] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(envvar=f"{_ENV}NAMESPACES", help="Namespace to serve; may be repeated. Unset: all."),
    ] = None,
    catalog: Annotated[
        list[Path] | None,
        typer.Option(envvar=f"{_ENV}CATALOG", help="File that adds or replaces models and GPUs; may be repeated."),
    ] = None,
    workers: Annotated[
        int, typer.Option(envvar=f"{_ENV}WORKERS", min=1, max=64, help="Deployments worked on side by side.")
    ] = _DEFAULTS.workers,
    launch_slots: Annotated[
        int,
        typer.Option(
            envvar=f"{_ENV}LAUNCH_SLOTS", min=1, max=4096, help="Launches in flight at the SkyPilot server at once."
        ),
    ] = _DEFAULTS.launch_slots,
    proxy_image: Annotated[
        str,
        typer.Option(
            envvar=f"{_ENV}PROXY_IMAGE", help="Image of the proxy in front of rented machines: HAProxy 2.6 or newer."
        ),
    ] = _DEFAULTS.proxy.image,
    proxy_replicas: Annotated[
        int, typer.Option(envvar=f"{_ENV}PROXY_REPLICAS", min=1, max=16, help="Pods of the proxy of each deployment.")
    ] = _DEFAULTS.proxy.replicas,
    lease: Annotated[
        str | None,
        typer.Option(
            envvar=f"{_ENV}LEASE",
            help="NAMESPACE/NAME of the Lease to hold before acting. Unset: act at once, with no other operator near.",
        ),
    ] = None,
    instance: Annotated[
        str | None,
        typer.Option(
            envvar=f"{_ENV}INSTANCE",
            help="Name of this process in its Lease and in Events; no two may share one. Unset: the host's name.",
        ),
    ] = None,
    health_address: Annotated[
        str, typer.Option(envvar=f"{_ENV}HEALTH_ADDRESS", help="host:port of the liveness probe at /healthz.")
    ] = _DEFAULTS.health_address,
    readiness_address: Annotated[
        str | None,
        typer.Option(
            envvar=f"{_ENV}READINESS_ADDRESS",
            help="host:port of the readiness probe at /readyz: whether SkyPilot answers. Unset: none is served.",
        ),
    ] = None,
    metrics_port: Annotated[
        int, typer.Option(envvar=f"{_ENV}METRICS_PORT", help="Port of the Prometheus metrics; 0 serves none.")
    ] = _DEFAULTS.metrics_port or 0,
    tracing_endpoint: Annotated[
        str | None,
        typer.Option(
            envvar="OTEL_EXPORTER_OTLP_ENDPOINT",
            help="Base URL to send traces to, by OTLP over HTTP: http://collector:4318. Unset: none are made.",
        ),
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option(envvar=f"{_ENV}LOG_FORMAT", help="json or console.")
    ] = LogFormat.JSON,
) -> None:
    """Watch DeepSeekDeployments and serve them until stopped.

    What the chart's Deployment runs. It finds the API server as kubectl does (KUBECONFIG), or by the account of its
    pod. With --lease several may run, and one acts.

    \b
    Example, on your own machine beside a SkyPilot server:
      deepseek-operator run --log-format console --namespace team-a
    """
    if problem := missing_configuration():
        raise typer.BadParameter(problem, param_hint="KUBECONFIG")
    if tracing_endpoint and not _traces_can_be_sent():
        words = "traces need the extra: pip install 'deepseek-operator[tracing]'"
        raise typer.BadParameter(words, param_hint="--tracing-endpoint")
    _configure_logging(log_format)
    lease_namespace, _, lease_name = (lease or "").rpartition("/")
    settings = Settings(
        launch_slots=launch_slots,
        proxy=ProxySettings(proxy_image, proxy_replicas),
        lease_name=lease_name or None,
        lease_namespace=lease_namespace or _DEFAULTS.lease_namespace,
        skypilot_endpoint=skypilot_endpoint,
        skypilot_user_id=check_user_id(skypilot_user_id),
        skypilot_token_file=skypilot_token_file,
        kubernetes_context=kubernetes_context,
        default_infra=tuple(default_infra or _DEFAULTS.default_infra),
        namespaces=tuple(namespace or ()),
        catalog_files=tuple(catalog or ()),
        workers=workers,
        health_address=health_address,
        readiness_address=readiness_address,
        metrics_port=metrics_port or None,
        tracing_endpoint=tracing_endpoint or None,
        instance=instance or socket.gethostname(),
    )
    asyncio.run(run_operator(settings))


def check_user_id(value: str) -> str:
    """Return a SkyPilot user id, or refuse it."""
    if len(value) != 8 or any(digit not in "0123456789abcdef" for digit in value):
        raise typer.BadParameter("must be 8 lower-case hexadecimal digits", param_hint="--skypilot-user-id")
    return value


def _traces_can_be_sent() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # a package above it is not there
        return False


def _configure_logging(log_format: LogFormat) -> None:
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,  # object, replica and reason
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if log_format is LogFormat.JSON else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # They log every request, event and liveness probe.
    for noisy in ("aiohttp.access", "kopf.objects", "kopf.activities.probe", "kopf._core.engines.probing"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
