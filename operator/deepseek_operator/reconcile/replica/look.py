"""What of the world concerns one replica: where its engine listens, and whether it answers."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from deepseek_operator.api.places import KUBERNETES
from deepseek_operator.api.status import Ledger
from deepseek_operator.facts.base import Address, Known
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.facts.world import ReplicaFacts, World
from deepseek_operator.launch.proxy import OBSOLETE_S
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.replica.view import Health, View, terminated

__all__ = ["address_of", "look", "without_lost_addresses"]

PROXY_LAG_S = OBSOLETE_S + 10
"""Seconds after which no proxy sends requests to an engine that has left its members: the cluster's DNS server keeps an
answer for 5 s, HAProxy asks every second, and keeps what has vanished from the answers for a while."""


def look(
    world: World,
    facts: ReplicaFacts,
    ledger: Ledger,
    plan: Planned | None,
    *,
    current: bool,
    shown_cost: Decimal | None = None,
    launches_waiting: bool = False,
) -> View:
    """Return the part of the world that concerns one replica, before the rollout has said whether it may launch.

    Parameters
    ----------
    current
        It runs the current revision, so the plan's port holds where the ledger knows none.
    """
    port = ledger.port or (plan.port if plan is not None and current else None)
    address = address_of(facts, ledger, port, world.published)
    probe = world.probes.get(address) if address is not None else None
    health = Health.SILENT
    if address is not None:
        health = Health.UNKNOWN if probe is None else Health.ANSWERS if probe.healthy else Health.SILENT
    return View(
        now=world.now,
        facts=facts,
        ledger=ledger,
        address=address,
        health=health,
        detail=probe.detail if probe is not None else "",
        dropped=probe is not None and probe.dropped,
        running=probe.running if probe is not None else None,
        published=address is not None and address in world.published,
        deleting=world.deployment.deleting,
        owner=f"{world.deployment.metadata.name} -n {world.deployment.metadata.namespace}",
        abandoned=str(facts.name) in world.deployment.abandoned,
        plan=plan if current else None,
        may_launch=False,
        shown_cost=shown_cost,
        launches_waiting=launches_waiting,
        lag_s=PROXY_LAG_S if world.fronts else 0.0,
    )


def address_of(
    facts: ReplicaFacts, ledger: Ledger, port: int | None, published: frozenset[Address] = frozenset()
) -> Address | None:
    """Return where the engine listens.

    On Kubernetes that is the head pod, on the port of its launch; where that is forgotten, on the one that the Service
    leads to. A rented machine keeps the address that was seen last while nobody can be asked.
    """
    head = next((pod for pod in facts.pods if pod.head and pod.running), None)
    if head is not None and ledger.port is None:
        there = next((address for address in sorted(published) if address.host == head.ip), None)
        if there is not None:
            return there
    if head is not None:
        return Address(head.ip, port) if head.ip and port else None
    seen = facts.last_seen.cluster
    infra = seen.infra if seen is not None and seen.cloud else ledger.infra
    if facts.pods or infra in (None, KUBERNETES):
        return None
    if seen is None and _given_back(facts, ledger):
        return None  # the provider may have given its address to somebody else
    if isinstance(facts.endpoint, Known) and facts.endpoint.value is not None:
        return facts.endpoint.value
    return Address.parse(ledger.address or "")


def without_lost_addresses(views: Mapping[ClusterName, View]) -> Mapping[ClusterName, View]:
    """Return the views of all replicas, where an address that two of them have is that of the one launched last.

    A provider gives the address of a machine that is gone to the next one, and SkyPilot may need a minute to notice.
    """
    owners: dict[Address, ClusterName] = {}
    lost: set[ClusterName] = set()
    for name, view in views.items():
        if view.address is None:
            continue
        other = owners.setdefault(view.address, name)
        if other != name:
            newer = _launched_before(views[other], view)
            owners[view.address] = name if newer else other
            lost.add(other if newer else name)
    if not lost:
        return views
    return {name: _without_address(view) if name in lost else view for name, view in views.items()}


def _without_address(view: View) -> View:
    words = "its address belongs to a replica that was launched later"
    return replace(view, address=None, health=Health.SILENT, detail=words, dropped=False, running=None, published=False)


def _launched_before(one: View, other: View) -> bool:
    """Return whether a replica was launched before the other; one of which that is not known was."""
    if one.ledger.launched_at is None or other.ledger.launched_at is None:
        return other.ledger.launched_at is not None
    return one.ledger.launched_at < other.ledger.launched_at


def _given_back(facts: ReplicaFacts, ledger: Ledger) -> bool:
    """Return whether its machines were terminated, by us or by hand; not so where only the record of them is lost."""
    return ledger.teardown_at is not None or terminated(facts, ledger)
