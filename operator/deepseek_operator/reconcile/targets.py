"""Where replicas answer: what is asked to find out, what is probed and read, and whose addresses are whose."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from deepseek_operator.api.places import KUBERNETES
from deepseek_operator.api.spec import EngineName
from deepseek_operator.api.status import Phase
from deepseek_operator.engines import get_engine
from deepseek_operator.facts.base import Address, Encryption, Known, ProbeTarget
from deepseek_operator.facts.engine import EngineTarget
from deepseek_operator.facts.names import server_name
from deepseek_operator.facts.skypilot import RequestKind
from deepseek_operator.facts.world import Question, QuestionKind, World
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.endpoint import service_address
from deepseek_operator.reconcile.replica.leaving import draining
from deepseek_operator.reconcile.replica.view import Health, Replica, View

__all__ = [
    "draining_addresses",
    "encrypted",
    "endpoint_questions",
    "engine_targets",
    "lacks_authority",
    "probe_targets",
    "speaks_tls",
    "strays",
    "unattributed",
    "unplaced",
]


def endpoint_questions(world: World, replicas: tuple[Replica, ...]) -> tuple[Question, ...]:
    """Ask where rented machines answer, what they cost and how their launch went, once for each launch.

    Without a record of them, ask if they are gone.
    """
    found = []
    for replica in replicas:
        view = replica.view
        if not view.rented or view.requests or not isinstance(view.facts.skypilot, Known):
            continue
        # Where the status that noted its launch was lost, a replica of the current revision has the port of the plan.
        port = view.ledger.port or (view.plan.port if view.plan is not None else None)
        # An address that is silent may be that of an earlier launch, where the status that noted the last one was lost.
        unsure = view.health is Health.SILENT and not isinstance(view.facts.endpoint, Known)
        if view.cluster is not None and (view.address is None or unsure) and port is not None:
            found.append(Question(QuestionKind.ENDPOINT, str(replica.name), port))
        if view.lacks_price:
            found.append(Question(QuestionKind.PRICE, str(replica.name)))
            if not isinstance(view.facts.outcome, Known):  # for the places that it tried before
                found.append(Question(QuestionKind.OUTCOME, str(replica.name)))
        if view.cluster is None and view.address is not None and not isinstance(view.facts.terminated, Known):
            found.append(Question(QuestionKind.HISTORY, str(replica.name)))
    return tuple(found)


def lacks_authority(world: World, replicas: tuple[Replica, ...]) -> bool:
    """Return whether engines answer over TLS that nobody can tell from strangers, so that they are not probed."""
    return not world.certificate_authority and any(replica.view.encrypted for replica in replicas)


def draining_addresses(replicas: tuple[Replica, ...]) -> list[Address]:
    """Return where replicas still answer requests that were sent to them before they left the Service."""
    leaving = [replica for replica in replicas if replica.finding.phase is Phase.TERMINATING]
    views = [replace(replica.view, ledger=replica.finding.ledger) for replica in leaving]
    return [view.address for view in views if view.address is not None and draining(view)]


def encrypted(world: World, replicas: tuple[Replica, ...]) -> frozenset[Address]:
    """Return where engines answer over TLS; what belongs to nobody known stays where it stands."""
    known = {replica.view.address: replica.view.encrypted for replica in replicas}
    _, service = world.members_services
    there = (address for piece in world.members if piece.service == service for address in piece.addresses)
    return frozenset(address for address in {*known, *there} if address is not None and known.get(address, True))


def speaks_tls(world: World, replicas: tuple[Replica, ...]) -> bool:
    """Return whether some replica answers over TLS, or will; where a proxy stands, one that may is enough."""
    stands = bool(world.proxies or world.fronts)
    return any(one.view.encrypted or (stands and one.view.may_be_encrypted) for one in replicas)


def unattributed(world: World, replicas: tuple[Replica, ...]) -> list[Address]:
    """Return published addresses that may belong to a rented replica of which nobody knows yet where it answers."""
    staying = [replica.view for replica in replicas if replica.finding.phase is not Phase.TERMINATING]
    return strays(world, (replica.view for replica in replicas)) if any(map(unplaced, staying)) else []


def strays(world: World, views: Iterable[View]) -> list[Address]:
    """Return published addresses that belong to no replica that is known."""
    known = {view.address for view in views}
    return [address for address in world.published if address not in known]


def unplaced(view: View) -> bool:
    """Return whether a replica may answer somewhere without anybody knowing where, as after a lost status."""
    if view.address is not None or view.infra == KUBERNETES:
        return False
    if not isinstance(view.facts.skypilot, Known):
        # Not asked since the start of this process; or away, and what was launched may be anywhere.
        return view.facts.skypilot.since is None or view.ledger.launched_at is not None
    if view.in_flight(RequestKind.LAUNCH):
        return False  # what the Service leads to served before this launch, and is why there is one
    return view.cluster is not None and not isinstance(view.facts.endpoint, Known)


def probe_targets(world: World, replicas: tuple[Replica, ...], plan: Planned | None) -> dict[Address, ProbeTarget]:
    """Return what is probed from now on: the replicas that somebody may ask, and the Service that leads to them."""
    found: dict[Address, ProbeTarget] = {}
    for replica in replicas:
        view, ledger = replica.view, replica.finding.ledger
        if view.address is None:
            continue
        series: tuple[str, ...] = ()
        if replica.finding.phase is Phase.TERMINATING:
            drains = draining(replace(view, ledger=ledger))
            if not drains and not view.published:
                continue  # nobody asks it any more, and whether it answers changes nothing
            series = _running_series(ledger.engine) if drains else ()
        path = ledger.health_path or (plan.health_path if plan is not None else "/health")
        encryption = None
        if view.encrypted:
            if not world.certificate_authority:
                continue  # nobody can tell it from a stranger, so it is not asked, and keeps what it has
            name = server_name(str(replica.name), world.deployment.metadata.uid)
            encryption = Encryption(world.certificate_authority, name)
        trusted = ledger.ready_since is not None
        found[view.address] = ProbeTarget(path, trusted=trusted, running=series, encryption=encryption)
    address = service_address(world)
    if address is not None and any(replica.ready for replica in replicas):
        path = next((target.path for target in found.values()), plan.health_path if plan is not None else "/health")
        found[address] = ProbeTarget(path, keep_alive=False)
    return found


def engine_targets(
    replicas: tuple[Replica, ...], targets: Mapping[Address, ProbeTarget]
) -> Mapping[Address, EngineTarget]:
    """Return the engines that serve."""
    found: dict[Address, EngineTarget] = {}
    for replica in replicas:
        address, name = replica.view.address, _engine_name(replica.finding.ledger.engine)
        if replica.ready and address in targets and address is not None and name is not None:
            found[address] = EngineTarget(name, targets[address].encryption)
    return found


def _running_series(engine: str | None) -> tuple[str, ...]:
    known = _engine_name(engine)
    if known is None:
        return ()
    metrics = get_engine(known).metrics
    return (metrics.running, metrics.waiting)


def _engine_name(engine: str | None) -> EngineName | None:
    """Return the engine in a ledger; None where it was never launched, or by an operator that knows another engine."""
    return next((name for name in EngineName if name == engine and name is not EngineName.AUTO), None)
