"""A deployment on a rented machine: the real operator, a real API server, a real SkyPilot server, simulated EC2.

The tests share one deployment, and go through its life in their order.
"""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.home import SECRET_KEY, price
from tests.cloud.tenant import API_KEY, Tenant
from tests.cloud.world import STATE
from tests.system.wait import eventually

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def rented(tenant: Tenant) -> Iterator[Tenant]:
    """A deployment on one spot machine with an L4, ready."""
    began = time.monotonic()
    tenant.apply(resources={"capacityType": "Spot"})
    tenant.until_ready()
    print(f"apply to Ready: {time.monotonic() - began:.0f} s")
    yield tenant
    tenant.delete()
    tenant.expect_nothing_rented()


def machine_of(tenant: Tenant) -> dict[str, Any]:
    (machine,) = tenant.cloud.instances()
    return dict(machine)


def test_the_status_and_the_service_lead_to_the_machine_and_the_engine_wants_its_key(rented: Tenant) -> None:
    machine, body, instance = machine_of(rented), rented.get(), rented.instance()
    assert (instance["infra"], instance["region"]) == ("aws", "us-east-1")
    assert instance["address"] == f"{machine['public']}:8000"
    assert machine["tags"]["deepseek-operator-uid"] == body["metadata"]["uid"]
    (slice_,) = rented.kubectl.get("endpointslices", labels="kubernetes.io/service-name=rented")
    assert [one["addresses"] for one in slice_["endpoints"]] == [[machine["public"]]]

    # At the machine itself, and through the Service's address as a pod would.
    service = rented.kubectl.get("service", "rented")["spec"]
    for address in (instance["address"], f"{service['clusterIP']}:{service['ports'][0]['port']}"):
        status, answer = rented.chat(address)
        assert status == 200
        assert answer["usage"]["completion_tokens"] > 0
        assert rented.chat(address, key=None)[0] == 401


def test_the_price_is_the_catalogs_to_the_cent(rented: Tenant) -> None:
    catalog = f"{price('g6.xlarge', 'us-east-1', spot=True):.2f}"
    eventually(lambda: rented.instance()["hourlyCost"] == catalog, within=180, what=f"it costs {catalog}")
    assert rented.get()["status"]["cost"]["hourly"] == catalog


def test_keys_reach_the_machine_and_nothing_that_anybody_else_reads(rented: Tenant) -> None:
    machine = machine_of(rented)
    shown = {
        "the cloud's user data": machine["user_data"],
        "tags": str(machine["tags"]),
        "the object": rented.kubectl("get", "dsd", "rented", "-o", "yaml"),
        "Events": rented.kubectl("get", "events", "-o", "yaml"),
        "the operator's log": rented.operator.log.read_text(),
        "the SkyPilot server's log": rented.cloud.log("skypilot").read_text(errors="replace"),
    }
    for place, text in shown.items():
        assert API_KEY not in text, place
        assert SECRET_KEY not in text, place
    # The machine runs with the engine's key. The account's own credentials have no business there.
    assert _files_with(SECRET_KEY, STATE / "ec2/machines" / machine["id"] / "upper") == []


def test_a_machine_that_is_taken_back_is_noticed_by_the_probe_and_replaced(rented: Tenant) -> None:
    machine = machine_of(rented)
    assert machine["lifecycle"] == "spot"
    began = time.monotonic()
    rented.cloud.control("reclaim", {"wanted": {"id": machine["id"]}})
    eventually(lambda: rented.condition().get("status") == "False", within=120, what="the loss is seen", every=0.2)
    print(f"reclaim to Ready=False: {time.monotonic() - began:.1f} s")
    rented.until_ready()
    print(f"reclaim to Ready again: {time.monotonic() - began:.0f} s")
    assert machine_of(rented)["id"] != machine["id"]


def _files_with(text: str, folder: Path) -> list[str]:
    done = subprocess.run(["grep", "-rlIF", "--", text, folder], capture_output=True, text=True, check=False)
    return [str(Path(line).relative_to(folder)) for line in done.stdout.splitlines()]
