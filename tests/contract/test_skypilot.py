"""What the operator believes of SkyPilot's API server, asked of a real one and of the fake in the same words."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.skypilot import (
    JobState,
    Outcome,
    RequestKind,
    RequestState,
    SkyPilotCluster,
    SkyPilotClusterState,
)
from deepseek_operator.skypilot.client import API_VERSION, SERVER_VERSION, SkyPilotClient
from deepseek_operator.skypilot.errors import (
    SkyPilotRejectedError,
    SkyPilotRequestFailedError,
    SkyPilotUnavailableError,
)
from tests.contract import servers

_T = TypeVar("_T")

UNKNOWN = "unknown-0a1b2c3d-beef-0"
CONFIG: dict[str, Any] = {
    "kubernetes": {"namespace": servers.NAMESPACE, "ports": "podip"},
    **{cloud: {"remote_identity": "NO_UPLOAD"} for cloud in ("aws", "azure", "gcp", "nebius", "oci", "vast")},
}
"""As every launch of the operator has it: SkyPilot refuses a key that it does not know."""


def task(**resources: Any) -> dict[str, Any]:
    """A task whose pods no scheduler serves, so that its launch stays in flight."""
    kubernetes = {
        "remote_identity": "default",
        "provision_timeout": 600,
        "pod_config": {"spec": {"schedulerName": "nobody"}},
        "custom_metadata": {"labels": {"deepseek-operator.io/uid": "0a1b2c3d"}},
    }
    return {
        "num_nodes": 1,
        "resources": {"infra": "k8s", "image_id": "docker:localhost/none:1", "cpus": "1+", "memory": "1+"} | resources,
        "run": "sleep infinity",
        "config": {"kubernetes": kubernetes},
    }


@pytest.fixture(scope="module", params=["fake", "real"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with servers.fake() if request.param == "fake" else servers.real() as address:
        yield address


@pytest.fixture
async def sky(url: str) -> AsyncIterator[SkyPilotClient]:
    async with servers.client(url) as client:
        yield client


async def until(ask: Callable[[], Awaitable[_T]], deadline_s: float = 60) -> _T:
    """Ask until the answer is true; return it."""
    end = time.monotonic() + deadline_s
    while True:
        answer = await ask()
        if answer:
            return answer
        assert time.monotonic() < end, f"not within {deadline_s} s; last answer {answer!r}"
        await asyncio.sleep(0.2)


async def ended(sky: SkyPilotClient, name: str) -> Outcome:
    """Wait until nothing of a name is in flight; return how the last request ended."""

    async def idle() -> bool:
        return not await sky.requests_in_flight(name)

    await until(idle)
    outcome = await sky.last_outcome(name)
    assert outcome is not None
    return outcome


async def test_it_says_its_version(sky: SkyPilotClient) -> None:
    health = await sky.health()
    assert (health["version"], int(health["api_version"])) == (SERVER_VERSION, API_VERSION)


async def test_a_client_that_is_too_old_is_told_so(sky: SkyPilotClient) -> None:
    sky.transport._headers = {**sky.transport._headers, "X-SkyPilot-API-Version": "3", "X-SkyPilot-Version": "0.1.0"}
    with pytest.raises(SkyPilotUnavailableError, match="client version is too old"):
        await sky.clusters()


async def test_a_new_server_has_no_clusters_and_nothing_in_flight_but_its_own_daemons(sky: SkyPilotClient) -> None:
    assert await sky.clusters() == {}
    assert await sky.requests_in_flight() == {}
    assert await sky.last_outcome(UNKNOWN) is None


async def test_taking_down_an_unknown_cluster_counts_as_done(sky: SkyPilotClient) -> None:
    name = "gone-0a1b2c3d-beef-0"
    request_id = await sky.down(name)
    outcome = await ended(sky, name)
    assert (outcome.request_id, outcome.kind, outcome.failure) == (request_id, RequestKind.DOWN, None)


async def test_an_unknown_cluster_has_no_job_no_log_and_no_endpoint(sky: SkyPilotClient) -> None:
    job = await sky.job(UNKNOWN)
    assert (job.state, job.status) == (JobState.NO_CLUSTER, "ClusterDoesNotExist")
    assert await sky.job_log(UNKNOWN, 1) == ""
    with pytest.raises(SkyPilotRequestFailedError) as caught:
        await sky.endpoints(UNKNOWN, 8000)
    assert caught.value.error_type == "ClusterNotUpError"


async def test_a_body_that_it_cannot_read_is_refused_at_once(sky: SkyPilotClient) -> None:
    with pytest.raises(SkyPilotRejectedError, match="task"):
        await sky.transport.start("/launch", {"cluster_name": UNKNOWN})


async def test_a_request_that_it_does_not_know_is_refused(sky: SkyPilotClient) -> None:
    with pytest.raises(SkyPilotRejectedError, match="not found"):
        await sky.transport.result("00000000-0000-0000-0000-000000000000")


async def test_a_cloud_without_credentials_is_told_and_why(sky: SkyPilotClient) -> None:
    failure = await sky.cloud_access("aws")
    assert failure is not None
    assert failure.reason is Reason.CREDENTIALS_INVALID
    assert "spec.resources.infra: aws" in failure.message
    assert "(" in failure.message, "the server's own reason is part of it"


async def test_kubernetes_can_be_used(sky: SkyPilotClient) -> None:
    assert await sky.cloud_access("kubernetes") is None


async def test_a_cloud_that_does_not_exist_is_a_mistake_in_the_spec(sky: SkyPilotClient) -> None:
    failure = await sky.cloud_access("awss")
    assert failure is not None
    assert failure.reason is Reason.INVALID_SPEC


@pytest.mark.parametrize(
    ("name", "wanted", "reason", "words"),
    [
        ("context", task(infra="k8s/nowhere"), Reason.LAUNCH_FAILED, "Context nowhere not found"),
        ("cloud", task(infra="aws"), Reason.CREDENTIALS_INVALID, "aws which is not enabled"),
        ("gpus", task(accelerators="H200:16"), Reason.NO_MATCHING_RESOURCES, "no node of the cluster offers any"),
        ("key", task() | {"resorces": {}}, Reason.LAUNCH_FAILED, "resorces"),
    ],
)
async def test_a_launch_that_cannot_be_fails_and_says_why(
    sky: SkyPilotClient, name: str, wanted: dict[str, Any], reason: Reason, words: str
) -> None:
    cluster = f"{name}-0a1b2c3d-beef-0"
    await sky.launch(cluster, wanted, CONFIG)

    outcome = await ended(sky, cluster)

    assert outcome.kind is RequestKind.LAUNCH
    assert outcome.failure is not None
    assert outcome.failure.reason is reason
    assert words in outcome.failure.message
    assert "\x1b" not in outcome.failure.message
    assert cluster not in await sky.clusters()


async def test_a_name_that_it_does_not_allow_is_an_invalid_spec(sky: SkyPilotClient) -> None:
    await sky.launch("x_", task(), CONFIG)
    outcome = await ended(sky, "x_")
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.INVALID_SPEC


async def test_an_exec_on_an_unknown_cluster_fails(sky: SkyPilotClient) -> None:
    name = "nothere-0a1b2c3d-beef-0"
    await sky.exec(name, task(), CONFIG)
    outcome = await ended(sky, name)
    assert outcome.kind is RequestKind.EXEC
    assert outcome.failure is not None


async def test_a_launch_is_seen_in_flight_and_a_teardown_ends_it(sky: SkyPilotClient) -> None:
    first, second = "first-0a1b2c3d-beef-0", "second-0a1b2c3d-beef-0"

    async def row(name: str) -> SkyPilotCluster | None:
        return (await sky.clusters()).get(name)

    request_id = await sky.launch(first, task(), CONFIG)
    seen = await sky.requests_in_flight(first)
    assert [(r.id, r.kind) for r in seen[first]] == [(request_id, RequestKind.LAUNCH)]
    found = await until(lambda: row(first))
    assert found is not None
    assert (found.state, found.on_kubernetes, found.nodes) == (SkyPilotClusterState.INIT, True, 1)
    assert found.detail.startswith("Provisioning on kubernetes")
    assert found.hash
    assert (await sky.requests_in_flight())[first][0].state is RequestState.RUNNING
    job = await sky.job(first)
    assert (job.state, job.status) == (JobState.UNREACHABLE, "ClusterNotUpError")

    # One worker: the second launch waits, has no row, and cannot be taken down before it has begun.
    waiting = await sky.launch(second, task(), CONFIG)
    assert (await sky.requests_in_flight(second))[second][0].state is RequestState.PENDING
    await sky.transport.result(await sky.down(second))
    assert (await sky.requests_in_flight(second))[second][0].state is RequestState.PENDING
    assert await row(second) is None

    # But it can be cancelled, and leaves nothing.
    await sky.cancel([waiting])
    assert await sky.requests_in_flight(second) == {}
    assert await row(second) is None
    await sky.launch(second, task(), CONFIG)

    # A teardown of the first is not held up by its launch; it ends it, and the second begins.
    await sky.transport.result(await sky.down(first))
    outcome = await ended(sky, first)
    assert (outcome.kind, outcome.failure) == (RequestKind.DOWN, None)
    assert await row(first) is None
    # Its history tells a cluster that was terminated from one whose record is lost.
    gone_at = await sky.terminated(first)
    assert gone_at is not None
    assert abs((outcome.finished_at - gone_at).total_seconds()) < 60
    assert await sky.terminated(UNKNOWN) is None
    assert (await sky.transport.result(request_id))["status"] == "CANCELLED"
    assert await until(lambda: row(second))

    # The same name again is another cluster.
    await sky.transport.result(await sky.down(second))
    await sky.launch(first, task(), CONFIG)
    again = await until(lambda: row(first))
    assert again is not None
    assert again.hash != found.hash
    await sky.transport.result(await sky.down(first))
    assert await sky.clusters() == {}
    assert await sky.requests_in_flight() == {}


async def test_a_launch_that_a_worker_has_can_be_cancelled_before_its_cluster_is_listed(sky: SkyPilotClient) -> None:
    name = "third-0a1b2c3d-beef-0"
    request_id = await sky.launch(name, task(), CONFIG)

    async def state() -> RequestState | None:
        seen = (await sky.requests_in_flight(name)).get(name)
        return seen[0].state if seen else None

    async def running() -> bool:
        return await state() is RequestState.RUNNING

    async def over() -> bool:
        return await state() is None

    await until(running)
    await sky.cancel([request_id])
    await until(over)
    assert (await sky.transport.result(request_id))["status"] == "CANCELLED"
    outcome = await ended(sky, name)
    assert (outcome.kind, outcome.failure is not None) == (RequestKind.LAUNCH, True)
    # It may have been listed a moment before. Then a teardown takes it away.
    if name in await sky.clusters():
        await sky.transport.result(await sky.down(name))
    assert await sky.clusters() == {}
