"""Actions on the Service of a deployment, on its EndpointSlices, and on the proxy in front."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.base import Failure
from deepseek_operator.facts.store import Key, Store
from deepseek_operator.facts.world import World
from deepseek_operator.feeds.kubernetes import KubernetesFeed
from deepseek_operator.kube.errors import KubeConflictError, KubeError, reason_of
from deepseek_operator.reconcile.actions import (
    Action,
    ApplyProxy,
    ApplyService,
    PublishEndpoints,
    RemoveProxy,
    UnpublishEndpoints,
)
from deepseek_operator.runtime.secrets import OwnSecrets
from deepseek_operator.runtime.writes import KubeWrites, log_action

__all__ = ["PROXY_AGAIN_S", "PROXY_REFUSED_AGAIN_S", "Publisher", "refusal_of"]

CONTESTED_S: Final = 5.0
"""Seconds for which the same change is not made again: where it is needed at once, somebody else undoes it."""
PROXY_AGAIN_S: Final = 4.0
"""Seconds after which a proxy whose pods have not shown up is applied again."""
PROXY_REFUSED_AGAIN_S: Final = 15.0
"""The same where Kubernetes refused it or its pods. Once it may make them, it does so without being asked again."""

PROXY_PENDING_AGAIN_S: Final = 30.0
"""The same where its pods have shown up and do not start."""


@dataclass(frozen=True)
class _Attempt:
    """What was last done about the proxy of a deployment, and what was in the way."""

    uid: str
    action: ApplyProxy | RemoveProxy
    at: datetime
    refused: KubeError | None = None


@dataclass
class Publisher:
    """Carries out what a decision wants published."""

    writer: KubeWrites
    own: OwnSecrets
    store: Store
    kubernetes: KubernetesFeed
    clock: Callable[[], datetime]
    _attempts: dict[Key, _Attempt] = field(default_factory=dict, init=False)
    _changes: dict[Key, dict[str, tuple[str, Action, datetime]]] = field(default_factory=dict, init=False)
    """The last change of the Service and of each slice: for which UID, what, and when."""

    def forget(self, key: Key) -> None:
        """Drop what is kept for a deployment that is gone."""
        self._attempts.pop(key, None)
        self._changes.pop(key, None)

    async def publish(self, world: World, action: Action) -> bool:
        """Change the Service or one of its EndpointSlices; return whether it is as it should be now.

        Raises
        ------
        KubeError
            If it could not be done now; the pass is repeated.
        """
        deployment = world.deployment
        if not isinstance(action, ApplyProxy | RemoveProxy):
            self._check_uncontested(world, action)
            log_action(action)
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
        change = (deployment.metadata.uid, action, self.clock())
        self._changes.setdefault(deployment.key, {})[_subject(action)] = change
        return True

    def _check_uncontested(self, world: World, action: Action) -> None:
        """Refuse a change that was made a moment ago, and is gone: two who undo each other's changes would not stop.

        Raises
        ------
        KubeConflictError
            Somebody else undoes it; the pass is repeated later.
        """
        what, uid = _subject(action), world.deployment.metadata.uid
        last_uid, last, at = self._changes.get(world.deployment.key, {}).get(what, ("", None, self.clock()))
        if (last_uid, last) == (uid, action) and abs((self.clock() - at).total_seconds()) < CONTESTED_S:
            words = f"somebody else changes {what or 'the Service'} as soon as the operator has; managedFields say who"
            raise KubeConflictError(words)

    async def _proxy(self, world: World, action: ApplyProxy | RemoveProxy) -> None:
        """Make or remove the proxy, not more often than its pods need to show that it was done.

        Raises
        ------
        KubeError
            It could not be done now, or just before.
        """
        key, uid, now = world.deployment.key, world.deployment.metadata.uid, self.clock()
        last = self._attempts.get(key)
        if last is not None and last.uid == uid and _same(last.action, action):
            again_s = PROXY_AGAIN_S if last.refused is None else PROXY_REFUSED_AGAIN_S
            if isinstance(action, ApplyProxy) and action.pending:
                again_s = PROXY_PENDING_AGAIN_S
            if abs((now - last.at).total_seconds()) < again_s:
                if last.refused is not None:
                    raise last.refused.with_traceback(None)
                return
        log_action(action)
        try:
            await self._change(world, action)
        except KubeError as error:
            if isinstance(action, ApplyProxy) and refusal_of(error) is not None:
                self._attempts[key] = _Attempt(uid, action, now, error)
            raise
        self._attempts[key] = _Attempt(uid, action, now)

    async def _change(self, world: World, action: ApplyProxy | RemoveProxy) -> None:
        deployment = world.deployment
        if isinstance(action, ApplyProxy):
            if action.spec.encrypted:
                await self.own.ensure(deployment, action.spec.api_key)  # its pods do not start without them
            for body in await self.writer.apply_proxy(deployment, action.spec):
                self.kubernetes.put("services", body, wake=False)
            return
        await self.writer.remove_proxy(deployment)
        for name in world.members_services:
            self.store.drop_owned("services", deployment.metadata.uid, deployment.metadata.namespace, name, wake=False)


def refusal_of(error: KubeError) -> Failure | None:
    """Return what somebody has to change before a proxy can be made; None where the same call may succeed later."""
    reason = reason_of(error)
    if reason is Reason.KUBERNETES_UNAVAILABLE:
        return None
    return Failure(Reason.PROXY_REFUSED if reason is Reason.KUBERNETES_REFUSED else reason, str(error))


def _same(last: Action, action: Action) -> bool:
    if isinstance(last, ApplyProxy) and isinstance(action, ApplyProxy):
        return last.spec == action.spec
    return last == action


def _subject(action: Action) -> str:
    """Return the slice that an action changes; empty for the Service."""
    return action.slice_name if isinstance(action, PublishEndpoints | UnpublishEndpoints) else ""
