"""What a provider refuses, as it comes out of a real SkyPilot server. No machine boots here: EC2 only says so."""

import asyncio
import time
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.skypilot import Outcome, SkyPilotCluster
from deepseek_operator.launch import build_task
from deepseek_operator.skypilot.client import SkyPilotClient
from tests.cloud.world import World
from tests.unit.planning.builders import IDENTITY, planned, spec_for

BARE = {"boot": "bare"}
"""EC2 says that the machine runs, and nothing is there: enough for all that comes before SSH."""
L4 = ["L4:1"]
WITHIN_S = 300
"""A launch that is refused takes two seconds, the first one of a server longer; on a busy machine, all do."""


def refused(code: str, region: str = "*", **more: Any) -> dict[str, Any]:
    return {"code": code, "match": {"region": region, **more}}


async def launch(client: SkyPilotClient, name: str, **resources: Any) -> None:
    """Launch what the operator would launch for such resources."""
    spec = spec_for(
        resources={"infra": ["aws"], "accelerators": L4, **resources},
        endpoint={"apiKeySecretRef": {"name": "key", "key": "token"}},
    )
    request = build_task(planned(spec), IDENTITY)
    task = request.task | {"secrets": {secret.variable: "canary" for secret in request.secrets}}
    await client.launch(name, task, request.override_skypilot_config)


async def ended(client: SkyPilotClient, name: str) -> Outcome:
    """Wait until the newest launch of a name has ended."""
    deadline = time.monotonic() + WITHIN_S
    while await client.requests_in_flight(name):
        assert time.monotonic() < deadline, f"the launch of {name} has not ended"
        await asyncio.sleep(0.2)
    outcome = await client.last_outcome(name)
    assert outcome is not None
    return outcome


async def rented(client: SkyPilotClient, cloud: World, name: str) -> dict[str, Any]:
    """Wait until EC2 runs a machine of a cluster, and return it."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        found = [one for one in cloud.instances() if one["tags"].get("skypilot-cluster-name", "").startswith(name)]
        if found and found[0]["state"] == "running":
            return found[0]
        if not await client.requests_in_flight(name):
            raise AssertionError(f"the launch of {name} has ended: {await client.last_outcome(name)}")
        assert time.monotonic() < deadline, f"no machine of {name} runs"
        await asyncio.sleep(0.2)


async def given_back(client: SkyPilotClient, name: str) -> None:
    await client.down(name)
    outcome = await ended(client, name)
    assert outcome.failure is None, outcome.failure


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("InsufficientInstanceCapacity", Reason.NO_CAPACITY),
        ("VcpuLimitExceeded", Reason.QUOTA_EXCEEDED),
        ("UnauthorizedOperation", Reason.NOT_AUTHORIZED),
        ("Unsupported", Reason.NOT_OFFERED),
    ],
)
async def test_each_refusal_has_its_own_reason_in_every_place_tried(
    cloud: World, skypilot: SkyPilotClient, code: str, reason: Reason
) -> None:
    cloud.faults(refused(code))
    began = time.monotonic()
    await launch(skypilot, "refused")
    outcome = await ended(skypilot, "refused")
    print(f"\nfigure: three places refuse a launch with {code}: {time.monotonic() - began:.1f} s")
    assert outcome.failure is not None
    assert outcome.failure.reason is reason
    places = ["aws/us-east-1", "aws/us-west-2", "aws/eu-west-1/eu-west-1b"]  # by price; the last has one zone
    assert [(one.place, one.reason, one.code) for one in outcome.tried] == [(place, reason, code) for place in places]
    assert await skypilot.clusters() == {}


async def test_places_that_refuse_for_different_reasons_are_told_apart(cloud: World, skypilot: SkyPilotClient) -> None:
    cloud.faults(
        refused("VcpuLimitExceeded", "us-east-1"),
        refused("InsufficientInstanceCapacity", "us-west-2"),
        refused("UnauthorizedOperation", "eu-west-1"),
    )
    await launch(skypilot, "mixed")
    outcome = await ended(skypilot, "mixed")
    assert [one.reason for one in outcome.tried] == [
        Reason.QUOTA_EXCEEDED,
        Reason.NO_CAPACITY,
        Reason.NOT_AUTHORIZED,
    ]
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.NO_CAPACITY, "one of them may pass by itself"


async def test_rejected_credentials_are_no_lack_of_capacity(cloud: World, skypilot: SkyPilotClient) -> None:
    cloud.faults({"action": "*", "match": {"service": "ec2"}, "http": 401, "code": "AuthFailure"})
    await launch(skypilot, "rejected")
    outcome = await ended(skypilot, "rejected")
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.CREDENTIALS_INVALID


async def test_the_users_order_of_places_is_kept_although_the_first_is_dearer(
    cloud: World, skypilot: SkyPilotClient
) -> None:
    cloud.faults(refused("InsufficientInstanceCapacity"))
    await launch(skypilot, "ordered", infra=["aws/eu-west-1/eu-west-1b", "aws/us-east-1"])
    outcome = await ended(skypilot, "ordered")
    assert [one.place for one in outcome.tried] == ["aws/eu-west-1/eu-west-1b", "aws/us-east-1"]


async def test_spot_machines_are_tried_before_others_and_zone_by_zone(cloud: World, skypilot: SkyPilotClient) -> None:
    cloud.faults(refused("InsufficientInstanceCapacity", spot=True), BARE)
    await launch(skypilot, "spot", infra=["aws/us-east-1"], capacityType="SpotThenOnDemand")
    machine = await rented(skypilot, cloud, "spot")
    asked = [call for call in cloud.control("calls") if call["action"] == "RunInstances"]
    zones = {call["zone"] for call in asked if call["spot"] and call["region"] == "us-east-1"}
    assert {"us-east-1a", "us-east-1b", "us-east-1c"} & zones
    assert machine["lifecycle"] != "spot"
    await given_back(skypilot, "spot")


async def test_a_region_without_capacity_leaves_nothing_and_the_next_one_is_rented(
    cloud: World, skypilot: SkyPilotClient
) -> None:
    cloud.faults(refused("InsufficientInstanceCapacity", "us-east-1"), BARE)
    await launch(skypilot, "failover")
    machine = await rented(skypilot, cloud, "failover")
    assert machine["region"] == "us-west-2"
    await given_back(skypilot, "failover")


async def test_a_rented_machine_carries_the_deployments_uid(cloud: World, skypilot: SkyPilotClient) -> None:
    cloud.faults(BARE)
    await launch(skypilot, "tagged")
    tags = (await rented(skypilot, cloud, "tagged"))["tags"]
    assert tags["deepseek-operator-uid"] == IDENTITY.deployment_uid
    assert tags["deepseek-operator-name"] == IDENTITY.deployment_name
    assert tags["deepseek-operator-namespace"] == IDENTITY.namespace
    assert tags["skypilot-cluster-name"] == f"tagged-{cloud.user_id}"
    await given_back(skypilot, "tagged")


async def test_a_machine_that_is_stuck_in_pending_is_given_back_while_skypilot_waits(
    cloud: World, skypilot: SkyPilotClient
) -> None:
    cloud.faults({"boot": "stuck"})
    await launch(skypilot, "stuck")
    deadline = time.monotonic() + WITHIN_S
    while not cloud.instances():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
    (machine,) = cloud.instances()
    assert machine["state"] == "pending"
    await given_back(skypilot, "stuck")


async def test_a_price_below_every_offer_rents_nothing(cloud: World, skypilot: SkyPilotClient) -> None:
    before = len([call for call in cloud.control("calls") if call["action"] == "RunInstances"])
    # Above the price that the planner knows, and below that of the server's catalog in this region.
    await launch(skypilot, "poor", infra=["aws/eu-west-1"], maxHourlyCost="0.9")
    outcome = await ended(skypilot, "poor")
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.NO_MATCHING_RESOURCES
    assert len([call for call in cloud.control("calls") if call["action"] == "RunInstances"]) == before


async def test_the_servers_catalog_is_the_price_list(cloud: World, skypilot: SkyPilotClient) -> None:
    cloud.faults(BARE)
    await launch(skypilot, "priced", infra=["aws/us-west-2"])
    await rented(skypilot, cloud, "priced")
    cluster: SkyPilotCluster = (await skypilot.clusters())["priced"]
    assert (cluster.cloud.lower(), cluster.region) == ("aws", "us-west-2")
    await given_back(skypilot, "priced")
