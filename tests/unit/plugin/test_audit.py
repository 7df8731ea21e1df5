"""``audit``: the operator's own audit, asked where it runs, with its exit statuses."""

import copy
import json
from typing import Any

import pytest

from tests.fakes.kubectl import FakeKubectl
from tests.unit.plugin.conftest import Run
from tests.unit.plugin.test_doctor import POD, operator, operator_pod

ORPHAN = {"kind": "cluster", "name": "old-0a1b2c3d-9f8e7d6c-0", "where": "aws/us-east-1", "nodes": 2, "hourly": None}
TABLE = "KIND     NAME\ncluster  old-0a1b2c3d-9f8e7d6c-0"


def says(kubectl: FakeKubectl, out: str, status: int = 0, *, pod: str = POD, err: str = "") -> None:
    """Let the audit in the operator's pod print this, as kubectl exec hands it on."""
    program = kubectl.home(pod) / "bin" / "deepseek-operator"
    program.parent.mkdir(exist_ok=True)
    ended = f"command terminated with exit code {status}" if status else ""
    program.write_text(
        f"#!/bin/sh\necho \"$@\" >words\ncat <<'EOF'\n{out}\nEOF\ncat >&2 <<'EOF'\n{err}\n{ended}\nEOF\nexit {status}\n"
    )
    program.chmod(0o755)


@pytest.fixture
def cluster(kubectl: FakeKubectl) -> FakeKubectl:
    kubectl.put(operator(), operator_pod())
    return kubectl


def test_what_the_audit_prints_is_printed_and_its_status_is_the_commands(cluster: FakeKubectl, run: Run) -> None:
    says(cluster, "nothing exists under user id d5ee9000 that no deployment owns")
    assert run("audit") == (0, "nothing exists under user id d5ee9000 that no deployment owns\n", "")
    assert (cluster.home(POD) / "words").read_text() == "audit -o table\n"


def test_what_was_found_comes_with_the_command_that_removes_it(cluster: FakeKubectl, run: Run) -> None:
    says(cluster, TABLE, 4)
    code, out, err = run("audit")
    assert (code, out) == (4, TABLE + "\n")
    assert err == (
        "to tear that down, if it is yours: kubectl exec -n deepseek-system deploy/deepseek-operator -c operator -- "
        "deepseek-operator audit --delete --yes\n"
    )


def test_json_names_the_operator_of_each(cluster: FakeKubectl, run: Run) -> None:
    says(cluster, json.dumps({"orphans": [ORPHAN]}), 4)
    code, out, _ = run("audit", "-o", "json")
    assert code == 4
    assert json.loads(out) == {"orphans": [{"operator": "deepseek-system/deepseek-operator", **ORPHAN}], "errors": []}
    assert (cluster.home(POD) / "words").read_text() == "audit -o json\n"


def test_what_could_not_be_found_out_is_not_nothing(cluster: FakeKubectl, run: Run) -> None:
    says(cluster, "", 2, err="cannot audit: the SkyPilot API server does not answer")
    code, _, err = run("audit")
    assert code == 2
    assert err == (
        "deepseek-system/deepseek-operator cannot be asked: cannot audit: the SkyPilot API server does not answer\n"
    )
    code, out, _ = run("audit", "-o", "json")
    assert code == 2
    assert json.loads(out)["errors"][0]["message"] == "cannot audit: the SkyPilot API server does not answer"


@pytest.mark.parametrize("status", [1, 126, 137])
def test_an_audit_that_ends_in_any_other_way_has_found_out_nothing(cluster: FakeKubectl, run: Run, status: int) -> None:
    says(cluster, "", status)
    assert run("audit")[0] == 2


def test_output_of_another_form_has_found_out_nothing(cluster: FakeKubectl, run: Run) -> None:
    says(cluster, "[]")
    assert run("audit", "-o", "json")[0] == 2


def test_an_operator_that_does_not_run_cannot_be_asked(kubectl: FakeKubectl, run: Run) -> None:
    kubectl.put(operator())
    code, _, err = run("audit")
    assert code == 2
    assert "no pod of it runs" in err


def test_without_an_operator_there_is_nobody_to_ask(kubectl: FakeKubectl, run: Run) -> None:
    code, _, err = run("audit")
    assert code == 2
    assert err.startswith("Error: no operator to ask: no Deployment of it was found")


def test_who_may_not_look_everywhere_looks_where_the_operator_is_said_to_be(cluster: FakeKubectl, run: Run) -> None:
    cluster.forbidden = [("list-all", "deployments.apps")]
    says(cluster, "nothing")
    cluster.save()
    assert run("audit")[:2] == (0, "nothing\n")
    assert run("audit", "--operator-namespace", "elsewhere")[0] == 2


def test_each_of_several_operators_is_asked_and_one_that_fails_hides_no_other(cluster: FakeKubectl, run: Run) -> None:
    other: dict[str, Any] = copy.deepcopy(operator())
    other["metadata"]["namespace"] = "team-b"
    pod = operator_pod()
    pod["metadata"] = {**pod["metadata"], "name": "b-0", "namespace": "team-b"}
    cluster.put(other, pod)
    says(cluster, TABLE, 4)
    says(cluster, "", 2, pod="b-0", err="cannot audit")
    code, out, err = run("audit")
    assert code == 2
    assert TABLE in out
    assert "team-b/deepseek-operator cannot be asked: cannot audit" in err


def test_a_skypilot_server_with_a_deployment_of_its_own_is_no_operator_to_ask(cluster: FakeKubectl, run: Run) -> None:
    """As with ``skypilot.mode=deployment``: the chart's labels are on both Deployments."""
    alone, skypilot = operator(), operator()
    skypilot["metadata"]["name"] = "deepseek-operator-skypilot"
    skypilot["spec"]["selector"] = {"matchLabels": {"app": "skypilot"}}
    skypilot["spec"]["template"]["spec"]["containers"] = [alone["spec"]["template"]["spec"]["containers"].pop()]
    pod = operator_pod()
    pod["metadata"] = {**pod["metadata"], "name": "skypilot-0", "labels": {"app": "skypilot"}}
    cluster.put(alone, skypilot, pod)
    says(cluster, "nothing")
    assert run("audit") == (0, "nothing\n", "")
