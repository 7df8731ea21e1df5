"""Whatever dies, traffic returns, nothing is doubled, and in the end nothing is left. Everything here is real."""

from typing import Any

import pytest

from tests.cluster.api import Cluster
from tests.cluster.local.cluster import LocalCluster
from tests.e2e.conftest import Tenant
from tests.system.demo import chat
from tests.system.kubectl import CommandError
from tests.system.stack import RELEASE
from tests.system.wait import eventually

MODEL = "deepseek-ai/DeepSeek-R1"
ENGINE = "api_server|vllm serve|EngineCore"


def pods(tenant: Tenant, created: dict[str, Any]) -> list[str]:
    """Names of the pods of a deployment."""
    found = tenant.kubectl.get("pods", labels=f"deepseek-operator.io/uid={created['metadata']['uid']}")
    return [pod["metadata"]["name"] for pod in found]


def to_engine(tenant: Tenant, pod: str, signal: str) -> None:
    """Send a signal to all processes of the engine in a pod."""
    tenant.kubectl("exec", pod, "--", "pkill", f"-{signal}", "-f", ENGINE)


def kill_skypilot(tenant: Tenant, cluster: Cluster, *before: str) -> None:
    """Run a command beside the SkyPilot server, then kill the server as the kernel does when memory runs out."""
    if not isinstance(cluster, LocalCluster):
        pytest.skip("only processes of a cluster of our own are killed")
    count = restarts(tenant)
    if before:
        tenant.stack.system("exec", f"deploy/{RELEASE}", "-c", "skypilot", "--", *before)
    assert cluster.kill_processes("sky.server.server")
    eventually(lambda: restarts(tenant) > count or None, within=60, what="the SkyPilot server was started again")


def forgotten(tenant: Tenant) -> bool:
    """Whether SkyPilot answers and knows no cluster."""
    try:
        return tenant.stack.skypilot_clusters() == []
    except (CommandError, ValueError, StopIteration):
        return False  # it is still starting


def restarts(tenant: Tenant) -> int:
    """How often the SkyPilot server's container was restarted."""
    (pod, *_) = tenant.stack.system.get("pods", labels=f"app.kubernetes.io/instance={RELEASE}")
    return sum(one["restartCount"] for one in pod["status"]["containerStatuses"] if one["name"] == "skypilot")


def published(tenant: Tenant) -> int:
    """Number of addresses to which the Service leads."""
    found = tenant.kubectl.get("endpointslices", labels="kubernetes.io/service-name=tiny")
    return sum(len(piece["endpoints"] or []) for piece in found)


def audit(tenant: Tenant) -> str:
    """What the operator's own audit finds."""
    command = ["exec", f"deploy/{RELEASE}", "-c", "operator", "--", "deepseek-operator", "audit"]
    return tenant.stack.system(*command).strip()


def answers(tenant: Tenant) -> bool:
    """Whether the model answers through its Service."""
    url = tenant.get()["status"]["endpoint"]["internalURL"]
    return bool(chat(tenant.stack, tenant.namespace, url, MODEL)["usage"]["completion_tokens"])


def test_whatever_dies_a_replica_comes_back(tenant: Tenant, cluster: Cluster) -> None:
    created = tenant.apply()
    tenant.wait_ready()
    (pod,) = pods(tenant, created)

    to_engine(tenant, pod, "STOP")
    eventually(lambda: published(tenant) == 0 or None, within=12, what="a hung engine has left its Service")
    to_engine(tenant, pod, "CONT")
    eventually(lambda: published(tenant) == 1 or None, within=20, what="it is back")

    to_engine(tenant, pod, "KILL")
    eventually(lambda: published(tenant) == 0 or None, within=10, what="a dead engine has left its Service")
    tenant.wait_reason("EngineExited")
    tenant.wait_ready()
    (instance,) = tenant.get()["status"]["instances"]
    assert (pods(tenant, created), instance["restarts"]) == ([pod], 1), "the same nodes, one restart"

    if isinstance(cluster, LocalCluster):
        cluster.kill_service("kube-apiserver")
        eventually(lambda: cluster.health().healthy or None, within=60, what="the API server is back")
    assert tenant.condition()["status"] == "True"
    assert answers(tenant)

    tenant.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
    eventually(lambda: published(tenant) == 0 or None, within=10, what="a lost pod has left the Service")
    eventually(lambda: pods(tenant, created) or None, within=120, what="it is launched again")
    kill_skypilot(tenant, cluster)  # in mid-launch
    tenant.wait_ready(within=420)
    assert answers(tenant)
    (instance,) = tenant.get()["status"]["instances"]
    rows = [row for row in tenant.stack.skypilot_clusters() if row["name"] == instance["name"]]
    assert len(rows) == 1
    assert len(pods(tenant, created)) == 1

    tenant.stack.kubectl("delete", "namespace", tenant.namespace, "--timeout=180s", timeout=200)
    assert tenant.get() is None
    assert audit(tenant).startswith("nothing exists under user id ")


def test_with_its_database_lost_a_replica_serves_on_and_is_given_back(tenant: Tenant, cluster: Cluster) -> None:
    created = tenant.apply()
    tenant.wait_ready()
    before = pods(tenant, created)

    kill_skypilot(tenant, cluster, "sh", "-c", "rm -rf $HOME/.sky $HOME/sky_logs")
    eventually(lambda: forgotten(tenant) or None, within=180, what="SkyPilot has forgotten it")
    assert (published(tenant), pods(tenant, created)) == (1, before)
    assert answers(tenant)

    tenant.delete(within=120)
    tenant.expect_nothing_left(created)
    assert audit(tenant).startswith("nothing exists under user id ")
