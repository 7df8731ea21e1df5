"""Where the Service leads: its ports, its slices, and whether the model answers through it.

Each engine is published with its own host *and* port. Kubernetes matches the ports of a Service and of its
EndpointSlices by name, and the number in the slice wins, so replicas of two revisions with different ports can serve
behind one Service port. That is what makes a change of ``endpoint.port`` (or of the engine, by its default port) safe:

1. The Service gets the new port as ``http`` and keeps the old one as ``http-<old>``; both lead to whatever serves.
2. Replicas of the new revision come up on the new port, old ones leave.
3. When no replica serves on the old port any more, nor drains, the Service loses it.

Slices are written before the Service, so that no port of it ever leads nowhere.

Where a proxy is wanted, the Service leads to the proxies that are ready instead, and the engines stand in slices of two
Services by which the proxy finds them. Until a proxy is ready, the Service leads to the engines that clients can speak
to themselves. Either way is published before the other one is taken away.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import EndpointStatus
from deepseek_operator.facts.base import Address, Failure, Probe
from deepseek_operator.facts.clock import elapsed
from deepseek_operator.facts.names import PORT_NAME, port_names, proxy_name
from deepseek_operator.facts.world import World
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.actions import Action, ApplyService, PublishEndpoints, UnpublishEndpoints
from deepseek_operator.reconcile.proxy import Front

__all__ = [
    "Reachability",
    "about_to_answer",
    "about_to_be_asked",
    "endpoint_status",
    "publish",
    "reachability",
    "service_address",
]

UNREACHABLE_S: Final = 10
"""Seconds for which the Service may be silent while replicas serve: kube-proxy needs a moment on each node."""


def publish(
    world: World,
    plan: Planned | None,
    serving: Iterable[Address],
    *,
    draining: Iterable[Address] = (),
    proxy: Front = Front(),  # noqa: B008 - frozen
) -> tuple[Action, ...]:
    """Return what makes the Service lead to exactly ``serving``.

    Clients of a port on which replicas still drain are led to the others: they have this long to learn the new port.
    Without a plan the Service stays as it is, but what no longer serves still leaves it.
    """
    addresses = tuple(sorted(set(serving)))
    service = world.service
    deleting = world.deployment.deleting
    if deleting:
        return tuple(UnpublishEndpoints(piece.name) for piece in world.endpoints)
    had = service.ports if service is not None and not service.foreign else ()
    wanted = plan.port if plan is not None else (had[0] if had else None)
    if wanted is None:
        return _withdrawn(world, addresses, proxy)
    if world.service_conflict:
        # Someone else's Service is in the way. Creating ours is tried again, in case it has been removed.
        create = ApplyService((wanted,), world.deployment.spec.endpoint.type.value, create=True)
        return (*_withdrawn(world, addresses, proxy), create)
    used = {address.port for address in (*addresses, *draining)}
    ports = (wanted, *(port for port in had if port != wanted and port in used))
    kind = world.deployment.spec.endpoint.type.value
    if world.unreadable and service is not None:
        kind = service.type  # nobody knows what the spec says of it, and another type would take its address away
    names = port_names(ports)
    slices = _slices(world, addresses, names, proxy)
    if service is None or service.foreign:
        return (*slices, ApplyService(ports, kind, create=True))
    if service.ports != ports or service.port_names != names or service.type != kind:
        return (*slices, ApplyService(ports, kind))
    return slices


def _withdrawn(world: World, addresses: tuple[Address, ...], proxy: Front) -> tuple[Action, ...]:
    """Take addresses that no longer serve out of the slices, and add none: there is no Service of ours to use them.

    An address that stayed in a slice would count as published, so that its replica would never have drained.
    """
    staying = {*addresses, *((proxy.ready or proxy.kept) if proxy.wanted else ())}
    actions: list[Action] = []
    for piece in world.endpoints:
        left = tuple(address for address in piece.addresses if address in staying)
        if not left:
            actions.append(UnpublishEndpoints(piece.name))
        elif left != piece.addresses:
            service = piece.service if piece.service in world.members_services else None
            actions.append(PublishEndpoints(piece.name, left, piece.port_names, service))
    return tuple(actions)


def _slices(world: World, addresses: tuple[Address, ...], names: tuple[str, ...], proxy: Front) -> tuple[Action, ...]:
    before = {piece.name: piece for piece in world.endpoints}
    after = _wanted_slices(world, addresses, names, proxy)
    actions: list[Action] = []
    for slice_name, wanted in after.items():
        known = before.get(slice_name)
        if known is None or (known.addresses, known.port_names) != (wanted.addresses, wanted.port_names):
            actions.append(wanted)
    # Additions first: an old slice may be the only one that leads anywhere.
    actions += [UnpublishEndpoints(slice_name) for slice_name in before if slice_name not in after]
    return tuple(actions)


def _wanted_slices(
    world: World, addresses: tuple[Address, ...], names: tuple[str, ...], proxy: Front
) -> dict[str, PublishEndpoints]:
    """Return the slices by their names: first those by which proxies find engines, then those of the Service."""
    plain = tuple(address for address in addresses if address not in proxy.encrypted)
    found: list[PublishEndpoints] = []
    if proxy.wanted or world.fronts or world.proxies:
        encrypted = tuple(address for address in addresses if address in proxy.encrypted)
        for service, members in zip(world.members_services, (plain, encrypted), strict=True):
            # With a dot, so that no other deployment's slice has the name.
            found += [PublishEndpoints(*piece, (PORT_NAME,), service) for piece in _by_port(f"{service}.", members)]
    fronts = proxy.ready or (() if plain else proxy.kept)
    if proxy.wanted and fronts:
        found.append(PublishEndpoints(world.proxy_slice, fronts, names))
    else:
        found += [PublishEndpoints(*piece, names) for piece in _by_port(f"{world.deployment.metadata.name}-", plain)]
    return {one.slice_name: one for one in found}


def _by_port(prefix: str, addresses: tuple[Address, ...]) -> list[tuple[str, tuple[Address, ...]]]:
    """Return addresses in groups of one port, each with the name of its slice."""
    ports = sorted({address.port for address in addresses})
    return [(f"{prefix}{port}", tuple(one for one in addresses if one.port == port)) for port in ports]


def service_address(world: World) -> Address | None:
    """Return the address of the Service inside the cluster, at which readiness is checked."""
    service = world.service
    if service is None or service.foreign or not service.ports or not service.cluster_ip:
        return None
    return Address(service.cluster_ip, service.ports[0]) if service.cluster_ip != "None" else None


def about_to_be_asked(world: World, *, serving: bool) -> bool:
    """Return whether the Service leads somewhere and has never been probed: the answer comes within a second."""
    address = service_address(world)
    return serving and address is not None and address not in world.probes


@dataclass(frozen=True)
class Reachability:
    """Whether an engine answers through the Service, and what is missing if not.

    Attributes
    ----------
    reason
        Where it takes somebody's help; None: it comes by itself, or nobody knows what is missing.
    """

    answers: bool
    detail: str = ""
    reason: Reason | None = None


def reachability(
    world: World, *, serving: bool, was_ready: bool, proxied: bool = False, proxy_failure: Failure | None = None
) -> Reachability:
    """Return whether the model answers at the address that the status shows.

    Parameters
    ----------
    serving
        At least one replica serves.
    was_ready
        The deployment was Ready before. That stays true until a probe through the Service has failed: an address that
        has not been asked yet, as after a restart of the operator or a change of the port, is no bad news.
    proxied
        A proxy is wanted.
    proxy_failure
        Why it could not be made; None while nothing is known to be in the way.
    """
    if not serving:
        return Reachability(False)
    if world.service is None:
        return Reachability(False, "the Service is being created")
    address = service_address(world)
    if address is None:
        return Reachability(False, "the Service has no cluster IP yet")
    if proxied and not world.published:
        waiting = f"waiting for a pod of Deployment {proxy_name(world.deployment.metadata.name)}"
        if proxy_failure is not None:
            return Reachability(False, f"{waiting}: {proxy_failure.message}", proxy_failure.reason)
        trouble = next((pod.trouble.message for pod in world.proxies if pod.trouble is not None), "")
        return Reachability(False, f"{waiting}: {trouble}" if trouble else waiting)
    probe = world.probes.get(address)
    if probe is None:
        leads = bool(world.published)
        return Reachability(was_ready and leads, "the Service has not been asked yet")
    if probe.healthy:
        return Reachability(True)
    if _may_come_by_itself(world, probe):
        return Reachability(False, f"the Service does not answer yet at {address}")
    words = f"the Service does not answer at {address}: {probe.detail}"
    return Reachability(False, words, Reason.ENDPOINT_UNREACHABLE)


def about_to_answer(world: World) -> bool:
    """Return whether the Service has been silent for so short a time that it may still answer by itself."""
    address = service_address(world)
    probe = world.probes.get(address) if address is not None else None
    return probe is not None and not probe.healthy and _may_come_by_itself(world, probe)


def _may_come_by_itself(world: World, probe: Probe) -> bool:
    return elapsed(world.now, probe.since) < UNREACHABLE_S


def endpoint_status(world: World, plan: Planned | None) -> EndpointStatus | None:
    """Return the addresses at which the model answers, for the status."""
    service, metadata = world.service, world.deployment.metadata
    if service is None or service.foreign or not service.ports:
        return None
    port = service.ports[0]
    outside = f"http://{Address(service.external_host, port)}/v1" if service.external_host else None
    api_key = world.deployment.spec.endpoint.api_key_secret_ref
    if plan is not None and api_key is None:
        api_key = plan.own_api_key(metadata.name)
    return EndpointStatus.after(
        world.deployment.status.endpoint,
        url=outside,
        internal_url=f"http://{metadata.name}.{metadata.namespace}.svc:{port}/v1",
        api_key_secret_name=api_key.name if api_key is not None else None,
    )
