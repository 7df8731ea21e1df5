"""``endpoint`` and ``events``."""

import json
import subprocess
import sys
from typing import Any

import pytest

from deepseek_operator.api.status import Phase
from deepseek_operator.plugin.events import select
from tests.fakes.kubectl import FakeKubectl
from tests.unit.plugin.builders import CLUSTER, UID, condition, deployment, instance
from tests.unit.plugin.conftest import Run

OUTSIDE = "http://203.0.113.7:8000/v1"
INSIDE = "http://r1.default.svc:8000/v1"


@pytest.mark.parametrize(
    ("url", "words", "printed"), [(None, (), INSIDE), (OUTSIDE, (), OUTSIDE), (OUTSIDE, ("--internal",), INSIDE)]
)
def test_the_url_alone_is_printed(
    kubectl: FakeKubectl, run: Run, url: str | None, words: tuple[str, ...], printed: str
) -> None:
    kubectl.put(deployment(instance(0), url=url))
    assert run("endpoint", "r1", *words) == (0, printed + "\n", "")


def test_an_address_at_which_nothing_answers_is_printed_and_fails(kubectl: FakeKubectl, run: Run) -> None:
    body = deployment(
        instance(0, Phase.FAILED, "EngineExited"), ready=condition("Ready", "False", "EngineExited", "it ended")
    )
    kubectl.put(body)
    assert run("endpoint", "r1") == (1, "", "r1 has no endpoint yet: EngineExited: it ended\n")
    body["status"]["endpoint"] = {"internalURL": INSIDE}
    kubectl.put(body)
    assert run("endpoint", "r1") == (1, INSIDE + "\n", "r1 does not answer: EngineExited: it ended\n")


def test_json_names_the_models_and_the_secret_of_the_key(kubectl: FakeKubectl, run: Run) -> None:
    model = {"name": "r1", "servedNames": ["chat", "r1"]}
    kubectl.put(deployment(instance(0), model=model, endpoint={"apiKeySecretRef": {"name": "k"}}))
    found = json.loads(run("endpoint", "r1", "-o", "json")[1])
    assert found == {
        "url": None,
        "internalURL": INSIDE,
        "readyReplicas": 1,
        "models": ["r1", "chat"],
        "apiKeySecretRef": {"name": "k"},
    }


def event(name: str, about: dict[str, Any], reason: str = "Launching", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "creationTimestamp": "2026-11-24T10:00:00Z"}
    return {
        "kind": "Event",
        "metadata": metadata,
        "involvedObject": about,
        "type": "Normal",
        "reason": reason,
        "message": "m",
        **fields,
    }


OURS = {"kind": "DeepSeekDeployment", "name": "r1", "uid": UID}
POD = {"kind": "Pod", "name": f"{CLUSTER}-0-d5ee9000-head"}
EVENTS = [
    event("late", OURS, "Ready", eventTime="2026-11-24T11:30:00.123456Z"),
    event("ghost", {**OURS, "uid": "another"}),
    event("foreign", {"kind": "Pod", "name": "web-1"}),
    event("pod", POD, "FailedScheduling", type="Warning", lastTimestamp="2026-11-24T11:00:00Z", count=4),
    event("series", OURS, "Queued", series={"count": 7, "lastObservedTime": "2026-11-24T11:30:01.000000Z"}),
    event("bare", OURS, "Starting", message="two\nlines \x1b[31mred"),
]


def test_events_of_the_deployment_and_its_pods_are_in_the_order_of_time() -> None:
    found = select(EVENTS, UID)
    assert [(one.reason, one.count) for one in found] == [
        ("Starting", 1),
        ("FailedScheduling", 4),
        ("Ready", 1),
        ("Queued", 7),
    ]
    assert found[0].message == "two lines red"
    assert found[1].about == POD["name"]


def test_events_are_a_table_or_json(kubectl: FakeKubectl, run: Run) -> None:
    kubectl.put(deployment(instance(0)), *EVENTS)
    lines = run("events", "r1")[1].splitlines()
    assert lines[0].split() == ["SINCE", "TYPE", "REASON", "TIMES", "ABOUT", "MESSAGE"]
    assert [line.split()[2] for line in lines[1:]] == ["Starting", "FailedScheduling", "Ready", "Queued"]
    found = json.loads(run("events", "r1", "-o", "json")[1])["events"]
    assert found[1]["type"] == "Warning"


def test_without_events_it_says_how_long_they_are_kept(kubectl: FakeKubectl, run: Run) -> None:
    kubectl.put(deployment(instance(0)))
    assert run("events", "r1") == (0, "", "no events; Kubernetes forgets them after an hour\n")


def test_watched_events_are_written_once_each(kubectl: FakeKubectl) -> None:
    kubectl.put(deployment(instance(0)), EVENTS[0])
    script = "import sys; from deepseek_operator.plugin.main import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "events", "r1", "--watch", "-o", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        kubectl.put(EVENTS[4])
        second = json.loads(process.stdout.readline())
        process.kill()
    assert [first["reason"], second["reason"]] == ["Ready", "Queued"]
