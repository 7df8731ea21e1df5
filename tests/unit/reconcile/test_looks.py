"""When a replica is looked at again although nothing has announced itself."""

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Ledger
from deepseek_operator.facts.base import Failure
from deepseek_operator.facts.world import ReplicaFacts
from deepseek_operator.reconcile.replica.rules import want
from deepseek_operator.reconcile.replica.view import View
from tests.unit.reconcile import builders as b

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
