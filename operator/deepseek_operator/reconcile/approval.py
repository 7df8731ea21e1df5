"""``spec.approval``: which plan somebody has approved, and which launches wait until somebody does.

An approval names the hash of a plan: ``3f9a1c22b7d0-2+1``. The digits are a digest of everything that decides what a
replica costs; the numbers are how many replicas there may be, and how many more during an update. So fewer replicas
than approved need no approval, and more than approved do.

Only launches wait. Nothing that runs is stopped, started again on other machines or taken out of its Service because
its plan is not approved, and nothing that is torn down waits.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import Approval, CapacityType, DeepSeekDeploymentSpec
from deepseek_operator.api.v1alpha1 import ANNOTATION_APPROVED_PLAN, DeepSeekDeployment
from deepseek_operator.facts.base import Failure
from deepseek_operator.facts.names import revision_of
from deepseek_operator.facts.text import counted
from deepseek_operator.planning import Planned, Refused
from deepseek_operator.planning.money import Prices
from deepseek_operator.planning.result import dollars
from deepseek_operator.reconcile.replica.view import View
from deepseek_operator.reconcile.rollout import limits

__all__ = ["Gate", "PlanHash", "choose_plan", "hash_of"]

_FORM: Final = re.compile(r"(?P<digest>[0-9a-f]{12})-(?P<replicas>[0-9]{1,3})\+(?P<surge>[0-9]{1,3})")


@dataclass(frozen=True)
class PlanHash:
    """What an approval covers.

    Attributes
    ----------
    digest
        12 hexadecimal digits of what one replica costs money for.
    replicas
        How many replicas there may be.
    surge
        How many more there may be while a change rolls out.
    """

    digest: str
    replicas: int
    surge: int

    def __str__(self) -> str:
        """Return it as ``status.plan.hash`` and the annotation have it."""
        return f"{self.digest}-{self.replicas}+{self.surge}"

    @classmethod
    def parse(cls, text: str) -> "PlanHash | None":
        """Return the hash that an annotation holds; None where it holds none."""
        match = _FORM.fullmatch(text.strip())
        return cls(match["digest"], int(match["replicas"]), int(match["surge"])) if match is not None else None

    def covers(self, other: "PlanHash") -> bool:
        """Return whether an approval of this plan is one of the other as well."""
        return self.digest == other.digest and self.replicas >= other.replicas and self.surge >= other.surge


def hash_of(plan: Planned) -> PlanHash:
    """Return the hash of a plan.

    It covers what SkyPilot is asked to rent and the limit of the price, and not what runs on it: another argument of
    the engine needs no approval. Today's prices are left out, because they move without anybody's doing, and a replica
    that is lost at night must come back; ``maxHourlyCost`` is what holds them.
    """
    surge, _ = limits(plan.spec.update_strategy, plan.spec.replicas)
    text = json.dumps(_terms(plan), sort_keys=True)
    return PlanHash(hashlib.sha256(text.encode()).hexdigest()[:12], plan.spec.replicas, surge)


def _terms(plan: Planned) -> dict[str, Any]:
    """Return what decides what a replica costs; what is unset is left out, so that a later field changes no hash."""
    resources = plan.spec.resources
    terms = {
        "accelerators": sorted(plan.accelerators),
        "nodes": plan.nodes,
        "places": [str(place) for place in plan.places],
        "capacityType": None if resources.capacity_type is CapacityType.ON_DEMAND else resources.capacity_type.value,
        "onDemandBase": resources.capacity.on_demand_base or None,
        "maxHourlyCost": _plain(resources.max_hourly_cost),
        "cpus": resources.cpus or plan.cpus,
        "memory": resources.memory or plan.memory_gb,
        "disk": (resources.disk_size or plan.disk_gb) if plan.rents else None,
        "networkTier": plan.network_tier if plan.rents else None,
    }
    return {key: value for key, value in terms.items() if value is not None}


def _plain(amount: str | None) -> str | None:
    """Return an amount in one way of writing it: ``40`` for ``40.00``, too."""
    return format(Decimal(amount).normalize(), "f") if amount is not None else None


def _approved(deployment: DeepSeekDeployment) -> PlanHash | None:
    return PlanHash.parse(deployment.metadata.annotations.get(ANNOTATION_APPROVED_PLAN, ""))


def choose_plan(
    deployment: DeepSeekDeployment, planner: Callable[[DeepSeekDeploymentSpec], Planned | Refused]
) -> Planned | Refused:
    """Return the plan of a deployment: the one that was approved for as long as the spec allows it.

    Which GPUs a launch may use depends on their prices, also where the user lists them, and tomorrow the planner may
    choose others: prices have moved, or the operator has been updated or started a moment ago. What was approved is
    what the status shows, and it stays until the spec rules it out or the approval is taken back.
    """
    spec = deployment.spec
    plan = planner(spec)
    approved, shown = _approved(deployment), deployment.status.plan
    if spec.approval is not Approval.REQUIRED or approved is None or shown is None or not shown.accelerators:
        return plan
    if isinstance(plan, Planned) and _same(approved, plan):
        return plan
    if spec.resources.accelerators is not None and not _shown_for_this_spec(deployment):
        return plan  # the user's list may be another one
    nodes = spec.resources.nodes or shown.nodes
    pinned = spec.resources.model_copy(update={"accelerators": shown.accelerators, "nodes": nodes})
    kept = planner(spec.model_copy(update={"resources": pinned}))
    # Some of these GPUs may be above maxHourlyCost now. They stay in the plan: no launch may cost more anyway.
    uncapped = pinned.model_copy(update={"max_hourly_cost": None})
    whole = planner(spec.model_copy(update={"resources": uncapped}))
    if isinstance(kept, Refused) or isinstance(whole, Refused):
        return plan
    whole = replace(whole, spec=kept.spec, max_instance_hourly_cost=kept.max_instance_hourly_cost)
    return whole if _same(approved, whole) else plan


def _shown_for_this_spec(deployment: DeepSeekDeployment) -> bool:
    """Return whether the plan that the status shows was made of this spec, but for fields that replace no replica."""
    status, revision = deployment.status, revision_of(deployment.spec)
    same = status.observed_generation == deployment.metadata.generation
    return same or any(instance.revision == revision for instance in status.instances)


def _same(approved: PlanHash, plan: Planned) -> bool:
    return approved.digest == hash_of(plan).digest


@dataclass(frozen=True)
class Gate:
    """What may be launched under the approval of one deployment.

    Attributes
    ----------
    waiting
        What is to be approved; None: no approval is needed, or the whole plan has one.
    most
        Replicas that there may be at once where something is to be approved.
    present
        Replicas that there are.
    wanted
        Replicas that there are to be, updates apart, where something is to be approved.
    """

    waiting: Failure | None = None
    most: int = 0
    present: int = 0
    wanted: int = 0

    @classmethod
    def of(cls, deployment: DeepSeekDeployment, plan: Planned | Refused, present: int) -> "Gate":
        """Return what may be launched; of a plan that is refused nothing is launched anyway."""
        if deployment.spec.approval is not Approval.REQUIRED or isinstance(plan, Refused):
            return cls()
        wanted, approved = hash_of(plan), _approved(deployment)
        if approved is not None and approved.covers(wanted):
            return cls()
        most = 0
        if approved is not None and approved.digest == wanted.digest:
            # What was approved of this plan is still launched again when it is lost; room for an update is no room for
            # more replicas.
            more = min(approved.surge, wanted.surge) if wanted.replicas <= approved.replicas else 0
            most = min(approved.replicas, wanted.replicas) + more
        return cls(
            Failure(Reason.AWAITING_APPROVAL, _words(deployment, plan, wanted, approved)),
            most,
            present,
            plan.spec.replicas,
        )

    @property
    def closed(self) -> bool:
        """Whether nothing at all of the plan is approved."""
        return self.waiting is not None and self.most == 0

    @property
    def short(self) -> bool:
        """Whether fewer replicas are approved than are wanted: one that makes room may get no successor."""
        return self.most < self.wanted

    def admit(self, view: View) -> "tuple[View, Gate]":
        """Return a view of a replica that may be launched, held back if it may not be; and what is left.

        What is wrong with the deployment is said first: an approval is asked of what would work.
        """
        if self.waiting is None or view.exists:
            return view, self
        if view.blocked is not None and view.blocked.reason is not Reason.PLANNING:
            return view, self
        if self.present >= self.most:
            return replace(view, blocked=self.waiting), self
        return view, replace(self, present=self.present + 1)


def _words(deployment: DeepSeekDeployment, plan: Planned, wanted: PlanHash, approved: PlanHash | None) -> str:
    """Return what is to be approved, what it costs, and how."""
    spec = plan.spec
    machine = " or ".join(plan.accelerators) or "CPUs only"
    nodes = f"{plan.nodes} nodes with {machine}" if plan.nodes > 1 else f"1 node with {machine}"
    count = counted(wanted.replicas, "replica")
    most = f", {wanted.replicas + wanted.surge} during an update" if wanted.surge else ""
    places = ", then ".join(map(str, plan.places))
    kind = f", {spec.resources.capacity_type.value}" if plan.rents else ""
    what = f"{count} of {nodes} each{most}, on {places}{kind}, {_price(plan, wanted)}"
    was = "" if approved is None else f"approved is {approved}, and the plan has changed since; "
    name, namespace = deployment.metadata.name, deployment.metadata.namespace
    command = f"kubectl annotate dsd {name} -n {namespace} --overwrite {ANNOTATION_APPROVED_PLAN}={wanted}"
    return f"{was}waits for approval of {what}. What runs goes on. Approve it with: {command}"


def _price(plan: Planned, wanted: PlanHash) -> str:
    if not plan.rents:
        return "on the cluster's own nodes"
    cap = plan.spec.resources.max_hourly_cost
    limit = f", at most {cap} $/h by maxHourlyCost" if cap is not None else ", without maxHourlyCost"
    each = plan.hourly_cost
    if each is None:
        return f"at a price that is not known{limit}"
    prices = plan.prices
    others = f", {prices.base} of them on demand for {_dollars(prices.on_demand)}" if _mixed(prices) else ""
    together = f", {_dollars(prices.total)} together" if prices.total is not None else ""
    return f"{_dollars(each)} each at today's catalog prices{others}{together}{limit}"


def _mixed(prices: Prices) -> bool:
    return prices.base > 0 and prices.on_demand != prices.each


def _dollars(amount: Decimal | None) -> str:
    return f"{dollars(amount)} $/h" if amount is not None else "an unknown price"
