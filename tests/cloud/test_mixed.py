"""Two replicas of one object, one in the cluster and one on a rented spot machine, behind one address.

The node says that it has one GPU. So the second replica, which would rather be there as well, is rented.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cloud.conftest import MIXED as NAMESPACE  # noqa: F401 - read by the fixture `tenant`
from tests.cloud.tenant import Tenant
from tests.cluster import gpus
from tests.cluster.images import reference_of
from tests.cluster.local.cluster import LocalCluster
from tests.system.traffic import Traffic
from tests.system.wait import eventually

pytestmark = pytest.mark.cluster

NAME = "mixed"


@pytest.fixture(scope="module")
def mixed(tenant: Tenant, cluster: LocalCluster) -> Iterator[Tenant]:
    """A deployment of two replicas, ready."""
    gpus.advertise(cluster, count=1, product="NVIDIA-L4")
    try:
        began = time.monotonic()
        tenant.apply(
            NAME,
            replicas=2,
            engine={"name": "VLLM", "runtime": "Image", "image": reference_of("engine-stub")},
            resources={
                "infra": ["kubernetes", "aws"],
                "capacityType": "Spot",
                "provisionTimeoutSeconds": 20,
                "cpus": "1+",  # the node is small
                "memory": "2+",
            },
        )
        tenant.until_ready(NAME)
        print(f"\nfigure: apply to Ready, one replica here and one rented: {time.monotonic() - began:.1f} s")
        yield tenant
        tenant.delete(NAME)
        tenant.expect_nothing_rented()
    finally:
        gpus.withdraw(cluster)


def instances(tenant: Tenant) -> dict[str, dict[str, Any]]:
    """Return the replicas by where they run."""
    return {one.get("infra"): one for one in tenant.get(NAME)["status"]["instances"]}


def test_the_replica_for_which_the_cluster_has_no_gpu_is_rented(mixed: Tenant) -> None:
    assert set(instances(mixed)) == {"kubernetes", "aws"}


def test_a_reclaim_under_traffic_costs_no_request_after_it_was_noticed(mixed: Tenant) -> None:
    traffic = Traffic(mixed.kubectl, reference_of("engine-stub"), NAME, 8000, "r1-8b")
    eventually(lambda: asked(mixed), within=60, what="traffic reaches both replicas")
    (machine,) = mixed.cloud.instances()
    began = time.time()
    mixed.cloud.control("reclaim", {"wanted": {"id": machine["id"]}})
    gone = eventually(lambda: machine["public"] not in members(mixed), within=60, what="it left", every=0.1)
    assert gone
    noticed_s = time.time() - began
    mixed.until_ready(NAME)
    ready_s = time.time() - began
    summary = traffic.stop()
    failed = [json.loads(line) for line in traffic.log().splitlines() if '"error"' in line]
    times = [round(one["at"] - began, 1) for one in failed]
    total = sum(kind["requests"] for kind in summary.values())
    print(f"figure: reclaim to leaving the members: {noticed_s:.1f} s; to Ready again: {ready_s:.1f} s")
    print(f"figure: {total} requests, {len(failed)} failed, at {times} s after the reclaim")
    assert all(0 <= at <= noticed_s + PROXY_KNOWS_S for at in times), failed
    assert set(instances(mixed)) == {"kubernetes", "aws"}


PROXY_KNOWS_S = 17.0
"""Until a proxy sends nothing to a member that has left, docs/endpoint.md; its own checks are faster."""


def asked(tenant: Tenant) -> bool:
    """Return whether both kinds of members are there."""
    return len(members(tenant)) == 2


def members(tenant: Tenant) -> set[str]:
    """Return the addresses by which the proxies find engines."""
    slices = [
        piece
        for kind in ("plain", "tls")
        for piece in tenant.kubectl.get("endpointslices", labels=f"kubernetes.io/service-name={NAME}-{kind}")
    ]
    return {one["addresses"][0] for piece in slices for one in piece["endpoints"]}
