"""Settings of one operator process. Each can be given as a flag of ``deepseek-operator run`` or by environment."""

from dataclasses import dataclass, field
from pathlib import Path

from deepseek_operator.launch.proxy import ProxySettings

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Settings of one operator process."""

    skypilot_endpoint: str = "http://127.0.0.1:46580"
    """Base URL of the SkyPilot API server."""

    skypilot_user_id: str = "d5ee9000"
    """8 hexadecimal digits under which SkyPilot files everything of this installation. They end every name on the
    cloud: two installations that share a SkyPilot server or a cloud account need different ones, and one installation
    must never change it while anything runs."""

    skypilot_token_file: Path | None = None
    """File with a service-account token of a shared SkyPilot server. Unset: a sidecar on loopback, which needs none."""

    skypilot_ca_file: Path | None = None
    """File with the certificates, in PEM, of the authorities by which that server's certificate is believed. Unset: the
    public ones of this machine."""

    kubernetes_context: str | None = None
    """Context of the SkyPilot server's kubeconfig in which replicas on Kubernetes run: the cluster of the deployments.
    Unset: the server's default, which for a sidecar is the cluster that it runs in."""

    default_infra: tuple[str, ...] = ("kubernetes",)
    """Where replicas of deployments run that do not name any ``resources.infra``. Kubernetes alone: nothing is rented
    unless somebody asked for it."""

    namespaces: tuple[str, ...] = ()
    """Namespaces whose deployments are served. Empty: all."""

    catalog_files: tuple[Path, ...] = field(default_factory=tuple)
    """Files that add models and GPUs to the catalog, or replace rows of it."""

    proxy: ProxySettings = field(default_factory=ProxySettings)
    """What stands in front of replicas where a proxy is wanted."""

    launch_slots: int = 8
    """Launches that may be in flight at the SkyPilot server at once. More only wait there, out of our sight."""

    lease_name: str | None = None
    """Name of the Lease that this process must hold before it acts. Unset: it acts at once, as on a laptop."""

    lease_namespace: str = "default"
    """Namespace of that Lease: the one of the release."""

    workers: int = 16
    """Deployments worked on side by side."""

    resync_period_s: float = 600.0
    """Seconds after which a settled deployment is looked at although nothing announced a change."""

    health_address: str = ":8080"
    """``host:port`` of the liveness probe, at ``/healthz``. Without a host: every address of either family."""

    readiness_address: str | None = None
    """``host:port`` of the readiness probe, at ``/readyz``. Unset: none is served, as on a laptop."""

    metrics_port: int | None = 8081
    """Port of the Prometheus metrics. Unset: none are served."""

    tracing_endpoint: str | None = None
    """Base URL of a receiver of OpenTelemetry's OTLP over HTTP. Unset: no traces are made."""

    instance: str = "deepseek-operator"
    """Name of this process (its pod), shown in Events."""
