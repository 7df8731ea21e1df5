"""Places without room: the next one serves, and the status says of each why it was not taken.

The node of the test cluster says that it has a GPU, which a pod holds. So the first place is full.
"""

import time
from collections.abc import Iterator

import pytest

from tests.cloud.client import Client, restricted
from tests.cloud.conftest import MIXED as NAMESPACE  # noqa: F401 - read by the fixture `tenant`
from tests.cloud.tenant import Tenant, question
from tests.cluster import gpus
from tests.cluster.images import reference_of
from tests.cluster.local.cluster import LocalCluster
from tests.system.wait import eventually

pytestmark = pytest.mark.cluster

NAME = "failover"
PROVISION_S = 20


@pytest.fixture
def full(tenant: Tenant, cluster: LocalCluster) -> Iterator[Tenant]:
    """A cluster whose only GPU is in use."""
    gpus.advertise(cluster, count=1, product="NVIDIA-L4")
    spec = restricted(reference_of("engine-stub"), ["python3", "-c", "import signal; signal.pause()"])
    spec["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "1"}}
    tenant.kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "holder"}, "spec": spec})
    try:
        tenant.kubectl("wait", "pod/holder", "--for=condition=Ready", "--timeout=60s")
        yield tenant
    finally:
        tenant.kubectl("delete", "pod", "holder", "--grace-period=0", "--force")
        gpus.withdraw(cluster)


def test_a_full_cluster_and_a_region_without_capacity_are_passed_over_with_the_reason_of_each(full: Tenant) -> None:
    full.cloud.faults({"code": "InsufficientInstanceCapacity", "match": {"region": "us-east-1"}})
    began = time.monotonic()
    full.apply(
        NAME,
        engine={"name": "VLLM", "runtime": "Image", "image": reference_of("engine-stub")},
        resources={
            "infra": ["kubernetes", "aws/us-east-1", "aws/us-west-2"],
            "provisionTimeoutSeconds": PROVISION_S,
            "cpus": "1+",  # the node is small
            "memory": "2+",
        },
    )
    eventually(lambda: bool(full.cloud.instances()), within=600, what="a machine is rented", every=0.1)
    print(f"\nfigure: {PROVISION_S} s in the cluster, one full region, to a machine: {time.monotonic() - began:.1f} s")
    full.until_ready(NAME)
    print(f"figure: the same, to Ready: {time.monotonic() - began:.1f} s")
    instance = full.instance(NAME)
    assert (instance["infra"], instance["region"]) == ("aws", "us-west-2")
    tried = [(one["place"], one["reason"], one.get("code", "")) for one in instance["placesTried"]]
    assert tried == [
        ("kubernetes", "Unschedulable", ""),
        ("aws/us-east-1", "NoCapacity", "InsufficientInstanceCapacity"),
    ]
    described = full.kubectl("describe", "dsd", NAME)
    assert "InsufficientInstanceCapacity" in described
    client = Client(full.kubectl, reference_of("engine-stub"))
    assert client.post(f"{full.url(NAME)}/chat/completions", question("Where are you?"))[0] == 200
    client.remove()
    full.delete(NAME)
    full.expect_nothing_rented()
