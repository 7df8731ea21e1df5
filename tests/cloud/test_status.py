"""What a user reads about machines that are refused, never answer, or are forgotten. No machine boots here."""

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.cloud.home import price
from tests.cloud.tenant import Tenant
from tests.system.wait import eventually

pytestmark = pytest.mark.cluster

NO_CAPACITY_EAST = {"code": "InsufficientInstanceCapacity", "match": {"region": "us-east-1"}}


def test_each_place_says_why_not_and_the_next_one_is_rented(tenant: Tenant) -> None:
    tenant.cloud.faults(
        NO_CAPACITY_EAST,
        {"code": "VcpuLimitExceeded", "match": {"region": "us-west-2"}},
        {"code": "UnauthorizedOperation", "match": {"region": "eu-west-1"}},
    )
    tenant.apply("failover")
    message = tenant.until_reason("NoCapacity", "failover")
    tried = {(one["place"], one["reason"], one["code"]) for one in tenant.instance("failover")["placesTried"]}
    assert tried == {
        ("aws/us-east-1", "NoCapacity", "InsufficientInstanceCapacity"),
        ("aws/us-west-2", "QuotaExceeded", "VcpuLimitExceeded"),
        ("aws/eu-west-1/eu-west-1b", "NotAuthorized", "UnauthorizedOperation"),
    }
    assert "aws/us-west-2" in message

    tenant.cloud.faults(NO_CAPACITY_EAST, {"boot": "bare"})
    eventually(lambda: bool(tenant.cloud.instances()), within=600, what="a machine in the second region")
    assert [one["region"] for one in tenant.cloud.instances()] == ["us-west-2"]
    # SkyPilot waits for SSH, for ten minutes: the deployment goes all the same, and takes the machine with it.
    tenant.delete("failover")
    tenant.expect_nothing_rented()


def test_machines_of_a_lost_database_are_found_priced_and_terminated_by_the_audit(tenant: Tenant) -> None:
    tenant.cloud.faults({"boot": "bare"})
    tenant.apply("lost")
    eventually(lambda: bool(tenant.cloud.instances()), within=600, what="a machine is rented")
    name = tenant.instance("lost")["name"]
    # Operator and SkyPilot forget it together: the worst that can happen to a bill.
    tenant.operator.kill()
    tenant.cloud.kill_skypilot()
    tenant.cloud.start_skypilot(fresh_home=True)
    tenant.kubectl("patch", "dsd", "lost", "--type=merge", "--patch", '{"metadata": {"finalizers": null}}')
    tenant.kubectl("delete", "dsd", "lost", "--timeout=60s")

    def priced() -> dict[str, Any] | None:
        """Return the only finding, once the new server knows its prices."""
        status, found = tenant.audit()
        assert status == 4
        (orphan,) = json.loads(found)["orphans"]
        assert (orphan["kind"], orphan["name"], orphan["where"]) == ("machines", name, "aws/us-east-1")
        return dict(orphan) if orphan["hourly"] is not None else None

    orphan = eventually(priced, within=600, what="the audit knows the price")
    assert orphan is not None
    assert Decimal(orphan["hourly"]) == price("g6.xlarge", "us-east-1")

    status, _ = tenant.audit("--delete", "--yes")
    assert status == 0
    tenant.expect_nothing_rented()
    tenant.operator.start()
