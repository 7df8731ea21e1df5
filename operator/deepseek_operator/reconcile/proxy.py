"""Whether a proxy stands between the Service and the engines, and what has to be done about it.

It is wanted as soon as one replica answers over TLS, which clients in the cluster do not speak, or where
``spec.endpoint.proxy`` says so. The Service leads to a proxy only while that one says that it has an engine to send
requests to; :mod:`.endpoint` goes from one way to the other.
"""

import hashlib
from dataclasses import dataclass

from deepseek_operator.facts.base import Address, Known, ProbeTarget
from deepseek_operator.facts.names import api_key_secret
from deepseek_operator.facts.world import Question, World, api_key_question
from deepseek_operator.launch.proxy import PROXY_PATH, PROXY_PORT, ProxySettings, ProxySpec, proxy_revision
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.actions import Action, ApplyProxy, RemoveProxy

__all__ = ["Front", "front", "proxy_targets"]


@dataclass(frozen=True)
class Front:
    """The proxy, as it should be.

    Attributes
    ----------
    wanted
        The Service should lead to it.
    ready
        Proxies to which the Service may lead.
    kept
        Proxies to which the Service leads and which have no engine now: better than nobody, for one may come back.
    encrypted
        Engines that answer over TLS.
    actions
        What makes it so.
    asks
        What has to be known first.
    """

    wanted: bool = False
    ready: tuple[Address, ...] = ()
    kept: tuple[Address, ...] = ()
    encrypted: frozenset[Address] = frozenset()
    actions: tuple[Action, ...] = ()
    asks: tuple[Question, ...] = ()


def front(
    world: World,
    plan: Planned | None,
    settings: ProxySettings,
    encrypted: frozenset[Address],
    *,
    tls: bool,
    launched_path: str | None = None,
) -> Front:
    """Return what is to be done about the proxy.

    Parameters
    ----------
    tls
        Some replica answers over TLS, or will, or something that does is led to and nobody knows yet whose it is.
    launched_path
        HTTP path at which an engine on a rented machine says whether it is well; None where there is none.
    """
    if world.deployment.deleting:
        return Front()  # it goes with the object
    # Of a spec that cannot be read, nobody knows whether it wants one: what leads to replicas goes on doing so.
    wanted = tls or (bool(world.fronts) if world.unreadable else world.deployment.spec.endpoint.proxy)
    actions = _kept(world, plan, settings, launched_path, tls=tls) if wanted else _removed(world)
    kept = tuple(sorted(world.fronts.intersection(_addresses(world))))
    may_encrypt = tls or (plan is not None and plan.rents)
    asks = _questions(world) if wanted and may_encrypt else ()
    return Front(wanted, _ready(world), kept, encrypted, actions, asks)


def _questions(world: World) -> tuple[Question, ...]:
    """Return what has to be known of the Secrets of the deployment while they are there."""
    authority = () if world.certificate_authority else (world.authority_question,)
    if world.deployment.spec.endpoint.api_key_secret_ref is not None or isinstance(world.api_key, Known):
        return authority
    return (*authority, api_key_question(world.deployment))


def _ready(world: World) -> tuple[Address, ...]:
    found = []
    for address in _addresses(world):
        probe = world.probes.get(address)
        # One that was not asked yet, as after a restart of the operator, keeps its place.
        if probe.healthy if probe is not None else address in world.fronts:
            found.append(address)
    return tuple(sorted(found))


def _addresses(world: World) -> tuple[Address, ...]:
    return tuple(Address(pod.ip, PROXY_PORT) for pod in world.proxies if pod.ip and not pod.deleting)


def proxy_targets(world: World) -> dict[Address, ProbeTarget]:
    """Return how the proxies are probed: each says whether it has an engine to send requests to."""
    return {address: ProbeTarget(PROXY_PATH, trusted=address in world.fronts) for address in _addresses(world)}


def _kept(
    world: World, plan: Planned | None, settings: ProxySettings, launched_path: str | None, *, tls: bool
) -> tuple[Action, ...]:
    """Make the proxy, or bring it up to date, while pods of it are missing."""
    stands = bool(world.fronts or _addresses(world))
    # Without a plan what there is goes on. Where nothing is, or no pod of it runs, machines that are rented already
    # need one all the same.
    path = plan.health_path if plan is not None else (launched_path if not stands else None)
    if path is None:
        return ()
    spec = _spec(world, path, settings, encrypted=tls or (plan is not None and plan.rents))
    if spec.encrypted and not world.certificate_authority:
        return ()  # new pods could not start without it; whether those there are of it is not known, so they go on
    revision = proxy_revision(spec)
    pods = [pod for pod in world.proxies if pod.revision == revision and not pod.deleting]
    if len(pods) < settings.replicas or not world.services.issuperset(world.members_services):
        return (ApplyProxy(spec),)
    # Pods that do not start may wait for a Secret that somebody has deleted, and nothing else tells of it.
    running = sum(pod.ip is not None for pod in pods)
    return () if running >= settings.replicas else (ApplyProxy(spec, pending=True),)


def _spec(world: World, health_path: str, settings: ProxySettings, *, encrypted: bool) -> ProxySpec:
    metadata = world.deployment.metadata
    # A key that the user gave is the business of who sends requests. Ours is added while a machine may ask for it.
    given = world.deployment.spec.endpoint.api_key_secret_ref is not None
    return ProxySpec(
        name=metadata.name,
        uid=metadata.uid,
        namespace=metadata.namespace,
        health_path=health_path,
        settings=settings,
        encrypted=encrypted,
        authority=hashlib.sha256(world.certificate_authority.encode()).hexdigest()[:8] if encrypted else "",
        api_key=api_key_secret(metadata.name) if encrypted and not given else None,
    )


def _removed(world: World) -> tuple[Action, ...]:
    """Take the proxy away once the Service has stopped leading to it."""
    if world.fronts:
        return ()
    left = any(not pod.deleting for pod in world.proxies) or world.services.intersection(world.members_services)
    return (RemoveProxy(),) if left else ()
