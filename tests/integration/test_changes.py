"""Changes of the spec while it serves, and of what belongs to it: no request is lost, and what is damaged is fixed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice
from lightkube.types import PatchType

from tests.integration.stage import Stage, condition, http_ok, until


@contextmanager
def a_client_that_retries_once(url: str) -> Iterator[list[float]]:
    """Ask without a pause; note when two answers in a row were missed."""
    missed: list[float] = []
    stop = Event()

    def ask() -> None:
        while not stop.wait(0.05):
            if not http_ok(url) and not http_ok(url):
                missed.append(time.monotonic())

    thread = Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield missed
    finally:
        stop.set()
        thread.join(5)


@pytest.mark.side_by_side(slow=True)
def test_a_change_of_the_spec_rolls_over_without_a_gap(stage: Stage) -> None:
    stage.apply("roll", replicas=2)
    stage.until_ready("roll")
    old = {cluster.name for cluster in stage.skypilot.of("roll")}
    seen = len(stage.history.of("roll"))

    with a_client_that_retries_once(stage.url("roll")) as missed:
        stage.change("roll", engine={"args": ["--max-num-seqs=8"]})
        body = stage.until_ready("roll", 60)

    new = {cluster.name for cluster in stage.skypilot.of("roll")}
    assert len(new) == 2
    assert not new & old
    assert stage.skypilot.most_at_once("roll") == 3
    assert missed == []
    ready = [condition(version, "Ready") for version in stage.history.of("roll")[seen:]]
    assert {each["status"] for each in ready if each} == {"True"}
    assert body["status"]["updatedReplicas"] == 2


@pytest.mark.side_by_side(slow=True)
def test_without_surge_a_replica_makes_room_first(stage: Stage) -> None:
    stage.apply("noroom", updateStrategy={"maxSurge": 0, "maxUnavailable": 1})
    stage.until_ready("noroom")

    stage.change("noroom", engine={"args": ["--max-num-seqs=8"]})

    stage.until_ready("noroom", 60)
    assert stage.skypilot.most_at_once("noroom") == 1


@pytest.mark.side_by_side
def test_kubectl_scale_adds_and_takes_away_replicas(stage: Stage) -> None:
    stage.apply("scale")
    stage.until_ready("scale")
    first = stage.instances("scale")[0]["name"]
    with a_client_that_retries_once(stage.url("scale")) as missed:
        stage.kubectl("scale", "dsd/scale", f"--namespace={stage.namespace}", "--replicas=3")
        stage.until_ready("scale")
        assert len(stage.published("scale")) == 3
        stage.kubectl("scale", "dsd/scale", f"--namespace={stage.namespace}", "--replicas=1")
        until(lambda: len(stage.published("scale")) == 1, "two leave the Service")
        left = time.monotonic()
        until(lambda: len(stage.skypilot.of("scale")) == 1, "two are given back")
        assert time.monotonic() - left > 8, "requests under way had no time to end"
        stage.until_ready("scale")

    assert [cluster.name for cluster in stage.skypilot.of("scale")] == [first]
    assert len(stage.published("scale")) == 1
    assert missed == []


@pytest.mark.side_by_side
def test_suspended_it_gives_everything_back_and_resumed_it_comes_back(stage: Stage) -> None:
    stage.apply("pause")
    stage.until_ready("pause")
    address = stage.service("pause")["spec"]["clusterIP"]

    stage.change("pause", suspend=True)
    until(lambda: stage.skypilot.of("pause") == [] and stage.pods("pause") == [], "everything is given back")
    stage.until_reason("pause", "Suspended")
    until(lambda: (condition(stage.get("pause") or {}, "Reconciling") or {}).get("status") == "False", "settled")
    assert stage.published("pause") == []
    stage.change("pause", suspend=False)

    stage.until_ready("pause")
    assert stage.service("pause")["spec"]["clusterIP"] == address
    assert stage.answers("pause")


@pytest.mark.side_by_side
def test_a_change_that_replaces_nobody_launches_nothing(stage: Stage) -> None:
    stage.apply("same")
    stage.until_ready("same")

    stage.change("same", updateStrategy={"maxSurge": 2}, resources={"maxHourlyCost": "3"})

    stage.until_ready("same")
    assert len(stage.skypilot.launches("same")) == 1


@pytest.mark.side_by_side
def test_a_deleted_service_comes_back(stage: Stage) -> None:
    stage.apply("drift-svc")
    stage.until_ready("drift-svc")
    uid = stage.service("drift-svc")["metadata"]["uid"]

    stage.client.delete(Service, "drift-svc", namespace=stage.namespace)

    def again() -> bool:
        found = stage.client.list(Service, namespace=stage.namespace, fields={"metadata.name": "drift-svc"})
        return any(service.metadata is not None and service.metadata.uid != uid for service in found)

    until(again, "the Service is made again")
    stage.until_ready("drift-svc")
    until(lambda: stage.answers("drift-svc"), "it answers")


@pytest.mark.side_by_side
def test_a_deleted_endpointslice_comes_back(stage: Stage) -> None:
    stage.apply("drift-slice")
    stage.until_ready("drift-slice")
    before = stage.published("drift-slice")

    stage.client.delete(EndpointSlice, "drift-slice-8000", namespace=stage.namespace)

    until(lambda: stage.published("drift-slice") == before, "it leads there again")
    stage.until_ready("drift-slice")


@pytest.mark.side_by_side
def test_damaged_ports_and_endpoints_are_fixed(stage: Stage) -> None:
    stage.apply("drift-port")
    stage.until_ready("drift-port")
    before = stage.published("drift-port")

    change = [{"op": "replace", "path": "/spec/ports/0/port", "value": 9999}]
    stage.client.patch(Service, "drift-port", change, namespace=stage.namespace, patch_type=PatchType.JSON)
    until(lambda: [p["port"] for p in stage.service("drift-port")["spec"]["ports"]] == [8000], "the port is back")
    wrong = [{"op": "replace", "path": "/endpoints", "value": [{"addresses": ["198.51.100.1"]}]}]
    stage.client.patch(EndpointSlice, "drift-port-8000", wrong, namespace=stage.namespace, patch_type=PatchType.JSON)

    until(lambda: stage.published("drift-port") == before, "the endpoints are back")
    stage.until_ready("drift-port")
    until(lambda: stage.answers("drift-port"), "it answers")
