"""Each way to fail has a Reason of its own, a sentence a person can act on, and a way back."""

import pytest
from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod, Secret, Service

from tests.integration.stage import Stage, http_ok, until

LAUNCH_FAILURES = {
    "unschedulable": (
        "ResourcesUnavailableError",
        "Failed to provision all possible launchable resources. Details: '0/3 nodes are available: Insufficient cpu.'",
        "Unschedulable",
    ),
    "imagepull": (
        "ResourcesUnavailableError",
        "Failed to create container while launching the node. Error: ErrImagePull: pull access denied",
        "ImagePullFailed",
    ),
    "nocloud": (
        "ResourcesUnavailableError",
        "Task requires aws which is not enabled. To enable access, run: \x1b[1msky check aws\x1b[0m",
        "CredentialsInvalid",
    ),
    "nomatch": (
        "ResourcesUnavailableError",
        "Kubernetes cluster does not contain any instances satisfying the request: 1x Kubernetes(cpus=999).",
        "NoMatchingResources",
    ),
    "other": ("RuntimeError", "the disk of the server is full", "LaunchFailed"),
}


@pytest.mark.side_by_side
def test_failed_launches_are_told_in_the_providers_words_and_tried_again(stage: Stage) -> None:
    for name, (error_type, message, _) in LAUNCH_FAILURES.items():
        stage.skypilot.fail_next_launch(name, error_type, message)
        stage.apply(name)

    for name, (_, _, reason) in LAUNCH_FAILURES.items():
        until(lambda name=name, reason=reason: reason in stage.history.reasons(name), f"{name}: {reason}")  # type: ignore[misc]
    for name, (_, _, reason) in LAUNCH_FAILURES.items():
        # Credentials are mended by people, so that launch is repeated only after half a minute.
        instance = stage.until_ready(name, 90)["status"]["instances"][0]
        assert len(stage.skypilot.launches(name)) == 2
        assert instance["attempts"] == 1
        warnings = [(told, note) for kind, told, note in stage.events(name) if kind == "Warning"]
        assert [told for told, _ in warnings] == [reason]
        assert "\x1b" not in warnings[0][1]
    assert "pull access denied" in str(stage.events("imagepull"))


@pytest.mark.side_by_side
def test_without_retry_a_failed_launch_is_the_last_and_stalled_says_so(stage: Stage) -> None:
    stage.skypilot.fail_next_launch("once", "ResourcesUnavailableError", "Insufficient memory")
    stage.apply("once", resources={"accelerators": [], "cpus": "1+", "memory": "2+", "retryUntilUp": False})

    stage.kubectl("wait", "dsd/once", f"--namespace={stage.namespace}", "--for=condition=Stalled", "--timeout=30s")

    assert stage.ready("once")["reason"] == "Unschedulable"
    assert len(stage.skypilot.launches("once")) == 1


@pytest.mark.side_by_side(slow=True)
def test_an_engine_that_ends_is_started_again_and_three_times_is_a_crash_loop(stage: Stage) -> None:
    stage.skypilot.crash_engines("looping", "INFO loading\nValueError: max_model_len is too large\n")
    stage.apply("looping")

    told = stage.until_reason("looping", "EngineExited")
    assert "max_model_len is too large" in told["message"]
    stage.until_reason("looping", "EngineCrashLoop", 75)
    assert "max_model_len is too large" in stage.ready("looping")["message"]
    assert stage.instances("looping")[0]["restarts"] >= 2
    assert len(stage.skypilot.launches("looping")) == 1
    stage.skypilot.repair_engines("looping")

    # On the same machines: nothing was launched again.
    stage.until_ready("looping", 90)
    assert len(stage.skypilot.launches("looping")) == 1


@pytest.mark.side_by_side
def test_an_engine_that_stops_answering_loses_its_place_behind_the_service_and_gets_it_back(stage: Stage) -> None:
    stage.apply("silent")
    stage.until_ready("silent")
    name = stage.instances("silent")[0]["name"]

    stage.skypilot.silence(name)

    stage.until_reason("silent", "EngineUnresponsive")
    assert stage.published("silent") == []
    stage.skypilot.unsilence(name)
    stage.until_ready("silent")
    assert stage.answers("silent")
    assert len(stage.skypilot.launches("silent")) == 1


@pytest.mark.side_by_side
def test_a_pod_that_vanishes_is_replaced(stage: Stage) -> None:
    stage.apply("vanish")
    stage.until_ready("vanish")
    generation = stage.skypilot.of("vanish")[0].hash
    stage.skypilot.silence(stage.instances("vanish")[0]["name"])

    stage.client.delete(Pod, stage.pods("vanish")[0], namespace=stage.namespace, grace_period=0)

    until(lambda: "InstanceLost" in stage.history.reasons("vanish"), "the loss is told")
    stage.until_ready("vanish")
    assert [cluster.hash for cluster in stage.skypilot.of("vanish")] != [generation]
    assert stage.answers("vanish")


@pytest.mark.side_by_side
def test_a_missing_secret_holds_the_launch_until_it_is_there(stage: Stage) -> None:
    stage.apply("secret", endpoint={"apiKeySecretRef": {"name": "late", "key": "api-key"}})
    told = stage.until_reason("secret", "SecretNotFound")
    assert "Secret late does not exist" in told["message"]
    assert stage.skypilot.launches("secret") == []

    metadata = ObjectMeta(name="late", namespace=stage.namespace)
    stage.client.create(Secret(metadata=metadata, stringData={"other": "x"}))
    until(lambda: "has no key api-key" in stage.ready("secret").get("message", ""), "the key is missed")
    stage.client.patch(Secret, "late", {"stringData": {"api-key": "x"}}, namespace=stage.namespace)

    stage.until_ready("secret")


@pytest.mark.side_by_side
def test_a_foreign_service_of_the_same_name_is_left_alone(stage: Stage) -> None:
    spec = ServiceSpec(ports=[ServicePort(port=80)], selector={"app": "somebody"})
    stage.client.create(Service(metadata=ObjectMeta(name="taken", namespace=stage.namespace), spec=spec))
    stage.apply("taken")

    stage.until_reason("taken", "ServiceConflict")
    assert stage.skypilot.launches("taken") == []
    assert stage.service("taken")["spec"]["selector"] == {"app": "somebody"}
    stage.client.delete(Service, "taken", namespace=stage.namespace)

    stage.until_ready("taken")


def test_replicas_go_on_serving_while_skypilot_is_down(alone: Stage) -> None:
    alone.apply("serving")
    alone.until_ready("serving")
    url = alone.url("serving")
    alone.skypilot.stop()
    alone.apply("waiting")

    told = alone.until_reason("waiting", "SkyPilotUnavailable")
    assert "does not answer" in told["message"]
    assert alone.ready("serving")["status"] == "True"
    assert http_ok(url)
    alone.skypilot.start()

    alone.until_ready("waiting")
    assert len(alone.skypilot.launches("waiting")) == 1
    assert len(alone.skypilot.launches("serving")) == 1


def test_a_launch_that_a_restarted_skypilot_forgot_is_launched_again(alone: Stage) -> None:
    alone.skypilot.held.add("cut-off")
    alone.apply("cut-off")
    until(lambda: alone.pods("cut-off"), "its nodes come up")
    alone.skypilot.restart()
    alone.skypilot.held.clear()

    until(lambda: "LaunchInterrupted" in alone.history.reasons("cut-off"), "the interruption is told")
    alone.until_ready("cut-off")
    assert alone.skypilot.of("cut-off")[0].jobs == {1: "RUNNING"}


def test_pods_of_a_lost_database_are_removed_before_their_replica_is_launched_again(alone: Stage) -> None:
    alone.apply("lost-db")
    alone.until_ready("lost-db")
    name, before = alone.instances("lost-db")[0]["name"], alone.pods("lost-db")
    uid = alone.client.get(Pod, before[0], namespace=alone.namespace).metadata.uid  # type: ignore[union-attr]
    alone.skypilot.silence(name)
    alone.skypilot.lose_database()

    until(lambda: "InstanceLost" in alone.history.reasons("lost-db"), "the loss is told")
    alone.until_ready("lost-db")
    after = alone.client.get(Pod, alone.pods("lost-db")[0], namespace=alone.namespace)
    assert after.metadata is not None
    assert after.metadata.uid != uid
    assert alone.skypilot.of("lost-db")[0].jobs == {1: "RUNNING"}


@pytest.mark.side_by_side
def test_a_model_that_does_not_fit_is_refused_with_the_arithmetic_and_nothing_is_rented(stage: Stage) -> None:
    stage.apply(
        "toobig",
        model={"name": "deepseek-ai/DeepSeek-R1"},
        engine={"name": "VLLM"},
        resources={"accelerators": ["L4:1"], "nodes": 1},
    )

    told = stage.until_reason("toobig", "DoesNotFit")
    assert "GiB" in told["message"]
    stage.kubectl("wait", "dsd/toobig", f"--namespace={stage.namespace}", "--for=condition=Stalled", "--timeout=10s")
    assert stage.skypilot.launches("toobig") == []
