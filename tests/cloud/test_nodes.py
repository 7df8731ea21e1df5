"""One replica on two rented machines. The engine is a stand-in: it has no model, but its nodes have to find each other.

It serves only after the rank above 0 has joined the head at the address that the run script gives it, and it wants that
rank once, from the address that the script calls that node's own.
"""

import time
from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.cloud.client import Client
from tests.cloud.home import price
from tests.cloud.tenant import Tenant, question
from tests.cluster.images import reference_of
from tests.system.wait import eventually

pytestmark = pytest.mark.cluster

NAME = "nodes"


@pytest.fixture(scope="module")
def two_nodes(tenant: Tenant) -> Iterator[Tenant]:
    """A deployment of one replica on two machines, ready."""
    began = time.monotonic()
    tenant.apply(NAME, resources={"nodes": 2})
    tenant.until_ready(NAME)
    print(f"\nfigure: apply to Ready, two machines: {time.monotonic() - began:.1f} s")
    yield tenant
    tenant.delete(NAME)
    tenant.expect_nothing_rented()


def test_two_machines_answer_as_one_at_the_address_in_the_cluster(two_nodes: Tenant) -> None:
    machines = two_nodes.cloud.instances()
    client = Client(two_nodes.kubectl, reference_of("engine-stub"))
    status, answer = client.post(f"{two_nodes.url(NAME)}/chat/completions", question("Who are you?"))
    assert status == 200
    by_role = {one["role"]: one["private"] for one in machines}
    assert answer["nodes"] == [by_role["head"], by_role["worker"]]
    assert two_nodes.instance(NAME)["address"].split(":")[0] in {one["public"] for one in machines}
    client.remove()


def test_two_machines_cost_twice_the_catalogs_price(two_nodes: Tenant) -> None:
    catalog = 2 * price("g6.xlarge", "us-east-1")
    cost = two_nodes.instance
    eventually(lambda: Decimal(cost(NAME)["hourlyCost"]) == catalog, within=180, what=f"they cost {catalog}")


def test_losing_the_worker_replaces_the_replica_and_leaves_no_machine_behind(two_nodes: Tenant) -> None:
    (worker,) = [one for one in two_nodes.cloud.instances() if one["role"] == "worker"]
    began = time.monotonic()
    two_nodes.cloud.control("reclaim", {"wanted": {"id": worker["id"]}})
    eventually(lambda: two_nodes.condition(NAME).get("status") == "False", within=180, what="it is seen", every=0.2)
    print(f"\nfigure: one of two machines lost, to Ready=False: {time.monotonic() - began:.1f} s")
    two_nodes.until_ready(NAME)
    print(f"figure: one of two machines lost, to Ready again: {time.monotonic() - began:.1f} s")
    machines = two_nodes.cloud.instances()
    assert len(machines) == 2
    assert worker["id"] not in {one["id"] for one in machines}
