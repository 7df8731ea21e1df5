"""What the hash of a plan covers, and how long a plan that was approved is kept while prices move."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.api.status import DeepSeekDeploymentStatus, Instance, Phase
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.names import revision_of
from deepseek_operator.planning import Planned, Planner, Refused
from deepseek_operator.reconcile.approval import PlanHash, choose_plan, hash_of
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.approvals import approve, waiting


class TestWhatTheHashCovers:
    @pytest.mark.parametrize(
        "fields",
        [
            {"resources": {"accelerators": ["A10G:1"]}},
            {"resources": {"nodes": 2}},
            {"resources": {"capacityType": "Spot"}},
            {"resources": {"maxHourlyCost": "9"}},
            {"resources": {"diskSize": 900}},
            {"resources": {"memory": "200+"}},
            {"replicas": 3},
            {"updateStrategy": {"maxSurge": 2}},
        ],
    )
    def test_more_money_is_another_plan(self, fields: dict[str, Any]) -> None:
        was, now = (hash_of(b.planned(of)) for of in (waiting("aws"), waiting("aws", **fields)))
        assert not was.covers(now)

    def test_another_place_or_another_order_of_places_is_another_plan(self) -> None:
        hashes = [hash_of(b.planned(waiting(*infra))) for infra in (("aws",), ("aws", "gcp"), ("gcp", "aws"))]
        assert len({found.digest for found in hashes}) == 3

    def test_what_runs_on_the_machines_is_not_covered(self) -> None:
        of = waiting("aws")
        engine = of.spec.engine.model_copy(update={"args": ("--max-num-seqs=4",)})
        other = of.model_copy(update={"spec": of.spec.model_copy(update={"engine": engine})})
        assert hash_of(b.planned(other)) == hash_of(b.planned(of))
        assert revision_of(other.spec) != revision_of(of.spec)

    def test_todays_prices_are_not_covered(self) -> None:
        planner, of = Planner(b.planner().catalog), waiting("aws")
        before = planner.plan(of.spec)
        dearer = [
            price.model_copy(update={"on_demand": price.on_demand and price.on_demand * 3})
            for price in planner.catalog.prices
        ]
        planner.catalog = planner.catalog.with_prices(tuple(dearer))
        after = planner.plan(of.spec)
        assert isinstance(before, Planned)
        assert isinstance(after, Planned)
        assert after.hourly_cost != before.hourly_cost
        assert hash_of(after) == hash_of(before)

    @given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
    def test_an_approval_covers_fewer_replicas_and_never_more(self, r: int, s: int, other_r: int, other_s: int) -> None:
        one, other = PlanHash("0123456789ab", r, s), PlanHash("0123456789ab", other_r, other_s)
        assert one.covers(other) == (r >= other_r and s >= other_s)
        assert PlanHash.parse(str(one)) == one

    def test_a_switch_to_approval_replaces_no_replica(self) -> None:
        assert revision_of(waiting("aws").spec) == revision_of(b.rented_deployment("aws").spec)


class TestThePlanThatWasApproved:
    """Where the planner chooses the GPUs, other prices must not turn an approved plan into another one."""

    SPEC: dict[str, Any] = {
        "model": {"name": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"},
        "resources": {"infra": ["aws"]},
        "approval": "Required",
    }

    def setup_method(self) -> None:
        self.planner = Planner(b.planner().catalog)
        free = b.deployment()
        of = free.model_copy(update={"spec": DeepSeekDeploymentSpec.model_validate(self.SPEC)})
        plan = self.planner.plan(of.spec)
        assert isinstance(plan, Planned)
        self.plan = plan
        shown = DeepSeekDeploymentStatus(plan=plan.status)
        self.of = approve(of.model_copy(update={"status": shown}), hash_of(plan))

    def move_prices(self) -> None:
        """Make the cheapest GPU of the plan ten times as dear."""
        catalog, dear = self.planner.catalog, self.plan.accelerators[0]
        prices = [
            one.model_copy(update={"on_demand": one.on_demand and one.on_demand * 10})
            if str(one.accelerators) == dear else one
            for one in catalog.prices
        ]  # fmt: skip
        self.planner.catalog = catalog.with_prices(tuple(prices))

    def test_stays_when_prices_move(self) -> None:
        self.move_prices()
        assert hash_of(b_planned(self.planner.plan(self.of.spec))) != hash_of(self.plan)
        assert hash_of(b_planned(choose_plan(self.of, self.planner.plan))) == hash_of(self.plan)

    def test_goes_when_the_approval_is_taken_back(self) -> None:
        self.move_prices()
        free = choose_plan(approve(self.of, ""), self.planner.plan)
        assert hash_of(b_planned(free)) != hash_of(self.plan)

    def test_goes_when_the_user_names_other_gpus(self) -> None:
        resources = self.of.spec.resources.model_copy(update={"accelerators": ("H100:8",)})
        other = self.of.model_copy(update={"spec": self.of.spec.model_copy(update={"resources": resources})})
        assert b_planned(choose_plan(other, self.planner.plan)).accelerators == ("H100:8",)

    def test_goes_when_the_model_no_longer_fits_it(self) -> None:
        model = self.of.spec.model.model_copy(update={"name": "deepseek-ai/DeepSeek-R1"})
        other = self.of.model_copy(update={"spec": self.of.spec.model_copy(update={"model": model})})
        assert hash_of(b_planned(choose_plan(other, self.planner.plan))).digest != hash_of(self.plan).digest


class TestTheUsersGpusThatWereApproved:
    """Where the user lists GPUs, prices decide which of them a launch may use: one above maxHourlyCost is left out."""

    def setup_method(self) -> None:
        self.planner = Planner(b.planner().catalog)
        of = waiting("aws", resources={"accelerators": ["L4:1", "A10G:1"], "maxHourlyCost": "2"})
        self.plan = b_planned(self.planner.plan(of.spec))
        assert self.plan.accelerators == ("L4:1", "A10G:1")
        shown = DeepSeekDeploymentStatus(plan=self.plan.status, observed_generation=of.metadata.generation)
        self.of = approve(of.model_copy(update={"status": shown}), hash_of(self.plan))

    def price(self, **prices: str) -> None:
        catalog = self.planner.catalog
        found = tuple(
            one.model_copy(update={"on_demand": Decimal(prices[name])}) if (name := one.accelerators[:-2]) in prices
            else one
            for one in catalog.prices
        )  # fmt: skip
        self.planner.catalog = catalog.with_prices(found)

    def chosen(self, of: DeepSeekDeployment) -> Planned:
        return b_planned(choose_plan(of, self.planner.plan))

    def edited(self, resources: dict[str, Any], **status: Any) -> DeepSeekDeployment:
        """The deployment after a change of its spec, of which the status does not know yet."""
        metadata = self.of.metadata.model_copy(update={"generation": self.of.metadata.generation + 1})
        spec = self.of.spec.model_copy(update={"resources": self.of.spec.resources.model_copy(update=resources)})
        known = self.of.status.model_copy(update=status)
        return self.of.model_copy(update={"metadata": metadata, "spec": spec, "status": known})

    def test_stay_when_one_of_them_becomes_dearer_than_the_limit_and_keep_the_limit(self) -> None:
        self.price(A10G="2.5")
        assert b_planned(self.planner.plan(self.of.spec)).accelerators == ("L4:1",)
        kept = self.chosen(self.of)
        assert hash_of(kept) == hash_of(self.plan)
        assert kept.spec.resources.max_hourly_cost == "2"
        assert kept.max_instance_hourly_cost == Decimal(2)

    def test_are_refused_when_all_of_them_are_dearer_than_the_limit(self) -> None:
        self.price(A10G="2.5", L4="2.4")
        assert isinstance(choose_plan(self.of, self.planner.plan), Refused)

    def test_stay_when_only_the_number_of_replicas_is_another_one(self) -> None:
        self.price(A10G="2.5")
        lost = Instance(name="r1-0", revision=revision_of(self.of.spec), phase=Phase.FAILED)
        assert hash_of(self.chosen(self.edited({}, instances=(lost,)))) == hash_of(self.plan)

    def test_go_when_the_list_gets_longer(self) -> None:
        of = self.edited({"accelerators": ("L4:1", "A10G:1", "L40S:1")})
        self.price(L40S="1.9")
        assert self.chosen(of).accelerators == ("L4:1", "A10G:1", "L40S:1")

    def test_go_when_the_limit_is_another_one(self) -> None:
        of = self.edited({"max_hourly_cost": "2.4"}, observed_generation=self.of.metadata.generation + 1)
        self.price(A10G="2.5")
        assert hash_of(self.chosen(of)).digest != hash_of(self.plan).digest


def b_planned(plan: Planned | Refused) -> Planned:
    assert isinstance(plan, Planned), plan
    return plan
