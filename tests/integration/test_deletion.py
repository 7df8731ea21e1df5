"""Whatever phase a deployment is in when it is deleted, nothing of it is left: SkyPilot and Kubernetes are asked."""

import pytest

from deepseek_operator.api.v1alpha1 import FINALIZER
from tests.integration.stage import Stage, until


def test_deleted_before_it_has_the_finalizer_it_goes_at_once(alone: Stage) -> None:
    alone.operator.end()
    alone.apply("early")
    alone.delete("early")
    assert alone.get("early") is None

    alone.operator.start()

    alone.until_gone("early")
    assert alone.skypilot.launches("early") == []


def test_deleted_while_it_waits_for_a_launch_worker(alone: Stage) -> None:
    alone.skypilot.workers = 1
    alone.skypilot.held.add("del-first")
    alone.apply("del-first")
    until(lambda: alone.skypilot.of("del-first"), "the only worker is busy")
    alone.apply("del-queued")
    alone.until_reason("del-queued", "Queued")

    alone.delete("del-queued")
    # The worker stays busy: the launch that waits is ended where it waits, for a teardown would not find it.
    alone.until_gone("del-queued")
    alone.skypilot.held.clear()
    alone.delete("del-first")
    alone.until_gone("del-first")
    alone.skypilot.workers = 4


@pytest.mark.side_by_side
def test_deleted_while_its_nodes_come_up(stage: Stage) -> None:
    stage.skypilot.held.add("del-launching")
    stage.apply("del-launching")
    until(lambda: stage.pods("del-launching"), "its pods exist")

    stage.delete("del-launching")

    stage.until_gone("del-launching")


@pytest.mark.side_by_side
def test_deleted_while_its_engine_loads(stage: Stage) -> None:
    stage.skypilot.slow_engines.add("del-starting")
    stage.apply("del-starting")
    stage.until_reason("del-starting", "EngineStarting")

    stage.delete("del-starting")

    stage.until_gone("del-starting")


@pytest.mark.side_by_side
def test_deleted_while_it_serves(stage: Stage) -> None:
    stage.apply("del-ready", replicas=2)
    stage.until_ready("del-ready")

    stage.delete("del-ready")

    stage.until_gone("del-ready")
    told = [reason for _, reason, _ in stage.events("del-ready")]
    assert told.count("TornDown") <= 2


@pytest.mark.side_by_side
def test_deleted_while_its_launch_fails(stage: Stage) -> None:
    stage.skypilot.fail_next_launch("del-failed", "ResourcesUnavailableError", "Insufficient cpu")
    stage.apply("del-failed")
    stage.until_reason("del-failed", "Unschedulable")

    stage.delete("del-failed")

    stage.until_gone("del-failed")


@pytest.mark.side_by_side
def test_deleted_while_nodes_are_left_that_skypilot_could_not_reach(stage: Stage) -> None:
    stage.skypilot.fail_next_launch("del-left", "Exception", "KubernetesError: exec failed", keeps_nodes=True)
    stage.apply("del-left")
    until(lambda: stage.skypilot.of("del-left") and stage.pods("del-left"), "nodes are left")

    stage.delete("del-left")

    stage.until_gone("del-left")


@pytest.mark.side_by_side
def test_a_teardown_that_fails_is_told_and_tried_again(stage: Stage) -> None:
    stage.apply("del-refused")
    stage.until_ready("del-refused")
    stage.skypilot.refused_downs["del-refused"] = "the provider answers 500"
    stage.delete("del-refused")

    until(lambda: any(i["reason"] == "TeardownFailed" for i in stage.instances("del-refused")), "the failure is told")
    assert "the provider answers 500" in stage.instances("del-refused")[0]["message"]
    assert FINALIZER in (stage.get("del-refused") or {})["metadata"]["finalizers"]
    stage.skypilot.refused_downs.clear()

    stage.until_gone("del-refused")


def test_deleted_while_skypilot_is_down_it_is_held_until_skypilot_is_back(alone: Stage) -> None:
    alone.apply("held")
    alone.until_ready("held")
    alone.skypilot.stop()
    alone.delete("held")

    until(lambda: any(i["reason"] == "SkyPilotUnavailable" for i in alone.instances("held")), "why it is held")
    assert FINALIZER in (alone.get("held") or {})["metadata"]["finalizers"]
    assert alone.pods("held")
    alone.skypilot.start()

    alone.until_gone("held")


def test_pods_that_skypilot_has_forgotten_are_cleared_by_label(alone: Stage) -> None:
    alone.apply("forgotten")
    alone.until_ready("forgotten")
    alone.skypilot.lose_database()
    assert alone.skypilots_services("forgotten")

    alone.delete("forgotten")

    alone.until_gone("forgotten")


@pytest.mark.side_by_side
def test_deleted_while_nothing_could_be_launched(stage: Stage) -> None:
    stage.apply("del-secret", endpoint={"apiKeySecretRef": {"name": "nowhere", "key": "key"}})
    stage.until_reason("del-secret", "SecretNotFound")

    stage.delete("del-secret")

    stage.until_gone("del-secret")
    assert stage.skypilot.launches("del-secret") == []


def test_the_audit_finds_and_removes_what_no_deployment_owns(alone: Stage) -> None:
    for name in ("known", "forgotten", "kept"):
        alone.apply(name)
    for name in ("known", "forgotten", "kept"):
        alone.until_ready(name)
    assert alone.audit() == (0, [])
    alone.operator.kill()
    for name in ("known", "forgotten"):
        alone.change_metadata(name, finalizers=[])  # as a person in a hurry does
        alone.delete(name)
        until(lambda name=name: alone.get(name) is None, f"the object {name} is gone")  # type: ignore[misc]
    lost = alone.skypilot.of("forgotten")[0]
    alone.skypilot.clusters.pop(lost.name)

    status, found = alone.audit()
    assert status == 4
    assert [(one["kind"], one["name"].split("-")[0], one["nodes"]) for one in found] == [
        ("cluster", "known", 1),
        ("remains", "forgotten", 1),
    ]
    assert alone.audit("--delete", "--yes")[0] == 0
    assert alone.audit() == (0, [])
    assert not alone.pods("known")
    assert not alone.pods("forgotten")
    assert alone.pods("kept")
    alone.operator.start()
