"""A deleted or suspended object gives everything back, and is held until nothing of it is left."""

from datetime import timedelta
from typing import Any

import pytest

from deepseek_operator.api.v1alpha1 import ANNOTATION_ABANDON
from deepseek_operator.facts.base import Known
from deepseek_operator.facts.kubernetes import LaunchedService
from deepseek_operator.facts.skypilot import Outcome, RequestKind
from deepseek_operator.facts.world import NOT_ASKED
from deepseek_operator.reconcile.actions import ClearRemains, RemoveFinalizer, TearDown, UnpublishEndpoints
from deepseek_operator.reconcile.decide import Decision
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.decisions import actions, changed, conditions, message, settled


def test_a_suspended_deployment_gives_everything_back_and_stays() -> None:
    of = b.deployment(suspend=True)
    cluster = b.name(of)
    decision, status = b.step(b.world(of, b.facts(cluster, skypilot=b.seen(b.row(cluster)))))
    assert actions(decision) == (TearDown(cluster),)
    assert conditions(status)["Ready"] == ("False", "Suspended")
    _, empty = b.step(b.world(of))
    assert conditions(empty)["Reconciling"] == ("False", "Suspended")


class TestDeletion:
    OF = b.deployment(deleting=True)
    CLUSTER = b.name(OF)

    def test_an_object_that_was_never_held_is_none_of_our_business(self) -> None:
        decision, _ = b.step(b.world(b.deployment(held=False, deleting=True)))
        assert decision == Decision()

    def test_an_object_of_which_nothing_exists_is_released(self) -> None:
        decision, _ = b.step(b.world(self.OF))
        assert decision.finalizer == RemoveFinalizer()

    @pytest.mark.parametrize("away", [NOT_ASKED, b.AWAY], ids=["not asked", "away"])
    def test_it_is_held_while_skypilot_cannot_be_asked(self, away: Any) -> None:
        decision, _ = b.step(b.world(self.OF, skypilot=away))
        assert decision.finalizer is None

    @pytest.mark.parametrize("state", ["PENDING", "WAITING", "RUNNING"])
    def test_a_launch_for_which_nothing_is_listed_yet_is_cancelled(self, state: str) -> None:
        seen = b.seen(b.request(self.CLUSTER, state=state))
        decision, _ = b.step(b.world(self.OF, b.facts(self.CLUSTER, skypilot=seen)))
        assert actions(decision) == (TearDown(self.CLUSTER, ("req-1",)),)

    @pytest.mark.parametrize("state", ["WAITING", "RUNNING"])
    def test_a_launch_under_way_is_torn_down(self, state: str) -> None:
        seen = b.seen(b.request(self.CLUSTER, state=state), b.row(self.CLUSTER, "INIT"))
        decision, _ = b.step(b.world(self.OF, b.facts(self.CLUSTER, skypilot=seen)))
        assert actions(decision) == (TearDown(self.CLUSTER),)

    def test_a_launch_that_may_still_be_heard_holds_the_object(self) -> None:
        of = b.remembering(self.OF, {self.CLUSTER: b.ledger(unanswered="launch", unanswered_at=b.ago(30))})
        decision, _ = b.step(b.world(of, b.facts(self.CLUSTER)))
        assert (decision.finalizer, decision.actions) == (None, ())

    def test_a_teardown_under_way_is_waited_for(self) -> None:
        seen = b.seen(b.row(self.CLUSTER), b.request(self.CLUSTER, "down"))
        decision, _ = b.step(b.world(self.OF, b.facts(self.CLUSTER, skypilot=seen)))
        assert decision.actions == ()
        assert decision.next_look_s is not None

    def test_unknown_to_skypilot_is_not_gone(self) -> None:
        decision, _ = b.step(b.world(self.OF, b.facts(self.CLUSTER, pods=(b.pod(self.CLUSTER),))))
        assert actions(decision) == (ClearRemains(self.CLUSTER, (f"{self.CLUSTER}-d5ee9000",)),)

    def test_a_service_left_by_skypilot_counts_too(self) -> None:
        left = LaunchedService(f"{self.CLUSTER}-x-head", str(self.CLUSTER), f"{self.CLUSTER}-x")
        decision, _ = b.step(b.world(self.OF, b.facts(self.CLUSTER, services=(left,))))
        assert actions(decision) == (ClearRemains(self.CLUSTER, (f"{self.CLUSTER}-x",)),)

    def test_a_rented_machine_of_a_lost_database_holds_the_object(self) -> None:
        of = b.remembering(self.OF, {self.CLUSTER: b.ledger(infra="aws")})
        decision, status = b.step(b.world(of, b.facts(self.CLUSTER, terminated=Known(None, b.NOW))))
        assert decision.finalizer is None
        assert conditions(status)["Ready"] == ("False", "MachinesUnaccounted")
        assert str(self.CLUSTER) in message(status)
        assert ANNOTATION_ABANDON in message(status)

    @pytest.mark.parametrize(
        "known",
        [
            {"terminated": Known(b.NOW, b.NOW)},
            {"outcome": Known(Outcome("r", RequestKind.DOWN, b.NOW), b.NOW)},
            {"outcome": b.failed_launch()},
        ],
        ids=["in its history", "torn down", "launch failed"],
    )
    def test_a_rented_machine_that_skypilot_terminated_does_not(self, known: dict[str, Any]) -> None:
        of = b.remembering(self.OF, {self.CLUSTER: b.ledger(infra="aws")})
        decision, _ = b.step(b.world(of, b.facts(self.CLUSTER, **known)))
        assert decision.finalizer == RemoveFinalizer()

    def test_nor_does_one_that_was_launched_before_the_clock_was_set_back(self) -> None:
        of = b.remembering(
            self.OF, {self.CLUSTER: b.ledger(infra="aws", launched_at=b.ago(-3000), teardown_at=b.ago(9))}
        )
        decision, _ = b.step(b.world(of, b.facts(self.CLUSTER, terminated=b.TERMINATED)))
        assert decision.finalizer == RemoveFinalizer()

    def test_its_user_can_insist_and_is_told_what_is_left(self) -> None:
        metadata = self.OF.metadata.model_copy(update={"annotations": {ANNOTATION_ABANDON: "true"}})
        of = self.OF.model_copy(update={"metadata": metadata})
        known = b.facts(self.CLUSTER, skypilot=b.AWAY)
        decision, _ = b.step(b.world(of, known, skypilot=b.AWAY))
        assert (decision.finalizer, decision.abandoned) == (RemoveFinalizer(), (self.CLUSTER,))

    def test_a_failed_teardown_is_reported_and_repeated_later(self) -> None:
        of = b.remembering(self.OF, {self.CLUSTER: b.ledger(leaving_since=b.ago(9), teardown_at=b.ago(8))})
        known = b.facts(self.CLUSTER, skypilot=b.seen(b.row(self.CLUSTER)), outcome=b.failed_teardown())
        decision, status = b.step(b.world(of, known))
        assert decision.actions == ()
        assert "AuthFailure" in message(status)
        later = b.world(of.model_copy(update={"status": status}), known, now=b.NOW + timedelta(seconds=11))
        assert actions(b.step(later)[0]) == (TearDown(self.CLUSTER),)

    def test_it_leaves_the_service_and_is_torn_down_at_once(self) -> None:
        world = changed(settled(b.serving(b.deployment())), deleting=True)
        decision, _ = b.step(world)
        assert decision.publish == (UnpublishEndpoints("r1-8000"),)
        assert actions(decision) == (TearDown(self.CLUSTER),)
