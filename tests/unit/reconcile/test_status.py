"""Which changes of a status are written at once, and which are told with the next one."""

from typing import Any

import pytest

from deepseek_operator.reconcile.status import news

STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "readyReplicas": 0,
    "cost": {"hourly": "0.00"},
    "conditions": [{"type": "Ready", "status": "False", "reason": "Launching", "message": "SkyPilot looks for nodes"}],
    "instances": [{"name": "r1-0", "phase": "Launching", "ledger": {"attempts": 0}}],
}


def instance(**fields: Any) -> dict[str, Any]:
    return {**STATUS, "instances": [{**STATUS["instances"][0], **fields}]}


@pytest.mark.parametrize(
    ("changed", "told_at_once"),
    [
        ({**STATUS, "observedGeneration": 2}, True),
        ({**STATUS, "readyReplicas": 1}, True),
        ({**STATUS, "conditions": [{**STATUS["conditions"][0], "status": "True"}]}, True),
        ({**STATUS, "conditions": [{**STATUS["conditions"][0], "reason": "ImagePull"}]}, True),
        ({**STATUS, "conditions": [{**STATUS["conditions"][0], "message": "SkyPilot has found nodes"}]}, False),
        ({**STATUS, "cost": {"hourly": "2.50"}}, True),
        ({**STATUS, "instances": []}, True),
        (instance(phase="Starting"), True),
        (instance(ledger={"attempts": 1}), True),
        (instance(ledger={"attempts": 0, "infra": "aws", "address": "54.0.0.1:8000"}), False),
        (instance(message="new words", infra="aws", region="us-east-1", hourlyCost="2.50"), False),
        (instance(ledger={"attempts": 0, "unanswered": "launch"}), True),
    ],
)
def test_a_status_is_written_at_once_for(changed: dict[str, Any], told_at_once: bool) -> None:
    assert (news(changed) != news(STATUS)) is told_at_once
