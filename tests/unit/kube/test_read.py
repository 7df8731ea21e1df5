"""From objects of the API server to facts."""

from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.v1alpha1 import GROUP, LABEL_UID
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.kubernetes import Endpoints, LaunchedService, ProxyPod, PublishedService
from deepseek_operator.kube.read import (
    read_endpoints,
    read_launched_service,
    read_pod,
    read_proxy,
    read_published_service,
)
from deepseek_operator.kube.resources import MANAGED_BY

ON_CLOUD = "r1-0a1b2c3d-b9ea8aec-0-d5ee9000"


def pod(status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """A head pod as SkyPilot makes it."""
    labels = {"skypilot-cluster-name": ON_CLOUD, "skypilot-head-node": "1"}
    annotations = {"skypilot-cluster-name": "r1-0a1b2c3d-b9ea8aec-0"}
    head = {"name": f"{ON_CLOUD}-head", "labels": labels, "annotations": annotations}
    return {"metadata": {**head, **metadata}, "status": status or {}}


def test_a_running_head_pod_is_read_with_its_cluster_and_its_ip() -> None:
    found = read_pod(pod({"phase": "Running", "podIP": "10.0.0.1"}))
    assert (found.cluster_name, found.cluster_name_on_cloud) == ("r1-0a1b2c3d-b9ea8aec-0", ON_CLOUD)
    assert (found.head, found.running, found.ip, found.trouble) == (True, True, "10.0.0.1", None)


def test_a_pod_that_is_being_deleted_does_not_run() -> None:
    assert not read_pod(pod({"phase": "Running"}, deletionTimestamp="2026-11-24T12:00:00Z")).running


def test_without_its_annotation_the_name_comes_from_the_label() -> None:
    assert read_pod(pod(annotations={})).cluster_name == "r1-0a1b2c3d-b9ea8aec-0"


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]},
            Reason.UNSCHEDULABLE,
            "0/1 nodes are available",
        ),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}]},
            Reason.IMAGE_PULL_FAILED,
            "not found",
        ),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "CreateContainerConfigError", "message": "key"}}}]},
            Reason.POD_REJECTED,
            "CreateContainerConfigError",
        ),
    ],
)
def test_what_keeps_a_pod_from_running(status: dict[str, Any], reason: Reason, words: str) -> None:
    trouble = read_pod(pod(status)).trouble
    assert trouble is not None
    assert trouble.reason is reason
    assert words in trouble.message


@pytest.mark.parametrize("waiting", ["ContainerCreating", "PodInitializing", ""])
def test_a_pod_that_is_being_created_is_in_no_trouble(waiting: str) -> None:
    assert read_pod(pod({"containerStatuses": [{"state": {"waiting": {"reason": waiting}}}]})).trouble is None


def test_services_of_skypilot_and_ours_are_told_apart() -> None:
    theirs = {"metadata": {"name": "x", "labels": {"skypilot-cluster-name": ON_CLOUD}}}
    assert read_launched_service(theirs) == LaunchedService("x", "r1-0a1b2c3d-b9ea8aec-0", ON_CLOUD)
    ours = {
        "metadata": {"name": "r1", "labels": {LABEL_UID: "u"}},
        "spec": {
            "clusterIP": "10.96.0.1",
            "type": "LoadBalancer",
            "ports": [{"name": "http-8000", "port": 8000}, {"name": "http", "port": 9000}],
        },
        "status": {"loadBalancer": {"ingress": [{"hostname": "lb.example"}]}},
    }
    assert read_launched_service(ours) is None
    assert read_published_service(ours, "u") == PublishedService(
        False, "10.96.0.1", "lb.example", (9000, 8000), ("http", "http-8000"), "LoadBalancer"
    )
    assert read_published_service(ours, "another").foreign


def test_a_slice_whose_ports_differ_leads_nowhere_that_we_know() -> None:
    head = {"name": "r1-8000", "labels": {MANAGED_BY: GROUP}}
    body = {"metadata": head, "endpoints": [{"addresses": ["10.0.0.2"]}, {"addresses": ["10.0.0.1"]}]}
    one = {**body, "ports": [{"name": "http", "port": 8000}, {"name": "http-9000", "port": 8000}]}
    two = {**body, "ports": [{"name": "http", "port": 8000}, {"name": "http-9000", "port": 9000}]}
    addresses = (Address("10.0.0.1", 8000), Address("10.0.0.2", 8000))
    assert read_endpoints(one) == Endpoints("r1-8000", addresses, ("http", "http-9000"))
    assert read_endpoints(two) == Endpoints("r1-8000", (), ("http", "http-9000"))


def test_the_slice_that_kubernetes_makes_for_a_service_of_skypilot_is_not_ours() -> None:
    """It carries our labels: the controller copies those of the Service, and SkyPilot's Services have them."""
    labels = {LABEL_UID: "u", MANAGED_BY: "endpointslice-controller.k8s.io"}
    body = {"metadata": {"name": f"{ON_CLOUD}-head-x7k2p", "labels": labels}, "endpoints": [], "ports": []}
    assert read_endpoints(body) is None


def proxy_body(**status: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/component": "proxy", "deepseek-operator.io/proxy-revision": "1a2b3c4d"}
    return {"metadata": {"name": "r1-proxy-x", "labels": labels}, "status": status}


def test_a_pod_of_a_proxy_has_an_address_while_it_runs() -> None:
    assert read_proxy(proxy_body(phase="Running", podIP="10.1.0.1")) == ProxyPod("r1-proxy-x", "1a2b3c4d", "10.1.0.1")
    assert read_proxy(proxy_body(phase="Pending")) == ProxyPod("r1-proxy-x", "1a2b3c4d")
    ended = read_proxy(proxy_body(phase="Failed", podIP="10.1.0.1"))
    assert ended is not None
    assert (ended.ip, ended.deleting) == (None, True)


def test_other_pods_are_no_proxies() -> None:
    assert read_proxy({"metadata": {"name": "x", "labels": {}}, "status": {}}) is None
    labels = {"skypilot-cluster-name": ON_CLOUD, "app.kubernetes.io/component": "proxy"}  # by spec.podTemplate
    assert read_proxy(pod(labels=labels)) is None
