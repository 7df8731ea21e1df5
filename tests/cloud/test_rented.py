"""A deployment on a rented machine: the real operator, API server, SkyPilot server and proxy, a simulated EC2.

The tests share one deployment, and go through its life in their order. Its namespace admits only pods of the profile
``restricted``; the user gave no key, so the operator made one.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.client import Client
from tests.cloud.home import price
from tests.cloud.join import INTERNET, captured
from tests.cloud.tenant import Tenant, question
from tests.cluster.images import reference_of
from tests.cluster.local.cluster import LocalCluster
from tests.system.kubectl import CommandError
from tests.system.wait import eventually

pytestmark = pytest.mark.cluster

PROMPT = "canary-prompt-that-nobody-on-the-way-may-read"


@pytest.fixture(scope="module")
def rented(tenant: Tenant) -> Iterator[Tenant]:
    """A deployment on one spot machine with an L4, ready."""
    began = time.monotonic()
    tenant.apply(resources={"capacityType": "Spot"})
    tenant.until_ready()
    print(f"\nfigure: apply to Ready, one machine: {time.monotonic() - began:.1f} s")
    yield tenant
    tenant.delete()
    tenant.expect_nothing_rented()


@pytest.fixture(scope="module")
def client(rented: Tenant) -> Iterator[Client]:
    """A client in the cluster that knows neither a key nor a certificate."""
    made = Client(rented.kubectl, reference_of("engine-stub"))
    yield made
    made.remove()


def machine_of(tenant: Tenant) -> dict[str, Any]:
    (machine,) = tenant.cloud.instances()
    return dict(machine)


def addresses(tenant: Tenant, service: str) -> set[tuple[str, int]]:
    """Return where the slices of a Service lead."""
    slices = tenant.kubectl.get("endpointslices", labels=f"kubernetes.io/service-name={service}")
    return {(one["addresses"][0], s["ports"][0]["port"]) for s in slices for one in s["endpoints"]}


def proxies(tenant: Tenant) -> list[dict[str, Any]]:
    """Return the pods of the proxy that run."""
    pods = tenant.kubectl.get("pods", labels="app.kubernetes.io/component=proxy")
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def test_the_service_leads_to_two_proxies_and_they_to_the_machine(rented: Tenant) -> None:
    machine, body, instance = machine_of(rented), rented.get(), rented.instance()
    assert (instance["infra"], instance["region"]) == ("aws", "us-east-1")
    assert instance["address"] == f"{machine['public']}:8000"
    assert machine["tags"]["deepseek-operator-uid"] == body["metadata"]["uid"]
    pods = eventually(lambda: {(p["status"].get("podIP"), 8080) for p in proxies(rented)}, within=1, what="pods")
    assert len(pods) == 2
    eventually(lambda: addresses(rented, "rented") == pods, within=60, what="the Service leads to both proxies")
    assert addresses(rented, "rented-tls") == {(machine["public"], 8000)}
    assert addresses(rented, "rented-plain") == set()


def test_proxies_are_admitted_where_nothing_but_restricted_pods_are(rented: Tenant) -> None:
    root = {"metadata": {"name": "root"}, "apiVersion": "v1", "kind": "Pod"}
    with pytest.raises(CommandError, match='violates PodSecurity "restricted'):
        rented.kubectl.apply({**root, "spec": {"containers": [{"name": "x", "image": "x"}]}})
    for pod in proxies(rented):
        (container,) = pod["spec"]["containers"]
        assert container["image"] == reference_of("proxy")
        assert pod["spec"]["automountServiceAccountToken"] is False
    budget = rented.kubectl.get("pdb", "rented-proxy")
    assert budget["status"]["currentHealthy"] == 2


def test_a_client_in_the_cluster_needs_neither_key_nor_authority(rented: Tenant, client: Client) -> None:
    assert rented.url() == f"http://rented.{rented.kubectl.namespace}.svc:8000/v1"
    status, answer = client.post(f"{rented.url()}/chat/completions", question("Who are you?"))
    assert status == 200
    assert answer["choices"][0]["message"]["content"] == "Who are you?"
    assert answer["usage"]["completion_tokens"] > 0


def test_whoever_asks_the_machine_itself_needs_the_key_and_tls(rented: Tenant) -> None:
    key = rented.secret("rented-api-key", "token")
    assert rented.get()["status"]["endpoint"]["apiKeySecretName"] == "rented-api-key"
    assert rented.ask_machine() == 401
    assert rented.ask_machine(key="another key") == 401
    assert rented.ask_machine(key=key) == 200
    with pytest.raises(OSError, match=r"closed without an answer|reset"):
        rented.ask_machine(key=key, scheme="http")


def test_nobody_between_the_cluster_and_the_machine_reads_a_prompt_or_the_key(
    rented: Tenant, client: Client, cluster: LocalCluster, tmp_path: Path
) -> None:
    with captured(cluster.layout, tmp_path) as frames:
        status, answer = client.post(f"{rented.url()}/chat/completions", question(PROMPT))
        assert status == 200
        assert answer["choices"][0]["message"]["content"] == PROMPT
    machine, key = machine_of(rented), rented.secret("rented-api-key", "token")
    inside = [link for link, seen in frames.items() if link not in (INTERNET, "lo") and PROMPT.encode() in seen]
    assert inside, f"the capture sees the plain side: {sorted(frames)}"
    on_the_way = frames[INTERNET]
    assert bytes(int(part) for part in machine["public"].split(".")) in on_the_way
    assert len(on_the_way) > 2000
    for secret in (PROMPT, key, "Bearer", "/v1/chat", "choices"):
        assert secret.encode() not in on_the_way, secret
    print(f"\nfigure: {len(on_the_way):,} bytes on the way to the machine, none of the prompt or key in plain text")


def test_the_price_is_the_catalogs_to_the_cent(rented: Tenant) -> None:
    catalog = f"{price('g6.xlarge', 'us-east-1', spot=True):.2f}"
    eventually(lambda: rented.instance()["hourlyCost"] == catalog, within=180, what=f"it costs {catalog}")
    assert rented.get()["status"]["cost"]["hourly"] == catalog


def test_proxies_that_a_quota_refuses_are_told_and_come_when_it_is_gone(rented: Tenant, client: Client) -> None:
    def readiness(reason: str) -> bool:
        return rented.condition().get("reason") == reason

    head = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    rented.kubectl.apply({**head, "spec": {"hard": {"count/pods": "0"}}})
    rented.kubectl("delete", "pods", "-l", "app.kubernetes.io/component=proxy", "--grace-period=1", "--wait=false")
    eventually(lambda: readiness("ProxyRefused"), within=120, what="the status says that the proxy is refused")
    assert "exceeded quota: none" in rented.condition()["message"]
    assert "pass_failed" not in rented.operator.log.read_text()
    rented.kubectl("delete", "resourcequota", "none")
    eventually(lambda: readiness("Ready"), within=180, what="the proxies are there again")
    assert client.post(f"{rented.url()}/chat/completions", question("Again?"))[0] == 200


def test_a_machine_that_is_taken_back_is_noticed_by_the_probe_and_replaced(rented: Tenant, client: Client) -> None:
    machine = machine_of(rented)
    assert machine["lifecycle"] == "spot"
    began = time.monotonic()
    rented.cloud.control("reclaim", {"wanted": {"id": machine["id"]}})
    eventually(lambda: rented.condition().get("status") == "False", within=120, what="the loss is seen", every=0.1)
    print(f"\nfigure: reclaim to Ready=False: {time.monotonic() - began:.1f} s (the machine ends 1 s after it)")
    eventually(lambda: "Preempted" in rented.events(), within=120, what="an Event says why", every=0.2)
    print(f"figure: reclaim to the Event Preempted: {time.monotonic() - began:.1f} s")
    rented.until_ready()
    print(f"figure: reclaim to Ready again: {time.monotonic() - began:.1f} s")
    successor = machine_of(rented)
    assert successor["id"] != machine["id"]
    assert addresses(rented, "rented-tls") == {(successor["public"], 8000)}
    assert client.post(f"{rented.url()}/chat/completions", question("Again?"))[0] == 200
