"""Worlds with a proxy between the Service and the engines, in a few words."""

from dataclasses import replace
from typing import Any

from deepseek_operator.facts.base import Address, Known
from deepseek_operator.facts.kubernetes import Endpoints
from deepseek_operator.facts.world import World
from deepseek_operator.launch.proxy import PROXY_PORT, proxy_revision
from deepseek_operator.reconcile.actions import Action, ApplyProxy
from deepseek_operator.reconcile.decide import decide
from tests.unit.reconcile import builders as b

MACHINE = Address("54.0.0.1", b.PORT)
FRONTS = (Address("10.88.1.1", PROXY_PORT), Address("10.88.1.2", PROXY_PORT))
SERVICES = frozenset({"r1", "r1-plain", "r1-tls"})


def rented(**fields: Any) -> World:
    """One replica on a rented machine that answers; nobody leads to it yet."""
    of = b.rented_deployment()
    name = b.name(of)
    kept = b.ledger(infra="aws", address=str(MACHINE), ready_since=b.ago(300), certificate_until=b.ago(-300 * 86_400))
    kept = kept.model_copy(update=fields.pop("ledger", {}))
    seen = b.seen(b.row(name, cloud="AWS", region="us-east-1"))
    replica = b.facts(name, skypilot=seen, price=Known(None, b.NOW), endpoint=Known(MACHINE, b.NOW))
    known = {
        "authority": b.AUTHORITY,
        "probes": b.answering(MACHINE),
        "secrets": b.API_KEY_EXISTS,
        "clouds": b.CLOUDS_ENABLED,
        "services": SERVICES,
        **fields,
    }
    return b.world(b.remembering(of, {name: kept}), replica, **known)


def led(world: World, *, direct: tuple[Address, ...] = (), plain: tuple[Address, ...] = ()) -> World:
    """The same with proxies that are ready, and with slices that lead to them."""
    members = tuple(
        Endpoints(f"{service}.{b.PORT}", addresses, ("http",), service)
        for service, addresses in (("r1-plain", plain), ("r1-tls", () if plain else (MACHINE,)))
        if addresses
    )
    front = Endpoints("r1-proxy", FRONTS, ("http",), "r1")
    straight = (Endpoints("r1-8000", direct, ("http",), "r1"),) if direct else ()
    return replace(
        world,
        proxies=(b.proxy_pod(0, revision(world)), b.proxy_pod(1, revision(world))),
        endpoints=(*straight, front, *members),
        probes={**world.probes, **b.answering(*FRONTS)},
    )


def revision(world: World) -> str:
    """What the proxy of a world is made from."""
    action = next(a for a in published(replace(world, proxies=())) if isinstance(a, ApplyProxy))
    return proxy_revision(action.spec)


def published(world: World) -> tuple[Action, ...]:
    """What a pass does where the Service leads."""
    return decide(world, b.planned(world.deployment)).publish


def with_proxy(world: World, *, wanted: bool = True) -> World:
    """The world after its user has asked for a proxy, or has taken that back."""
    spec = world.deployment.spec
    endpoint = spec.endpoint.model_copy(update={"proxy": wanted})
    return replace(
        world, deployment=world.deployment.model_copy(update={"spec": spec.model_copy(update={"endpoint": endpoint})})
    )
