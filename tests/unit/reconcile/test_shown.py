"""What a status goes on saying of a replica while nothing newer is known, and what it says of several together."""

from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import DeepSeekDeploymentStatus, Instance, Ledger, Phase
from deepseek_operator.api.v1alpha1 import ANNOTATION_ABANDON
from deepseek_operator.facts.base import Known
from deepseek_operator.facts.world import NOT_ASKED
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.decisions import decided

R1 = b.name(b.deployment())
LAUNCHED = b.ledger(infra="kubernetes", ready_since=None)


@pytest.mark.parametrize(
    ("phase", "reason", "pods", "shown"),
    [
        (Phase.LAUNCHING, Reason.IMAGE_PULL_FAILED, (), Reason.IMAGE_PULL_FAILED),
        (Phase.LAUNCHING, Reason.UNSCHEDULABLE, (), Reason.UNSCHEDULABLE),
        (Phase.LAUNCHING, Reason.IMAGE_PULL_FAILED, (b.pod(R1, phase="Pending"),), Reason.LAUNCHING),
        (Phase.LAUNCHING, Reason.QUEUED, (), Reason.LAUNCHING),
        (Phase.FAILED, Reason.IMAGE_PULL_FAILED, (), Reason.LAUNCHING),
    ],
)
def test_what_was_wrong_with_pods_holds_while_skypilot_ends_their_launch(
    phase: Phase, reason: Reason, pods: Any, shown: Reason
) -> None:
    said = Instance(name=str(R1), phase=phase, reason=reason, message="before", ledger=LAUNCHED)
    of = b.deployment()
    of = of.model_copy(update={"status": of.status.model_copy(update={"instances": (said,)})})
    _, status = b.step(b.world(of, b.facts(R1, skypilot=b.seen(b.request(R1)), pods=pods)))
    assert status.instances[0].reason == shown
    assert (status.instances[0].message == "before") is (shown is not Reason.LAUNCHING)


def test_on_a_cloud_pods_say_nothing() -> None:
    of = b.rented_deployment()
    name = b.name(of)
    said = Instance(name=str(name), phase=Phase.LAUNCHING, reason=Reason.UNSCHEDULABLE, ledger=b.ledger(infra="aws"))
    of = of.model_copy(update={"status": of.status.model_copy(update={"instances": (said,)})})
    row = b.row(name, "INIT", cloud="AWS")
    _, status = b.step(b.world(of, b.facts(name, skypilot=b.seen(b.request(name), row))))
    assert status.instances[0].reason == Reason.LAUNCHING


def lost(count: int) -> list[str]:
    """Messages of replicas, one of which SkyPilot knows; of the others it has lost its record."""
    of = b.rented_deployment(replicas=count + 1)
    gone: Ledger = b.ledger(infra="aws", renting=True, silent_since=b.ago(90), launched_at=b.ago(3600))
    names = [b.name(of, ordinal) for ordinal in range(count)]
    unknown: dict[str, Any] = {"outcome": Known(None, b.NOW), "terminated": Known(None, b.NOW)}
    known = b.name(of, count)
    replicas = [b.facts(name, **unknown) for name in names]
    of = b.remembering(of, {**dict.fromkeys(names, gone), known: b.ledger(infra="aws")})
    _, status = b.step(b.world(of, *replicas, b.facts(known, skypilot=b.seen(b.row(known, cloud="AWS")))))
    found = [one for one in status.instances if one.reason == Reason.MACHINES_UNACCOUNTED]
    assert [one.name for one in found] == list(map(str, names))
    return [one.message for one in found]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_replica_whose_machines_nobody_knows_names_all_of_them(count: int) -> None:
    """An annotation that is overwritten with one name forgets the others."""
    names = ",".join(str(b.name(b.rented_deployment(replicas=count + 1), ordinal)) for ordinal in range(count))
    assert [message.rpartition(f"{ANNOTATION_ABANDON}=")[2] for message in lost(count)] == [names] * count


class TestWhatIsShownWhileNothingNewIsKnown:
    """A restarted operator goes on saying what its predecessor said."""

    def after_restart(self, said: Instance, **spec: Any) -> str:
        """The message of the only replica, one pass after the start of the process."""
        of = b.deployment(**spec)
        name = b.name(of)
        status = DeepSeekDeploymentStatus(instances=(said,))
        known = b.facts(name, skypilot=NOT_ASKED)
        world = b.world(of.model_copy(update={"status": status}), known, skypilot=NOT_ASKED)
        (replica,) = decided(world).replicas
        return replica.finding.message

    def said(self, phase: Phase, **fields: Any) -> Instance:
        fields = {"reason": "Launching", "message": "SkyPilot found a node", "ledger": b.ledger(), **fields}
        return Instance(name=str(b.name(b.deployment())), revision="r", phase=phase, **fields)

    def test_a_launch_is_still_described_in_skypilots_words(self) -> None:
        assert self.after_restart(self.said(Phase.LAUNCHING)) == "SkyPilot found a node"

    def test_each_replica_is_described_in_its_own_words(self) -> None:
        of = b.deployment(replicas=2)
        told = {b.name(of, 0): "SkyPilot found a node", b.name(of, 1): "SkyPilot found none"}
        instances = tuple(
            self.said(Phase.LAUNCHING, message=words).model_copy(update={"name": str(name)})
            for name, words in told.items()
        )
        remembered = of.model_copy(update={"status": DeepSeekDeploymentStatus(instances=instances)})
        world = b.world(remembered, *(b.facts(name, skypilot=NOT_ASKED) for name in told), skypilot=NOT_ASKED)
        assert {one.name: one.finding.message for one in decided(world).replicas} == told

    def test_where_nothing_was_said_nothing_is_repeated(self) -> None:
        of = b.deployment()
        name = b.name(of)
        going = b.facts(name, skypilot=NOT_ASKED, pods=(b.pod(name),))
        world = b.world(b.deployment(deleting=True), going, skypilot=NOT_ASKED)
        (replica,) = decided(world).replicas
        assert (replica.finding.passing, replica.finding.phase) == (True, Phase.TERMINATING)

    def test_without_a_reason_nothing_was_said(self) -> None:
        assert "found a node" not in self.after_restart(self.said(Phase.LAUNCHING, reason=""))

    def test_ready_is_never_repeated_without_an_answer(self) -> None:
        assert "found a node" not in self.after_restart(self.said(Phase.READY, reason="Ready"))

    def test_a_replica_that_goes_now_is_not_described_as_coming(self) -> None:
        assert "found a node" not in self.after_restart(self.said(Phase.LAUNCHING), suspend=True)

    def test_a_replica_that_is_wanted_again_is_not_described_as_going(self) -> None:
        assert "found a node" not in self.after_restart(self.said(Phase.TERMINATING))
