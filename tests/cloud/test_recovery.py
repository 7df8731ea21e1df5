"""What is left of a launch on a cloud whose SkyPilot server dies in the middle: one machine, and an engine on it."""

import time

import pytest

from tests.cloud.tenant import Tenant
from tests.system.wait import eventually

pytestmark = pytest.mark.cluster


def test_a_skypilot_server_that_is_killed_in_mid_launch_costs_no_second_machine(tenant: Tenant) -> None:
    tenant.apply("killed")
    eventually(lambda: bool(tenant.cloud.instances()), within=600, what="a machine is rented", every=0.1)
    (machine,) = tenant.cloud.instances()
    tenant.cloud.kill_skypilot()
    began = time.monotonic()
    tenant.cloud.start_skypilot()
    tenant.until_ready("killed")
    print(f"\nfigure: SkyPilot killed in mid-launch, to Ready: {time.monotonic() - began:.1f} s")
    assert len(tenant.cloud.instances()) == 1
    same = tenant.cloud.instances()[0]["id"] == machine["id"]
    print(f"figure: the engine runs on {'the same machine' if same else 'another machine'}")
    tenant.delete("killed")
    tenant.expect_nothing_rented()


def test_an_engine_whose_machine_skypilot_forgets_goes_on_serving_until_the_audit_ends_it(tenant: Tenant) -> None:
    tenant.apply("forgotten")
    tenant.until_ready("forgotten")
    name = tenant.instance("forgotten")["name"]
    tenant.cloud.kill_skypilot()
    tenant.cloud.start_skypilot(fresh_home=True)
    key = tenant.secret("forgotten-api-key", "token")
    assert tenant.ask_machine("forgotten", key=key) == 200
    assert tenant.condition("forgotten")["status"] == "True"
    # The object still knows it, so the audit leaves it alone.
    status, _ = tenant.audit()
    assert status == 0
    tenant.operator.kill()
    tenant.kubectl("patch", "dsd", "forgotten", "--type=merge", "--patch", '{"metadata": {"finalizers": null}}')
    tenant.kubectl("delete", "dsd", "forgotten", "--timeout=60s")
    status, found = tenant.audit("--delete", "--yes")
    assert status == 0
    assert name in found
    tenant.expect_nothing_rented()
    tenant.operator.start()
