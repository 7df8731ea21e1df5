"""The status of a pass, from the same findings as its actions."""

from collections.abc import Set
from dataclasses import replace
from typing import Any, Final

from pydantic import BaseModel

from deepseek_operator.api.spec import Approval
from deepseek_operator.api.status import DeepSeekDeploymentStatus, Instance, Ledger, PlanStatus
from deepseek_operator.api.v1alpha1 import LABEL_UID
from deepseek_operator.facts.clock import format_time
from deepseek_operator.facts.text import within
from deepseek_operator.facts.world import World
from deepseek_operator.planning import Planned, Refused
from deepseek_operator.reconcile.approval import hash_of
from deepseek_operator.reconcile.conditions import Report, conditions
from deepseek_operator.reconcile.decide import Decision
from deepseek_operator.reconcile.endpoint import endpoint_status, reachability
from deepseek_operator.reconcile.engine import engine_status, too_optimistic
from deepseek_operator.reconcile.replica.ledger import update
from deepseek_operator.reconcile.replica.view import Replica
from deepseek_operator.reconcile.room import Room, room_for
from deepseek_operator.reconcile.spend import accrue, instance_cost, rate_of
from deepseek_operator.reconcile.tried import tried_places

__all__ = ["compute_status", "dump_status", "tells_news"]

_DETAILS: Final = frozenset(
    {"message", "infra", "region", "accelerators", "hourly_cost", "address", "engine", "ledger"}
)
"""Fields of an instance and of its ledger that may be told a little later than they are known; the ledger is compared
for itself."""
_LEDGERS: Final = {"instances": {"__all__": {"ledger"}}}
_MESSAGE: Final = frozenset({"message"})
_LISTS: Final = frozenset({"conditions", "instances"})


def dump_status(status: DeepSeekDeploymentStatus) -> dict[str, Any]:
    """Return the status as it is stored: camelCase, without what is unset."""
    stored = status.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=_LEDGERS)
    for instance, written in zip(status.instances, stored["instances"], strict=True):
        written["ledger"] = instance.ledger.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return stored


def tells_news(before: DeepSeekDeploymentStatus, after: DeepSeekDeploymentStatus) -> bool:
    """Return whether ``after`` says what somebody waits for, or what a new process must know: it is written at once.

    No news are messages, where a replica runs and what it costs there: they are told with the next change, or soon.
    What the whole deployment costs is news: a rate that is forgotten is money that is not counted.
    """
    if not _equal(before, after, _LISTS):
        return True
    if len(before.conditions) != len(after.conditions) or len(before.instances) != len(after.instances):
        return True
    return not (
        all(_equal(one, two, _MESSAGE) for one, two in zip(before.conditions, after.conditions, strict=True))
        and all(
            _equal(one, two, _DETAILS | {"ledger"}) and _equal(one.ledger, two.ledger, _DETAILS)
            for one, two in zip(before.instances, after.instances, strict=True)
        )
    )


def _equal(one: BaseModel, two: BaseModel, but: Set[str]) -> bool:
    """Return whether two objects of one type have the same values in all fields but some."""
    other = vars(two)
    return one is two or all(value == other[name] for name, value in vars(one).items() if name not in but)


def compute_status(world: World, plan: Planned | Refused, decision: Decision) -> DeepSeekDeploymentStatus:
    """Return the status; equal to the one before when nothing that it says has changed."""
    deployment = world.deployment
    before = {condition.type: condition.status for condition in deployment.status.conditions}
    ready = sum(replica.ready for replica in decision.replicas)
    reachable = reachability(
        world,
        serving=ready > 0,
        was_ready=before.get("Ready") == "True",
        proxied=decision.proxied,
        proxy_failure=decision.proxy_failure,
    )
    report = Report(world, plan, decision, reachable)
    room = room_for(len(decision.replicas))
    instances = tuple(_instance(world, plan, replica, room) for replica in decision.replicas)
    planned = _plan_status(plan, approval=deployment.spec.approval) if isinstance(plan, Planned) else plan.plan
    warned = next((one.revision for one in instances if one.revision == world.revision and too_optimistic(one)), None)
    return DeepSeekDeploymentStatus.after(
        deployment.status,
        observed_generation=deployment.metadata.generation,
        replicas=len(instances),
        ready_replicas=ready,
        updated_replicas=sum(replica.current for replica in decision.replicas),
        selector=f"{LABEL_UID}={deployment.metadata.uid},skypilot-head-node=1",
        endpoint=endpoint_status(world, plan if isinstance(plan, Planned) else None),
        plan=planned if planned is not None else deployment.status.plan,
        cost=accrue(deployment.status.cost, rate_of(instances), deployment.spec.resources.max_hourly_cost, world.now),
        instances=tuple(sorted(instances, key=lambda instance: instance.name)),
        plan_warned_revision=warned or deployment.status.plan_warned_revision,
        conditions=conditions(report),
    )


def _plan_status(plan: Planned, *, approval: Approval) -> PlanStatus:
    """Return the plan, with its hash where that is to be approved."""
    return plan.status.model_copy(update={"hash": str(hash_of(plan))}) if approval is Approval.REQUIRED else plan.status


def _instance(world: World, plan: Planned | Refused, replica: Replica, room: Room) -> Instance:
    finding, view = replica.finding, replica.view
    ledger = _within(finding.ledger, room)
    name = str(replica.name)
    previous = next((instance for instance in world.deployment.status.instances if instance.name == name), None)
    same = previous is not None and (previous.phase, previous.reason) == (finding.phase, str(finding.reason))
    row = view.facts.last_seen.cluster
    infra = view.infra
    priced = replace(view, ledger=ledger) if ledger is not view.ledger else view
    accelerators = (row.accelerators or None) if row is not None else (previous.accelerators if previous else None)
    return Instance.after(
        previous,
        name=name,
        revision=replica.name.revision,
        phase=finding.phase,
        infra=infra,
        region=(row.region or None) if row is not None else (previous.region if previous is not None else None),
        accelerators=accelerators,
        nodes=ledger.nodes if ledger.launched_at is not None else _nodes(plan),
        hourly_cost=instance_cost(priced, plan, previous, current=replica.current),
        address=str(view.address) if view.address is not None else None,
        restarts=ledger.restarts,
        attempts=ledger.attempts,
        reason=str(finding.reason),
        message=within(finding.message, room.words),
        since=previous.since if previous is not None and same else format_time(world.now),
        retry_after=format_time(ledger.retry_after) if ledger.retry_after is not None and not replica.ready else None,
        places_tried=tried_places(previous, view, ledger)[-room.places :],
        engine=engine_status(
            previous,
            world.readings.get(view.address) if view.address is not None else None,
            plan,
            accelerators,
            current=replica.current,
            serving=replica.ready,
        ),
        ledger=ledger,
    )


def _within(ledger: Ledger, room: Room) -> Ledger:
    words, excluded = within(ledger.failure_message, room.words), ledger.excluded[-room.places :]
    return update(ledger, failure_message=words, excluded=excluded)


def _nodes(plan: Planned | Refused) -> int:
    return plan.nodes if isinstance(plan, Planned) else 1
