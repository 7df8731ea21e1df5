"""How a launch ended, where it was tried, and whether a cloud can be used: what the client asks and is told."""

import json

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.skypilot import transport as transport_module
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.errors import SkyPilotUnavailableError
from tests.unit.skypilot.server import NAME, Server, ended_request


async def test_why_a_launch_failed_is_looked_up(server: Server, client: SkyPilotClient) -> None:
    server.requests = [
        ended_request("old", "SUCCEEDED", created_at=1, finished_at=2),
        ended_request("new", "FAILED"),
    ]
    server.fails(
        "new", "ResourcesUnavailableError", "Timed out ... '0/1 nodes are available: 1 Insufficient nvidia.com/gpu.'"
    )
    outcome = await client.last_outcome(NAME)
    assert outcome is not None
    assert outcome.failure is not None
    assert (outcome.request_id, outcome.failure.reason) == ("new", Reason.UNSCHEDULABLE)


async def test_a_clouds_own_code_tells_quota_from_capacity(server: Server, client: SkyPilotClient) -> None:
    server.requests = [ended_request("x", "FAILED")]
    server.fails("x", "ResourcesUnavailableError", "Failed to acquire resources in all zones in us-east-1 for {...}")
    server.log = (
        "... An error occurred (VcpuLimitExceeded) when calling the RunInstances operation: You have requested more"
    )
    outcome = await client.last_outcome(NAME)
    assert outcome is not None
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.QUOTA_EXCEEDED
    assert "VcpuLimitExceeded" in outcome.failure.message


async def test_a_failed_launch_says_which_places_it_has_tried(server: Server, client: SkyPilotClient) -> None:
    server.requests = [
        {"request_id": "x", "name": "sky.launch", "status": "FAILED", "cluster_name": NAME, "finished_at": 4}
    ]
    server.fails("x", "ResourcesUnavailableError", "Failed to acquire resources in all zones in us-east-1 for {...}")
    server.log = "Launching on AWS us-east-1 (us-east-1a).\nAn error occurred (InsufficientInstanceCapacity) when ...\n"
    outcome = await client.last_outcome(NAME)
    assert outcome is not None
    assert [(one.place, one.code) for one in outcome.tried] == [
        ("aws/us-east-1/us-east-1a", "InsufficientInstanceCapacity")
    ]


async def test_a_launch_that_succeeded_says_where_it_found_nothing_before(
    server: Server, client: SkyPilotClient
) -> None:
    server.requests = [
        {"request_id": "x", "name": "sky.launch", "status": "SUCCEEDED", "cluster_name": NAME, "finished_at": 4}
    ]
    refused = "An error occurred (InsufficientInstanceCapacity) when ...\n"
    server.log = f"Launching on AWS us-east-1 (a,b).\n{refused}Launching on AWS us-west-2 (a,b).\n{refused}Launched.\n"
    outcome = await client.last_outcome(NAME)
    assert outcome is not None
    assert outcome.failure is None
    assert [one.place for one in outcome.tried] == ["aws/us-east-1"]


async def test_a_cloud_that_the_server_has_enabled_can_be_used_without_asking_its_provider(
    server: Server, client: SkyPilotClient
) -> None:
    server.answers("/enabled_clouds", ["Kubernetes", "AWS"])
    assert await client.cloud_access("aws") is None
    assert "/check" not in [seen.path for seen in server.seen]


async def test_a_cloud_that_was_enabled_since_is_found_by_looking_again(server: Server, client: SkyPilotClient) -> None:
    server.answers("/enabled_clouds", [])
    server.answers("/check", {"default": {"AWS": ["compute", "storage"]}})
    assert await client.cloud_access("aws") is None


async def test_a_cloud_without_credentials_says_why(server: Server, client: SkyPilotClient) -> None:
    server.answers("/enabled_clouds", ["Kubernetes"])
    server.answers("/check", {"default": {}})
    said = "AWS credentials are not set. Run the following commands:\n      $ aws configure\n"
    server.log = f"\x1b[2m  AWS: disabled\x1b[0m\n    Reason [compute]: {said}"
    failure = await client.cloud_access("aws")
    assert failure is not None
    assert failure.reason is Reason.CREDENTIALS_INVALID
    assert "spec.resources.infra: aws:" in failure.message
    assert "(AWS credentials are not set);" in failure.message
    check = next(seen for seen in server.seen if seen.path == "/check")
    assert json.loads(check.content)["clouds"] == ["aws"]


async def test_a_check_that_takes_too_long_is_ended_before_the_next_one(
    server: Server, client: SkyPilotClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "_RESULT_S", 0.2)
    server.answers("/enabled_clouds", [])
    server.unfinished.add("/check")
    with pytest.raises(SkyPilotUnavailableError):
        await client.cloud_access("aws")
    cancelled = next(seen for seen in server.seen if seen.path == "/api/cancel")
    assert json.loads(cancelled.content)["request_ids"] == ["/check"]


async def test_a_cloud_that_skypilot_does_not_know_is_a_mistake_in_the_spec(
    server: Server, client: SkyPilotClient
) -> None:
    server.answers("/enabled_clouds", ["AWS"])
    server.fails("/check", "ValueError", "Cloud 'awss' is not a valid cloud among ['aws', 'gcp']")
    failure = await client.cloud_access("awss")
    assert failure is not None
    assert failure.reason is Reason.INVALID_SPEC
    assert "awss" in failure.message


async def test_down_of_an_unknown_cluster_is_no_failure(server: Server, client: SkyPilotClient) -> None:
    server.requests = [ended_request("x", "FAILED", name="sky.down")]
    server.fails("x", "ClusterDoesNotExist", "Cluster does not exist")
    outcome = await client.last_outcome(NAME)
    assert outcome is not None
    assert outcome.failure is None
