"""What the client reads off recorded answers of SkyPilot 0.14.1; the contract test asks the same of a real server."""

import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from deepseek_operator.facts.base import Address
from deepseek_operator.facts.skypilot import JobState, RequestKind, RequestState, SkyPilotClusterState
from deepseek_operator.skypilot import wire
from deepseek_operator.skypilot.client import SkyPilotClient
from tests.unit.skypilot.server import NAME, Server


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


async def test_a_price_is_asked_for_one_cluster_alone(server: Server, client: SkyPilotClient) -> None:
    server.answers("/cost_report", [{"name": NAME, "status": "UP", "duration": 10, "total_cost": 0.8048 / 360}])
    assert str(await client.hourly_price(NAME)) == "0.8048"
    assert json.loads(server.seen[0].content)["cluster_names"] == [NAME]


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


@pytest.mark.parametrize(
    ("error", "expected"),
    [("ClusterNotUpError", JobState.UNREACHABLE), ("ClusterDoesNotExist", JobState.NO_CLUSTER)],
)
async def test_a_cluster_that_skypilot_cannot_ask_is_unreachable_or_gone(
    server: Server, client: SkyPilotClient, error: str, expected: JobState
) -> None:
    server.fails("/job_status", error, "skipped")
    assert (await client.job(NAME)).state is expected


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


async def test_the_address_of_a_rented_head_node_is_asked_for_in_the_servers_own_words(
    client: SkyPilotClient, server: Server
) -> None:
    server.answers("/endpoints", {"8000": "http://203.0.113.7:8000"})

    assert await client.endpoints(NAME, 8000) == Address("203.0.113.7", 8000)
    body = json.loads(server.seen[0].content)
    assert (body["cluster"], body["port"]) == (NAME, 8000)
    assert "cluster_name" not in body
