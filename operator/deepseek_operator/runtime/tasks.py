"""The task of a launch: what the plan says, with the secrets that a rented machine needs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from deepseek_operator.api.places import Place
from deepseek_operator.api.spec import CapacityType
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.names import (
    ClusterName,
    server_name,
    service_account_name,
    shared_server_name,
)
from deepseek_operator.kube.errors import KubeRejectedError
from deepseek_operator.launch import Identity, LaunchTask, build_task
from deepseek_operator.launch.script import TLS_VARIABLE
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.actions import Action, Launch
from deepseek_operator.runtime.secrets import OwnSecrets, no_authority
from deepseek_operator.runtime.writes import KubeSecrets, KubeWrites

if TYPE_CHECKING:
    from deepseek_operator.launch.certificates import Authority

__all__ = ["TaskMaker", "limited"]


@dataclass
class TaskMaker:
    """Makes tasks, and in Kubernetes what they refer to."""

    writer: KubeWrites
    secrets: KubeSecrets
    own: OwnSecrets
    clock: Callable[[], datetime]
    kubernetes_context: str | None = None

    async def make(self, deployment: DeepSeekDeployment, plan: Planned, name: ClusterName) -> LaunchTask:
        """Return the task of one replica, secrets filled in, after everything was made that it refers to.

        Raises
        ------
        KubeError
            Something that it refers to could not be made or read.
        """
        # Each time: somebody may have deleted it, and pods of a missing account are refused.
        await self.writer.apply_service_account(deployment)
        identity = Identity(
            cluster_name=str(name),
            namespace=deployment.metadata.namespace,
            deployment_name=deployment.metadata.name,
            deployment_uid=deployment.metadata.uid,
            revision=name.revision,
            service_account=service_account_name(deployment),
            kubernetes_context=self.kubernetes_context,
        )
        task = build_task(plan, identity)
        namespace = deployment.metadata.namespace
        if not task.encrypted:
            return task
        authority = await self.own.ensure(deployment, plan.own_api_key(deployment.metadata.name))
        # For rented machines, where no kubelet can fill them in; the values are kept nowhere else.
        values = {s.variable: await self.secrets.secret_value(namespace, s.secret) for s in task.secrets}
        values[TLS_VARIABLE] = self._engine_identity(deployment, name, authority)
        return replace(task, task={**task.task, "secrets": values})

    def _engine_identity(self, deployment: DeepSeekDeployment, name: ClusterName, authority: "Authority") -> str:
        """Return key and certificate for the engine of one replica, signed by the authority of its deployment.

        Raises
        ------
        KubeRejectedError
            The Secret of the authority holds something else.
        """
        # Here, because only rented machines need it, and the library behind it takes 11 MiB.
        from deepseek_operator.launch.certificates import engine_identity

        metadata = deployment.metadata
        names = (server_name(str(name), metadata.uid), shared_server_name(metadata.uid))
        try:
            return engine_identity(authority, names, self.clock())
        except ValueError as error:
            raise KubeRejectedError(no_authority(metadata.name)) from error


def limited(plan: Planned, action: Action) -> Planned:
    """Return the plan of a launch: where it may go, how it is paid, and what each of its nodes may cost.

    An engine that is started again takes the machines that are there, however they are paid: SkyPilot refuses a job
    that asks for another kind.
    """
    if not isinstance(action, Launch):
        return _without_spot(plan)
    plan = _elsewhere(plan, action.without)
    if action.on_demand:
        plan = _without_spot(plan)
    if action.cost_limit is None:
        return plan
    per_node = (action.cost_limit / plan.nodes).quantize(Decimal("0.0001"), rounding=ROUND_DOWN)
    return replace(plan, max_instance_hourly_cost=per_node)


def _without_spot(plan: Planned) -> Planned:
    """Return the plan of a task that does not name spot machines: a launch rents on demand then."""
    resources = plan.spec.resources.model_copy(update={"capacity_type": CapacityType.ON_DEMAND})
    return replace(plan, spec=plan.spec.model_copy(update={"resources": resources}))


def _elsewhere(plan: Planned, without: tuple[str, ...]) -> Planned:
    """Return the plan without the entries of ``infra`` that lie in one of these regions, if another entry is left.

    A whole cloud stays: SkyPilot's tasks cannot say "anywhere but there".
    """
    out = [Place.parse(text) for text in without]
    left = tuple(
        str(place)
        for place in plan.places
        if not any((place.cloud, place.region) == (one.cloud, one.region) for one in out)
    )
    if not left or len(left) == len(plan.places):
        return plan
    resources = plan.spec.resources.model_copy(update={"infra": left})
    return replace(plan, spec=plan.spec.model_copy(update={"resources": resources}))
