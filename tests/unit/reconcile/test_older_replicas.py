"""Which replica of an older revision stays, which goes first, and when a lost one is launched again beside it."""

from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Ledger, Phase
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.skypilot import JobState
from deepseek_operator.facts.world import World
from deepseek_operator.reconcile.actions import Launch
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.decisions import NO_PLAN, decided


@pytest.mark.parametrize(("of_now", "updated"), [(True, 1), (False, 0)])
def test_a_replica_that_goes_is_of_the_revision_that_it_runs(of_now: bool, updated: int) -> None:
    of = b.deployment(replicas=0)
    _, status = b.step(b.serving(of, b.name(of) if of_now else b.older(of)))
    assert [one.phase for one in status.instances] == [Phase.TERMINATING]
    assert status.updated_replicas == updated


class TestAnOlderReplica:
    """One of an older revision, beside one of the current revision that is not up yet."""

    OF = b.deployment()
    NEW, OLD = b.name(OF), b.older(OF)
    AT = Address(b.host(), b.PORT)

    def kept(self, ledger: Ledger, world: World) -> bool:
        of = b.remembering(self.OF, {self.OLD: ledger})
        decision = decided(replace(world, deployment=of))
        found = next(replica for replica in decision.replicas if replica.name == self.OLD)
        return found.finding.phase is not Phase.TERMINATING

    def beside(self, *, pods: bool = True, **fields: Any) -> World:
        old = b.up(self.OLD) if pods else b.facts(self.OLD, skypilot=b.seen(b.row(self.OLD)))
        return b.world(self.OF, old, b.facts(self.NEW, skypilot=b.seen(b.request(self.NEW))), **fields)

    def test_that_stopped_answering_a_moment_ago_may_come_back(self) -> None:
        world = self.beside(probes=b.silent(self.AT))
        assert self.kept(b.ledger(silent_since=b.ago(30)), world)

    def test_that_has_been_silent_for_a_minute_goes(self) -> None:
        world = self.beside(probes=b.silent(self.AT))
        assert not self.kept(b.ledger(silent_since=b.ago(61)), world)

    @pytest.mark.parametrize(
        ("known", "says"),
        [
            ({}, "connection refused; it is not repaired, because a newer revision is to replace it"),
            ({"job": b.job(JobState.NO_CLUSTER)}, "SkyPilot has found that its nodes are gone"),
        ],
        ids=["its engine is silent", "its nodes are gone"],
    )
    def test_is_not_said_to_be_launched_again(self, known: dict[str, Any], says: str) -> None:
        of = b.remembering(self.OF, {self.OLD: b.ledger(silent_since=b.ago(30))})
        world = self.beside(probes=b.silent(self.AT))
        replicas = {**world.replicas, self.OLD: b.up(self.OLD, **known)}
        _, status = b.step(replace(world, deployment=of, replicas=replicas))
        (said,) = (one.message for one in status.instances if one.name == str(self.OLD))
        assert said.removeprefix("the engine stopped answering: ") == says

    def test_is_promised_no_successor_while_the_spec_cannot_be_planned(self) -> None:
        of = b.remembering(self.OF, {self.OLD: b.ledger(silent_since=b.ago(30))})
        world = b.world(of, b.up(self.OLD), probes=b.silent(self.AT))
        _, status = b.step(world, NO_PLAN)
        (said,) = (one.message for one in status.instances)
        assert (
            said
            == "the engine stopped answering: connection refused; it is not repaired while the spec cannot be planned"
        )

    def test_that_never_answered_goes(self) -> None:
        world = self.beside(probes=b.silent(self.AT))
        assert not self.kept(b.ledger(), world)

    def test_whose_pods_are_gone_goes(self) -> None:
        assert not self.kept(b.ledger(silent_since=b.ago(5)), self.beside(pods=False))


class TestOfTwoOlderReplicas:
    """One goes, because the first of the current revision serves."""

    def test_the_dearest_goes_first(self) -> None:
        of = b.deployment(replicas=2)
        cheap, dear, new = b.older(of, 0), b.older(of, 1), b.name(of, 2)
        for costs, expected in ((("1.00", "2.00"), dear), (("2.00", "1.00"), cheap)):
            world = b.serving(of, cheap, dear, new)
            priced = dict(zip((str(cheap), str(dear)), costs, strict=True))
            instances = tuple(
                one.model_copy(update={"hourly_cost": priced.get(one.name)})
                for one in world.deployment.status.instances
            )
            status = world.deployment.status.model_copy(update={"instances": instances})
            remembered = replace(world, deployment=world.deployment.model_copy(update={"status": status}))
            going = [r.name for r in decided(remembered).replicas if r.finding.phase is Phase.TERMINATING]
            assert going == [expected]

    def test_a_price_that_cannot_be_read_counts_as_none(self) -> None:
        of = b.deployment(replicas=1)
        first, second = b.name(of, 0), b.name(of, 1)
        world = b.serving(of, first, second)
        instances = tuple(one.model_copy(update={"hourly_cost": "a lot"}) for one in world.deployment.status.instances)
        status = world.deployment.status.model_copy(update={"instances": instances})
        remembered = replace(world, deployment=world.deployment.model_copy(update={"status": status}))
        going = [r.name for r in decided(remembered).replicas if r.finding.phase is Phase.TERMINATING]
        assert going == [second]


@pytest.mark.parametrize(
    ("says", "first", "second", "asked", "goes"),
    [
        ("its removal has begun", {"leaving_since": b.ago(9)}, {}, (0, 1), 0),
        ("it was silent before the operator started, and was not asked since", {}, {"silent_since": b.ago(9)}, (0,), 1),
    ],
)
def test_of_two_that_serve_one_goes_because(
    says: str, first: dict[str, Any], second: dict[str, Any], asked: tuple[int, ...], goes: int
) -> None:
    of = b.deployment(replicas=1)
    names = (b.name(of, 0), b.name(of, 1))
    ledgers = {
        name: b.ledger(ready_since=b.ago(300), **kept) for name, kept in zip(names, (first, second), strict=True)
    }
    probes = b.answering(b.SERVICE, *(Address(b.host(number), b.PORT) for number in asked))
    world = replace(b.serving(of, *names), deployment=b.remembering(of, ledgers), probes=probes)
    going = [one.name for one in decided(world).replicas if one.finding.phase is Phase.TERMINATING]
    assert going == [names[goes]], says


def test_a_remembered_replica_is_launched_again_only_where_the_rollout_has_room() -> None:
    """Two of the older revision serve and may not be missed; of the new ones, surge allows one."""
    of = b.deployment(replicas=2, updateStrategy={"maxSurge": 1, "maxUnavailable": 0})
    olders = (b.older(of, 0), b.older(of, 1))
    lost = (b.name(of, 2), b.name(of, 3))
    world = b.serving(of, *olders)
    ledgers = {b.named(one.name): one.ledger for one in world.deployment.status.instances} | {
        name: Ledger() for name in lost
    }
    remembered = b.remembering(of, ledgers)
    replicas = {**world.replicas, **{name: b.facts(name) for name in lost}}
    decision = decided(replace(world, deployment=remembered, replicas=replicas))
    assert decision.actions == ((lost[0], Launch(lost[0])),)
    waiting = next(replica for replica in decision.replicas if replica.name == lost[1])
    assert waiting.finding.reason is Reason.ROLLING_OUT


def test_an_old_replica_whose_engine_answers_again_before_its_start_has_ended_may_come_back() -> None:
    of = b.deployment()
    old = b.older(of)
    known = b.remembering(of, {old: b.ledger(silent_since=b.ago(20))})
    starting = b.facts(old, skypilot=b.seen(b.row(old), b.request(old, "exec")), pods=(b.pod(old),))
    world = b.world(known, starting, probes=b.answering(Address(b.host(), b.PORT)))
    found = {replica.name: replica.finding.phase for replica in decided(world).replicas}
    assert found[old] is not Phase.TERMINATING
