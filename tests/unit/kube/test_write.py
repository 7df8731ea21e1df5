"""Every write, as the API server receives it."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from deepseek_operator.facts.base import Address
from deepseek_operator.facts.names import api_key_secret
from deepseek_operator.kube.client import APPLY, MERGE, KubeClient
from deepseek_operator.kube.errors import (
    KubeConflictError,
    KubeDeniedError,
    KubeNotFoundError,
    KubeRejectedError,
    KubeUnavailableError,
    error_of,
)
from deepseek_operator.kube.write import KubeWriter
from deepseek_operator.launch.proxy import ProxySettings, ProxySpec, pod_template, proxy_revision
from deepseek_operator.launch.proxy_pod import ProxyPod
from tests.unit.reconcile import builders as b

DSD = b.deployment()
KEY = api_key_secret("r1")
SERVICE = "/api/v1/namespaces/serving/services"


class Recorded:
    """A client that records calls and answers as told."""

    def __init__(self, **answers: Any) -> None:
        self.calls: list[tuple[str, str, Any, Any, str]] = []
        self.answers = answers

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Any:
        self.calls.append((method, path, body, query, content_type))
        answer = self.answers.get(method, body)
        if isinstance(answer, Exception):
            raise answer
        return answer


def writer(client: Recorded) -> KubeWriter:
    return KubeWriter(cast(KubeClient, client), "pod-1")


async def test_the_finalizer_is_added_beside_those_of_others_and_only_to_what_was_read() -> None:
    client = Recorded()
    of = b.deployment(held=False)
    others = of.model_copy(update={"metadata": of.metadata.model_copy(update={"finalizers": ("foreign",)})})
    await writer(client).set_finalizer(others, present=True)
    ((method, path, body, _, content_type),) = client.calls
    assert (method, content_type) == ("PATCH", MERGE)
    assert path == "/apis/deepseek-operator.io/v1alpha1/namespaces/serving/deepseekdeployments/r1"
    assert body == {"metadata": {"resourceVersion": "42", "finalizers": ["foreign", "deepseek-operator.io/teardown"]}}


async def test_an_object_that_is_gone_needs_no_release() -> None:
    client = Recorded(PATCH=KubeNotFoundError("gone", 404))
    assert await writer(client).set_finalizer(DSD, present=False) == {}


async def test_the_status_is_one_forced_apply_to_this_very_object() -> None:
    client = Recorded()
    await writer(client).apply_status(DSD, {"replicas": 1})
    ((method, path, body, query, content_type),) = client.calls
    assert (method, content_type, query) == ("PATCH", APPLY, {"fieldManager": "deepseek-operator", "force": "true"})
    assert path.endswith("/deepseekdeployments/r1/status")
    assert (body["metadata"]["uid"], body["status"]) == (b.UID, {"replicas": 1})


async def test_everything_goes_with_its_deployment() -> None:
    client = Recorded()
    await writer(client).apply_endpoints(DSD, "r1-8000", (Address("10.0.0.1", 8000),), 8000, ("http", "http-9000"))
    ((_, path, body, _, _),) = client.calls
    assert path == "/apis/discovery.k8s.io/v1/namespaces/serving/endpointslices/r1-8000"
    (owner,) = body["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (b.UID, True)
    assert body["metadata"]["labels"]["deepseek-operator.io/uid"] == b.UID
    assert body["metadata"]["labels"]["kubernetes.io/service-name"] == "r1"
    assert "skypilot-cluster-name" not in body["metadata"]["labels"]
    assert body["endpoints"] == [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}]
    assert [(port["name"], port["port"]) for port in body["ports"]] == [("http", 8000), ("http-9000", 8000)]


@pytest.mark.parametrize(("host", "family"), [("10.0.0.1", "IPv4"), ("fd00::1", "IPv6")])
async def test_a_slice_is_of_the_family_of_its_addresses(host: str, family: str) -> None:
    client = Recorded()
    await writer(client).apply_endpoints(DSD, "r1-8000", (Address(host, 8000),), 8000, ("http",))
    assert client.calls[0][2]["addressType"] == family


async def test_a_service_is_created_without_a_read() -> None:
    client = Recorded()
    await writer(client).apply_service(DSD, (8000,), "ClusterIP", create=True)
    ((method, path, body, _, _),) = client.calls
    assert (method, path) == ("POST", SERVICE)
    assert "selector" not in body["spec"]


async def test_a_service_of_someone_else_is_a_conflict_and_not_touched() -> None:
    foreign: dict[str, Any] = {"metadata": {"labels": {}}, "spec": {}}
    client = Recorded(POST=KubeConflictError("exists", 409), GET=foreign)
    with pytest.raises(KubeConflictError, match="was not made for this deployment"):
        await writer(client).apply_service(DSD, (8000,), "ClusterIP", create=True)
    assert [call[0] for call in client.calls] == ["POST", "GET"]


async def test_an_account_of_someone_else_is_never_used() -> None:
    client = Recorded(POST=KubeConflictError("exists", 409), GET={"metadata": {"labels": {"app": "theirs"}}})
    with pytest.raises(KubeConflictError, match="ServiceAccount r1-engine exists"):
        await writer(client).apply_service_account(DSD)


async def test_ports_of_a_service_are_replaced_at_once() -> None:
    client = Recorded()
    await writer(client).apply_service(DSD, (9000, 8000), "ClusterIP")
    ((method, path, body, _, content_type),) = client.calls
    assert (method, path, content_type) == ("PATCH", f"{SERVICE}/r1", MERGE)
    assert [(port["name"], port["port"]) for port in body["spec"]["ports"]] == [("http", 9000), ("http-8000", 8000)]


async def test_a_pod_that_skypilot_forgot_is_deleted_at_once() -> None:
    client = Recorded(GET={"items": [{"metadata": {"name": "x"}}]})
    await writer(client).clear_remains("serving", "r1-x")
    deleted = [(call[1], call[3]) for call in client.calls if call[0] == "DELETE"]
    assert deleted == [
        ("/api/v1/namespaces/serving/pods/x", {"gracePeriodSeconds": 0}),
        ("/api/v1/namespaces/serving/services/x", None),
    ]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, KubeDeniedError),
        (403, KubeDeniedError),
        (404, KubeNotFoundError),
        (409, KubeConflictError),
        (422, KubeRejectedError),
        (429, KubeUnavailableError),
        (503, KubeUnavailableError),
    ],
)
def test_an_error_says_whether_trying_again_may_help(status: int, kind: type[Exception]) -> None:
    error = error_of(status, '{"message": "no \\u001b[31mway"}')
    assert type(error) is kind
    assert (str(error), error.status) == ("no way", status)


PROXY = ProxySpec("r1", b.UID, "serving", "/health", ProxySettings("x/haproxy:1", 3), encrypted=True, api_key=KEY)


async def test_a_secret_is_made_once_and_what_is_in_it_never_changes() -> None:
    client = Recorded()
    await writer(client).ensure_secret(DSD, "r1-api-key", "Opaque", {"token": "eA=="})
    ((method, path, body, _, _),) = client.calls
    assert (method, path) == ("POST", "/api/v1/namespaces/serving/secrets")
    assert (body["immutable"], body["type"], body["data"]) == (True, "Opaque", {"token": "eA=="})
    ours = {"metadata": {"labels": {"deepseek-operator.io/uid": b.UID}}, "data": {"token": "b2xk"}}
    client = Recorded(POST=KubeConflictError("exists", 409), GET=ours)
    assert await writer(client).ensure_secret(DSD, "r1-api-key", "Opaque", {"token": "eA=="}) == ours
    assert [call[0] for call in client.calls] == ["POST", "GET"]


async def test_a_secret_of_someone_else_is_neither_used_nor_changed() -> None:
    client = Recorded(
        POST=KubeConflictError("exists", 409), GET={"metadata": {"labels": {}}, "data": {"token": "eA=="}}
    )
    with pytest.raises(KubeConflictError, match="Secret r1-api-key exists and was not made for this deployment"):
        await writer(client).ensure_secret(DSD, "r1-api-key", "Opaque", {"token": "eA=="})


async def test_a_proxy_is_all_that_its_pods_need_and_holds_no_secret() -> None:
    client = Recorded(GET=KubeNotFoundError("gone", 404))
    services = await writer(client).apply_proxy(DSD, PROXY)
    applied = [body for method, _, body, _, kind in client.calls if (method, kind) == ("PATCH", APPLY)]
    made = {body["kind"]: body for body in applied if body["kind"] != "Service"}
    assert [service["metadata"]["name"] for service in services] == ["r1-plain", "r1-tls"]
    assert all(service["spec"]["clusterIP"] == "None" for service in services)
    assert set(made) == {"ConfigMap", "PodDisruptionBudget", "Deployment"}
    assert all(body["metadata"]["ownerReferences"][0]["uid"] == b.UID for body in made.values())
    spec = made["Deployment"]["spec"]
    assert spec["replicas"] == 3
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert made["PodDisruptionBudget"]["spec"]["selector"] == spec["selector"]
    # While no engine serves, no proxy is ready, and nodes have to be drained nevertheless.
    assert made["PodDisruptionBudget"]["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    (container,) = spec["template"]["spec"]["containers"]
    variables = {one["name"]: one for one in container["env"]}
    assert variables["ENGINE_KEY"]["valueFrom"]["secretKeyRef"] == {"name": "r1-api-key", "key": "token"}
    (authority,) = [one["secret"] for one in spec["template"]["spec"]["volumes"] if "secret" in one]
    assert authority == {"secretName": "r1-ca", "items": [{"key": "tls.crt", "path": "ca.crt"}]}


async def test_a_proxy_whose_pods_are_refused_says_why() -> None:
    words = 'pods "r1-proxy-x" is forbidden: failed quota: q: must specify limits.cpu'
    failed = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": words}
    client = Recorded(GET=KubeNotFoundError("gone", 404), PATCH={"metadata": {}, "status": {"conditions": [failed]}})
    with pytest.raises(KubeRejectedError, match=r"Deployment r1-proxy: .*must specify limits\.cpu"):
        await writer(client).apply_proxy(DSD, PROXY)
    passed = {"type": "ReplicaFailure", "status": "False", "message": words}
    client = Recorded(GET=KubeNotFoundError("gone", 404), PATCH={"metadata": {}, "status": {"conditions": [passed]}})
    await writer(client).apply_proxy(DSD, PROXY)


async def test_the_pods_of_a_proxy_are_fit_for_the_restricted_profile() -> None:
    pod = pod_template(PROXY, {})["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False
    assert set(container["resources"]) == {"requests", "limits"}


def test_an_administrator_says_whence_the_image_of_a_proxy_comes_and_where_its_pods_run() -> None:
    said = {
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "edge"},
        "tolerations": [{"key": "edge", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "serving",
    }
    resources = {"requests": {"cpu": 1}, "limits": {"memory": "2Gi"}}
    pod = ProxyPod.model_validate_json(json.dumps({**said, "resources": resources, "securityContext": {}}))
    spec = pod_template(replace(PROXY, settings=ProxySettings("x/haproxy:1", 3, pod)), {})["spec"]
    assert {name: spec[name] for name in said} == said
    assert spec["containers"][0]["resources"] == resources
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert spec.keys() - pod_template(PROXY, {})["spec"].keys() == said.keys()


def test_labels_of_an_administrator_never_hide_those_by_which_a_proxy_is_known() -> None:
    pod = ProxyPod(labels={"team": "serving", "own": "theirs"}, annotations={"sidecar.istio.io/inject": "false"})
    template = pod_template(replace(PROXY, settings=ProxySettings("x/haproxy:1", 3, pod)), {"own": "ours"})
    assert template["metadata"]["labels"] == {"team": "serving", "own": "ours"}
    assert template["metadata"]["annotations"] == {"sidecar.istio.io/inject": "false"}
    assert pod_template(PROXY, {"own": "ours"})["metadata"] == {"labels": {"own": "ours"}}


@pytest.mark.parametrize(
    ("nameserver", "said", "ipv6", "listen"),
    [
        ("10.96.0.10", "10.96.0.10:53", True, "[::]:8080"),
        ("10.96.0.10", "10.96.0.10:53", False, ":8080"),
        ("fd00:10:96::a", "[fd00:10:96::a]:53", True, "[::]:8080"),
    ],
)
def test_a_proxy_takes_its_surroundings_from_its_pod(
    nameserver: str, said: str, ipv6: bool, listen: str, tmp_path: Path
) -> None:
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(f"search serving.svc.example svc.example example\nnameserver {nameserver}\noptions ndots:5\n")
    script = pod_template(PROXY, {})["spec"]["containers"][0]["command"][2]
    for there, here in (
        ("/etc/resolv.conf", str(resolv)),
        ("/proc/net/if_inet6", str(resolv if ipv6 else tmp_path / "none")),
        ("exec haproxy -db -f /etc/deepseek-proxy/haproxy.cfg", "env"),
    ):
        assert there in script
        script = script.replace(there, here)
    variables = {"NAMESPACE": "serving", "PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", "-euc", script], env=variables, capture_output=True, text=True, timeout=30, check=True)
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert (found["NAMESERVER"], found["LISTEN"], found["MEMBERS_DOMAIN"]) == (said, listen, "serving.svc.example")


async def test_a_proxy_that_is_there_is_brought_back_to_what_it_should_be() -> None:
    client = Recorded(GET={"metadata": {"labels": {"deepseek-operator.io/uid": b.UID}}})
    await writer(client).apply_proxy(DSD, PROXY)
    assert [(method, kind) for method, _, _, _, kind in client.calls if method != "GET"] == [("PATCH", APPLY)] * 5


async def test_a_deployment_of_someone_else_is_never_taken_for_a_proxy() -> None:
    client = Recorded(GET={"metadata": {"labels": {"app": "theirs"}}})
    with pytest.raises(KubeConflictError, match="was not made for this deployment"):
        await writer(client).apply_proxy(DSD, PROXY)
    await writer(client).remove_proxy(DSD)
    assert {call[0] for call in client.calls} == {"GET"}


async def test_a_proxy_goes_with_its_services() -> None:
    client = Recorded(GET={"metadata": {"labels": {"deepseek-operator.io/uid": b.UID}}})
    await writer(client).remove_proxy(DSD)
    deleted = [path.rsplit("/", 2)[1:] for method, path, *_ in client.calls if method == "DELETE"]
    assert deleted == [
        ["deployments", "r1-proxy"],
        ["poddisruptionbudgets", "r1-proxy"],
        ["configmaps", "r1-proxy"],
        ["services", "r1-plain"],
        ["services", "r1-tls"],
    ]


def test_what_a_proxy_is_made_from_has_a_name_that_changes_with_it() -> None:
    others = [
        replace(PROXY, encrypted=False),
        replace(PROXY, api_key=None),
        replace(PROXY, health_path="/ready"),
        replace(PROXY, authority="0ddba11f"),
        replace(PROXY, settings=ProxySettings("x/haproxy:2", 3)),
        replace(PROXY, settings=ProxySettings("x/haproxy:1", 3, ProxyPod(node_selector={"pool": "edge"}))),
        replace(PROXY, settings=ProxySettings("x/haproxy:1", 3, ProxyPod(labels={"team": "serving"}))),
        replace(PROXY, settings=ProxySettings("x/haproxy:1", 3, ProxyPod(annotations={"team": "serving"}))),
    ]
    assert len({proxy_revision(spec) for spec in (PROXY, *others)}) == 9
    assert proxy_revision(replace(PROXY, settings=ProxySettings("x/haproxy:1", 2))) == proxy_revision(PROXY)
