"""Somebody's own firewall closes the engine's port: that is said, and the machine serves once it is open."""

import pytest

from tests.cloud.tenant import Tenant

pytestmark = pytest.mark.cluster

NAME = "blocked"
PORT = 8000


def test_a_port_that_is_closed_on_the_way_is_named_and_the_same_machine_serves_once_it_is_open(tenant: Tenant) -> None:
    tenant.cloud.control("knobs", {"closed": [PORT]})
    try:
        tenant.apply(NAME)
        said = tenant.until_reason("EnginePortBlocked", NAME)
        (machine,) = tenant.cloud.instances()
        assert f"connections to {machine['public']}:{PORT} are dropped, neither accepted nor refused" in said
        assert "a security group or a firewall" in said
    finally:
        tenant.cloud.control("knobs", {"closed": []})
    tenant.until_ready(NAME)
    assert [one["id"] for one in tenant.cloud.instances()] == [machine["id"]]
    tenant.delete(NAME)
    tenant.expect_nothing_rented()
