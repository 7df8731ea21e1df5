"""When a replica or its object is looked at again although nothing has announced itself."""

from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Ledger, Phase
from deepseek_operator.facts.base import Address, Failure
from deepseek_operator.facts.world import ReplicaFacts, World
from deepseek_operator.reconcile.actions import PublishEndpoints
from deepseek_operator.reconcile.replica.rules import want
from deepseek_operator.reconcile.replica.view import View
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.decisions import NO_PLAN, decided

R1 = b.name(b.deployment())
LAUNCHED = b.ledger()


@pytest.mark.parametrize(
    ("says", "known", "ledger", "look_s"),
    [
        ("a launch runs", b.facts(R1, skypilot=b.seen(b.request(R1))), LAUNCHED, 15),
        ("it waits for a worker", b.facts(R1, skypilot=b.seen(b.request(R1, state="PENDING"))), LAUNCHED, 15),
        ("its nodes are torn down", b.facts(R1, skypilot=b.seen(b.request(R1, "down"))), LAUNCHED, 15),
        ("its engine loads", b.up(R1), LAUNCHED, 15),
        ("its engine is silent", b.up(R1), b.ledger(silent_since=b.ago(20)), 15),
        ("it will have been silent for too long", b.up(R1), b.ledger(silent_since=b.ago(175)), 5.5),
        ("SkyPilot may still hear a request", b.facts(R1), b.ledger(unanswered="exec", unanswered_at=b.NOW), 5),
    ],
)
def test_it_is_looked_at_rarely_while_the_end_of_what_is_waited_for_is_announced(
    says: str, known: ReplicaFacts, ledger: Ledger, look_s: float
) -> None:
    found = want(View(b.NOW, known, ledger))
    assert found.next_look_s == look_s, says


def test_a_launch_whose_pods_cannot_start_is_looked_at_often_because_others_may_want_its_worker() -> None:
    pods = (b.pod(R1, phase="Pending", trouble=Failure(Reason.UNSCHEDULABLE, "no node")),)
    found = want(View(b.NOW, b.facts(R1, skypilot=b.seen(b.request(R1)), pods=pods), LAUNCHED))
    assert found.next_look_s == 5


class TestAfterPublishingAnotherPassFollows:
    OF = b.deployment()
    NAME = b.name(OF)

    def test_not_where_nothing_waits_for_it(self) -> None:
        decision = decided(replace(b.serving(self.OF), endpoints=()))
        assert [type(action) for action in decision.publish] == [PublishEndpoints]
        assert not decision.goes_on

    @pytest.mark.parametrize(
        ("says", "world"),
        [
            ("its port is probed next", replace(b.serving(OF), service=None)),
            ("nothing leads to a proxy any more", replace(b.serving(OF), probes=b.silent(Address(b.host(), b.PORT)))),
            ("an old replica makes room", b.serving(OF, b.older(OF), NAME)),
            ("a replica drains", b.serving(b.deployment(replicas=0))),
            ("a proxy finds it", b.serving(b.deployment(endpoint={"proxy": True}))),
        ],
    )
    def test_where(self, says: str, world: World) -> None:
        assert decided(world).goes_on, says


class TestTheNextLook:
    def test_comes_soon_while_something_is_wanted_and_blocked(self) -> None:
        assert decided(b.world(b.deployment()), NO_PLAN).next_look_s == 5

    def test_of_what_serves_needs_an_event_also_while_skypilot_cannot_be_asked(self) -> None:
        """The first answer wakes every deployment; until then a thousand of them have nothing to look at."""
        name = b.name(b.deployment())
        of = b.remembering(b.deployment(), {name: b.ledger(ready_since=b.ago(60))})
        away = b.facts(name, skypilot=b.AWAY, pods=(b.pod(name),))
        world = b.world(of, away, skypilot=b.AWAY, probes=b.answering(Address(b.host(), b.PORT)))
        assert decided(world).replicas[0].finding.phase is Phase.READY
        assert decided(world).next_look_s is None

    def test_of_what_is_to_be_launched_comes_soon_while_skypilot_cannot_be_asked(self) -> None:
        assert decided(b.world(b.deployment(), skypilot=b.AWAY)).next_look_s == 5

    @pytest.mark.parametrize("off", [{"suspend": True}, {"replicas": 0}])
    def test_needs_an_event_where_nothing_is_wanted(self, off: dict[str, Any]) -> None:
        assert decided(b.world(b.deployment(**off)), NO_PLAN).next_look_s is None
