"""``spec.approval``: no plan is launched before somebody has approved it, and nothing that runs is touched."""

from typing import Any

import pytest

from deepseek_operator.api.status import DeepSeekDeploymentStatus
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address, Known, Unknown
from deepseek_operator.facts.skypilot import JobState
from deepseek_operator.reconcile.actions import RunAgain, TearDown
from deepseek_operator.reconcile.approval import Gate, hash_of
from deepseek_operator.reconcile.events import notes
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.approvals import approve, launches, waiting
from tests.unit.reconcile.rented import passes


def approved(of: DeepSeekDeployment) -> DeepSeekDeployment:
    """The deployment with the approval of its own plan."""
    return approve(of, hash_of(b.planned(of)))


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
