"""The parts of an approval by themselves: the hash, the plan that is kept, what may be launched, and the words."""

import hashlib
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.api.status import DeepSeekDeploymentStatus, PlanStatus, Verdict
from deepseek_operator.api.v1alpha1 import ANNOTATION_APPROVED_PLAN, DeepSeekDeployment
from deepseek_operator.facts.base import Failure, Known
from deepseek_operator.planning import Planned, Refused
from deepseek_operator.reconcile.approval import Gate, choose_plan, hash_of
from deepseek_operator.reconcile.budget import Budget
from deepseek_operator.reconcile.capacity import Base
from deepseek_operator.reconcile.decide import decide
from deepseek_operator.reconcile.replica.view import View
from deepseek_operator.reconcile.replicas import Launches
from tests.unit.reconcile import builders as b

WAITING = Failure(Reason.AWAITING_APPROVAL, "waits")
REFUSED = Refused(reason=Reason.DOES_NOT_FIT, message="too large")


def required(*infra: str, approval: str | None = None, **fields: Any) -> DeepSeekDeployment:
    of = b.rented_deployment(*infra, approval="Required", **fields)
    notes = {} if approval is None else {ANNOTATION_APPROVED_PLAN: approval}
    return of.model_copy(update={"metadata": of.metadata.model_copy(update={"annotations": notes})})


def view(of: DeepSeekDeployment, *, exists: bool = False, blocked: Failure | None = None) -> View:
    name = b.name(of)
    facts = b.facts(name, skypilot=b.seen(b.row(name))) if exists else b.facts(name)
    return View(b.NOW, facts, blocked=blocked)


class TestTheHash:
    BASE = b.planned(required("aws/us-east-1"))

    def with_plan(self, **fields: Any) -> Planned:
        return replace(self.BASE, **fields)

    def test_is_of_what_is_set_alone_so_that_a_field_of_a_later_release_changes_none(self) -> None:
        plan = self.with_plan(cpus=None, memory_gb=None, disk_gb=256, network_tier=None)
        terms = {"accelerators": ["L4:1"], "disk": 256, "nodes": 1, "places": ["aws/us-east-1"]}
        digest = hashlib.sha256(json.dumps(terms).encode()).hexdigest()[:12]
        assert str(hash_of(plan)) == f"{digest}-1+1"

    @pytest.mark.parametrize("fields", [{"cpus": 16}, {"memory_gb": 700}, {"disk_gb": 900}, {"network_tier": "best"}])
    def test_covers_what_the_planner_asks_for(self, fields: dict[str, Any]) -> None:
        assert hash_of(self.with_plan(**fields)) != hash_of(self.BASE)

    @pytest.mark.parametrize(
        ("users", "planners"),
        [({"cpus": "16"}, {"cpus": 7}), ({"memory": "200"}, {"memory_gb": 7}), ({"diskSize": 900}, {"disk_gb": 7})],
    )
    def test_covers_what_the_user_asks_for_and_not_what_would_have_been_planned(
        self, users: dict[str, Any], planners: dict[str, Any]
    ) -> None:
        plan = b.planned(required("aws/us-east-1", resources=users))
        assert hash_of(plan) != hash_of(self.BASE)
        assert hash_of(replace(plan, **planners)) == hash_of(plan)

    def test_covers_how_many_are_on_demand(self) -> None:
        spot = [
            b.planned(required(resources={"capacityType": "Spot", "capacity": {"onDemandBase": base}}, replicas=2))
            for base in (0, 1)
        ]
        assert hash_of(spot[0]).digest != hash_of(spot[1]).digest


class FakePlanner:
    """Makes the plans that it is given, by GPUs and nodes of the spec."""

    def __init__(self, **plans: Planned | Refused) -> None:
        self.plans = plans

    def __call__(self, spec: DeepSeekDeploymentSpec) -> Planned | Refused:
        given = spec.resources.accelerators
        found = self.plans["free" if given is None else "pinned"]
        if given is not None and spec.resources.max_hourly_cost is None:
            found = self.plans.get("uncapped", found)
        if isinstance(found, Refused) or given is None:
            return found
        return replace(found, accelerators=given, nodes=spec.resources.nodes or 1)


class TestThePlanThatIsKept:
    def planned(self, accelerators: tuple[str, ...], nodes: int = 1) -> Planned:
        plan = b.planned(required("aws"))
        return replace(plan, accelerators=accelerators, nodes=nodes)

    def deployment(self, approved: Planned, *, shown: Planned | None = None, **fields: Any) -> DeepSeekDeployment:
        resources = {"accelerators": None, **fields.pop("resources", {})}
        of = required("aws", approval=str(hash_of(approved)), resources=resources)
        plan = shown or approved
        status = PlanStatus(engine="VLLM", accelerators=plan.accelerators, nodes=plan.nodes, verdict=Verdict.FITS)
        spec = of.spec.model_copy(update=fields)
        return of.model_copy(update={"spec": spec, "status": DeepSeekDeploymentStatus(plan=status)})

    def test_is_the_planners_own_where_that_is_the_one_that_was_approved(self) -> None:
        free = self.planned(("A10G:1",))
        assert choose_plan(self.deployment(free), FakePlanner(free=free, pinned=free)) is free

    def test_is_the_approved_one_where_the_planner_would_choose_another_or_none(self) -> None:
        approved, free = self.planned(("H100:8",), 2), self.planned(("A10G:1",))
        for now in (free, REFUSED):
            kept = choose_plan(self.deployment(approved), FakePlanner(free=now, pinned=approved))
            assert isinstance(kept, Planned)
            assert hash_of(kept) == hash_of(approved)

    def test_is_free_where_nothing_was_shown_yet(self) -> None:
        approved, free = self.planned(("H100:8",)), self.planned(("A10G:1",))
        of = self.deployment(approved)
        fresh = of.model_copy(update={"status": DeepSeekDeploymentStatus()})
        assert choose_plan(fresh, FakePlanner(free=free, pinned=approved)) is free

    def test_is_free_where_no_approval_is_required(self) -> None:
        approved, free = self.planned(("H100:8",)), self.planned(("A10G:1",))
        of = self.deployment(approved)
        spec = of.spec.model_copy(update={"approval": b.deployment().spec.approval})
        of = of.model_copy(update={"spec": spec})
        assert choose_plan(of, FakePlanner(free=free, pinned=approved)) is free

    def test_is_free_where_the_status_shows_other_gpus_than_were_approved(self) -> None:
        approved, free, shown = (self.planned((gpu,)) for gpu in ("H100:8", "A10G:1", "L40S:1"))
        of = self.deployment(approved, shown=shown)
        assert choose_plan(of, FakePlanner(free=free, pinned=shown)) is free

    def test_is_free_where_the_approved_gpus_cannot_be_planned_any_more(self) -> None:
        approved, free = self.planned(("H100:8",)), self.planned(("A10G:1",))
        assert choose_plan(self.deployment(approved), FakePlanner(free=free, pinned=REFUSED)) is free
        of = self.deployment(approved, resources={"maxHourlyCost": "9"})
        assert choose_plan(of, FakePlanner(free=free, pinned=REFUSED, uncapped=approved)) is free
        assert choose_plan(of, FakePlanner(free=free, pinned=approved, uncapped=REFUSED)) is free

    def test_is_free_where_a_cpu_engine_was_approved_and_the_spec_no_longer_asks_for_one(self) -> None:
        approved, free = self.planned(()), self.planned(("A10G:1",))
        assert choose_plan(self.deployment(approved), FakePlanner(free=free, pinned=approved)) is free

    def test_has_the_nodes_that_the_user_gives_now(self) -> None:
        approved, free = self.planned(("H100:8",), 1), self.planned(("H100:8",), 2)
        of = self.deployment(approved, resources={"nodes": 2})
        assert choose_plan(of, FakePlanner(free=free, pinned=approved)) is free


class TestTheGate:
    def gate(self, approval: str | None, replicas: int = 2, surge: int = 1) -> Gate:
        of = required("aws", replicas=replicas, updateStrategy={"maxSurge": surge})
        plan = b.planned(of)
        text = None if approval is None else f"{hash_of(plan).digest}-{approval}"
        return Gate.of(required("aws", approval=text, replicas=replicas), plan, 1)

    @pytest.mark.parametrize("approval", ["2+1", "3+1", "2+2"])
    def test_is_open_where_as_much_is_approved(self, approval: str) -> None:
        assert self.gate(approval) == Gate()

    @pytest.mark.parametrize(
        ("approval", "surge", "most"), [(None, 1, 0), ("0+0", 1, 0), ("1+1", 1, 1), ("2+1", 2, 3), ("4+0", 1, 2)]
    )
    def test_lets_as_many_through_as_are_approved(self, approval: str | None, surge: int, most: int) -> None:
        gate = self.gate(approval, surge=surge)
        assert (gate.most, gate.closed) == (most, most == 0)

    def test_holds_what_is_beyond_and_nothing_that_is_there(self) -> None:
        of = required("aws")
        gate = Gate(WAITING, most=2, present=1, wanted=3)
        first, gate = gate.admit(view(of))
        second, gate = gate.admit(view(of))
        assert (first.blocked, second.blocked, gate.present) == (None, WAITING, 2)
        there = view(of, exists=True)
        assert gate.admit(there) == (there, gate)

    @pytest.mark.parametrize(("most", "blocked"), [(0, WAITING), (1, None)])
    def test_a_replica_without_room_says_that_it_waits_only_where_nothing_is_approved(
        self, most: int, blocked: Failure | None
    ) -> None:
        launches = Launches(None, False, Base(), Gate(WAITING, most, wanted=2), Budget(None, None))
        held, left = launches.hold(view(required("aws")))
        assert (held.blocked, left) == (blocked, launches)

    def test_what_waits_takes_no_money_from_what_does_not(self) -> None:
        of = required("aws", resources={"maxHourlyCost": "2"}, replicas=2)
        budget = Budget(b.planned(of), Decimal(2))
        launches = Launches(None, False, Base(), Gate(WAITING, most=0, wanted=2), budget)
        assert launches.admit(view(of))[1].budget == budget
        # Another obstacle passes, or not, for all of them: the share of each stays its own.
        missing = Launches(Failure(Reason.PLANNING, "looking"), False, Base(), Gate(), budget)
        assert missing.admit(view(of))[1].budget.committed == 1


class TestWhatBlocksTheDecision:
    LOOKED_UP: dict[str, Any] = {"secrets": {}, "clouds": b.CLOUDS_ENABLED}
    MISSING: dict[str, Any] = {**LOOKED_UP, "secrets": dict.fromkeys(b.API_KEY_EXISTS, Known("no key", b.NOW))}
    READY: dict[str, Any] = {**LOOKED_UP, "secrets": b.API_KEY_EXISTS}

    @pytest.mark.parametrize(
        ("of", "known", "reason"),
        [
            (required("aws"), READY, Reason.AWAITING_APPROVAL),
            (required("aws"), LOOKED_UP, Reason.AWAITING_APPROVAL),
            (required("aws"), MISSING, Reason.SECRET_NOT_FOUND),
            (b.rented_deployment("aws"), LOOKED_UP, Reason.PLANNING),
            (b.rented_deployment("aws"), READY, None),
        ],
        ids=["approval", "while it is looked up", "no secret", "no approval, looked up", "nothing"],
    )
    def test_is_the_approval_unless_something_else_is_known_to_be_wrong(
        self, of: DeepSeekDeployment, known: dict[str, Any], reason: Reason | None
    ) -> None:
        blocked = decide(b.world(of, **known), b.planned(of)).blocked
        assert (blocked.reason if blocked is not None else None) is reason


class TestTheBase:
    def test_is_of_rented_machines_that_exist(self) -> None:
        of = required("aws", resources={"capacityType": "Spot", "capacity": {"onDemandBase": 1}})
        gone = replace(view(of), ledger=b.ledger(on_demand=True, launched_at=None))
        assert not gone.exists
        assert Base.of(b.planned(of), [gone]).missing == 1
        assert Base.of(b.planned(of), [replace(view(of, exists=True), ledger=b.ledger(on_demand=True))]).missing == 0

    def test_is_not_taken_by_what_is_there_already(self) -> None:
        there = view(required("aws"), exists=True)
        assert Base(1).admit(there) == (there, Base(1))


class TestTheWords:
    def words(self, of: DeepSeekDeployment, plan: Planned | None = None) -> str:
        waiting = Gate.of(of, plan or b.planned(of), 0).waiting
        assert waiting is not None
        return waiting.message

    def test_name_one_replica_several_nodes_and_no_price(self) -> None:
        of = required("aws", updateStrategy={"maxSurge": 0, "maxUnavailable": 1})
        plan = b.planned(of)
        unpriced = replace(plan, nodes=2, hourly_cost=None)
        text = (
            "waits for approval of 1 replica of 2 nodes with L4:1 each, on aws, OnDemand, at a price that is not known"
        )
        assert self.words(of, unpriced).startswith(f"{text}, without maxHourlyCost. What runs goes on.")

    def test_name_a_cpu_engine_in_the_own_cluster(self) -> None:
        text = self.words(b.deployment(approval="Required", replicas=2))
        assert "2 replicas of 1 node with CPUs only each, 3 during an update, on kubernetes, on the cluster's" in text

    def test_name_what_was_approved_before(self) -> None:
        assert self.words(required("aws", approval="0123456789ab-1+1")).startswith(
            "approved is 0123456789ab-1+1, and the plan has changed since; waits for approval of "
        )
        assert self.words(required("aws", approval="yes")).startswith("waits for approval of ")

    def test_name_both_prices_where_they_differ(self) -> None:
        resources = {"capacityType": "Spot", "capacity": {"onDemandBase": 1}, "maxHourlyCost": "9"}
        of = required("aws", resources=resources, replicas=3)
        plan = b.planned(of)

        def priced(each: str, on_demand: str | None, base: int = 1) -> str:
            cost = Decimal(on_demand) if on_demand is not None else None
            prices = replace(plan, hourly_cost=Decimal(each), on_demand_cost=cost, base=base)
            return self.words(of, prices).partition("Spot, ")[2].partition(". What")[0]

        catalog, cap = "0.30 $/h each at today's catalog prices", ", at most 9 $/h by maxHourlyCost"
        assert priced("0.3", "0.8") == f"{catalog}, 1 of them on demand for 0.80 $/h, 1.40 $/h together{cap}"
        assert priced("0.3", "0.3") == f"{catalog}, 0.90 $/h together{cap}"
        assert priced("0.3", "0.8", base=0) == f"{catalog}, 0.90 $/h together{cap}"
        assert priced("0.3", None) == f"{catalog}, 1 of them on demand for an unknown price{cap}"
