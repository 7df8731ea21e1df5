"""``doctor`` finds each planted fault, and says what to do."""

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

import deepseek_operator
from deepseek_operator.api.crd import custom_resource_definition
from deepseek_operator.plugin import doctor
from deepseek_operator.plugin.findings import RIGHTS, SKYPILOT_VERSION
from deepseek_operator.skypilot.client import SERVER_VERSION
from tests.fakes.kubectl import FakeKubectl
from tests.unit.plugin.conftest import Run

HEALTHY = {"status": "healthy", "version": SKYPILOT_VERSION, "api_version": "62"}
POD = "deepseek-operator-0"


def crd() -> dict[str, Any]:
    body = copy.deepcopy(custom_resource_definition())
    body["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
    return body


def operator(*, reads_catalog: bool = False) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "deepseek-operator", "app.kubernetes.io/version": deepseek_operator.__version__}
    mount = {"name": "catalog", "mountPath": "/etc/deepseek-operator"}
    operator = {
        "name": "operator",
        # Reading a catalog takes half a second.
        "args": ["run", *(["--catalog=/etc/deepseek-operator/catalog.yaml"] if reads_catalog else [])],
        "env": [],
        "volumeMounts": [mount],
    }
    volumes = [{"name": "catalog", "configMap": {"name": "deepseek-operator-catalog"}}]
    pod = {"spec": {"containers": [operator, {"name": "skypilot"}], "volumes": volumes}}
    return {
        "kind": "Deployment",
        "metadata": {"name": "deepseek-operator", "namespace": "deepseek-system", "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "dsd"}}, "template": pod},
        "status": {"conditions": [{"type": "Available", "status": "True"}]},
    }


def operator_pod(**status: Any) -> dict[str, Any]:
    metadata = {"name": POD, "namespace": "deepseek-system", "labels": {"app": "dsd"}}
    return {"kind": "Pod", "metadata": metadata, "status": {"phase": "Running", **status}}


def catalog(text: str = "models: []\n") -> dict[str, Any]:
    metadata = {"name": "deepseek-operator-catalog", "namespace": "deepseek-system"}
    return {"kind": "ConfigMap", "metadata": metadata, "data": {"catalog.yaml": text}}


def node(
    name: str = "gpu-1",
    count: int = 8,
    allocatable: int | None = None,
    ready: str = "True",
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    offered = count if allocatable is None else allocatable
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    if count:
        status |= {"capacity": {"nvidia.com/gpu": str(count)}, "allocatable": {"nvidia.com/gpu": str(offered)}}  # type: ignore[dict-item]
    kind = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"} if labels is None else labels
    return {"kind": "Node", "metadata": {"name": name, "labels": kind}, "spec": spec, "status": status}


@pytest.fixture
def cluster(kubectl: FakeKubectl, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    """A cluster in which nothing is wrong. Only two rights are asked for: each costs a process."""
    few = tuple(right for right in RIGHTS if right.purpose in ("status", "logs"))
    monkeypatch.setattr(doctor, "RIGHTS", few)
    kubectl.raw = {"/version": {"gitVersion": "v1.36.3"}}
    kubectl.put(crd(), operator(), operator_pod(), node())
    health(kubectl, json.dumps(HEALTHY))
    return kubectl


def health(kubectl: FakeKubectl, answer: str, status: int = 0, pod: str = POD) -> None:
    """Let curl in a pod, the operator's by default, print this."""
    curl = kubectl.home(pod) / "bin" / "curl"
    curl.parent.mkdir(exist_ok=True)
    # The last words are kubectl's own.
    ended = f"echo command terminated with exit code {status} >&2\n" if status else ""
    curl.write_text(f"#!/bin/sh\ncat <<'EOF'\n{answer}\nEOF\n{ended}exit {status}\n")
    curl.chmod(0o755)


def test_a_healthy_cluster_has_no_findings(cluster: FakeKubectl, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "RIGHTS", RIGHTS)
    cluster.put(READER, catalog())
    code, out, err = run("doctor")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[-1] == "0 faults, 0 warnings"
    assert all(line.startswith("ok") for line in lines[:-1])
    assert len([call for call in cluster.calls if "can-i" in call]) == len(RIGHTS)
    for words in (
        "version 1.36.3",
        "serves deepseek-operator.io/v1alpha1",
        "0.14.1 answers",
        "1 with 8×NVIDIA-H100",
        "can be read",
    ):
        assert words in out


def changed(name: str, value: Any) -> Callable[[FakeKubectl], None]:
    return lambda kubectl: setattr(kubectl, name, value)


def put(*objects: dict[str, Any]) -> Callable[[FakeKubectl], None]:
    return lambda kubectl: kubectl.put(*objects)


def without(kind: str) -> Callable[[FakeKubectl], None]:
    def remove(kubectl: FakeKubectl) -> None:
        kubectl.objects = [body for body in kubectl.objects if body["kind"] != kind]

    return remove


def with_crd(change: Callable[[dict[str, Any]], object]) -> Callable[[FakeKubectl], None]:
    body = crd()
    change(body)
    return put(body)


def with_operator(change: Callable[[dict[str, Any]], object]) -> Callable[[FakeKubectl], None]:
    body = operator()
    change(body)
    return put(body)


def unavailable(*pods: dict[str, Any]) -> Callable[[FakeKubectl], None]:
    body = operator()
    body["status"]["conditions"][0]["status"] = "False"
    return put(body, *pods)


def schema(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return found


PULLING = {"name": "operator", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
READER = operator(reads_catalog=True)
FAULTS = [
    (changed("raw", {"/version": {"gitVersion": "v1.29.1-gke.1"}}), "Kubernetes", "version 1.29.1"),
    (without("CustomResourceDefinition"), "CRD", "is not installed"),
    (with_crd(lambda body: body["spec"]["versions"][0].update(served=False)), "CRD", "serves nothing, not v1alpha1"),
    (with_crd(lambda body: body["status"]["conditions"][0].update(status="False")), "CRD", "it is not established"),
    (with_crd(lambda body: schema(body)["spec"]["properties"].pop("suspend")), "CRD", "does not know spec.suspend"),
    (
        with_crd(lambda body: schema(body)["status"]["properties"]["instances"]["items"]["properties"].pop("since")),
        "CRD",
        "does not know status.instances.since",
    ),
    (
        changed("denied", ["list deepseekdeployments.deepseek-operator.io"]),
        "rights",
        r"you may not list deepseekdeployments\.deepseek-operator\.io, needed for status",
    ),
    (without("Deployment"), "operator", "no Deployment of it was found"),
    (
        with_operator(lambda body: body.update(status={}, spec=body["spec"] | {"replicas": 0})),
        "operator",
        "scaled to zero",
    ),
    (
        unavailable(operator_pod(containerStatuses=[PULLING])),
        "operator",
        "container operator: ImagePullBackOff no such image",
    ),
    (
        unavailable(operator_pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}])),
        "operator",
        "is not available: 0/1 nodes",
    ),
    (lambda kubectl: health(kubectl, "", 7), "SkyPilot", "its API server does not answer"),
    (lambda kubectl: health(kubectl, "<html>"), "SkyPilot", "in an unknown form"),
    (lambda kubectl: health(kubectl, '{"status": "needs_auth"}'), "SkyPilot", "its API server is needs_auth"),
    (put(READER, catalog("models: [{id: a, base: nobody}]")), "catalog", "no row 'nobody' before it"),
    (
        put(READER, catalog("models: [")),
        "catalog",
        r"ConfigMap deepseek-system/deepseek-operator-catalog, catalog\.yaml",
    ),
    (put(READER, {**catalog(), "data": {}}), "catalog", "there is no such key"),
    (put(READER), "catalog", "not found"),
    (put(node(labels={})), "GPUs", "node gpu-1 has 8 GPUs and no label that tells SkyPilot which"),
    (put(node(count=0)), "GPUs", r"has the label nvidia\.com/gpu\.product but offers no GPU"),
]
WARNINGS = [
    (changed("denied", ["create pods/exec"]), "rights", "you may not create pods/exec, needed for logs"),
    (changed("forbidden", [("get", "customresourcedefinitions.apiextensions.k8s.io")]), "CRD", "is not installed"),
    (
        with_operator(lambda body: body["metadata"]["labels"].update({"app.kubernetes.io/version": "9.9"})),
        "operator",
        "9.9",
    ),
    (
        changed("forbidden", [("list", "deployments.apps")]),
        "operator",
        "cannot be looked for: deployments.apps is forb",
    ),
    (
        with_operator(
            lambda body: body["spec"]["template"]["spec"]["containers"][0].update(
                env=[{"name": "DEEPSEEK_OPERATOR_NAMESPACES", "value": "prod test"}]
            )
        ),
        "namespace",
        "no operator serves default, but prod, test",
    ),
    (
        lambda kubectl: health(kubectl, json.dumps({**HEALTHY, "version": "0.12.0"})),
        "SkyPilot",
        "0.12.0; this operator",
    ),
    (without("Pod"), "SkyPilot", "cannot be asked: no pod with its container runs"),
    (without("Node"), "GPUs", "no node has GPUs"),
    (put(node(allocatable=6)), "GPUs", "offers 6 of its 8 GPUs"),
    (put(node(ready="Unknown")), "GPUs", "is not Ready"),
    (put(node(unschedulable=True)), "GPUs", "is cordoned"),
    (put(node(labels={"skypilot.co/accelerator": "voodoo2"})), "GPUs", "voodoo2, which the catalog does not know"),
    (changed("forbidden", [("list", "nodes")]), "GPUs", "nodes cannot be seen"),
]


@pytest.mark.parametrize(
    ("plant", "check", "words", "level"),
    [(*fault, "fault") for fault in FAULTS] + [(*warning, "warning") for warning in WARNINGS if warning[1] != "CRD"],
)
def test_a_planted_fault_is_found_with_what_to_fix(
    cluster: FakeKubectl, run: Run, plant: Callable[[FakeKubectl], None], check: str, words: str, level: str
) -> None:
    plant(cluster)
    cluster.save()
    code, out, _ = run("doctor", "-o", "json")
    report = json.loads(out)
    found = [one for one in report["findings"] if one["check"] == check and one["level"] == level]
    assert [one for one in found if re.search(words, one["message"])], report["findings"]
    assert all(one["fix"] for one in found)
    assert code == (1 if report["faults"] else 0)
    assert code == (1 if level == "fault" else 0)


def test_an_api_server_that_is_away_ends_the_examination(cluster: FakeKubectl, run: Run) -> None:
    cluster.away = "Unable to connect to the server: no route to host"
    cluster.save()
    code, out, _ = run("doctor")
    assert code == 1
    assert re.match(r"fault +Kubernetes +Unable to connect to the server: no route to host", out)
    assert out.splitlines()[-1] == "1 fault, 0 warnings"


def test_who_may_not_read_crds_learns_what_is_served(cluster: FakeKubectl, run: Run) -> None:
    cluster.forbidden = [("get", "customresourcedefinitions.apiextensions.k8s.io")]
    cluster.raw["/apis/deepseek-operator.io"] = {"versions": [{"groupVersion": "deepseek-operator.io/v1alpha1"}]}
    cluster.save()
    code, out, _ = run("doctor")
    assert code == 0
    assert "serves deepseek-operator.io/v1alpha1; its fields cannot be seen" in out
    cluster.raw["/apis/deepseek-operator.io"] = {"versions": [{"groupVersion": "deepseek-operator.io/v9"}]}
    cluster.save()
    assert run("doctor")[0] == 1
    del cluster.raw["/apis/deepseek-operator.io"]
    cluster.save()
    assert "is not installed" in run("doctor")[1]


def test_an_operator_is_found_where_one_may_look(cluster: FakeKubectl, run: Run) -> None:
    cluster.forbidden = [("list-all", "deployments.apps")]
    cluster.save()
    assert run("doctor")[0] == 0
    assert "no Deployment of it was found" in run("doctor", "--operator-namespace", "elsewhere")[1]


def test_a_skypilot_server_elsewhere_is_not_asked(cluster: FakeKubectl, run: Run) -> None:
    body = operator()
    body["spec"]["template"]["spec"]["containers"].pop()
    cluster.put(body)
    assert "runs elsewhere and was not asked" in run("doctor")[1]


def test_a_skypilot_server_with_a_deployment_of_its_own_is_looked_at_under_its_own_name(
    cluster: FakeKubectl, run: Run
) -> None:
    """As with ``skypilot.mode=deployment``, while it does not answer."""
    alone, skypilot = operator(), operator()
    server = alone["spec"]["template"]["spec"]["containers"].pop()
    skypilot["metadata"]["name"] = "deepseek-operator-skypilot"
    skypilot["spec"]["template"]["spec"]["containers"] = [server]
    waiting = {"type": "Available", "status": "False"}
    for body, container in ((alone, "operator"), (skypilot, "skypilot")):
        body["status"] = {"conditions": [waiting]}
        body["spec"]["selector"] = {"matchLabels": {"app": container}}
        pod = operator_pod(containerStatuses=[{"name": container, "ready": False, "state": {"running": {}}}])
        pod["metadata"] = {**pod["metadata"], "name": container, "labels": {"app": container}}
        cluster.put(body, pod)
    health(cluster, "", 7, pod="skypilot")
    out = " ".join(run("doctor")[1].split())
    assert "fault operator deepseek-system/deepseek-operator is not available: container operator is not ready" in out
    assert "which it is only while SkyPilot answers" in out
    assert "fault SkyPilot deepseek-system/deepseek-operator-skypilot is not available" in out
    assert "its API server does not answer: its port refuses connections" in out
    assert "runs elsewhere" not in out
    for container in ("operator", "skypilot"):
        assert f"fix: kubectl describe pods -n deepseek-system -l app={container} " in out


def test_the_expected_version_of_skypilot_is_that_of_the_operator() -> None:
    assert SKYPILOT_VERSION == SERVER_VERSION
