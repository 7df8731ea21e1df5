"""``approve``: what was shown is what is approved."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from deepseek_operator.api.names import ANNOTATION_APPROVED_PLAN
from deepseek_operator.api.status import Condition, Phase
from tests.fakes.kubectl import FakeKubectl
from tests.unit.plugin.builders import condition, deployment, instance
from tests.unit.plugin.conftest import Run
from tests.unit.reconcile import builders as b

HASH = "3f9a1c22b7d0-2+1"


class Terminal(io.StringIO):
    """Standard input of a person."""

    def isatty(self) -> bool:
        return True


class Slow(Terminal):
    """Somebody who says yes, and looks for so long that something changes meanwhile."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def readline(self, *_: Any) -> str:  # type: ignore[override] # io.StringIO has two bases that differ
        self._meanwhile()
        return "yes\n"


def waiting(planned: Condition | None = None, **spec: Any) -> dict[str, Any]:
    """A deployment whose plan waits, as the operator writes it."""
    resources = {"infra": ["aws/us-east-1", "gcp"], "capacityType": "SpotThenOnDemand", "maxHourlyCost": "3"}
    said = planned or condition("Planned", "True", "Planned", "it fits")
    body = deployment(
        instance(0, Phase.PENDING, "AwaitingApproval", hourly_cost=None),
        ready=condition("Ready", "False", "AwaitingApproval", "waits"),
        conditions=(said,),
        **{"approval": "Required", "resources": resources, **spec},
    )
    plan = b.planned(b.rented_deployment("aws", replicas=2)).status.model_copy(update={"hash": HASH})
    body["status"]["plan"] = plan.model_dump(mode="json", by_alias=True, exclude_none=True)
    body["metadata"]["generation"] = body["status"]["observedGeneration"] = 4
    return body


def test_plan_and_price_are_shown_before_the_question(
    kubectl: FakeKubectl, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl.put(waiting())
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    code, out, err = run("approve", "r1")
    assert (code, err) == (0, "Approve it? [y/N] ")
    assert out.splitlines() == [
        "model     deepseek-ai/DeepSeek-R1 with VLLM",
        "machines  2 replicas of 1 node with L4:1, 3 during an update",
        "places    aws/us-east-1, then gcp",
        "paid as   SpotThenOnDemand",
        "price     0.80 $/h each, 1.61 $/h together at catalog prices; at most 3 $/h (maxHourlyCost)",
        f"plan      {HASH}",
        "approved",
    ]
    assert kubectl.annotations("r1") == {ANNOTATION_APPROVED_PLAN: HASH}


def test_the_hash_that_was_shown_is_approved_although_the_plan_has_changed_since(
    kubectl: FakeKubectl, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl.put(waiting())
    changed = waiting()
    changed["status"]["plan"]["hash"] = "0123456789ab-9+9"
    monkeypatch.setattr("sys.stdin", Slow(lambda: kubectl.put(changed)))
    assert run("approve", "r1")[0] == 0
    assert kubectl.annotations("r1") == {ANNOTATION_APPROVED_PLAN: HASH}


def test_another_object_of_the_same_name_is_not_approved(
    kubectl: FakeKubectl, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl.put(waiting())
    other = waiting()
    other["metadata"]["uid"] = "ffffffff-4e5f-6789-abcd-ef0123456789"
    monkeypatch.setattr("sys.stdin", Slow(lambda: kubectl.put(other)))
    code, _, err = run("approve", "r1")
    assert code == 1
    assert "deleted and created again" in err
    assert kubectl.annotations("r1") == {}


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yep\n"])
def test_anything_but_yes_approves_nothing(
    kubectl: FakeKubectl, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    kubectl.put(waiting())
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    code, _, err = run("approve", "r1")
    assert (code, err.splitlines()[-1]) == (1, "Approve it? [y/N] not approved")
    assert kubectl.annotations("r1") == {}


def test_without_a_terminal_nobody_is_asked_and_nothing_approved(
    kubectl: FakeKubectl, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl.put(waiting())
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    code, _, err = run("approve", "r1")
    assert code == 1
    assert err.endswith("add --yes\n")
    assert kubectl.annotations("r1") == {}


def test_yes_asks_nothing_and_json_says_what_was_approved(kubectl: FakeKubectl, run: Run) -> None:
    kubectl.put(waiting())
    code, out, err = run("approve", "r1", "-y", "-o", "json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["name"], found["hash"], found["approvedBefore"]) == ("r1", HASH, False)
    assert json.loads(run("approve", "r1", "-y", "-o", "json")[1])["approvedBefore"] is True


def test_an_older_approval_is_replaced(kubectl: FakeKubectl, run: Run) -> None:
    body = waiting()
    body["metadata"]["annotations"] = {ANNOTATION_APPROVED_PLAN: "0123456789ab-1+1", "other": "kept"}
    kubectl.put(body)
    assert run("approve", "r1", "-y")[0] == 0
    assert kubectl.annotations("r1") == {ANNOTATION_APPROVED_PLAN: HASH, "other": "kept"}


def test_the_plan_of_an_older_spec_is_not_approved(kubectl: FakeKubectl, run: Run) -> None:
    body = waiting()
    body["metadata"]["generation"] = 5
    kubectl.put(body)
    code, _, err = run("approve", "r1", "-y")
    assert code == 1
    assert err == "Error: the operator has not planned the newest change of r1 yet; try again in a moment\n"


def test_a_spec_without_a_plan_says_why(kubectl: FakeKubectl, run: Run) -> None:
    kubectl.put(waiting(condition("Planned", "False", "DoesNotFit", "needs 16 GiB more")))
    code, _, err = run("approve", "r1", "-y")
    assert (code, err) == (1, "Error: r1 has no plan: DoesNotFit: needs 16 GiB more\n")


def test_who_may_not_change_the_object_is_told_so(kubectl: FakeKubectl, run: Run) -> None:
    kubectl.forbidden = [("patch", "deepseekdeployments.deepseek-operator.io")]
    kubectl.put(waiting())
    code, _, err = run("approve", "r1", "-y")
    assert code == 1
    assert 'User "jane" cannot patch it' in err


def test_a_deployment_that_needs_no_approval_is_said_to_be_launched_without(kubectl: FakeKubectl, run: Run) -> None:
    body = waiting(approval="NotRequired")
    del body["status"]["plan"]["hash"]  # as the operator writes it
    kubectl.put(body)
    code, out, err = run("approve", "r1", "-y")
    assert (code, out) == (1, "")
    assert err == "Error: r1 is launched without approval, because its spec.approval is not Required\n"
    assert kubectl.annotations("r1") == {}


def test_an_operator_that_is_older_is_said_to_be(kubectl: FakeKubectl, run: Run) -> None:
    body = waiting()
    del body["status"]["plan"]["hash"]
    kubectl.put(body)
    assert "its operator is older than this plugin" in run("approve", "r1", "-y")[2]
