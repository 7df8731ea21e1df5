"""Guards of ``spec.approval``: what decides the hash, when a gate is half open, and the words for what is asked."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.api.status import DeepSeekDeploymentStatus
from deepseek_operator.facts.base import Failure
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.planning import Planned, Refused
from deepseek_operator.reconcile.approval import Gate, choose_plan, hash_of
from deepseek_operator.reconcile.capacity import Base
from deepseek_operator.reconcile.replica.view import View
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.approvals import approve, launches, waiting
from tests.unit.reconcile.rented import passes


def digest(*infra: str, **resources: Any) -> str:
    return hash_of(b.planned(waiting(*infra, resources=resources))).digest


def test_each_part_of_the_price_has_a_digest_of_its_own() -> None:
    spot = {"capacityType": "SpotThenOnDemand"}
    found = [
        digest("aws"),
        digest("aws", **spot),
        digest("aws", **spot, capacity={"onDemandBase": 1}),
        digest("aws", cpus="16+"),
        digest("aws", memory="64+"),
        digest("aws", diskSize=900),
    ]
    assert len(set(found)) == len(found)


def test_a_field_that_says_its_default_changes_no_digest() -> None:
    same = digest("aws", capacityType="OnDemand", capacity={"onDemandBase": 0})
    assert same == digest("aws")


def test_a_limit_is_the_same_however_it_is_written() -> None:
    assert digest("aws", maxHourlyCost="40") == digest("aws", maxHourlyCost="40.00")
    assert digest("aws", maxHourlyCost="40") != digest("aws", maxHourlyCost="4")


def test_what_the_planner_asks_for_beside_the_gpus_counts_as_what_the_user_asks_for() -> None:
    plan = b.planned(waiting("aws"))
    for change in ({"cpus": 64}, {"memory_gb": 999}, {"disk_gb": 999}, {"network_tier": "best"}):
        assert hash_of(replace(plan, **change)) != hash_of(plan)


def test_a_disk_that_is_not_rented_costs_nothing() -> None:
    assert digest("kubernetes", diskSize=900) == digest("kubernetes")
    plan = b.planned(waiting("kubernetes"))
    assert hash_of(replace(plan, network_tier="best")) == hash_of(plan)


def view(name: ClusterName, blocked: Failure | None = None) -> View:
    return View(now=b.NOW, facts=b.facts(name), blocked=blocked)


class TestAGate:
    def test_is_open_without_words_where_nothing_waits(self) -> None:
        plan = b.planned(waiting("aws"))
        covered = approve(waiting("aws"), hash_of(plan))
        for gate in (
            Gate.of(covered, plan, 0),
            Gate.of(b.rented_deployment("aws"), plan, 0),
            Gate.of(waiting("aws"), Refused(Reason.DOES_NOT_FIT, "too big"), 0),
        ):
            assert (gate.waiting, gate.closed) == (None, False)

    def test_says_that_it_waits_while_something_is_looked_up_that_passes(self) -> None:
        of = waiting("aws")
        gate = Gate.of(of, b.planned(of), 0)
        looking, _ = gate.admit(view(b.name(of), Failure(Reason.PLANNING, "checking")))
        wrong, _ = gate.admit(view(b.name(of), Failure(Reason.SECRET_NOT_FOUND, "none")))
        assert looking.blocked is gate.waiting
        assert wrong.blocked is not None
        assert wrong.blocked.reason is Reason.SECRET_NOT_FOUND

    def test_a_larger_surge_waits_and_the_approved_one_rolls_out(self) -> None:
        of = waiting("aws", updateStrategy={"maxSurge": 2})
        small = hash_of(b.planned(waiting("aws", updateStrategy={"maxSurge": 1})))
        gate = Gate.of(approve(of, small), b.planned(of), 1)
        assert (gate.most, gate.closed) == (2, False)
        assert launches(passes(approve(of, small), b.older(of))[0]) == [0]


class TestThePlan:
    def setup_method(self) -> None:
        self.of = waiting("aws")
        self.plan = b.planned(self.of)
        self.asked: list[DeepSeekDeploymentSpec] = []

    def planner(self, spec: DeepSeekDeploymentSpec) -> Planned | Refused:
        """Remembers what it was asked, and finds everything else than what is approved."""
        self.asked.append(spec)
        return replace(self.plan, spec=spec, accelerators=("H100:8",))

    def choose(self, text: str, *, shown: bool = True, **spec: Any) -> None:
        free = self.of.spec.resources.model_copy(update={"accelerators": None, **spec.pop("resources", {})})
        changed = self.of.spec.model_copy(update={"resources": free, **spec})
        status = DeepSeekDeploymentStatus(plan=self.plan.status if shown else None)
        of = self.of.model_copy(update={"spec": changed, "status": status})
        assert choose_plan(approve(of, text), self.planner) is not None

    def test_is_only_looked_for_again_where_an_approval_differs_from_it(self) -> None:
        self.choose("", shown=True)
        self.choose("0123456789ab-1+1", shown=False)
        self.choose("0123456789ab-1+1", approval=b.rented_deployment("aws").spec.approval)
        self.choose("0123456789ab-1+1", resources={"accelerators": ("L4:1",)})
        assert len(self.asked) == 4

    def test_is_asked_for_with_what_the_status_shows_and_the_users_own_number_of_nodes(self) -> None:
        self.choose("0123456789ab-1+1")
        self.choose("0123456789ab-1+1", resources={"nodes": 3})
        pinned = [spec.resources for spec in self.asked if spec.resources.accelerators is not None]
        # With maxHourlyCost and without it.
        assert [(one.accelerators, one.nodes) for one in pinned] == [(("L4:1",), 1)] * 2 + [(("L4:1",), 3)] * 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "waits for approval of 1 replica of 1 node with L4:1 each, 2 during an update, on aws"),
        ({"updateStrategy": {"maxSurge": 0, "maxUnavailable": 1}}, "of 1 node with L4:1 each, on aws"),
        ({"resources": {"nodes": 2}}, "1 replica of 2 nodes with L4:1 each"),
        ({}, "0.80 $/h together, without maxHourlyCost"),
        (
            {
                "replicas": 3,
                "resources": {"accelerators": ["A100:8"], "capacityType": "Spot", "capacity": {"onDemandBase": 1}},
            },
            "6.04 $/h each at today's catalog prices, 1 of them on demand for 21.96 $/h, 34.04 $/h together",
        ),
    ],
)
def test_what_is_asked_for_is_said_in_words(fields: dict[str, Any], words: str) -> None:
    of = waiting("aws", **fields)
    waits = Gate.of(of, b.planned(of), 0).waiting
    assert waits is not None
    assert words in waits.message
    assert waits.message.startswith("waits for")


def test_an_unknown_price_is_said_to_be_unknown() -> None:
    of = waiting("aws")
    plan = b.planned(of)
    waits = Gate.of(of, replace(plan, hourly_cost=None), 0).waiting
    assert waits is not None
    assert "at a price that is not known, without maxHourlyCost" in waits.message


def test_what_was_approved_before_is_named() -> None:
    of = waiting("aws")
    waits = Gate.of(approve(of, "0123456789ab-1+1"), b.planned(of), 0).waiting
    assert waits is not None
    assert waits.message.startswith("approved is 0123456789ab-1+1, and the plan has changed since; waits for")


def test_nothing_is_on_demand_where_nothing_is_rented() -> None:
    here = b.deployment()
    plan = b.planned(here)
    counted = replace(plan, base=1, on_demand_cost=Decimal(0))
    assert Base.of(counted, ()).missing == 0
