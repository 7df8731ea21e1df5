"""``spec.approval``: no plan is launched before somebody has approved it, and nothing that runs is touched."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.api.status import DeepSeekDeploymentStatus, Instance, Phase
from deepseek_operator.api.v1alpha1 import ANNOTATION_APPROVED_PLAN, DeepSeekDeployment
from deepseek_operator.facts.base import Address, Known, Unknown
from deepseek_operator.facts.names import ClusterName, revision_of
from deepseek_operator.facts.skypilot import JobState
from deepseek_operator.planning import Planned, Planner, Refused
from deepseek_operator.reconcile.actions import Launch, RunAgain, TearDown
from deepseek_operator.reconcile.approval import Gate, PlanHash, choose_plan, hash_of
from deepseek_operator.reconcile.decide import Decision
from deepseek_operator.reconcile.events import notes
from tests.unit.reconcile import builders as b


def waiting(*infra: str, **fields: Any) -> DeepSeekDeployment:
    """A deployment whose plan needs an approval and has none."""
    return b.rented_deployment(*infra, approval="Required", **fields)


def approve(of: DeepSeekDeployment, text: str | PlanHash) -> DeepSeekDeployment:
    """The deployment with the approval of a plan."""
    metadata = of.metadata.model_copy(update={"annotations": {ANNOTATION_APPROVED_PLAN: str(text)}})
    return of.model_copy(update={"metadata": metadata})


def approved(of: DeepSeekDeployment) -> DeepSeekDeployment:
    """The deployment with the approval of its own plan."""
    return approve(of, hash_of(b.planned(of)))


def passes(of: DeepSeekDeployment, *running: ClusterName, **fields: Any) -> tuple[Decision, DeepSeekDeploymentStatus]:
    """One pass in which these replicas are rented and serve."""
    places = {name: Address(f"54.0.0.{number}", 8000) for number, name in enumerate(running, 1)}
    ledgers = {
        name: b.ledger(infra="aws", renting=True, price="0.8048", ready_since=b.ago(60), address=str(at))
        for name, at in places.items()
    }
    known = [b.facts(name, skypilot=b.seen(b.row(name, cloud="AWS", region="us-east-1"))) for name in running]
    world = b.world(
        b.remembering(of, ledgers), *known, secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED,
        probes=b.answering(*places.values()), endpoints=tuple([b.endpoints(*places.values())] if places else []),
    )  # fmt: skip
    return b.step(replace(world, **fields))


def launches(decision: Decision) -> list[int]:
    return [name.ordinal for name, action in decision.actions if isinstance(action, Launch)]


def condition(status: DeepSeekDeploymentStatus, kind: str) -> tuple[str, str]:
    found = next(one for one in status.conditions if one.type == kind)
    return found.status, found.reason


class TestANewDeployment:
    def test_is_launched_without_approval_where_none_is_required(self) -> None:
        assert launches(passes(b.rented_deployment("aws"))[0]) == [0]

    def test_waits_with_its_plan_its_price_and_the_command_that_approves_it(self) -> None:
        of = waiting("aws", replicas=2, resources={"maxHourlyCost": "4"})
        decision, status = passes(of)
        assert launches(decision) == []
        assert status.plan is not None
        message = status.instances[0].message
        assert "2 replicas of 1 node with L4:1 each, 3 during an update, on aws, OnDemand" in message
        assert "0.80 $/h each" in message
        assert "1.61 $/h together, at most 4 $/h by maxHourlyCost" in message
        command = "kubectl annotate dsd r1 -n serving --overwrite deepseek-operator.io/approved-plan="
        assert message.endswith(command + str(status.plan.hash))

    def test_is_neither_ready_nor_a_failure_while_it_waits_and_an_event_says_so(self) -> None:
        _, status = passes(waiting("aws"))
        assert condition(status, "Ready") == ("False", "AwaitingApproval")
        assert condition(status, "Reconciling") == ("True", "AwaitingApproval")
        assert condition(status, "Stalled") == ("False", "AwaitingApproval")
        told = [(note.type, note.reason) for note in notes(DeepSeekDeploymentStatus(), status)]
        assert told == [("Normal", "AwaitingApproval")]

    def test_is_launched_once_the_hash_that_its_status_shows_is_approved(self) -> None:
        _, status = passes(waiting("aws"))
        assert status.plan is not None
        assert status.plan.hash is not None
        assert launches(passes(approve(waiting("aws"), status.plan.hash))[0]) == [0]

    @pytest.mark.parametrize("text", ["", "true", "0123456789ab-9+9", "0123456789ab"])
    def test_is_not_launched_by_any_other_word(self, text: str) -> None:
        assert launches(passes(approve(waiting("aws"), text))[0]) == []

    def test_waits_in_its_own_cluster_too(self) -> None:
        of = b.deployment(approval="Required")
        decision, status = b.step(b.world(of))
        assert launches(decision) == []
        assert "on kubernetes, on the cluster's own nodes" in status.instances[0].message

    def test_says_first_what_else_keeps_it_from_being_launched(self) -> None:
        secrets = {ref: Known("Secret key has no token", b.NOW) for ref in b.API_KEY_EXISTS}
        _, status = passes(waiting("aws"), secrets=secrets)
        assert condition(status, "Ready") == ("False", "SecretNotFound")

    def test_is_looked_at_again_when_something_happens_and_not_every_few_seconds(self) -> None:
        decision, _ = passes(waiting("aws"))
        assert decision.next_look_s is None


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


class TestAfterTheApproval:
    def test_a_lost_replica_is_launched_again_without_another_one(self) -> None:
        of = approved(waiting("aws", replicas=2))
        assert launches(passes(of, b.name(of, 0))[0]) == [1]

    def test_a_change_of_the_engine_rolls_out_without_another_one(self) -> None:
        of = approved(waiting("aws"))
        assert launches(passes(of, b.older(of))[0]) == [0]

    def test_a_dearer_plan_waits_while_what_runs_goes_on_serving(self) -> None:
        of = approve(waiting("aws"), hash_of(b.planned(waiting("aws", resources={"accelerators": ["T4:4"]}))))
        decision, status = passes(of, b.older(of))
        assert decision.actions == ()
        assert [(one.name, one.phase.value) for one in status.instances] == [(str(b.older(of)), "Ready")]
        assert condition(status, "Reconciling") == ("True", "AwaitingApproval")

    def test_no_old_replica_makes_room_for_one_that_waits(self) -> None:
        strategy = {"maxSurge": 0, "maxUnavailable": 1}
        of = approve(waiting("aws", replicas=2, updateStrategy=strategy), "0123456789ab-2+0")
        _, status = passes(of, b.older(of, 0), b.older(of, 1))
        assert [one.phase.value for one in status.instances] == ["Ready", "Ready"]

    def test_no_old_replica_makes_room_where_only_fewer_replicas_are_approved(self) -> None:
        strategy = {"maxSurge": 0, "maxUnavailable": 1}
        fewer = hash_of(b.planned(waiting("aws", replicas=2, updateStrategy=strategy)))
        of = approve(waiting("aws", replicas=3, updateStrategy=strategy), fewer)
        _, status = passes(of, b.older(of, 0), b.older(of, 1), b.older(of, 2))
        assert [one.phase.value for one in status.instances] == ["Ready", "Ready", "Ready"]
        assert condition(status, "Reconciling") == ("True", "AwaitingApproval")

    @pytest.mark.parametrize(("approval", "short"), [("1+1", True), ("2+0", False), ("2+1", False)])
    def test_an_old_replica_may_make_room_where_only_the_room_for_updates_is_not_approved(
        self, approval: str, short: bool
    ) -> None:
        of = waiting("aws", replicas=2)
        plan = b.planned(of)
        assert Gate.of(approve(of, f"{hash_of(plan).digest}-{approval}"), plan, 2).short is short

    def test_more_replicas_wait_and_what_was_approved_still_comes_back(self) -> None:
        of = approve(waiting("aws", replicas=3), hash_of(b.planned(waiting("aws", replicas=2))))
        decision, status = passes(of, b.name(of, 1))
        assert launches(decision) == [0]
        assert {one.name[-1]: one.reason for one in status.instances}["2"] == "AwaitingApproval"
        assert launches(passes(of, b.name(of, 0), b.name(of, 1))[0]) == []

    def test_more_replicas_do_not_use_the_room_that_was_approved_for_updates(self) -> None:
        of = approve(waiting("aws", replicas=2), hash_of(b.planned(waiting("aws", replicas=1))))
        assert launches(passes(of, b.name(of, 0))[0]) == []

    def test_fewer_replicas_never_wait(self) -> None:
        of = approve(waiting("aws", replicas=1), hash_of(b.planned(waiting("aws", replicas=2))))
        _, status = passes(of, b.name(of, 0), b.name(of, 1))
        assert [one.phase.value for one in status.instances] == ["Ready", "Terminating"]
        assert launches(passes(of)[0]) == [0]

    @pytest.mark.parametrize("fields", [{"suspend": True}, {"deleting": True}])
    def test_suspend_and_delete_never_wait(self, fields: dict[str, Any]) -> None:
        of = waiting("aws", **fields)
        _, status = passes(of, b.name(of))
        assert [one.phase.value for one in status.instances] == ["Terminating"]

    def test_an_engine_that_ends_is_started_again_on_its_nodes_although_a_change_waits(self) -> None:
        of = approve(b.deployment(approval="Required", replicas=2), "0123456789ab-1+1")
        name = b.name(of)
        kept = b.ledger(silent_since=b.ago(30), counted="job/g1/1", attempts=1, retry_after=b.ago(1))
        remembered = b.remembering(of, {name: kept})
        ended = b.up(name, job=b.job(JobState.ENDED))
        decision, _ = b.step(b.world(remembered, ended, probes=b.silent(Address(b.host(), b.PORT))))
        assert [type(action) for _, action in decision.actions] == [RunAgain]

    def test_a_replica_that_is_lost_while_a_change_waits_says_both_and_a_warning_does_too(self) -> None:
        of = approve(waiting("aws", replicas=2), "0123456789ab-2+1")
        _, before = passes(of, b.name(of, 0))
        ledgers = {
            b.name(of, ordinal): b.ledger(infra="aws", ready_since=b.ago(60), silent_since=b.ago(30))
            for ordinal in (0, 1)
        }
        lost = [b.facts(name, terminated=b.TERMINATED) for name in ledgers]
        world = b.world(b.remembering(of, ledgers), *lost, secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED)
        _, after = b.step(world)
        assert after.instances[0].message.startswith(
            "its nodes are gone; approved is 0123456789ab-2+1, and the plan has"
        )
        told = [note for note in notes(before, after) if note.type == "Warning"]
        # Of the one that served; the other one waited already.
        assert [(one.reason, one.message.split(":")[0]) for one in told] == [("AwaitingApproval", str(b.name(of, 0)))]

    def test_broken_nodes_are_given_back_although_a_change_waits(self) -> None:
        of = waiting("aws")
        name = b.name(of)
        known = b.facts(name, skypilot=b.seen(b.row(name, "INIT", cloud="AWS")))
        remembered = b.remembering(of, {name: b.ledger(infra="aws")})
        decision, _ = b.step(b.world(remembered, known, secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED))
        assert [type(action) for _, action in decision.actions] == [TearDown]

    def test_nothing_is_asked_for_while_everything_that_is_wanted_serves(self) -> None:
        _, status = b.step(b.serving(b.deployment(approval="Required")))
        assert condition(status, "Ready") == ("True", "Ready")
        assert condition(status, "Reconciling") == ("False", "Ready")

    def test_nothing_is_launched_while_skypilot_cannot_be_asked(self) -> None:
        of = approved(waiting("aws"))
        assert launches(passes(of, skypilot=Unknown("away", b.NOW))[0]) == []


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
