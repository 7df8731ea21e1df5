"""``decide(world, plan) -> Decision``: the judgement of the control loop, on one page.

1. An object that is being deleted, or suspended, wants no replicas; everything that exists is retired.
2. Nothing is launched before the finalizer is on the object, so that nothing rented is ever forgotten.
3. :mod:`.rollout` says which replicas stay, come and go; :mod:`.replica` says of each what it is and what helps it.
4. :mod:`.endpoint` leads the Service to exactly the replicas that serve. Its actions come first: traffic waits for
   nothing else.
5. What a rule needs to know it asks for. A rule may wait for an answer; a decision never fails for want of one.

The function is pure: the same world and plan give the same decision.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import EngineName
from deepseek_operator.api.status import DeepSeekDeploymentStatus, Ledger, Phase
from deepseek_operator.api.v1alpha1 import ANNOTATION_ABANDON, FINALIZER
from deepseek_operator.engines import get_engine
from deepseek_operator.facts.base import Address, Encryption, Fact, Failure, Known, ProbeTarget, Unknown
from deepseek_operator.facts.clock import elapsed
from deepseek_operator.facts.engine import EngineTarget
from deepseek_operator.facts.names import ClusterName, cluster_name, server_name
from deepseek_operator.facts.skypilot import SkyPilotClusterState
from deepseek_operator.facts.world import NOT_ASKED, Question, QuestionKind, ReplicaFacts, Seen, World
from deepseek_operator.launch.proxy import ProxySettings
from deepseek_operator.planning import Planned, Refused
from deepseek_operator.reconcile.actions import Action, AddFinalizer, RemoveFinalizer
from deepseek_operator.reconcile.budget import Budget, dollars
from deepseek_operator.reconcile.endpoint import publish, service_address
from deepseek_operator.reconcile.proxy import front, proxy_targets
from deepseek_operator.reconcile.replica.leaving import draining
from deepseek_operator.reconcile.replica.ledger import advance
from deepseek_operator.reconcile.replica.rules import leave, want
from deepseek_operator.reconcile.replica.view import KUBERNETES, Finding, View, look
from deepseek_operator.reconcile.rollout import Existing, Rollout, limits, plan_rollout

__all__ = ["Decision", "Replica", "decide"]

RECOVERY_S = 60
"""Seconds for which a silent replica of an older revision may come back before it is removed. It is never repaired."""
BLOCKED_LOOK_S = 5.0
CLOUD_ENABLED_S = 600
"""Seconds for which it is believed that the SkyPilot server has credentials for a cloud."""
CLOUD_REFUSED_S = 20
"""Seconds after which a cloud without credentials is asked about again: somebody may be mending it just now."""


@dataclass(frozen=True)
class Replica:
    """A replica with what was found of it."""

    name: ClusterName
    current: bool
    view: View
    finding: Finding

    @property
    def ready(self) -> bool:
        """Whether the Service leads to it."""
        return self.finding.phase is Phase.READY


@dataclass(frozen=True)
class Decision:
    """What to do now, what to find out, and when to look again although nothing may have happened.

    Attributes
    ----------
    publish
        Actions on the Service and its slices, done first.
    actions
        Actions on replicas; each is independent of the others.
    finalizer
        Change of the object's finalizer.
    targets
        Addresses to probe from now on.
    engines
        Engines whose own figures are read from now on.
    abandoned
        Names that may still exist although the object is released, because its user said so.
    proxied
        The Service leads to the replicas by a proxy, or will.
    next_look_s
        Seconds; None when only an event can change anything.
    """

    replicas: tuple[Replica, ...] = ()
    blocked: Failure | None = None
    publish: tuple[Action, ...] = ()
    actions: tuple[tuple[ClusterName, Action], ...] = ()
    finalizer: AddFinalizer | RemoveFinalizer | None = None
    asks: tuple[Question, ...] = ()
    targets: Mapping[Address, ProbeTarget] = field(default_factory=dict)
    engines: Mapping[Address, EngineTarget] = field(default_factory=dict)
    abandoned: tuple[ClusterName, ...] = ()
    proxied: bool = False
    next_look_s: float | None = None

    @property
    def released(self) -> bool:
        """Whether the object is being released, so that there is no status to write."""
        return isinstance(self.finalizer, RemoveFinalizer)


def decide(
    world: World,
    plan: Planned | Refused,
    *,
    launches_waiting: bool = False,
    proxy: ProxySettings = ProxySettings(),  # noqa: B008 - frozen
) -> Decision:
    """Return what brings the world nearer to the spec.

    Parameters
    ----------
    launches_waiting
        Launches of other deployments wait for a free launch worker.
    proxy
        What the proxy is made of where one is wanted.
    """
    deployment = world.deployment
    held = FINALIZER in deployment.metadata.finalizers
    if deployment.deleting and not held:
        return Decision()

    planned = plan if isinstance(plan, Planned) else None
    revision = world.revision
    ledgers = {instance.name: instance.ledger for instance in deployment.status.instances}
    views = {
        name: look(world, facts, ledgers.get(str(name), Ledger()), planned, current=name.runs(revision))
        for name, facts in world.replicas.items()
    }
    current = frozenset(name for name, view in views.items() if name.runs(revision) and not view.renewing)
    views = {name: view if name in current else replace(view, plan=None) for name, view in views.items()}
    wanted = 0 if deployment.spec.suspend or deployment.deleting else deployment.spec.replicas
    complete = sum(view.serving and name in current for name, view in views.items()) >= wanted
    blocked, asks = _blocked(world, plan, complete=complete)
    costs = {instance.name: dollars(instance.hourly_cost) for instance in deployment.status.instances}
    views = {
        name: replace(view, blocked=blocked, launches_waiting=launches_waiting, shown_cost=costs.get(str(name)))
        for name, view in views.items()
    }
    budget = Budget.of(planned, deployment.spec.resources.max_hourly_cost, views.values())
    rollout = _rollout(world, views, current, budget, may_add=planned is not None)
    replicas = _find(world, views, rollout, current, planned, blocked, launches_waiting, budget)
    replicas = tuple(_shown(replica, deployment.status) for replica in replicas)
    if deployment.deleting and (release := _release(world, replicas)) is not None:
        return release

    serving = [replica.view.address for replica in replicas if replica.ready and replica.view.address is not None]
    serving += _unattributed(world, replicas)
    tls = any(replica.view.encrypted for replica in replicas)
    before = front(world, planned, proxy, _encrypted(world, replicas), tls=tls)
    actions = [(replica.name, action) for replica in replicas for action in replica.finding.actions]
    looks = [replica.finding.next_look_s for replica in replicas if replica.finding.next_look_s is not None]
    if wanted and (blocked is not None or not isinstance(world.skypilot, Known)):
        looks.append(BLOCKED_LOOK_S)
    if before.actions or (before.wanted and not before.ready and any(replica.ready for replica in replicas)):
        looks.append(BLOCKED_LOOK_S)
    targets = _targets(world, replicas, planned)
    return Decision(
        replicas=replicas,
        blocked=blocked,
        publish=(*publish(world, planned, serving, draining=_draining(replicas), proxy=before), *before.actions),
        actions=tuple(actions) if held else (),
        finalizer=None if held else AddFinalizer(),
        asks=(*asks, *_endpoint_questions(world, replicas), *(a for r in replicas for a in r.finding.asks)),
        targets=targets | proxy_targets(world),
        engines=_engines(replicas, targets),
        proxied=before.wanted,
        next_look_s=min(looks, default=None),
    )


def _release(world: World, replicas: tuple[Replica, ...]) -> Decision | None:
    """Let the object go when it is certain that nothing is left, or when its user insists."""
    if world.deployment.metadata.annotations.get(ANNOTATION_ABANDON) == "true":
        return Decision(finalizer=RemoveFinalizer(), abandoned=tuple(replica.name for replica in replicas))
    if replicas or not isinstance(world.skypilot, Known):
        return None
    return Decision(finalizer=RemoveFinalizer())


def _rollout(
    world: World, views: Mapping[ClusterName, View], current: frozenset[ClusterName], budget: Budget, *, may_add: bool
) -> Rollout:
    spec = world.deployment.spec
    if world.deployment.deleting or spec.suspend:
        return Rollout(retire=tuple(views))
    if world.unreadable:
        return Rollout(serve=tuple(views))  # what the spec wants is not known, so nothing is taken away
    surge, unavailable = limits(spec.update_strategy, spec.replicas)
    if unavailable and not budget.room_for_one:
        surge = 0  # a replica beside the old ones is beyond maxHourlyCost, and the user lets one of these go first
    strays = _strays(world, views.values())
    existing = [
        Existing(
            name=name,
            current=name in current,
            serving=view.serving,
            published=view.published,
            recovering=_recovering(view) or (bool(strays) and _unplaced(view)),
            present=view.exists,
            leaving=view.ledger.leaving_since is not None,
            hourly_cost=view.shown_cost,
        )
        for name, view in views.items()
    ]
    return plan_rollout(
        replicas=spec.replicas,
        surge=surge,
        unavailable=unavailable,
        existing=existing,
        may_add=may_add,
        taken=frozenset(name.ordinal for name in views if name.runs(world.revision) and name not in current),
    )


def _recovering(view: View) -> bool:
    """Return whether a replica that served stopped answering so recently that it may come back by itself."""
    ledger = advance(view, wanted=True)
    if view.address is None or ledger.silent_since is None:
        return False
    return elapsed(view.now, ledger.silent_since) < RECOVERY_S


def _find(
    world: World,
    views: Mapping[ClusterName, View],
    rollout: Rollout,
    current: frozenset[ClusterName],
    plan: Planned | None,
    blocked: Failure | None,
    launches_waiting: bool,
    budget: Budget,
) -> tuple[Replica, ...]:
    replicas = []
    for name in rollout.keep:
        view = views[name]
        if name in rollout.launchable:
            view, budget = budget.launch(view)
        else:
            view = replace(view, may_launch=False)
        replicas.append(Replica(name, True, view, want(view)))
    for ordinal in rollout.add:
        name = cluster_name(world.deployment, world.revision, ordinal)
        facts = ReplicaFacts(name, skypilot=_absent(world))
        view = look(world, facts, Ledger(), plan, current=True)
        view, budget = budget.launch(replace(view, blocked=blocked, launches_waiting=launches_waiting))
        replicas.append(Replica(name, True, view, want(view)))
    for name in rollout.serve:
        # An older revision is used while it serves and never repaired: its successor is on the way.
        finding = want(views[name])
        replicas.append(Replica(name, False, views[name], replace(finding, actions=(), asks=())))
    for name in rollout.retire:
        found = leave(views[name])
        if found is not None:
            replicas.append(Replica(name, name in current, views[name], found))
    return tuple(replicas)


def _shown(replica: Replica, status: DeepSeekDeploymentStatus) -> Replica:
    """Let a replica go on saying what its status says where nothing new is known of it."""
    finding = replica.finding
    said = next((instance for instance in status.instances if instance.name == str(replica.name)), None)
    if not finding.passing or said is None or not said.reason or said.phase is Phase.READY:
        return replica
    if (said.phase is Phase.TERMINATING) != (finding.phase is Phase.TERMINATING):
        return replica
    return replace(replica, finding=replace(finding, phase=said.phase, reason=said.reason, message=said.message))


def _absent(world: World) -> Fact[Seen]:
    if isinstance(world.skypilot, Known):
        return Known(Seen(), world.skypilot.at)
    return world.skypilot


def _blocked(world: World, plan: Planned | Refused, *, complete: bool) -> tuple[Failure | None, tuple[Question, ...]]:
    """Return why nothing may be launched in this pass, and what has to be asked to know better.

    Parameters
    ----------
    complete
        All wanted replicas serve, so nothing is going to be launched and no Secret is read.
    """
    deployment = world.deployment
    if isinstance(plan, Refused):  # also where the spec cannot be read
        return Failure(plan.reason, plan.message), ()
    if world.namespace_terminating:
        message = f"namespace {deployment.metadata.namespace} is being deleted; nothing is launched in it"
        return Failure(Reason.NAMESPACE_TERMINATING, message), ()
    if world.service_conflict:
        name = deployment.metadata.name
        return Failure(Reason.SERVICE_CONFLICT, f"a Service {name} exists and was not made for this deployment"), ()
    access, cloud_asks = (None, ()) if complete else _no_access(world, plan)
    if access is not None and access.reason is not Reason.PLANNING:
        return access, cloud_asks
    answers = {ref: world.secrets.get(ref) for ref in (() if complete else plan.secrets)}
    namespace = deployment.metadata.namespace
    asks = tuple(
        Question(QuestionKind.SECRET, f"{namespace}/{ref.name}/{ref.key}")
        for ref, answer in answers.items()
        if not (isinstance(answer, Known) and answer.value == "")
    )
    missing = [answer.value for answer in answers.values() if isinstance(answer, Known) and answer.value]
    if missing:
        return Failure(Reason.SECRET_NOT_FOUND, "; ".join(missing)), asks
    if asks:
        return Failure(Reason.PLANNING, "checking that the Secrets of the spec exist"), (*asks, *cloud_asks)
    if FINALIZER not in deployment.metadata.finalizers:
        return Failure(Reason.PLANNING, "planned; SkyPilot is asked for nodes next"), cloud_asks
    return access, cloud_asks


def _no_access(world: World, plan: Planned) -> tuple[Failure | None, tuple[Question, ...]]:
    """Return why the SkyPilot server cannot use any cloud of the spec, and what has to be asked to know better.

    A launch would say the same, but only after SkyPilot has looked into catalogs that it may have to download. Where
    one place of several will do, SkyPilot itself leaves out the others.
    """
    if any(place.is_kubernetes for place in plan.places):
        return None, ()
    answers = {place.cloud: world.clouds.get(place.cloud, NOT_ASKED) for place in plan.places}
    asks = tuple(Question(QuestionKind.CLOUD, cloud) for cloud, answer in answers.items() if _stale(world, answer))
    refused = [answer.value for answer in answers.values() if isinstance(answer, Known) and answer.value is not None]
    wrong = next((one for one in refused if one.reason is Reason.INVALID_SPEC), None)
    if wrong is not None or len(refused) == len(answers):
        return wrong or refused[0], asks
    if any(isinstance(answer, Unknown) and answer.since is None for answer in answers.values()):
        words = f"asking the SkyPilot server whether it has credentials for {', '.join(answers)}"
        return Failure(Reason.PLANNING, words), asks
    return None, asks


def _stale(world: World, answer: Fact[Failure | None]) -> bool:
    """Return whether to ask about a cloud again; the answer is used meanwhile."""
    if not isinstance(answer, Known):
        return True
    limit_s = CLOUD_ENABLED_S if answer.value is None else CLOUD_REFUSED_S
    return not 0 <= (world.now - answer.at).total_seconds() < limit_s


def _endpoint_questions(world: World, replicas: tuple[Replica, ...]) -> tuple[Question, ...]:
    """Ask where rented machines answer and what they cost, once for each launch; without a record, if they are gone."""
    found = []
    if any(replica.view.encrypted for replica in replicas) and not isinstance(world.authority, Known):
        found.append(world.authority_question)
    for replica in replicas:
        view = replica.view
        if not view.rented or view.requests or not isinstance(view.facts.skypilot, Known):
            continue
        # Where the status that noted its launch was lost, a replica of the current revision has the port of the plan.
        port = view.ledger.port or (view.plan.port if view.plan is not None else None)
        if view.cluster is not None and view.address is None and port is not None:
            found.append(Question(QuestionKind.ENDPOINT, str(replica.name), port))
        up = view.cluster is not None and view.cluster.state is SkyPilotClusterState.UP
        if up and view.ledger.price is None and not isinstance(view.facts.price, Known):
            found.append(Question(QuestionKind.PRICE, str(replica.name)))
        if view.cluster is None and view.address is not None and not isinstance(view.facts.terminated, Known):
            found.append(Question(QuestionKind.HISTORY, str(replica.name)))
    return tuple(found)


def _draining(replicas: tuple[Replica, ...]) -> list[Address]:
    leaving = [replica for replica in replicas if replica.finding.phase is Phase.TERMINATING]
    views = [replace(replica.view, ledger=replica.finding.ledger) for replica in leaving]
    return [view.address for view in views if view.address is not None and draining(view)]


def _encrypted(world: World, replicas: tuple[Replica, ...]) -> frozenset[Address]:
    """Return where engines answer over TLS; what belongs to nobody known stays where it stands."""
    known = {replica.view.address: replica.view.encrypted for replica in replicas}
    _, service = world.members_services
    there = (address for piece in world.members if piece.service == service for address in piece.addresses)
    return frozenset(address for address in {*known, *there} if address is not None and known.get(address, True))


def _unattributed(world: World, replicas: tuple[Replica, ...]) -> list[Address]:
    """Return published addresses that may belong to a rented replica of which nobody knows yet where it answers."""
    staying = [replica.view for replica in replicas if replica.finding.phase is not Phase.TERMINATING]
    return _strays(world, (replica.view for replica in replicas)) if any(map(_unplaced, staying)) else []


def _strays(world: World, views: Iterable[View]) -> list[Address]:
    known = {view.address for view in views}
    return [address for address in world.published if address not in known]


def _unplaced(view: View) -> bool:
    """Return whether a replica may answer somewhere without anybody knowing where, as after a lost status."""
    if view.address is not None or view.infra == KUBERNETES:
        return False
    if not isinstance(view.facts.skypilot, Known):
        # Not asked since the start of this process; or away, and what was launched may be anywhere.
        return view.facts.skypilot.since is None or view.ledger.launched_at is not None
    return view.cluster is not None and not isinstance(view.facts.endpoint, Known)


def _targets(world: World, replicas: tuple[Replica, ...], plan: Planned | None) -> dict[Address, ProbeTarget]:
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
            if not isinstance(world.authority, Known) or not world.authority.value:
                continue  # nobody can tell it from a stranger, so it is not asked, and keeps what it has
            name = server_name(str(replica.name), world.deployment.metadata.uid)
            encryption = Encryption(world.authority.value, name)
        trusted = ledger.ready_since is not None
        found[view.address] = ProbeTarget(path, trusted=trusted, running=series, encryption=encryption)
    address = service_address(world)
    if address is not None and any(replica.ready for replica in replicas):
        path = next((target.path for target in found.values()), plan.health_path if plan is not None else "/health")
        found[address] = ProbeTarget(path, keep_alive=False)
    return found


def _engines(replicas: tuple[Replica, ...], targets: Mapping[Address, ProbeTarget]) -> Mapping[Address, EngineTarget]:
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
