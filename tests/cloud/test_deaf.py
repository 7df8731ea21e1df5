"""One of two machines never answers SSH. SkyPilot waits for ten minutes, and leaves both running when it gives up."""

import time

import pytest

from tests.cloud.tenant import Tenant
from tests.system.wait import eventually

pytestmark = pytest.mark.cluster

NAME = "deaf"
GIVEN_UP_S = 900.0
"""SkyPilot's ten minutes, and time for the operator to notice and for the teardown."""


def test_two_machines_of_which_one_never_answers_are_given_back_and_another_region_serves(tenant: Tenant) -> None:
    tenant.cloud.faults({"boot": "deaf", "node": 1, "match": {"region": "us-east-1"}})
    tenant.apply(NAME, resources={"nodes": 2, "infra": ["aws/us-east-1", "aws/us-west-2"]})

    def regions() -> list[str]:
        return sorted(one["region"] for one in tenant.cloud.instances())

    eventually(lambda: regions() == ["us-east-1"] * 2, within=600, what="two machines are rented", every=0.1)
    began = time.monotonic()
    eventually(lambda: "us-east-1" not in regions(), within=GIVEN_UP_S, what="they are given back")
    print(f"\nfigure: one of two machines never answers SSH, both given back: {time.monotonic() - began:.1f} s")
    tenant.until_ready(NAME)
    print(f"figure: the same, to Ready in another region: {time.monotonic() - began:.1f} s")
    assert regions() == ["us-west-2"] * 2
    tried = [(one["place"], one["reason"]) for one in tenant.instance(NAME)["placesTried"]]
    assert tried == [("aws/us-east-1", "LaunchTimedOut")]
    tenant.delete(NAME)
    tenant.expect_nothing_rented()
