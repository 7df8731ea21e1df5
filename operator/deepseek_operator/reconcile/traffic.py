"""Whom clients reach: the replicas that serve, the proxy in front of them, and what has to be known of both."""

from collections.abc import Mapping
from dataclasses import dataclass

from deepseek_operator.facts.base import Address, ProbeTarget
from deepseek_operator.facts.engine import EngineTarget
from deepseek_operator.facts.world import Question, World
from deepseek_operator.launch.proxy import ProxySettings
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.actions import Action
from deepseek_operator.reconcile.endpoint import about_to_answer, publish
from deepseek_operator.reconcile.proxy import Front, front, proxy_targets
from deepseek_operator.reconcile.replica.view import Replica
from deepseek_operator.reconcile.targets import (
    draining_addresses,
    encrypted,
    endpoint_questions,
    engine_targets,
    lacks_authority,
    probe_targets,
    speaks_tls,
    unattributed,
)

__all__ = ["Traffic", "lead"]


@dataclass(frozen=True)
class Traffic:
    """How traffic gets to the replicas that serve.

    Attributes
    ----------
    actions
        On the Service, its slices and the proxy; additions come before what they replace is taken away.
    asks
        What has to be known of addresses, prices and Secrets.
    targets
        Addresses to probe from now on.
    engines
        Engines whose own figures are read from now on.
    proxied
        The Service leads to the replicas by a proxy, or will.
    waits
        Something in the way may change without an event.
    """

    actions: tuple[Action, ...]
    asks: tuple[Question, ...]
    targets: Mapping[Address, ProbeTarget]
    engines: Mapping[Address, EngineTarget]
    proxied: bool
    waits: bool


def lead(world: World, planned: Planned | None, replicas: tuple[Replica, ...], proxy: ProxySettings) -> Traffic:
    """Return what leads the Service to exactly the replicas that serve.

    Parameters
    ----------
    planned
        The plan; None: the spec cannot be planned, and what serves goes on.
    proxy
        What the proxy is made of where one is wanted.
    """
    serving = [replica.view.address for replica in replicas if replica.ready and replica.view.address is not None]
    serving += unattributed(world, replicas)
    in_front = _front(world, planned, replicas, proxy, serving)
    targets = probe_targets(world, replicas, planned)
    return Traffic(
        actions=(
            *publish(world, planned, serving, draining=draining_addresses(replicas), proxy=in_front),
            *in_front.actions,
        ),
        asks=(*in_front.asks, *endpoint_questions(world, replicas)),
        targets=targets | proxy_targets(world),
        engines=engine_targets(replicas, targets),
        proxied=in_front.wanted,
        waits=_waits(world, replicas, in_front),
    )


def _front(
    world: World, planned: Planned | None, replicas: tuple[Replica, ...], proxy: ProxySettings, serving: list[Address]
) -> Front:
    over_tls = encrypted(world, replicas)
    launched = (one.finding.ledger.health_path for one in replicas if one.view.encrypted)
    return front(
        world,
        planned,
        proxy,
        over_tls,
        tls=speaks_tls(world, replicas) or not over_tls.isdisjoint(serving),
        launched_path=next(filter(None, launched), None),
    )


def _waits(world: World, replicas: tuple[Replica, ...], in_front: Front) -> bool:
    no_proxy_yet = in_front.wanted and not in_front.ready and any(replica.ready for replica in replicas)
    return (
        lacks_authority(world, replicas)  # a question that was answered a moment ago is not asked again before that
        or bool(in_front.actions)
        or no_proxy_yet
        or about_to_answer(world)  # else its silence is a fault, and the status says so
    )
