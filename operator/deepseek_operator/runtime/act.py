"""Act: each typed action of a decision, carried out so that doing it twice is doing it once."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import structlog

from deepseek_operator.kube.write import ClusterWriter
from deepseek_operator.planning.task import LaunchTask, TaskContext, build_task
from deepseek_operator.reconcile.actions import (
    Action,
    AddFinalizer,
    ApplyService,
    ApplyServiceAccount,
    ClearRemains,
    Launch,
    PublishEndpoints,
    RemoveFinalizer,
    RunAgain,
    TearDown,
)
from deepseek_operator.reconcile.failures import classify
from deepseek_operator.reconcile.naming import service_account_name
from deepseek_operator.reconcile.world import Outcome, RequestKind, RequestState, SkyPilotView, World
from deepseek_operator.runtime.observe import Memory, Observer
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.errors import SkyPilotRejectedError

__all__ = ["Actor"]

log = structlog.get_logger(__name__)

Submit = Callable[[str, dict[str, Any], dict[str, Any]], Awaitable[str]]
"""``SkyPilotClient.launch`` or ``exec``: cluster name, task and configuration in, request id out."""


@dataclass
class Actor:
    """Carries out actions."""

    writer: ClusterWriter
    skypilot: SkyPilotClient
    observer: Observer
    kubernetes_context: str | None

    async def act(self, world: World, action: Action) -> None:
        """Carry out one action.

        Raises
        ------
        lightkube.ApiError, SkyPilotUnavailableError
            If it could not be done now; the pass is repeated.
        """
        deployment = world.deployment
        log.info("action", action=type(action).__name__, key="/".join(deployment.key), detail=str(action))
        match action:
            case AddFinalizer():
                await self.writer.set_finalizer(deployment, present=True)
            case RemoveFinalizer():
                await self.writer.set_finalizer(deployment, present=False)
            case ApplyServiceAccount():
                await self.writer.apply_service_account(deployment)
            case ApplyService(port, target_port, kind):
                await self.writer.apply_service(deployment, port=port, target_port=target_port, type_=kind)
            case PublishEndpoints(hosts, port):
                await self.writer.publish_endpoints(deployment, hosts, port)
            case ClearRemains(name):
                for on_cloud in self._names_on_cloud(world, name):
                    await self.writer.clear_remains(deployment.metadata.namespace, on_cloud)
            case TearDown(name):
                self.observer.memories[name] = Memory()
                await self._tear_down(world.skypilot, name)
            case Launch(name, revision):
                await self._submit(self.skypilot.launch, await self._task(world, name, revision))
            case RunAgain(name, revision):
                await self._submit(self.skypilot.exec, await self._task(world, name, revision))

    async def _tear_down(self, seen: SkyPilotView, name: str) -> None:
        """Give a cluster back. What still waits for a worker has no row, so a teardown would not find it: end it."""
        waiting = [r.id for r in seen.requests.get(name, ()) if r.state is RequestState.PENDING]
        if waiting and name not in seen.rows:
            await self.skypilot.cancel(waiting)
        else:
            await self.skypilot.down(name)

    async def _submit(self, send: Submit, task: LaunchTask) -> None:
        """Send a task, unless one of this name is in flight: the server has no idempotency key, so we ask first."""
        name = task.cluster_name
        if (await self.skypilot.requests_in_flight(name)).get(name):
            log.info("request_adopted", cluster=name)
            return
        memory = self.observer.memories[name] = Memory()
        try:
            await send(name, task.task, task.override_skypilot_config)
        except SkyPilotRejectedError as error:
            memory.rejected = _rejected(name, error)

    async def _task(self, world: World, name: str, revision: str) -> LaunchTask:
        deployment, plan = world.deployment, world.plan
        assert plan is not None, "nothing is launched without a plan"
        context = TaskContext(
            cluster_name=str(name),  # plain: YAML knows no subclasses
            namespace=deployment.metadata.namespace,
            deployment_name=deployment.metadata.name,
            deployment_uid=deployment.metadata.uid,
            revision=revision,
            service_account=service_account_name(deployment),
            kubernetes_context=self.kubernetes_context,
        )
        task = build_task(self.observer.placed(deployment.spec), plan, context)
        return await self._with_secrets(deployment.metadata.namespace, task)

    async def _with_secrets(self, namespace: str, task: LaunchTask) -> LaunchTask:
        """Fill in the secrets of a task for rented machines, where no kubelet can; they are kept nowhere else."""
        if not task.secrets:
            return task
        values = {
            secret.variable: await self.observer.reader.secret_value(namespace, secret.secret)
            for secret in task.secrets
        }
        return replace(task, task={**task.task, "secrets": values})

    @staticmethod
    def _names_on_cloud(world: World, name: str) -> frozenset[str]:
        pods = (pod.cluster_name_on_cloud for pod in world.pods if pod.cluster_name == name)
        services = (s.cluster_name_on_cloud for s in world.launched_services if s.cluster_name == name)
        return frozenset((*pods, *services)) - {""}


def _rejected(name: str, error: SkyPilotRejectedError) -> Outcome:
    """Return a refusal in the form of a launch that failed; the same refusal is one failure, counted once."""
    now = datetime.now(UTC)
    digest = hashlib.sha256(f"{name}{error}{now.isoformat()}".encode()).hexdigest()[:12]
    failure = classify(error.error_type, error.message)
    return Outcome(f"rejected-{digest}", RequestKind.LAUNCH, now, failure)
