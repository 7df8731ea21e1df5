"""``decide(world, plan) -> Decision``: the judgement of the control loop, on one page.

1. An object that is being deleted, or suspended, wants no replicas; everything that exists is retired.
2. Nothing is launched before the finalizer is on the object, so that nothing rented is ever forgotten.
3. :mod:`.rollout` says which replicas stay, come and go; :mod:`.replicas` holds launches back where an approval, money
   or a Secret is missing; :mod:`.replica` says of each replica what it is and what helps it.
4. :mod:`.traffic` leads the Service to exactly the replicas that serve. Its actions come first: traffic waits for
   nothing else.
5. What a rule needs to know it asks for. A rule may wait for an answer; a decision never fails for want of one.

The function is pure: the same world and plan give the same decision.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from deepseek_operator.api.base import read_amount
from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Ledger, Phase
from deepseek_operator.api.v1alpha1 import FINALIZER
from deepseek_operator.facts.base import Address, Failure, Known, ProbeTarget
from deepseek_operator.facts.clock import elapsed
from deepseek_operator.facts.engine import EngineTarget
from deepseek_operator.facts.names import ClusterName, parse_cluster_name
from deepseek_operator.facts.world import Question, World
from deepseek_operator.launch.proxy import ProxySettings
from deepseek_operator.planning import Planned, Refused
from deepseek_operator.reconcile.actions import Action, AddFinalizer, PublishEndpoints, RemoveFinalizer
from deepseek_operator.reconcile.approval import Gate
from deepseek_operator.reconcile.blocked import why_blocked
from deepseek_operator.reconcile.budget import Budget
from deepseek_operator.reconcile.capacity import Base, on_demand
from deepseek_operator.reconcile.replica.ledger import advance
from deepseek_operator.reconcile.replica.look import look, without_lost_addresses
from deepseek_operator.reconcile.replica.view import Health, Replica, View
from deepseek_operator.reconcile.replicas import Launches, find_replicas
from deepseek_operator.reconcile.rollout import Existing, Rollout, limits, plan_rollout
from deepseek_operator.reconcile.targets import strays, unplaced
from deepseek_operator.reconcile.traffic import lead

__all__ = ["Decision", "decide"]

RECOVERY_S = 60
"""Seconds for which a silent replica may come back by itself: one of an older revision before it is removed, one whose
machines nobody knows any more before another one takes its place."""
BLOCKED_LOOK_S = 5.0
_NOTHING: Final = Ledger()
"""Memory of a replica that no status knows."""


@dataclass(frozen=True)
class Decision:
    """What to do now, what to find out, and when to look again although nothing may have happened.

    Attributes
    ----------
    replicas
        Every one that is there or is to be there, with what was found of it.
    blocked
        Why nothing may be launched.
    asks
        What has to be known for the next pass.
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
    proxy_failure
        Why the proxy is not there; None while nothing is known to be in the way.
    waits
        Something that all replicas wait for may change without an event.
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
    proxy_failure: Failure | None = None
    waits: bool = False

    @property
    def next_look_s(self) -> float | None:
        """Seconds until the next look; None when only an event can change anything."""
        looks = [one.finding.next_look_s for one in self.replicas if one.finding.next_look_s is not None]
        return min((*looks, BLOCKED_LOOK_S) if self.waits else looks, default=None)

    @property
    def goes_on(self) -> bool:
        """Whether something waits for what is published: more than another engine, a proxy, or a replica that goes.

        An old replica goes once the Service leads to its successor, and is torn down once it leads to it no more. A
        proxy goes once nothing leads to it.
        """
        going = (not one.current or one.finding.phase is Phase.TERMINATING for one in self.replicas)
        return self.proxied or any(not isinstance(action, PublishEndpoints) for action in self.publish) or any(going)

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
    has_finalizer = FINALIZER in deployment.metadata.finalizers
    if deployment.deleting and not has_finalizer:
        return Decision()

    planned = plan if isinstance(plan, Planned) else None
    views = _views(world, planned, launches_waiting=launches_waiting)
    current = _current(world, views)
    wanted = 0 if deployment.spec.suspend or deployment.deleting else deployment.spec.replicas
    complete = sum(view.serving and name in current for name, view in views.items()) >= wanted
    blocked, asks = why_blocked(world, plan, complete=complete)
    if blocked is not None:
        views = {name: replace(view, blocked=blocked) for name, view in views.items()}

    budget = Budget.of(planned, deployment.spec.resources.max_hourly_cost, views.values())
    gate = Gate.of(deployment, plan, sum(view.exists for view in views.values()))
    # Old replicas must not make room for new ones that wait for an approval.
    may_add = planned is not None and not (gate.closed and len(current) < len(views))
    rollout = _rollout(world, views, current, budget, planned, may_add=may_add, make_room=not gate.short)
    base = Base.of(planned, (views[name] for name in rollout.keep))
    launches = Launches(blocked, launches_waiting, base, gate, budget)
    replicas = find_replicas(world, views, rollout, current, planned, launches)
    if deployment.deleting and (release := _release(world, replicas)) is not None:
        return release

    traffic = lead(world, planned, replicas, proxy)
    held_back = gate.short and not complete and (blocked is None or blocked.reason is Reason.PLANNING)
    of_replicas = (question for replica in replicas for question in replica.finding.asks)
    actions = ((replica.name, action) for replica in replicas for action in replica.finding.actions)
    return Decision(
        replicas=replicas,
        blocked=gate.waiting if held_back else blocked,
        publish=traffic.actions,
        actions=tuple(actions) if has_finalizer else (),
        finalizer=None if has_finalizer else AddFinalizer(),
        asks=tuple(dict.fromkeys((*asks, *traffic.asks, *of_replicas))),
        targets=traffic.targets,
        engines=traffic.engines,
        proxied=traffic.proxied,
        waits=traffic.waits or bool(wanted and blocked is not None),
    )


def _views(world: World, planned: Planned | None, *, launches_waiting: bool) -> Mapping[ClusterName, View]:
    """Return what is known of each replica, with what its status remembers of it."""
    deployment, revision = world.deployment, world.revision
    ledgers = {instance.name: instance.ledger for instance in deployment.status.instances}
    costs = {instance.name: read_amount(instance.hourly_cost) for instance in deployment.status.instances}
    looks = {
        name: look(
            world,
            facts,
            ledgers.get(str(name), _NOTHING),
            planned,
            current=name.runs(revision),
            shown_cost=costs.get(str(name)),
            launches_waiting=launches_waiting,
        )
        for name, facts in world.replicas.items()
    }
    return without_lost_addresses(looks)


def _current(world: World, views: Mapping[ClusterName, View]) -> frozenset[ClusterName]:
    """Return the replicas of the current revision, without those that are to be replaced all the same."""
    return frozenset(
        name
        for name, view in views.items()
        if name.runs(world.revision)
        and not view.renewing
        and not view.abandoned_and_gone
        and (not view.written_off or _recovering(view))
    )


def _release(world: World, replicas: tuple[Replica, ...]) -> Decision | None:
    """Let the object go when it is certain that nothing is left, or when its user insists."""
    if world.deployment.abandoned == {"true"}:
        return Decision(finalizer=RemoveFinalizer(), abandoned=tuple(replica.name for replica in replicas))
    if replicas or not isinstance(world.skypilot, Known):
        return None
    return Decision(finalizer=RemoveFinalizer())


def _rollout(
    world: World,
    views: Mapping[ClusterName, View],
    current: frozenset[ClusterName],
    budget: Budget,
    planned: Planned | None,
    *,
    may_add: bool,
    make_room: bool,
) -> Rollout:
    spec = world.deployment.spec
    if world.deployment.deleting or spec.suspend:
        return Rollout(retire=tuple(views))
    if world.unreadable:
        return Rollout(serve=tuple(views))  # what the spec wants is not known, so nothing is taken away
    surge, unavailable = limits(spec.update_strategy, spec.replicas)
    if not make_room:
        unavailable = 0
    base = Base.of(planned, (view for name, view in views.items() if name in current))
    if unavailable and not budget.room_for_one(on_demand=base.missing > 0):
        surge = 0  # a replica beside the old ones is beyond maxHourlyCost, and the user lets one of these go first
    return plan_rollout(
        replicas=spec.replicas,
        surge=surge,
        unavailable=unavailable,
        existing=_existing(world, views, current),
        may_add=may_add,
        taken=frozenset(name.ordinal for name in (*views, *_abandoned(world)) if name.runs(world.revision)),
        base=spec.resources.capacity.on_demand_base,
    )


def _existing(world: World, views: Mapping[ClusterName, View], current: frozenset[ClusterName]) -> list[Existing]:
    foreign = strays(world, views.values())
    return [
        Existing(
            name=name,
            current=name in current,
            serving=view.serving,
            published=view.published,
            asked=view.health is not Health.UNKNOWN,
            recovering=_recovering(view) or (bool(foreign) and unplaced(view)),
            present=view.takes_room,
            leaving=view.ledger.leaving_since is not None,
            hourly_cost=view.shown_cost,
            on_demand=on_demand(view),
        )
        for name, view in views.items()
    ]


def _abandoned(world: World) -> Iterator[ClusterName]:
    """Yield the names whose machines are gone by the word of a user. That word must not cover others in the future."""
    return filter(None, map(parse_cluster_name, world.deployment.abandoned))


def _recovering(view: View) -> bool:
    """Return whether a replica that served stopped answering so recently that it may come back by itself.

    Where its pod is gone, there is nothing to come back.
    """
    if view.address is None or view.serving:
        return False
    silent_since = advance(view, wanted=True).silent_since  # its own ledger is from before this pass
    return silent_since is not None and elapsed(view.now, silent_since) < RECOVERY_S
