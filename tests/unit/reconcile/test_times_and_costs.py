"""What a status counts: since when something is so, how many replicas there are, and what they cost."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from deepseek_operator.api.status import DeepSeekDeploymentStatus
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.skypilot import JobState
from deepseek_operator.facts.world import World
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.condition_table import BOTH, FIRST, ONE_OLD, after, dead


def fed_back(world: World, status: DeepSeekDeploymentStatus, *, seconds: float = 0) -> World:
    deployment = world.deployment.model_copy(update={"status": status})
    return replace(world, deployment=deployment, now=world.now + timedelta(seconds=seconds))


class TestTimes:
    def test_since_and_transition_times_stay_while_nothing_changes(self) -> None:
        first = after(dead(BOTH))
        later = after(fed_back(dead(BOTH), first, seconds=30))
        assert [one.since for one in later.instances] == [one.since for one in first.instances]
        assert [c.last_transition_time for c in later.conditions] == [c.last_transition_time for c in first.conditions]

    def test_they_move_with_what_changes_and_only_with_that(self) -> None:
        first = after(BOTH)
        later = after(fed_back(dead(BOTH), first, seconds=30))
        assert later.instances[0].since == "2026-11-24T12:00:30Z"
        assert later.instances[1].since == first.instances[1].since
        times = {c.type: c.last_transition_time for c in later.conditions}
        assert times["Ready"] == times["Reconciling"] == "2026-11-24T12:00:30Z"
        assert times["Planned"] == "2026-11-24T12:00:00Z"

    def test_another_reason_of_the_same_phase_is_news(self) -> None:
        world = dead(b.serving(b.deployment()))
        first = after(world)
        assert first.instances[0].reason == "EngineUnresponsive"
        ended = b.up(b.name(b.deployment()), job=b.job(JobState.ENDED))
        later = after(fed_back(replace(world, replicas={ended.name: ended}), first, seconds=7))
        assert (later.instances[0].reason, later.instances[0].since) == ("EngineExited", "2026-11-24T12:00:07Z")


class TestNumbers:
    def test_one_that_is_silent_is_not_ready_and_an_older_one_is_not_updated(self) -> None:
        status = after(dead(ONE_OLD, Address(b.host(1), b.PORT)))
        assert (status.replicas, status.ready_replicas, status.updated_replicas) == (3, 1, 2)

    def test_nodes_of_the_cluster_cost_nothing(self) -> None:
        status = after(BOTH)
        assert [one.hourly_cost for one in status.instances] == ["0.00", "0.00"]
        assert status.cost is not None
        assert status.cost.hourly == "0.00"

    def test_rented_nodes_cost_what_the_plan_says_and_older_ones_what_they_did(self) -> None:
        of = b.deployment(
            model={"name": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"},
            engine={"name": "VLLM"},
            resources={"accelerators": ["L4:1"], "infra": ["aws"]},
            endpoint={"apiKeySecretRef": {"name": "key", "key": "token"}},
        )
        plan = b.planned(of)
        assert plan.hourly_cost is not None
        new, old = b.name(of), b.older(of, 1)
        ledgers = {
            new: b.ledger(infra="aws"),
            old: b.ledger(infra="aws", ready_since=b.ago(9), address="54.0.0.1:8000"),
        }
        of = b.remembering(of, ledgers)
        instances = tuple(one.model_copy(update={"hourly_cost": "9.00"}) for one in of.status.instances)
        of = of.model_copy(update={"status": of.status.model_copy(update={"instances": instances})})
        rented = {"cloud": "AWS", "region": "us-east-1", "accelerators": "L4:1"}
        facts = [
            b.facts(name, skypilot=b.seen(b.row(name, **rented)), job=b.job(JobState.ACTIVE)) for name in (new, old)
        ]
        world = b.world(of, *facts, probes=b.answering(Address("54.0.0.1", 8000)))
        costs = {one.name: one.hourly_cost for one in after(world).instances}
        assert costs == {str(new): str(plan.hourly_cost), str(old): "9.00"}
        total = after(world).cost
        assert total is not None
        assert Decimal(total.hourly or 0) == plan.hourly_cost + 9

    def test_where_it_runs_is_kept_while_skypilot_does_not_show_it(self) -> None:
        shown = b.up(FIRST)
        row = b.row(FIRST, region="us-east-1", accelerators="L4:1")
        world = replace(
            BOTH, replicas={**BOTH.replicas, FIRST: replace(shown, skypilot=b.seen(row), last_seen=b.seen(row).value)}
        )
        first = after(world)
        assert (first.instances[0].region, first.instances[0].accelerators) == ("us-east-1", "L4:1")
        hidden = replace(
            world, replicas={**BOTH.replicas, FIRST: b.facts(FIRST, skypilot=b.AWAY, pods=(b.pod(FIRST),))}
        )
        later = after(fed_back(hidden, first))
        assert (later.instances[0].region, later.instances[0].accelerators) == ("us-east-1", "L4:1")

    def test_a_replica_that_answers_waits_for_no_retry(self) -> None:
        of = b.remembering(
            b.deployment(), {b.name(b.deployment()): b.ledger(ready_since=b.ago(9), retry_after=b.ago(99))}
        )
        assert after(replace(b.serving(b.deployment()), deployment=of)).instances[0].retry_after is None
