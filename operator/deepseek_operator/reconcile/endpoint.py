"""Where the Service leads. Everything about the endpoint of a deployment is decided here.

Each engine is published with its own host *and* port. Kubernetes matches the ports of a Service and of its
EndpointSlices by name, and the number in the slice wins, so replicas of two revisions with different ports can serve
behind one Service port. That is what makes a change of ``endpoint.port`` (or of the engine, by its default port) safe:

1. The Service gets the new port as ``http`` and keeps the old one as ``http-<old>``; both lead to whatever serves.
2. Replicas of the new revision come up on the new port, old ones leave.
3. When no replica serves on the old port any more, nor drains, the Service loses it.

Slices are written before the Service, so that no port of it ever leads nowhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deepseek_operator.api.status import EndpointStatus
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.world import World
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.actions import Action, ApplyService, PublishEndpoints, UnpublishEndpoints

__all__ = ["Reachability", "about_to_be_asked", "endpoint_status", "publish", "reachability", "service_address"]

PORT_NAME = "http"


def publish(
    world: World, plan: Planned | None, serving: Iterable[Address], *, draining: Iterable[Address] = ()
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
        return ()
    if world.service_conflict:
        # Someone else's Service is in the way. Creating ours is tried again, in case it has been removed.
        return (ApplyService((wanted,), world.deployment.spec.endpoint.type.value, create=True),)
    used = {address.port for address in (*addresses, *draining)}
    ports = (wanted, *(port for port in had if port != wanted and port in used))
    kind = world.deployment.spec.endpoint.type.value
    names = _names(ports)
    slices = _slices(world, addresses, names)
    if service is None or service.foreign:
        return (*slices, ApplyService(ports, kind, create=True))
    if service.ports != ports or service.port_names != names or service.type != kind:
        return (*slices, ApplyService(ports, kind))
    return slices


def _names(ports: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(PORT_NAME if index == 0 else f"{PORT_NAME}-{port}" for index, port in enumerate(ports))


def _slices(world: World, addresses: tuple[Address, ...], names: tuple[str, ...]) -> tuple[Action, ...]:
    name = world.deployment.metadata.name
    before = {piece.name: piece for piece in world.endpoints}
    after = {
        f"{name}-{port}": tuple(address for address in addresses if address.port == port)
        for port in sorted({address.port for address in addresses})
    }
    actions: list[Action] = []
    for slice_name, members in after.items():
        known = before.get(slice_name)
        if known is None or (known.addresses, known.port_names) != (members, names):
            actions.append(PublishEndpoints(slice_name, members, names))
    # Additions first: an old slice may be the only one that leads anywhere.
    actions += [UnpublishEndpoints(slice_name) for slice_name in before if slice_name not in after]
    return tuple(actions)


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
    """Whether an engine answers through the Service, and what is missing if not."""

    answers: bool
    detail: str = ""


def reachability(world: World, *, serving: bool, was_ready: bool) -> Reachability:
    """Return whether the model answers at the address that the status shows.

    Parameters
    ----------
    serving
        At least one replica serves.
    was_ready
        The deployment was Ready before. That stays true until a probe through the Service has failed: an address that
        has not been asked yet, as after a restart of the operator or a change of the port, is no bad news.
    """
    if not serving:
        return Reachability(False)
    if world.service is None:
        return Reachability(False, "the Service is being created")
    address = service_address(world)
    if address is None:
        return Reachability(False, "the Service has no cluster IP yet")
    probe = world.probes.get(address)
    if probe is None:
        leads = bool(world.published)
        return Reachability(was_ready and leads, "the Service has not been asked yet")
    return Reachability(probe.healthy, probe.detail)


def endpoint_status(world: World) -> EndpointStatus | None:
    """Return the addresses at which the model answers, for the status."""
    service, metadata = world.service, world.deployment.metadata
    if service is None or service.foreign or not service.ports:
        return None
    port = service.ports[0]
    outside = f"http://{service.external_host}:{port}/v1" if service.external_host else None
    return EndpointStatus(url=outside, internal_url=f"http://{metadata.name}.{metadata.namespace}.svc:{port}/v1")
