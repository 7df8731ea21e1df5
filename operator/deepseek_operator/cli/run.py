"""``deepseek-operator run``: the operator itself."""

import asyncio
import importlib.util
import socket

import typer

from deepseek_operator.catalog.errors import CatalogError
from deepseek_operator.cli import run_options as options
from deepseek_operator.cli.input import fail
from deepseek_operator.cli.logs import LogFormat, configure_logging
from deepseek_operator.kube.client import missing_configuration
from deepseek_operator.launch.proxy import ProxySettings
from deepseek_operator.launch.proxy_pod import ProxyPod
from deepseek_operator.runtime.health import ListenError
from deepseek_operator.runtime.operator import CredentialsError
from deepseek_operator.runtime.operator import run as run_operator
from deepseek_operator.runtime.settings import Settings

__all__ = ["register"]

_DEFAULTS = Settings()


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(short_help="Watch DeepSeekDeployments and serve them until stopped.")(run)


def run(
    skypilot_endpoint: options.SkypilotEndpoint = _DEFAULTS.skypilot_endpoint,
    skypilot_user_id: options.SkypilotUserId = _DEFAULTS.skypilot_user_id,
    skypilot_token_file: options.SkypilotTokenFile = None,
    skypilot_ca_file: options.SkypilotCaFile = None,
    kubernetes_context: options.KubernetesContext = None,
    default_infra: options.DefaultInfra = None,
    namespace: options.Namespace = None,
    catalog: options.Catalog = None,
    workers: options.Workers = _DEFAULTS.workers,
    launch_slots: options.LaunchSlots = _DEFAULTS.launch_slots,
    proxy_image: options.ProxyImage = _DEFAULTS.proxy.image,
    proxy_replicas: options.ProxyReplicas = _DEFAULTS.proxy.replicas,
    proxy_pod: options.ProxyPod = None,
    lease: options.Lease = None,
    instance: options.Instance = None,
    health_address: options.HealthAddress = _DEFAULTS.health_address,
    readiness_address: options.ReadinessAddress = None,
    metrics_port: options.MetricsPort = _DEFAULTS.metrics_port or 0,
    tracing_endpoint: options.TracingEndpoint = None,
    log_format: options.LogFormat = LogFormat.JSON,
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
    configure_logging(log_format)
    lease_namespace, _, lease_name = (lease or "").rpartition("/")
    settings = Settings(
        launch_slots=launch_slots,
        proxy=ProxySettings(proxy_image, proxy_replicas, ProxyPod.model_validate_json(proxy_pod or "{}")),
        lease_name=lease_name or None,
        lease_namespace=lease_namespace or _DEFAULTS.lease_namespace,
        skypilot_endpoint=skypilot_endpoint,
        skypilot_user_id=skypilot_user_id,
        skypilot_token_file=skypilot_token_file,
        skypilot_ca_file=skypilot_ca_file,
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
    try:
        asyncio.run(run_operator(settings))
    except (CatalogError, CredentialsError, ListenError) as error:
        fail(str(error))


def _traces_can_be_sent() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # a package above it is not there
        return False
