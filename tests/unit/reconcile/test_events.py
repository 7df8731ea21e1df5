"""Which Events tell of a pass: what has happened since the one before, once."""

from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Condition, DeepSeekDeploymentStatus, Instance, Ledger, Phase
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.reconcile.events import EventNote, notes
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.condition_table import FIRST


def instance(name: ClusterName, phase: Phase, reason: Reason, message: str = "words", **ledger: Any) -> Instance:
    kept = Ledger(**ledger)
    return Instance(
        name=str(name), revision=name.revision, phase=phase, reason=str(reason), message=message, ledger=kept
    )


def status_of(*instances: Instance, **kinds: tuple[str, Reason]) -> DeepSeekDeploymentStatus:
    found = tuple(
        Condition(
            type=kind, status=status, reason=str(reason), message=f"{kind} words",
            observed_generation=1, last_transition_time="2026-11-24T12:00:00Z",
        )
        for kind, (status, reason) in kinds.items()
    )  # fmt: skip
    return DeepSeekDeploymentStatus(instances=instances, conditions=found)


EMPTY = status_of()
LAUNCH = status_of(instance(FIRST, Phase.LAUNCHING, Reason.LAUNCHING))
FAILED = status_of(instance(FIRST, Phase.FAILED, Reason.NO_CAPACITY, counted="request/1"))
FAILED_AGAIN = status_of(instance(FIRST, Phase.FAILED, Reason.NO_CAPACITY, counted="request/2"))
SERVES = status_of(instance(FIRST, Phase.READY, Reason.READY), Ready=("True", Reason.READY))
SILENT = status_of(
    instance(FIRST, Phase.STARTING, Reason.ENGINE_UNRESPONSIVE), Ready=("False", Reason.ENGINE_UNRESPONSIVE)
)


@pytest.mark.parametrize(
    ("before", "after_", "expected"),
    [
        (EMPTY, status_of(instance(FIRST, Phase.PENDING, Reason.STARTING)), []),
        (EMPTY, LAUNCH, [("Normal", "Launching")]),
        (LAUNCH, LAUNCH, []),
        (LAUNCH, status_of(instance(FIRST, Phase.LAUNCHING, Reason.LAUNCHING, "other words")), []),
        (LAUNCH, FAILED, [("Warning", "NoCapacity")]),
        (FAILED, FAILED, []),
        (FAILED, FAILED_AGAIN, [("Warning", "NoCapacity")]),
        (FAILED, status_of(instance(FIRST, Phase.STARTING, Reason.STARTING)), []),
        (LAUNCH, SERVES, [("Normal", "Ready")]),
        (FAILED, SERVES, [("Normal", "Ready"), ("Normal", "Ready")]),
        (SERVES, SILENT, [("Warning", "EngineUnresponsive")]),
        (SERVES, EMPTY, [("Normal", "TornDown")]),
        (EMPTY, status_of(Stalled=("True", Reason.DOES_NOT_FIT)), [("Warning", "DoesNotFit")]),
        (EMPTY, status_of(Stalled=("False", Reason.PLANNED)), []),
        (EMPTY, status_of(Ready=("False", Reason.PLANNING)), []),
        (EMPTY, status_of(Ready=("True", Reason.READY), Stalled=("False", Reason.PLANNED)), [("Normal", "Ready")]),
        (
            EMPTY,
            status_of(Ready=("False", Reason.DOES_NOT_FIT), Stalled=("True", Reason.DOES_NOT_FIT)),
            [("Warning", "DoesNotFit")],
        ),
        (
            status_of(Stalled=("True", Reason.DOES_NOT_FIT)),
            status_of(Stalled=("True", Reason.INVALID_SPEC)),
            [("Warning", "InvalidSpec")],
        ),
    ],
)
def test_events_tell_what_has_happened(
    before: DeepSeekDeploymentStatus, after_: DeepSeekDeploymentStatus, expected: list[tuple[str, str]]
) -> None:
    assert [(note.type, note.reason) for note in notes(before, after_)] == expected


def test_an_event_names_the_replica() -> None:
    assert notes(EMPTY, LAUNCH) == (EventNote("Normal", "Launching", f"{FIRST}: words"),)


class TestEvents:
    def test_only_transitions_are_reported(self) -> None:
        _, status = b.step(b.serving(b.deployment()))
        assert notes(status, status) == ()
        assert [note.reason for note in notes(DeepSeekDeploymentStatus(), status)] == ["Ready"]

    def test_a_failure_is_a_warning_with_its_cause(self) -> None:
        of = b.remembering(b.deployment(), {b.name(b.deployment()): b.ledger()})
        _, after = b.step(b.world(of, b.facts(b.name(of), outcome=b.failed_launch())))
        (note,) = notes(of.status, after)
        assert (note.type, note.reason) == ("Warning", "Unschedulable")
        assert "0/1 nodes are available" in note.message
