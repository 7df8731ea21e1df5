"""``decide(world) -> Decision``: the whole control loop's mind, on one page.

1. An object on its way out, or suspended, wants no replicas; everything that exists is retired.
2. Nothing is launched before the finalizer is on the object, so that nothing rented is ever forgotten.
3. :mod:`.rollout` says which replicas stay, come and go; :mod:`.instance` says of each what it is and what helps it.
4. The Service leads to exactly the replicas that answer; ``Ready`` needs an answer through it.
5. The status is computed here too, from the same assessments, and written once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import DeepSeekDeploymentStatus, Instance, Phase
from deepseek_operator.api.v1alpha1 import FINALIZER
from deepseek_operator.reconcile.actions import (
    Action,
    AddFinalizer,
    ApplyService,
    ApplyServiceAccount,
    PublishEndpoints,
    RemoveFinalizer,
)
from deepseek_operator.reconcile.conditions import Replica, Verdicts, service_conflict
from deepseek_operator.reconcile.instance import answers, assess, retire
from deepseek_operator.reconcile.naming import ClusterName, cluster_name, parse_cluster_name, revision_of, uid_prefix
from deepseek_operator.reconcile.rollout import Rollout, limits, plan_rollout
from deepseek_operator.reconcile.status import compute_status
from deepseek_operator.reconcile.view import View
from deepseek_operator.reconcile.world import Failure, World

__all__ = ["Decision", "decide", "known_names"]

STARTUP_SECONDS_WITHOUT_PLAN = 3600


@dataclass(frozen=True)
class Decision:
    """What to do now, what to say, and when to look again although nothing may have happened.

    Attributes
    ----------
    status
        None for an object that is about to be released: there is nobody left to tell.
    next_look_s
        Seconds; None when only an event can change anything.
    """

    actions: tuple[Action, ...]
    status: DeepSeekDeploymentStatus | None
    next_look_s: float | None


def decide(world: World) -> Decision:
    """Return what brings the world nearer to the spec, and what the status says meanwhile."""
    deployment = world.deployment
    held = FINALIZER in deployment.metadata.finalizers
    if deployment.deleting and not held:
        return Decision((), None, None)

    views = {name: _view(world, name) for name in known_names(world)}
    rollout = _rollout(world, views)
    replicas = _assess(world, views, rollout)
    if deployment.deleting and world.skypilot.reachable and not replicas:
        return Decision((RemoveFinalizer(),), None, None)

    publishing = _publishing(world, replicas) if not deployment.deleting else ()
    reachable, detail = _endpoint_answers(world, replicas, publishing)
    blocked = _blocked(world)
    verdicts = Verdicts(world, replicas, blocked, reachable, detail)
    actions: list[Action] = []
    if not held:
        actions.append(AddFinalizer())
    else:
        if not world.service_account_exists and not deployment.deleting and world.plan is not None:
            actions.append(ApplyServiceAccount())
        actions += [action for replica in replicas for action in replica.assessment.actions]
        actions += publishing
    looks = [replica.assessment.next_look_s for replica in replicas if replica.assessment.next_look_s is not None]
    if (replicas and not reachable and verdicts.ready) or blocked is not None or not world.skypilot.reachable:
        looks.append(5.0)
    if not held:
        looks.append(0.1)
    return Decision(tuple(actions), compute_status(verdicts, views), min(looks, default=None))


def known_names(world: World) -> tuple[ClusterName, ...]:
    """Return every cluster name of this deployment that anybody knows of: its status, SkyPilot, or Kubernetes."""
    found: Iterable[str] = {
        *(instance.name for instance in world.deployment.status.instances),
        *world.skypilot.rows,
        *(name for name, requests in world.skypilot.requests.items() if requests),
        *(pod.cluster_name for pod in world.pods),
        *(service.cluster_name for service in world.launched_services),
    }
    uid = uid_prefix(world.deployment.metadata.uid)
    names = (parse_cluster_name(name) for name in found)
    return tuple(sorted(name for name in names if name is not None and name.uid == uid))


def _rollout(world: World, views: dict[ClusterName, View]) -> Rollout:
    spec = world.deployment.spec
    if world.deployment.deleting or spec.suspend:
        return Rollout(retire=tuple(views))
    surge, unavailable = limits(spec.update_strategy, spec.replicas)
    # A replica whose trace is only our own status (waiting for its next attempt) counts as existing.
    return plan_rollout(
        replicas=spec.replicas,
        surge=surge,
        unavailable=unavailable,
        revision=revision_of(spec),
        existing=views,
        ready=frozenset(name for name, view in views.items() if answers(view)),
        may_add=world.plan is not None and world.plan_failure is None,
    )


def _assess(world: World, views: dict[ClusterName, View], rollout: Rollout) -> tuple[Replica, ...]:
    revision = revision_of(world.deployment.spec)
    replicas = [Replica(name, True, assess(views[name])) for name in rollout.keep]
    for ordinal in rollout.add:
        name = cluster_name(world.deployment, revision, ordinal)
        views[name] = _view(world, name)
        replicas.append(Replica(name, True, assess(views[name])))
    for name in rollout.serve:
        # Left alone: an older revision is never repaired, only used while it answers.
        assessment = assess(views[name])
        replicas.append(Replica(name, False, replace(assessment, actions=())))
    for name in rollout.retire:
        leaving = retire(views[name], drain=not world.deployment.deleting)
        if leaving is not None:
            replicas.append(Replica(name, name.revision == revision, leaving))
    return tuple(replicas)


def _view(world: World, name: ClusterName) -> View:
    deployment, plan = world.deployment, world.plan
    address = world.addresses.get(name)
    previous = _previous(world, name)
    row = world.skypilot.rows.get(name)
    nodes = row.nodes if row is not None else (plan.nodes if plan is not None else 1)
    return View(
        now=world.now,
        name=name,
        nodes=nodes,
        startup_seconds=plan.startup_seconds if plan is not None else STARTUP_SECONDS_WITHOUT_PLAN,
        provision_timeout_seconds=deployment.spec.resources.provision_timeout_seconds,
        retry=deployment.spec.resources.retry_until_up,
        reachable=world.skypilot.reachable,
        unreachable_because=world.skypilot.message,
        blocked=_blocked(world),
        previous=previous,
        row=row,
        requests=world.skypilot.requests.get(name, ()),
        outcome=world.outcomes.get(name),
        job=world.jobs.get(name),
        pods=tuple(pod for pod in world.pods if pod.cluster_name == name),
        services=tuple(service for service in world.launched_services if service.cluster_name == name),
        address=address,
        probe=world.probes.get(address) if address is not None else None,
    )


def _previous(world: World, name: str) -> Instance | None:
    return next((instance for instance in world.deployment.status.instances if instance.name == name), None)


def _blocked(world: World) -> Failure | None:
    """Return why nothing may be launched in this pass."""
    if world.plan_failure is not None:
        return world.plan_failure
    if world.missing_secrets:
        return Failure(Reason.SECRET_NOT_FOUND, "; ".join(world.missing_secrets))
    if (conflict := service_conflict(world)) is not None:
        return conflict
    if FINALIZER not in world.deployment.metadata.finalizers:
        return Failure(Reason.PLANNING, "planned; SkyPilot is asked for nodes next")
    return None


def _publishing(world: World, replicas: tuple[Replica, ...]) -> tuple[Action, ...]:
    plan, service = world.plan, world.service
    if plan is None or service.foreign:
        return ()
    actions: list[Action] = []
    kind = world.deployment.spec.endpoint.type
    if not service.exists or (service.port, service.type) != (plan.port, kind):
        actions.append(ApplyService(plan.port, plan.port, kind))
    hosts = _ready_hosts(world, replicas)
    if hosts != service.addresses or (hosts and service.target_port != plan.port):
        actions.append(PublishEndpoints(hosts, plan.port))
    return tuple(actions)


def _ready_hosts(world: World, replicas: tuple[Replica, ...]) -> tuple[str, ...]:
    serving = [replica for replica in replicas if replica.assessment.phase is Phase.READY]
    return tuple(sorted(world.addresses[replica.name].rsplit(":", 1)[0] for replica in serving))


def _endpoint_answers(world: World, replicas: tuple[Replica, ...], publishing: tuple[Action, ...]) -> tuple[bool, str]:
    """Return whether the engine answers through the Service, and what is missing if not."""
    service = world.service
    if not any(replica.ready for replica in replicas):
        return False, ""
    # Where it leads to changes while it leads somewhere: what was true through it a moment ago still is.
    leads = bool(service.addresses) and not any(isinstance(action, ApplyService) for action in publishing)
    if not service.exists or (publishing and not leads):
        return False, "the Service is being brought up to date"
    if service.cluster_ip is None:
        return False, "the Service has no cluster IP yet"
    probe = world.probes.get(f"{service.cluster_ip}:{service.port}")
    if probe is None:
        return False, "the Service was not asked yet"
    return probe.healthy, probe.detail
