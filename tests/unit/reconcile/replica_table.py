"""The table of the rules for one replica: what is known, what is found, what is done."""

from dataclasses import dataclass, field, replace
from typing import Any

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Ledger, Phase
from deepseek_operator.facts.base import Address, Known
from deepseek_operator.facts.skypilot import Outcome, RequestKind
from deepseek_operator.facts.world import QuestionKind, ReplicaFacts
from deepseek_operator.reconcile.actions import ClearRemains, Launch, RunAgain, TearDown
from tests.unit.reconcile import builders as b

DSD = b.deployment()
R1 = b.name(DSD)
AT = Address(b.host(), b.PORT)
LAUNCH, AGAIN, DOWN = Launch(R1), RunAgain(R1), TearDown(R1)
CLEAR = ClearRemains(R1, (f"{R1}-d5ee9000",))
NEW, LAUNCHED = Ledger(), b.ledger()
STARTING = b.ledger(starting_since=b.ago(60))
READY = b.ledger(ready_since=b.ago(60), address=str(AT))
SILENT = b.ledger(silent_since=b.ago(20), address=str(AT))


@dataclass
class Case:
    """One line of the table."""

    says: str
    known: ReplicaFacts
    ledger: Ledger
    phase: Phase
    reason: Reason
    does: tuple[Any, ...] = ()
    message: str = ""
    asks: tuple[QuestionKind, ...] = ()
    world: dict[str, Any] = field(default_factory=dict)


HALF = b.row(R1, "INIT", cloud="AWS", nodes=2, incomplete=True)
SPOT = b.row(R1, cloud="AWS", region="us-east-1", spot=True)
RENTED = b.ledger(infra="aws", price="0.8048", renting=True, address="3.4.5.6:8000", ready_since=b.ago(60))
RENTED_AT = Address("3.4.5.6", 8000)


def ended_launch(seconds: float) -> Known[Outcome | None]:
    """The last launch succeeded so many seconds ago."""
    return Known(Outcome("req-2", RequestKind.LAUNCH, b.ago(seconds)), b.NOW)


def check(case: Case) -> None:
    """Expect that a replica of which this is known is found to be so."""
    seen = dict(case.world)
    of = b.deployment(**seen.pop("deployment", {}))
    known, expected = case.known, case.does
    if of is not DSD and b.name(of) != R1:
        known = replace(known, name=b.name(of))
        expected = tuple(replace(action, name=b.name(of)) for action in case.does)
    remembered = of if case.ledger == NEW else b.remembering(of, {known.name: case.ledger})
    decision, status = b.step(b.world(remembered, known, **seen))
    (said,) = status.instances
    assert (said.phase, said.reason) == (case.phase, case.reason)
    assert tuple(action for _, action in decision.actions) == expected
    assert tuple(question.kind for question in decision.asks) == case.asks
    assert case.message in said.message
