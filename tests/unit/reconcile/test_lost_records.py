"""Rented machines of which SkyPilot has no record: its database was lost, or came from a backup older than they are.

Nobody knows then whether they run. A launch under their name may find them and cannot log in to them, or rents others
elsewhere, of which nobody would see that they are twice.
"""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import DeepSeekDeploymentStatus, Ledger, Phase
from deepseek_operator.api.v1alpha1 import ANNOTATION_ABANDON, DeepSeekDeployment
from deepseek_operator.facts.base import Address, Failure, Known, Probe
from deepseek_operator.facts.skypilot import Outcome, RequestKind
from deepseek_operator.facts.world import NOT_ASKED
from deepseek_operator.reconcile.actions import Launch
from deepseek_operator.reconcile.decide import Decision
from deepseek_operator.reconcile.replica.view import CLOCKS_S
from tests.unit.reconcile import builders as b

AT = Address("3.4.5.6", 8000)
PRICE = "0.8048"
NO_ANSWER: Final = b.silent(AT)
NO_HISTORY: dict[str, Any] = {"outcome": Known(None, b.NOW), "terminated": Known(None, b.NOW)}


def rented(**fields: Any) -> Ledger:
    """The ledger of a rented replica that was launched an hour ago."""
    known = {"infra": "aws", "price": PRICE, "renting": True, "address": str(AT), "launched_at": b.ago(3600)}
    return b.ledger(**known | fields)


SERVING = rented(ready_since=b.ago(600))
SILENT = rented(silent_since=b.ago(61))


def passes(
    ledger: Ledger,
    probes: Mapping[Address, Probe] = NO_ANSWER,
    *,
    published: bool = False,
    annotation: str = "",
    cap: str | None = None,
    **known: Any,
) -> tuple[Decision, DeepSeekDeploymentStatus]:
    """One pass in which SkyPilot does not know the one replica there is."""
    of = b.rented_deployment(resources={"maxHourlyCost": cap} if cap is not None else {})
    name = b.name(of)
    annotated = of.metadata.model_copy(
        update={"annotations": {ANNOTATION_ABANDON: annotation.replace("NAME", str(name))}}
    )
    remembered = b.remembering(of.model_copy(update={"metadata": annotated}), {name: ledger})
    world = b.world(
        remembered, b.facts(name, **known), probes=probes, secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED,
        endpoints=(b.endpoints(AT),) if published else (),
    )  # fmt: skip
    return b.step(world)


def launched(decision: Decision) -> list[int]:
    """Ordinals of the replicas that are launched."""
    return [name.ordinal for name, action in decision.actions if isinstance(action, Launch)]


def told(status: DeepSeekDeploymentStatus) -> list[tuple[Phase, str]]:
    return [(one.phase, one.reason) for one in status.instances]


def ended(kind: RequestKind, seconds: float, failure: Failure | None = None) -> dict[str, Any]:
    """The last request for the name ended so many seconds ago."""
    return NO_HISTORY | {"outcome": Known(Outcome("req-1", kind, b.ago(seconds), failure), b.NOW)}


EARLIER: dict[str, dict[str, Any]] = {
    "torn down": ended(RequestKind.DOWN, 7200),
    "gone": NO_HISTORY | {"terminated": Known(b.ago(7200), b.NOW)},
    "not launched": ended(RequestKind.LAUNCH, 7200, Failure(Reason.NO_CAPACITY, "no capacity anywhere")),
    "never heard of": NO_HISTORY,
}
"""What a server remembers of the name whose memory ends an hour before the last launch."""


@pytest.mark.parametrize("known", EARLIER.values(), ids=EARLIER.keys())
def test_one_that_answers_serves_on(known: dict[str, Any]) -> None:
    decision, status = passes(SERVING, b.answering(AT), **known)
    assert told(status) == [(Phase.READY, "Ready")]
    assert decision.actions == ()


@pytest.mark.parametrize("known", EARLIER.values(), ids=EARLIER.keys())
def test_one_that_does_not_is_held_and_another_one_takes_its_place_under_another_name(known: dict[str, Any]) -> None:
    decision, status = passes(SILENT, **known)
    assert told(status) == [(Phase.TERMINATING, "MachinesUnaccounted"), (Phase.LAUNCHING, "Launching")]
    assert launched(decision) == [1]
    assert status.cost is not None
    assert status.cost.hourly == PRICE, "they may still cost money"
    assert "machines may still run and cost 0.80 $/h. Terminate the instances tagged" in status.instances[0].message


@pytest.mark.parametrize(
    ("known", "now"),
    [
        (ended(RequestKind.DOWN, 60), [0]),
        (ended(RequestKind.LAUNCH, 60, Failure(Reason.LAUNCH_TIMED_OUT, "no SSH")), []),  # it waits first
        (NO_HISTORY | {"terminated": Known(b.ago(60), b.NOW)}, [0]),
        (NO_HISTORY | {"terminated": Known(b.ago(3600 + CLOCKS_S - 1), b.NOW)}, [0]),
    ],
    ids=["torn down", "not launched", "gone", "gone by another clock"],
)
def test_one_that_is_known_to_be_gone_is_launched_again(known: dict[str, Any], now: list[int]) -> None:
    decision, status = passes(SILENT, **known)
    assert launched(decision) == now
    (instance,) = status.instances
    assert instance.phase is Phase.FAILED
    assert instance.reason in ("InstanceLost", "LaunchTimedOut")


@pytest.mark.parametrize("unasked", ["outcome", "terminated"])
def test_nothing_is_launched_before_skypilot_was_asked(unasked: str) -> None:
    decision, _ = passes(SILENT, **NO_HISTORY | {unasked: NOT_ASKED})
    assert decision.actions == ()
    assert len(decision.asks) == 1


def test_for_a_minute_it_may_come_back() -> None:
    decision, status = passes(rented(silent_since=b.ago(59)), **NO_HISTORY)
    assert launched(decision) == []
    assert told(status) == [(Phase.FAILED, "MachinesUnaccounted")]


def test_one_that_comes_back_while_it_is_held_serves() -> None:
    decision, status = passes(rented(silent_since=b.ago(300), leaving_since=b.ago(200)), b.answering(AT), **NO_HISTORY)
    assert (told(status), launched(decision)) == ([(Phase.READY, "Ready")], [])


def test_under_a_cap_its_place_is_not_taken_before_somebody_accounts_for_it() -> None:
    decision, status = passes(SILENT, cap="1.00", **NO_HISTORY)
    assert launched(decision) == []
    assert told(status) == [(Phase.TERMINATING, "MachinesUnaccounted"), (Phase.PENDING, "MaxHourlyCostReached")]


@pytest.mark.parametrize("annotation", ["NAME", "other-0a1b2c3d-0ddba11f-0,NAME"])
@pytest.mark.parametrize("probes", [NO_ANSWER, {}], ids=["silent", "not asked since a restart"])
def test_one_that_its_user_has_accounted_for_is_forgotten_and_its_name_is_not_used_again(
    annotation: str, probes: dict[Address, Probe]
) -> None:
    decision, status = passes(SILENT, probes, annotation=annotation, **NO_HISTORY)
    assert launched(decision) == [1]
    assert len(status.instances) == 1


@pytest.mark.parametrize("probes", [NO_ANSWER, {}], ids=["silent", "not asked since a restart"])
def test_nor_is_its_name_used_again_while_it_may_come_back(probes: dict[Address, Probe]) -> None:
    """The same word would cover the machines of another launch under that name."""
    decision, status = passes(rented(silent_since=b.ago(9)), probes, annotation="NAME", **NO_HISTORY)
    assert launched(decision) == [1]
    assert len(status.instances) == 2, "it is forgotten when its minute is over"


@pytest.mark.parametrize("probes", [b.answering(AT), {}], ids=["it answers", "it was not asked since a restart"])
def test_one_that_serves_is_not_forgotten_whatever_its_user_says(probes: dict[Address, Probe]) -> None:
    decision, status = passes(SERVING, probes, annotation="NAME", published=True, **NO_HISTORY)
    assert (told(status), launched(decision)) == ([(Phase.READY, "Ready")], [])


@pytest.mark.parametrize("annotation", ["NAME", ""])
def test_one_that_skypilot_lists_is_launched_under_no_other_name_whatever_anybody_says(annotation: str) -> None:
    listed = b.row(b.name(b.rented_deployment()), cloud="AWS")
    decision, status = passes(SILENT, annotation=annotation, skypilot=b.seen(listed), **NO_HISTORY)
    assert (told(status), launched(decision)) == ([(Phase.STARTING, "EngineUnresponsive")], [])


def test_one_keeps_its_place_until_skypilot_has_shown_its_teardown_whatever_its_user_says() -> None:
    going = rented(silent_since=b.ago(300), teardown_at=b.ago(1))
    decision, status = passes(going, annotation="NAME", skypilot=NOT_ASKED)
    assert (len(status.instances), launched(decision)) == (1, [])


def test_one_on_kubernetes_is_launched_again_under_its_own_name_whatever_its_user_says() -> None:
    decision, _ = passes(b.ledger(silent_since=b.ago(61)), annotation="NAME")
    assert launched(decision) == [0]


def test_a_suspended_deployment_holds_it_as_well() -> None:
    of: DeepSeekDeployment = b.rented_deployment(suspend=True)
    name = b.name(of)
    known = b.facts(name, **EARLIER["torn down"])
    _, status = b.step(b.world(b.remembering(of, {name: SILENT}), known, probes=b.silent(AT)))
    assert told(status) == [(Phase.TERMINATING, "MachinesUnaccounted")]
