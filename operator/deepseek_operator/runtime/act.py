"""Act: each typed action of a decision, carried out so that doing it twice is doing it once.

This is the only place that changes anything outside. Actions on the Service are awaited. A request to SkyPilot is given
:data:`PATIENCE_S`: what has no answer by then goes on in the background and counts as unanswered, so that a SkyPilot
server that hangs never keeps a dead engine behind its Service.
"""

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final, Protocol

import structlog

from deepseek_operator.api.places import Place
from deepseek_operator.api.spec import CapacityType, SecretKeyRef
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address, Known
from deepseek_operator.facts.names import (
    ClusterName,
    authority_secret_name,
    server_name,
    service_account_name,
    shared_server_name,
)
from deepseek_operator.facts.skypilot import Outcome, RequestKind
from deepseek_operator.facts.store import Key, Store
from deepseek_operator.facts.world import Question, QuestionKind, World, authority_question
from deepseek_operator.feeds.kubernetes import KubernetesFeed
from deepseek_operator.feeds.questions import Questions
from deepseek_operator.kube.errors import KubeConflictError, KubeError, KubeRejectedError
from deepseek_operator.launch import Identity, LaunchTask, build_task
from deepseek_operator.launch.certificates import Authority, engine_identity, make_authority
from deepseek_operator.launch.proxy import ProxySpec
from deepseek_operator.launch.script import TLS_VARIABLE
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.actions import (
    Action,
    AddFinalizer,
    ApplyProxy,
    ApplyService,
    ClearRemains,
    Launch,
    PublishEndpoints,
    RemoveFinalizer,
    RemoveProxy,
    RunAgain,
    TearDown,
    UnpublishEndpoints,
)
from deepseek_operator.reconcile.results import Result, ResultKind
from deepseek_operator.runtime.slots import LaunchSlots
from deepseek_operator.skypilot.errors import SkyPilotError, SkyPilotRejectedError, SkyPilotUnavailableError
from deepseek_operator.skypilot.failures import classify

__all__ = ["Actor", "KubeWrites", "SkyPilotWrites", "limited"]

log = structlog.get_logger(__name__)

PATIENCE_S: Final = 3.0
"""Seconds for which a pass waits for SkyPilot to accept a request."""

PROXY_AGAIN_S: Final = 4.0
"""Seconds after which a proxy whose pods have not shown up is applied again."""

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
    async def post_event(  # noqa: D102
        self, deployment: DeepSeekDeployment, type_: str, reason: str, message: str, now: datetime
    ) -> None: ...


class KubeSecrets(Protocol):
    """Reads the value of a Secret for a machine that no kubelet serves."""

    async def secret_value(self, namespace: str, reference: SecretKeyRef) -> str: ...


class SkyPilotWrites(Protocol):
    """The part of the SkyPilot client that changes something."""

    async def launch(self, cluster_name: str, task: Body, config: Body) -> str: ...  # noqa: D102
    async def exec(self, cluster_name: str, task: Body, config: Body) -> str: ...  # noqa: D102
    async def down(self, cluster_name: str) -> str: ...  # noqa: D102
    async def cancel(self, request_ids: list[str]) -> None: ...  # noqa: D102


@dataclass
class Actor:
    """Carries out actions.

    Attributes
    ----------
    hurry
        Asks for a snapshot of SkyPilot, because a request was sent.
    """

    writer: KubeWrites
    secrets: KubeSecrets
    skypilot: SkyPilotWrites
    store: Store
    kubernetes: KubernetesFeed
    questions: Questions
    slots: LaunchSlots
    hurry: Callable[[], None]
    clock: Callable[[], datetime]
    kubernetes_context: str | None = None

    def __post_init__(self) -> None:
        self._background: set[asyncio.Task[Result]] = set()
        self._accounts: set[str] = set()
        self._proxies: dict[str, tuple[Action, datetime]] = {}

    def close(self) -> None:
        """Give up what goes on in the background."""
        for task in self._background:
            task.cancel()

    async def finalizer(self, world: World, action: AddFinalizer | RemoveFinalizer) -> None:
        """Add or remove the operator's finalizer. What is released, and held by nobody else, is gone."""
        self._log(action)
        present = isinstance(action, AddFinalizer)
        body = await self.writer.set_finalizer(world.deployment, present=present)
        if present or body.get("metadata", {}).get("finalizers"):
            self.kubernetes.put("deployments", body, wake=False)
        else:
            self.store.drop_released(world.deployment)

    async def publish(self, world: World, action: Action) -> bool:
        """Change the Service or one of its EndpointSlices; return whether it is as it should be now.

        Raises
        ------
        KubeError
            If it could not be done now; the pass is repeated.
        """
        deployment = world.deployment
        if not isinstance(action, ApplyProxy | RemoveProxy):
            self._log(action)
        if isinstance(action, ApplyService):
            try:
                body = await self.writer.apply_service(deployment, action.ports, action.type, create=action.create)
            except KubeConflictError:
                self.store.put_service_conflict(deployment.key, conflict=True)
                return False
            self.store.put_service_conflict(deployment.key, conflict=False)
            self.kubernetes.put("services", body, wake=False)
        elif isinstance(action, PublishEndpoints):
            body = await self.writer.apply_endpoints(
                deployment,
                action.slice_name,
                action.addresses,
                action.addresses[0].port,
                action.port_names,
                service=action.service,
            )
            self.kubernetes.put("endpointslices", body, wake=False)
        elif isinstance(action, UnpublishEndpoints):
            await self.writer.delete_endpoints(deployment, action.slice_name)
            metadata = deployment.metadata
            self.store.drop_owned("endpointslices", metadata.uid, metadata.namespace, action.slice_name, wake=False)
        elif isinstance(action, ApplyProxy | RemoveProxy):
            await self._proxy(world, action)
            return False  # its pods announce themselves
        return True

    async def _proxy(self, world: World, action: ApplyProxy | RemoveProxy) -> None:
        """Make or remove the proxy, not more often than its pods need to show that it was done."""
        deployment, now = world.deployment, self.clock()
        uid = deployment.metadata.uid
        last = self._proxies.get(uid)
        if last is not None and last[0] == action and abs((now - last[1]).total_seconds()) < PROXY_AGAIN_S:
            return
        self._log(action)
        if isinstance(action, ApplyProxy):
            for body in await self.writer.apply_proxy(deployment, action.spec):
                self.kubernetes.put("services", body, wake=False)
        else:
            await self.writer.remove_proxy(deployment)
            for name in world.members_services:
                self.store.drop_owned("services", uid, deployment.metadata.namespace, name, wake=False)
        self._proxies[uid] = (action, now)

    async def act(self, world: World, plan: Planned | None, name: ClusterName, action: Action) -> Result:
        """Carry out one action on a replica; whatever happens is a result, so that no other replica waits for it."""
        key = world.deployment.key
        if isinstance(action, Launch | RunAgain) and not self.slots.take(key, str(name)):
            words = f"waits for one of {self.slots.limit} launch slots of the SkyPilot server"
            return Result(name, action, ResultKind.QUEUED, words)
        self._log(action)
        if isinstance(action, ClearRemains):
            return await self._clear(world, name, action)
        try:
            send = await self._sender(world, plan, name, action)
        except BaseException as error:
            self.slots.used(str(name))
            if not isinstance(error, KubeError | SkyPilotError):
                raise
            return Result(name, action, ResultKind.FAILED, str(error), taken=isinstance(error, KubeConflictError))
        task = asyncio.create_task(self._send(key, name, action, send))
        done, _ = await asyncio.wait({task}, timeout=PATIENCE_S)
        if done:
            return task.result()
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return Result(name, action, ResultKind.UNANSWERED, f"no answer within {PATIENCE_S:g} s")

    async def _clear(self, world: World, name: ClusterName, action: ClearRemains) -> Result:
        metadata = world.deployment.metadata
        try:
            for on_cloud in action.names_on_cloud:
                await self.writer.clear_remains(metadata.namespace, on_cloud)
                self.store.drop_cluster(metadata.uid, on_cloud)
        except KubeError as error:
            return Result(name, action, ResultKind.FAILED, str(error))
        return Result(name, action, ResultKind.DONE)

    async def _sender(
        self, world: World, plan: Planned | None, name: ClusterName, action: Action
    ) -> Callable[[], Awaitable[object]]:
        """Return the call that carries out ``action``, with everything prepared that can fail before it is sent."""
        text = str(name)
        if isinstance(action, TearDown):
            if action.requests:
                return lambda: self.skypilot.cancel(list(action.requests))
            return lambda: self.skypilot.down(text)
        if plan is None:
            raise AssertionError(f"{action} was decided without a plan")
        await self._ensure_account(world.deployment)
        task = await self._task(world.deployment, limited(plan, action), name)
        submit = self.skypilot.launch if isinstance(action, Launch) else self.skypilot.exec
        return lambda: submit(text, task.task, task.override_skypilot_config)

    async def _send(self, key: Key, name: ClusterName, action: Action, send: Callable[[], Awaitable[object]]) -> Result:
        text = str(name)
        launch = isinstance(action, Launch | RunAgain)
        # Noted before the call as well as after: a call that ends without an answer may have been heard.
        self.store.acted(key, text, launch=launch)
        self.slots.used(text)
        try:
            await send()
        except SkyPilotRejectedError as error:
            self._noted(key, name, launch=launch)
            # The same in the form of a launch that failed; one refusal is one failure, counted once.
            self.store.put_answer(
                Question(QuestionKind.OUTCOME, text), Known(self._rejected(text, error), self.clock())
            )
            return Result(name, action, ResultKind.DONE)
        except SkyPilotUnavailableError as error:
            self._noted(key, name, launch=launch)
            if error.maybe_heard:
                return Result(name, action, ResultKind.UNANSWERED, str(error))
            self.store.not_acted(text)
            return Result(name, action, ResultKind.FAILED, str(error))
        except SkyPilotError as error:
            self._noted(key, name, launch=launch)
            return Result(name, action, ResultKind.FAILED, str(error))
        self._noted(key, name, launch=launch)
        return Result(name, action, ResultKind.DONE)

    def _noted(self, key: Key, name: ClusterName, *, launch: bool) -> None:
        self.store.acted(key, str(name), launch=launch)
        self.questions.forget(str(name))
        self.hurry()

    async def _ensure_account(self, deployment: DeepSeekDeployment) -> None:
        """Create the account without rights under which the pods run, once per process and deployment."""
        uid = deployment.metadata.uid
        if uid not in self._accounts:
            await self.writer.apply_service_account(deployment)
            self._accounts.add(uid)

    async def _task(self, deployment: DeepSeekDeployment, plan: Planned, name: ClusterName) -> LaunchTask:
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
        if (api_key := plan.own_api_key(deployment.metadata.name)) is not None:
            await self._ensure_api_key(deployment, api_key)
        # For rented machines, where no kubelet can fill them in; the values are kept nowhere else.
        values = {s.variable: await self.secrets.secret_value(namespace, s.secret) for s in task.secrets}
        values[TLS_VARIABLE] = await self._engine_identity(deployment, name)
        return replace(task, task={**task.task, "secrets": values})

    async def _ensure_api_key(self, deployment: DeepSeekDeployment, reference: SecretKeyRef) -> None:
        """Make the key that engines ask for where the user gave none."""
        key = base64.b64encode(secrets.token_urlsafe(32).encode()).decode()
        await self.writer.ensure_secret(deployment, reference.name, "Opaque", {reference.key: key})

    async def _engine_identity(self, deployment: DeepSeekDeployment, name: ClusterName) -> str:
        """Return key and certificate for the engine of one replica, signed by the authority of its deployment.

        Raises
        ------
        KubeRejectedError
            The Secret of the authority holds something else.
        """
        metadata, now = deployment.metadata, self.clock()
        made = make_authority(f"deepseek-operator {metadata.namespace}/{metadata.name}", now)
        parts = {"tls.crt": made.certificate, "tls.key": made.private_key}
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in parts.items()}
        secret = authority_secret_name(metadata.name)
        body = await self.writer.ensure_secret(deployment, secret, "kubernetes.io/tls", encoded)
        names = (server_name(str(name), metadata.uid), shared_server_name(metadata.uid))
        try:
            kept = {key: base64.b64decode(body["data"][key]).decode() for key in parts}
            authority = Authority(kept["tls.crt"], kept["tls.key"])
            identity = engine_identity(authority, names, now)
        except (KeyError, ValueError) as error:
            words = f"Secret {secret} holds no certificate authority of this operator; delete it, and a new one is made"
            raise KubeRejectedError(words) from error
        self.store.put_answer(authority_question(deployment), Known(authority.certificate, now))
        return identity

    def _rejected(self, name: str, error: SkyPilotRejectedError) -> Outcome:
        now = self.clock()
        digest = hashlib.sha256(f"{name}{error}{now.isoformat()}".encode()).hexdigest()[:12]
        failure = classify(error.error_type, error.message)
        return Outcome(f"rejected-{digest}", RequestKind.LAUNCH, now, failure)

    def _log(self, action: Action) -> None:
        log.info("action", action=type(action).__name__, detail=str(action))


def limited(plan: Planned, action: Action) -> Planned:
    """Return the plan of a launch: where it may go, how it is paid, and what each of its nodes may cost."""
    if not isinstance(action, Launch):
        return plan
    plan = _elsewhere(plan, action.without)
    if action.on_demand:
        resources = plan.spec.resources.model_copy(update={"capacity_type": CapacityType.ON_DEMAND})
        plan = replace(plan, spec=plan.spec.model_copy(update={"resources": resources}))
    if action.cost_limit is None:
        return plan
    per_node = (action.cost_limit / plan.nodes).quantize(Decimal("0.0001"), rounding=ROUND_DOWN)
    return replace(plan, plan=replace(plan.plan, max_instance_hourly_cost=per_node))


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
