"""The client against recorded answers of SkyPilot 0.14.1; the contract test asks the same of a real server."""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.skypilot import JobState, RequestKind, RequestState, SkyPilotClusterState
from deepseek_operator.skypilot import client as client_module
from deepseek_operator.skypilot import transport as transport_module
from deepseek_operator.skypilot import wire
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.errors import (
    SkyPilotRejectedError,
    SkyPilotRequestFailedError,
    SkyPilotUnavailableError,
)
from deepseek_operator.skypilot.token import TokenFile
from tests.unit.skypilot.server import NAME, Refusal, Server


async def test_rows_are_read_with_skypilots_own_words(server: Server, client: SkyPilotClient) -> None:
    server.answers(
        "/status",
        [
            {
                "name": NAME,
                "status": "INIT",
                "init_status_reason": "\x1b[36mInstances launched\x1b[0m on kubernetes",
                "cloud": "Kubernetes",
                "region": "in-cluster",
                "accelerators": "{'L4': 1}",
                "nodes": 2,
                "cluster_hash": "abc",
            }
        ],
    )
    row = (await client.clusters())[NAME]
    assert (row.state, row.detail) == (SkyPilotClusterState.INIT, "Instances launched on kubernetes")
    assert (row.accelerators, row.nodes, row.on_kubernetes) == ("L4:1", 2, True)


@pytest.mark.parametrize(
    ("words", "spot"), [("1x[spot](gpus=L4:1, g6.xlarge, ...)", True), ("1x(gpus=L4:1, g6.xlarge, ...)", False)]
)
async def test_spot_machines_are_told_by_the_words_of_a_row(
    server: Server, client: SkyPilotClient, words: str, spot: bool
) -> None:
    server.answers("/status", [{"name": NAME, "status": "UP", "cloud": "AWS", "resources_str": words}])
    assert (await client.clusters())[NAME].spot is spot


async def test_only_what_moves_a_cluster_counts_as_in_flight(server: Server, client: SkyPilotClient) -> None:
    server.requests = [
        {"request_id": "b", "name": "sky.down", "status": "RUNNING", "cluster_name": NAME, "created_at": 20.0},
        {"request_id": "a", "name": "sky.launch", "status": "PENDING", "cluster_name": NAME, "created_at": 10.0},
        {"request_id": "c", "name": "sky.status", "status": "RUNNING", "cluster_name": None, "created_at": 30.0},
    ]
    (requests,) = (await client.requests_in_flight()).values()
    assert [(r.id, r.kind, r.state) for r in requests] == [
        ("a", RequestKind.LAUNCH, RequestState.PENDING),
        ("b", RequestKind.DOWN, RequestState.RUNNING),
    ]


async def test_what_is_read_off_a_table_holds_up_no_probe(
    server: Server, client: SkyPilotClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[int] = []
    for name in ("cluster_rows", "requests_in_flight"):
        monkeypatch.setattr(wire, name, lambda value: readers.append(threading.get_ident()))
    server.answers("/status", [])
    await client.snapshot()
    assert len(readers) == 2
    assert threading.get_ident() not in readers


async def test_why_a_launch_failed_is_looked_up(server: Server, client: SkyPilotClient) -> None:
    server.requests = [
        {
            "request_id": "old",
            "name": "sky.launch",
            "status": "SUCCEEDED",
            "cluster_name": NAME,
            "created_at": 1,
            "finished_at": 2,
        },
        {
            "request_id": "new",
            "name": "sky.launch",
            "status": "FAILED",
            "cluster_name": NAME,
            "created_at": 3,
            "finished_at": 4,
        },
    ]
    server.fails(
        "new", "ResourcesUnavailableError", "Timed out ... '0/1 nodes are available: 1 Insufficient nvidia.com/gpu.'"
    )
    outcome = await client.last_outcome(NAME)
    assert outcome is not None
    assert outcome.failure is not None
    assert (outcome.request_id, outcome.failure.reason) == ("new", Reason.UNSCHEDULABLE)


async def test_a_clouds_own_code_tells_quota_from_capacity(server: Server, client: SkyPilotClient) -> None:
    server.requests = [
        {
            "request_id": "x",
            "name": "sky.launch",
            "status": "FAILED",
            "cluster_name": NAME,
            "created_at": 3,
            "finished_at": 4,
        }
    ]
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


async def test_a_price_is_asked_for_one_cluster_alone(server: Server, client: SkyPilotClient) -> None:
    server.answers("/cost_report", [{"name": NAME, "status": "UP", "duration": 10, "total_cost": 0.8048 / 360}])
    assert str(await client.hourly_price(NAME)) == "0.8048"
    assert json.loads(server.seen[0].content)["cluster_names"] == [NAME]


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
    server.requests = [
        {
            "request_id": "x",
            "name": "sky.down",
            "status": "FAILED",
            "cluster_name": NAME,
            "created_at": 3,
            "finished_at": 4,
        }
    ]
    server.fails("x", "ClusterDoesNotExist", "Cluster does not exist")
    outcome = await client.last_outcome(NAME)
    assert outcome is not None
    assert outcome.failure is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"1": "FAILED", "2": "RUNNING"}, (2, JobState.ACTIVE)),
        ({"1": "SUCCEEDED"}, (1, JobState.ENDED)),
        ({"3": "FAILED_SETUP"}, (3, JobState.ENDED)),
        ({"3": "FAILED_DRIVER"}, (3, JobState.DRIVER_LOST)),
        ({"null": None}, (0, JobState.NONE)),
    ],
)
async def test_the_newest_job_counts(server: Server, client: SkyPilotClient, value: Any, expected: Any) -> None:
    server.answers("/job_status", value)
    job = await client.job(NAME)
    assert (job.id, job.state) == expected


async def test_a_cluster_that_skypilot_cannot_ask_is_unreachable(server: Server, client: SkyPilotClient) -> None:
    server.fails("/job_status", "ClusterNotUpError", "not up")
    assert (await client.job(NAME)).state is JobState.UNREACHABLE


@pytest.mark.parametrize(
    ("rows", "seconds"),
    [
        (None, None),
        ([], None),
        ([{"name": NAME, "status": "UP", "usage_intervals": [[100, None]]}], None),
        ([{"name": "another", "status": None, "usage_intervals": [[100, 200]]}], None),
        ([{"name": NAME, "status": None, "usage_intervals": [[100, 200]]}], 200),
        # A name is used again and again, and a machine that was stopped in between has several intervals.
        (
            [
                {"name": NAME, "status": "UP", "usage_intervals": [[900, None]]},
                {"name": NAME, "status": None, "usage_intervals": [[100, 200], [300, 400]]},
                {"name": NAME, "status": None, "usage_intervals": [[50, 60]]},
            ],
            400,
        ),
        ([{"name": NAME, "status": None, "usage_intervals": None}], None),
        ([{"name": NAME, "status": None, "usage_intervals": [[100, None]]}], None),
    ],
)
async def test_its_history_says_when_a_cluster_of_a_name_went(
    server: Server, client: SkyPilotClient, rows: Any, seconds: int | None
) -> None:
    server.answers("/cost_report", rows)
    expected = datetime.fromtimestamp(seconds, UTC) if seconds is not None else None
    assert await client.terminated(NAME) == expected


async def test_every_request_carries_version_and_identity(server: Server, client: SkyPilotClient) -> None:
    await client.launch(NAME, {"name": NAME, "run": "x"}, {"kubernetes": {"namespace": "serving"}})
    request = server.seen[-1]
    body = json.loads(request.content)
    assert request.headers["X-SkyPilot-API-Version"] == "62"
    assert body["env_vars"]["SKYPILOT_USER_ID"] == "d5ee9000"
    assert (body["retry_until_up"], body["override_skypilot_config"]["kubernetes"]["namespace"]) == (False, "serving")


async def test_a_refusal_is_told_from_an_absence(server: Server, client: SkyPilotClient) -> None:
    server.refuse = Refusal(400, {"detail": {"type": "ValueError", "message": "Context nope not found"}})
    with pytest.raises(SkyPilotRejectedError, match="Context nope not found"):
        await client.launch(NAME, {}, {})
    server.refuse = Refusal(503, {"detail": "shutting down"})
    with pytest.raises(SkyPilotUnavailableError, match="shutting down"):
        await client.launch(NAME, {}, {})


async def test_the_address_of_a_rented_head_node_is_asked_for_in_the_servers_own_words(
    client: SkyPilotClient, server: Server
) -> None:
    server.answers("/endpoints", {"8000": "http://203.0.113.7:8000"})

    assert await client.endpoints(NAME, 8000) == Address("203.0.113.7", 8000)
    body = json.loads(server.seen[0].content)
    assert (body["cluster"], body["port"]) == (NAME, 8000)
    assert "cluster_name" not in body


async def test_a_server_of_another_version_is_unavailable_and_says_why(client: SkyPilotClient, server: Server) -> None:
    words = "\x1b[33mYour SkyPilot client version is too old:0.1\n\x1b[0mThe server is running on 0.14.1"
    server.refuse = Refusal(400, {"error": "version_mismatch", "message": words})

    with pytest.raises(SkyPilotUnavailableError, match=r"client version is too old:0\.1 The server is"):
        await client.clusters()


async def test_a_server_that_is_not_there_has_heard_nothing(client: SkyPilotClient, unused_tcp_port: int) -> None:
    async with SkyPilotClient(f"http://127.0.0.1:{unused_tcp_port}", user_id="d5ee9000") as nowhere:
        with pytest.raises(SkyPilotUnavailableError, match="does not answer") as error:
            await nowhere.down(NAME)
    assert not error.value.maybe_heard


async def test_a_password_in_the_url_of_the_server_is_in_no_message(unused_tcp_port: int) -> None:
    """``https://USER:PASSWORD@HOST`` is how SkyPilot's own chart lets people in."""
    endpoint = f"http://operator:hunter2@127.0.0.1:{unused_tcp_port}/sky/"
    async with SkyPilotClient(endpoint, user_id="d5ee9000") as nowhere:
        with pytest.raises(SkyPilotUnavailableError) as error:
            await nowhere.down(NAME)
    assert f"at http://127.0.0.1:{unused_tcp_port}/sky does not answer" in str(error.value)
    assert "hunter2" not in str(error.value)


async def test_a_server_that_does_not_answer_may_have_heard(
    server: Server, client: SkyPilotClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_SUBMIT_S", 0.1)
    server.hangs = True
    with pytest.raises(SkyPilotUnavailableError) as error:
        await client.down(NAME)
    assert error.value.maybe_heard


@pytest.mark.parametrize(
    ("status", "maybe_heard"), [(500, True), (502, True), (504, True), (503, False), (429, False), (401, False)]
)
async def test_an_error_of_the_server_or_a_gateway_may_come_after_the_request_was_heard(
    server: Server, client: SkyPilotClient, status: int, maybe_heard: bool
) -> None:
    server.refuse = Refusal(status, {"detail": "no answer from upstream"})
    with pytest.raises(SkyPilotUnavailableError, match=f"{status}: no answer from upstream") as error:
        await client.launch(NAME, {}, {})
    assert error.value.maybe_heard is maybe_heard


@pytest.mark.parametrize(
    ("answer", "user"),
    [
        ({"status": "healthy"}, "d5ee9000"),
        ({"status": "healthy", "user": None}, "d5ee9000"),
        ({"status": "healthy", "user": {"id": "sa-0123456789abcdef", "name": "operator"}}, "sa-0123456789abcdef"),
    ],
)
async def test_a_server_that_knows_its_users_says_who_we_are(
    server: Server, client: SkyPilotClient, answer: dict[str, Any], user: str
) -> None:
    server.refuse = Refusal(200, answer)
    assert await client.user() == user


async def test_something_else_at_its_address_is_no_skypilot(client: SkyPilotClient, server: Server) -> None:
    server.refuse = Refusal(200, {"hello": "world"})
    with pytest.raises(SkyPilotUnavailableError, match="is this a SkyPilot API server"):
        await client.down(NAME)


async def test_every_request_is_reported_with_its_path_and_the_kind_of_its_error(server: Server, url: str) -> None:
    told: list[tuple[str, bool, str]] = []

    def observe(path: str, seconds: float | None, error: str) -> None:
        told.append((path, seconds is not None, error))

    async with SkyPilotClient(url, user_id="d5ee9000", observe=observe) as client:
        server.fails("/cost_report", "ValueError", "no")
        with pytest.raises(SkyPilotRequestFailedError):
            await client.terminated(NAME)
        server.refuse = Refusal(404, {"detail": "not found"})
        with pytest.raises(SkyPilotRejectedError):
            await client.down(NAME)
        server.refuse = Refusal(503, {"detail": "shutting down"})
        with pytest.raises(SkyPilotUnavailableError):
            await client.health()
    assert told == [
        ("/cost_report", True, ""),
        ("/api/get", True, ""),
        ("/cost_report", False, "failed"),
        ("/down", True, "rejected"),
        ("/api/health", True, "unavailable"),
    ]


async def test_a_token_that_is_replaced_in_its_file_is_sent_from_then_on(
    server: Server, url: str, tmp_path: Path
) -> None:
    """As the kubelet replaces it: what the file leads to is another one at once."""
    file, link = tmp_path / "token", tmp_path / "..data"

    def put(name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        link.unlink(missing_ok=True)
        link.symlink_to(name)

    put("first", "sky_1\n")
    file.symlink_to("..data")
    async with SkyPilotClient(url, user_id="d5ee9000", token=TokenFile(file)) as client:
        await client.requests_in_flight()
        put("second", "sky_2\n")
        await client.requests_in_flight()
        put("third", "")  # half written, or a mistake
        await client.requests_in_flight()
        link.unlink()
        await client.requests_in_flight()
        put("fourth", "sky_4\n")
        await client.requests_in_flight()
    sent = [one.headers["Authorization"].removeprefix("Bearer ") for one in server.seen]
    assert sent == ["sky_1", "sky_2", "sky_2", "sky_2", "sky_4"]


def test_a_token_that_cannot_be_read_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        TokenFile(tmp_path / "none")
