"""Which Events tell of a pass: what has happened since the one before, once."""

from deepseek_operator.api.status import DeepSeekDeploymentStatus
from deepseek_operator.reconcile.events import notes
from tests.unit.reconcile import builders as b


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
