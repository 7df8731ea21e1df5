"""From apply to an answer, and the quiet afterwards."""

import time

import pytest

from tests.integration.stage import Stage, condition, until
from tests.system.audit import Audit

QUIET_S = 20.0
CALM_S = 3.0


@pytest.mark.side_by_side
def test_an_applied_deployment_answers_through_its_service_and_says_so(stage: Stage) -> None:
    stage.apply("up")

    stage.kubectl("wait", "dsd/up", f"--namespace={stage.namespace}", "--for=condition=Ready", "--timeout=45s")
    assert stage.answers("up")
    body = stage.until_ready("up")
    status = body["status"]
    assert status["endpoint"]["internalURL"] == f"http://up.{stage.namespace}.svc:8000/v1"
    assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (1, 1, 1)
    said = {each["type"]: each["status"] for each in status["conditions"]}
    assert said == {
        "Ready": "True",
        "Reconciling": "False",
        "Stalled": "False",
        "Planned": "True",
        "EndpointPublished": "True",
    }
    assert len(stage.skypilot.launches("up")) == 1
    assert body["metadata"]["finalizers"] == ["deepseek-operator.io/teardown"]
    # SkyPilot deletes every Service with its label when a cluster goes down.
    assert "skypilot-cluster-name" not in stage.service("up")["metadata"]["labels"]


@pytest.mark.side_by_side
def test_the_way_up_is_told_step_by_step(stage: Stage) -> None:
    stage.apply("steps")
    stage.until_ready("steps")

    reasons = until(lambda: (r := stage.history.reasons("steps")) and r[-1] == "Ready" and r, "watched to the end")
    # Steps may be too short to be seen; none comes twice or out of order. Queued is a matter of luck on a busy stage.
    # So is Starting: whether the operator, which has just begun, knows of the deployment before SkyPilot has answered.
    expected = ["Starting", "Planning", "Launching", "EngineStarting", "PublishingEndpoint", "Ready"]
    assert isinstance(reasons, list)
    seen = list(dict.fromkeys(reason for reason in reasons if reason != "Queued"))
    assert seen == [reason for reason in expected if reason in seen]
    assert reasons.count("Launching") <= 1 + reasons.count("Queued")
    assert {"Launching", "Ready"} <= set(seen)
    # An Event is posted after the status is written.
    told = until(lambda: (r := [reason for _, reason, _ in stage.events("steps")]) and r[-1] == "Ready" and r, "told")
    assert isinstance(told, list)
    assert "Launching" in told
    assert {kind for kind, _, _ in stage.events("steps")} == {"Normal"}


@pytest.mark.side_by_side
def test_kubectl_get_shows_what_a_person_asks_first(stage: Stage) -> None:
    stage.apply("columns")
    stage.until_ready("columns")

    table = stage.kubectl("get", "dsd", "columns", f"--namespace={stage.namespace}", "-o", "wide").splitlines()
    cells = dict(zip(table[0].split(), table[1].split(), strict=False))
    assert {key: cells[key] for key in ("NAME", "MODEL", "READY", "REASON", "DESIRED", "AVAILABLE")} == {
        "NAME": "columns",
        "MODEL": "tiny",
        "READY": "True",
        "REASON": "Ready",
        "DESIRED": "1",
        "AVAILABLE": "1",
    }
    assert f"http://columns.{stage.namespace}.svc:8000/v1" in table[1]
    assert "VLLM" in table[1]


def test_five_settled_deployments_cause_no_writes_and_a_constant_number_of_calls(alone: Stage, audit: Audit) -> None:
    names = [f"quiet{i}" for i in range(5)]
    for name in names:
        alone.apply(name)
    for name in names:
        alone.until_ready(name)
    # The Events of the last step follow its status write; the snapshot loop has one more short period.
    calm = time.monotonic() + CALM_S
    until(lambda: time.monotonic() > calm, "what belongs to the last step is over", CALM_S + 5)
    settled_since, mark = time.monotonic(), audit.now()

    until(lambda: time.monotonic() > settled_since + QUIET_S, "the window is over", QUIET_S + 5)

    assert audit.writes(mark, alone.namespace) == []
    calls = [call.path for call in list(alone.skypilot.calls) if call.at > settled_since]
    # One snapshot every 30 s: requests, clusters, and the answer to the second.
    assert len(calls) <= 6, calls
    for name in names:
        assert condition(alone.get(name) or {}, "Ready")
