"""What a status says, and which of its changes are written at once."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import DeepSeekDeploymentStatus, Instance, Ledger
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.skypilot import JobState
from deepseek_operator.facts.world import World
from deepseek_operator.planning import Planned, Refused
from deepseek_operator.reconcile.status import tells_news
from tests.unit.reconcile import builders as b

STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "readyReplicas": 0,
    "cost": {"hourly": "0.00"},
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "reason": "Launching",
            "message": "SkyPilot looks for nodes",
            "lastTransitionTime": "2026-11-24T12:00:00Z",
        }
    ],
    "instances": [{"name": "r1-0", "phase": "Launching", "ledger": {"attempts": 0}}],
}


def instance(**fields: Any) -> dict[str, Any]:
    return {**STATUS, "instances": [{**STATUS["instances"][0], **fields}]}


@pytest.mark.parametrize(
    ("changed", "told_at_once"),
    [
        ({**STATUS, "observedGeneration": 2}, True),
        ({**STATUS, "readyReplicas": 1}, True),
        ({**STATUS, "conditions": [{**STATUS["conditions"][0], "status": "True"}]}, True),
        ({**STATUS, "conditions": [{**STATUS["conditions"][0], "reason": "ImagePull"}]}, True),
        ({**STATUS, "conditions": [{**STATUS["conditions"][0], "message": "SkyPilot has found nodes"}]}, False),
        ({**STATUS, "cost": {"hourly": "2.50"}}, True),
        ({**STATUS, "instances": []}, True),
        ({**STATUS, "conditions": []}, True),
        (instance(phase="Starting"), True),
        (instance(ledger={"attempts": 1}), True),
        (instance(ledger={"attempts": 0, "infra": "aws", "address": "54.0.0.1:8000"}), False),
        (instance(message="new words", infra="aws", region="us-east-1", hourlyCost="2.50"), False),
        (instance(ledger={"attempts": 0, "unanswered": "launch"}), True),
    ],
)
def test_a_status_is_written_at_once_for(changed: dict[str, Any], told_at_once: bool) -> None:
    before, after = map(DeepSeekDeploymentStatus.model_validate, (STATUS, changed))
    assert tells_news(before, after) is told_at_once


class TestTheStatus:
    OF = b.deployment()
    NAME = b.name(OF)

    def instance(self, world: World, plan: Planned | Refused | None = None) -> Instance:
        _, status = b.step(world, plan)
        (found,) = status.instances
        return found

    def test_keeps_the_plan_that_runs_while_the_spec_cannot_be_planned(self) -> None:
        world = b.serving(self.OF)
        _, before = b.step(world)
        assert before.plan is not None
        remembered = replace(world, deployment=world.deployment.model_copy(update={"status": before}))
        _, after = b.step(remembered, Refused(Reason.DOES_NOT_FIT, "too big"))
        assert after.plan == before.plan

    def test_shows_the_plan_of_the_spec(self) -> None:
        _, status = b.step(b.world(self.OF))
        assert status.plan == b.planned(self.OF).status

    def test_leaves_out_what_skypilot_does_not_say(self) -> None:
        row = b.row(self.NAME, region="", accelerators="")
        found = self.instance(b.world(self.OF, b.facts(self.NAME, skypilot=b.seen(row))))
        assert (found.region, found.accelerators) == (None, None)

    def test_shows_where_a_replica_runs_and_answers(self) -> None:
        row = b.row(self.NAME, region="in-cluster", accelerators="L4:1")
        known = b.facts(self.NAME, skypilot=b.seen(row), pods=(b.pod(self.NAME),), job=b.job(JobState.ACTIVE))
        of = b.remembering(self.OF, {self.NAME: b.ledger()})
        found = self.instance(b.world(of, known))
        assert (found.region, found.accelerators, found.address) == ("in-cluster", "L4:1", f"{b.host()}:{b.PORT}")
        assert self.instance(b.world(self.OF, b.facts(self.NAME))).address is None

    @pytest.mark.parametrize(("ledger", "nodes"), [(b.ledger(nodes=2), 2), (Ledger(nodes=2), 1)])
    def test_counts_the_nodes_that_were_launched_and_else_those_of_the_plan(self, ledger: Ledger, nodes: int) -> None:
        of = b.remembering(self.OF, {self.NAME: ledger})
        assert self.instance(b.world(of, b.up(self.NAME))).nodes == nodes

    def test_shows_the_nodes_of_the_plan_where_nothing_was_launched_yet(self) -> None:
        plan = b.planned(self.OF)
        waiting = b.world(self.OF, b.facts(self.NAME, skypilot=b.AWAY), skypilot=b.AWAY)
        assert self.instance(waiting, replace(plan, nodes=3)).nodes == 3
        assert self.instance(waiting, Refused(Reason.DOES_NOT_FIT, "too big")).nodes == 1

    def test_names_the_secret_of_the_key_that_the_plan_has(self) -> None:
        of = b.rented_deployment()
        spec = of.spec.model_copy(update={"endpoint": b.deployment().spec.endpoint})
        _, status = b.step(b.world(of.model_copy(update={"spec": spec})))
        assert status.endpoint is not None
        assert status.endpoint.api_key_secret_name == "r1-api-key"

    def test_says_since_when_a_replica_is_what_it_is(self) -> None:
        world = b.serving(self.OF)
        first = self.instance(world)
        assert first.since == "2026-11-24T12:00:00Z"
        _, status = b.step(world)
        later = replace(
            world,
            deployment=world.deployment.model_copy(update={"status": status}),
            now=b.NOW + timedelta(hours=1),
        )
        assert self.instance(later).since == first.since, "an hour later it still is"
        silent = replace(later, probes=b.silent(Address(b.host(), b.PORT)))
        assert self.instance(silent).since == "2026-11-24T13:00:00Z"

    def test_says_when_a_failed_launch_is_tried_again(self) -> None:
        of = b.remembering(self.OF, {self.NAME: b.ledger()})
        found = self.instance(b.world(of, b.facts(self.NAME, outcome=b.failed_launch())))
        assert found.retry_after == "2026-11-24T12:00:10Z"
        assert self.instance(b.serving(self.OF)).retry_after is None
