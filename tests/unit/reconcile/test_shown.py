"""What a status goes on saying of a replica while nothing newer is known, and what it says of several together."""

from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Instance, Ledger, Phase
from deepseek_operator.api.v1alpha1 import ANNOTATION_ABANDON
from deepseek_operator.facts.base import Known
from tests.unit.reconcile import builders as b

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
