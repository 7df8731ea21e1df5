"""What the runtime asks of the adapters that change something outside, and the line that is logged of each change."""

from typing import Any, Protocol

import structlog

from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address
from deepseek_operator.launch.proxy import ProxySpec
from deepseek_operator.reconcile.actions import Action

__all__ = ["KubeSecrets", "KubeWrites", "SkyPilotWrites", "log_action"]

log = structlog.get_logger(__name__)

Body = dict[str, Any]


class KubeWrites(Protocol):
    """The part of the Kubernetes adapter that changes something."""

    async def set_finalizer(self, deployment: DeepSeekDeployment, *, present: bool) -> Body: ...  # noqa: D102
    async def apply_status(self, deployment: DeepSeekDeployment, status: Body) -> Body: ...  # noqa: D102
    async def apply_service_account(self, deployment: DeepSeekDeployment) -> Body: ...  # noqa: D102
    async def ensure_secret(  # noqa: D102
        self, deployment: DeepSeekDeployment, name: str, type_: str, data: dict[str, str]
    ) -> Body: ...
    async def apply_service(  # noqa: D102
        self, deployment: DeepSeekDeployment, ports: tuple[int, ...], type_: str, *, create: bool = False
    ) -> Body: ...
    async def apply_endpoints(  # noqa: D102
        self,
        deployment: DeepSeekDeployment,
        name: str,
        addresses: tuple[Address, ...],
        port: int,
        port_names: tuple[str, ...],
        *,
        service: str | None = None,
    ) -> Body: ...
    async def apply_proxy(self, deployment: DeepSeekDeployment, spec: ProxySpec) -> list[Body]: ...  # noqa: D102
    async def remove_proxy(self, deployment: DeepSeekDeployment) -> None: ...  # noqa: D102
    async def delete_endpoints(self, deployment: DeepSeekDeployment, name: str) -> None: ...  # noqa: D102
    async def clear_remains(self, namespace: str, name_on_cloud: str) -> None: ...  # noqa: D102


class KubeSecrets(Protocol):
    """Reads the value of a Secret for a machine that no kubelet serves."""

    async def secret_value(self, namespace: str, reference: SecretKeyRef) -> str: ...  # noqa: D102


class SkyPilotWrites(Protocol):
    """The part of the SkyPilot client that changes something."""

    async def launch(self, cluster_name: str, task: Body, config: Body) -> str: ...  # noqa: D102
    async def exec(self, cluster_name: str, task: Body, config: Body) -> str: ...  # noqa: D102
    async def down(self, cluster_name: str) -> str: ...  # noqa: D102
    async def cancel(self, request_ids: list[str]) -> None: ...  # noqa: D102


def log_action(action: Action) -> None:
    """Log an action that is about to be carried out."""
    log.info("action", action=type(action).__name__, detail=str(action))
