"""Leader election on a virtual clock, against a simulated API server."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from deepseek_operator.facts.clock import format_time
from deepseek_operator.kube.client import KubeClient
from deepseek_operator.kube.errors import KubeDeniedError, KubeUnavailableError
from deepseek_operator.kube.lease import RENEW_LIMIT_S, LeaderElection
from tests.simulation.clock import VirtualLoop, run_virtually
from tests.simulation.kubernetes import SimulatedKubernetes


class Client:
    """The raw client over a simulated API server; it can be cut off, or denied some paths."""

    def __init__(self, server: SimulatedKubernetes) -> None:
        self.server, self.denied = server, ""
        self.broken: Exception | None = None
        self.fails_after_s: list[float] = []
        self.list_s = 0.01

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        await asyncio.sleep(self.list_s if (method, path.endswith("/leases")) == ("GET", True) else 0.01)
        if self.fails_after_s:
            await asyncio.sleep(self.fails_after_s.pop(0))
            raise KubeUnavailableError("the API server is away")
        if self.broken is not None:
            raise self.broken
        if self.denied and path.endswith(self.denied):
            raise KubeDeniedError("forbidden", 403)
        return self.server.request(method, path, body, query, content_type)


class Replica:
    """One process that competes."""

    def __init__(
        self,
        server: SimulatedKubernetes,
        identity: str,
        name: str = "operator",
        scope: tuple[str, ...] = (),
        ahead: timedelta = timedelta(0),
    ) -> None:
        self.client, self.leads, self.lost_at = Client(server), False, 0.0
        self.election = LeaderElection(
            cast(KubeClient, self.client), name, "system", identity=identity, scope=scope, clock=lambda: now() + ahead
        )

    def start(self) -> "asyncio.Task[None]":
        return asyncio.create_task(self.election.run(self.started, self.lost))

    def started(self) -> None:
        self.leads = True

    def lost(self) -> None:
        self.leads, self.lost_at = False, asyncio.get_running_loop().time()


def now() -> datetime:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.now()


def play(story: Callable[[SimulatedKubernetes], Coroutine[Any, Any, None]]) -> None:
    run_virtually(story(SimulatedKubernetes(lambda: format_time(now()))))


async def start_both(first: Replica, second: Replica, *, between_s: float = 1) -> "asyncio.Task[None]":
    """Start one after the other; return the task of the first one, which leads while the second one waits."""
    task = first.start()
    await asyncio.sleep(between_s)
    second.start()
    await asyncio.sleep(10)
    assert (first.leads, second.leads) == (True, False)
    return task


def test_of_two_replicas_one_leads() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first, second = Replica(server, "first"), Replica(server, "second")
        first.start(), second.start()
        await asyncio.sleep(120)
        assert first.leads != second.leads

    play(story)


def test_a_leader_that_ends_hands_over_within_three_seconds() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first, second = Replica(server, "first"), Replica(server, "second")
        task = await start_both(first, second)
        task.cancel()
        await asyncio.sleep(3)
        assert second.leads

    play(story)


def test_a_leader_that_dies_is_replaced_within_twenty_seconds() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first, second = Replica(server, "first"), Replica(server, "second")
        await start_both(first, second)
        first.client.server = SimulatedKubernetes(lambda: "")  # what it writes reaches nobody
        await asyncio.sleep(20)
        assert second.leads

    play(story)


def test_a_leader_that_is_cut_off_gives_up_before_another_one_can_lead() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first, second = Replica(server, "first"), Replica(server, "second")
        await start_both(first, second)
        first.client.denied = "leases/operator"
        while not second.leads:
            await asyncio.sleep(0.1)
        assert not first.leads
        assert first.lost_at < asyncio.get_running_loop().time() - 2

    play(story)


@pytest.mark.parametrize("fails_after_s", [[0.0] * 9, [3.0] * 9, [60.0] * 9, [0.9, *[60.0] * 9]])
def test_a_leader_gives_up_ten_seconds_after_its_last_renewal_however_slowly_the_next_ones_fail(
    fails_after_s: list[float],
) -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first, second = Replica(server, "first"), Replica(server, "second")
        first.start()
        await asyncio.sleep(0.5)
        second.start()
        await asyncio.sleep(10)  # the last renewal began 1.5 to 2 seconds ago
        assert (first.leads, second.leads) == (True, False)
        cut_off_at = asyncio.get_running_loop().time()
        first.client.fails_after_s = fails_after_s
        while not second.leads:
            await asyncio.sleep(0.1)
        assert not first.leads
        assert first.lost_at - cut_off_at < RENEW_LIMIT_S

    play(story)


def test_a_lease_that_has_not_been_renewed_since_other_leases_were_looked_for_begins_nothing() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first, second = Replica(server, "first"), Replica(server, "second")
        first.client.list_s = 19.0
        first.start()
        await asyncio.sleep(1)
        second.start()
        await asyncio.sleep(19.5)  # the Lease ran out meanwhile, and the second one has it
        assert (first.leads, second.leads) == (False, True)

    play(story)


@pytest.mark.parametrize("error", [RuntimeError("Token file exists but empty."), KeyError("metadata")])
def test_a_leader_that_cannot_renew_for_a_reason_that_nobody_foresaw_gives_up_as_well(error: Exception) -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first, second = Replica(server, "first"), Replica(server, "second")
        task = await start_both(first, second)
        first.client.broken = error
        while not second.leads:
            await asyncio.sleep(0.1)
        assert (first.leads, task.done()) == (False, False)

    play(story)


def test_one_that_waits_goes_on_waiting_through_an_error_that_nobody_foresaw() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first, second = Replica(server, "first"), Replica(server, "second", "other")
        task = await start_both(first, second, between_s=5)
        second.client.broken = RuntimeError("Token file exists but empty.")
        await asyncio.sleep(10)
        second.client.broken = None
        task.cancel()
        await asyncio.sleep(5)
        assert second.leads

    play(story)


def test_a_moment_without_the_api_server_costs_nobody_the_lead() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first = Replica(server, "first")
        first.start()
        await asyncio.sleep(10)
        server.away = True
        await asyncio.sleep(6)
        server.away = False
        await asyncio.sleep(10)
        assert first.leads

    play(story)


@pytest.mark.parametrize(("fails_after_s", "stays"), [([], True), ([60.0], True), ([60.0] * 9, False)])
def test_a_lease_that_somebody_deletes_makes_nobody_act_beside_its_holder(
    fails_after_s: list[float], stays: bool
) -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first, second = Replica(server, "first"), Replica(server, "second")
        await start_both(first, second)
        server.remove("leases", "system", "operator")
        first.client.fails_after_s = fails_after_s
        for _ in range(600):
            await asyncio.sleep(0.1)
            assert not (first.leads and second.leads)
        assert (first.leads, second.leads) == (stays, not stays)

    play(story)


def test_whoever_waits_for_a_lease_has_it_soon_after_it_was_deleted_and_its_holder_has_died() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first, second = Replica(server, "first"), Replica(server, "second")
        task = await start_both(first, second)
        first.client.server = SimulatedKubernetes(lambda: "")  # what it writes reaches nobody
        server.remove("leases", "system", "operator")
        await asyncio.sleep(20)
        assert second.leads
        server.remove("leases", "system", "operator")
        await asyncio.sleep(20)
        assert second.leads, "it does not wait for one that had the Lease before"
        task.cancel()

    play(story)


def test_a_lease_that_was_released_and_deleted_is_waited_for_by_nobody() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first, second = Replica(server, "first"), Replica(server, "second")
        task = await start_both(first, second)
        second.client.broken = KubeUnavailableError("the API server is away")
        task.cancel()
        await asyncio.sleep(1)
        server.remove("leases", "system", "operator")
        second.client.broken = None
        await asyncio.sleep(16)
        assert second.leads

    play(story)


def test_an_api_server_that_is_away_is_logged_once_a_minute() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first = Replica(server, "first")
        server.away = True
        first.start()
        with capture_logs() as logs:
            await asyncio.sleep(90)
        said = [line for line in logs if line["event"] == "lease_not_renewed"]
        assert len(said) == 2, said

    play(story)


def test_an_api_server_that_is_away_again_is_logged_again() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first = Replica(server, "first")
        first.start()
        with capture_logs() as logs:
            for away in (False, True, False, True, False):
                server.away = away
                await asyncio.sleep(6)
        assert [line["event"] for line in logs].count("lease_not_renewed") == 2
        assert first.leads

    play(story)


def test_a_second_release_over_the_same_namespaces_waits() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        everywhere, here = Replica(server, "one"), Replica(server, "two", "other", ("team-a",))
        task = everywhere.start()
        await asyncio.sleep(5)
        here.start()
        await asyncio.sleep(30)
        assert (everywhere.leads, here.leads) == (True, False)
        task.cancel()
        await asyncio.sleep(5)
        assert here.leads

    play(story)


def test_a_second_release_waits_although_its_clock_is_ahead() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first = Replica(server, "one")
        second = Replica(server, "two", "other", ahead=timedelta(minutes=10))
        first.start()
        await asyncio.sleep(5)
        second.start()
        await asyncio.sleep(120)
        assert (first.leads, second.leads) == (True, False)

    play(story)


def test_a_second_release_leads_within_a_minute_of_the_death_of_the_first() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first, second = Replica(server, "one"), Replica(server, "two", "other")
        await start_both(first, second, between_s=5)
        first.client.server = SimulatedKubernetes(lambda: "")  # what it writes reaches nobody
        await asyncio.sleep(60)
        assert second.leads

    play(story)


def test_a_lease_that_somebody_deletes_makes_no_second_release_act_beside_the_first() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first, second = Replica(server, "one"), Replica(server, "two", "other")
        await start_both(first, second, between_s=5)
        server.remove("leases", "system", "operator")
        for _ in range(900):
            await asyncio.sleep(0.1)
            assert (first.leads, second.leads) == (True, False)

    play(story)


def test_whose_lease_is_deleted_while_other_leases_are_looked_for_begins_nothing_without_it() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first = Replica(server, "first")
        first.client.list_s = 1.0
        first.start()
        await asyncio.sleep(0.5)
        server.remove("leases", "system", "operator")
        await asyncio.sleep(1)
        assert not first.leads
        await asyncio.sleep(5)
        assert first.leads

    play(story)


def test_a_release_whose_lease_goes_with_its_namespace_acts_no_more_when_another_one_begins() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first, second = Replica(server, "one"), Replica(server, "two", "other")
        await start_both(first, second, between_s=5)
        server.remove("leases", "system", "operator")
        first.client.broken = KubeDeniedError("the namespace is being terminated", 403)
        while not second.leads:
            await asyncio.sleep(0.1)
        assert not first.leads
        assert asyncio.get_running_loop().time() < 60

    play(story)


def test_releases_over_different_namespaces_lead_side_by_side() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        one, other = Replica(server, "one", "one", ("team-a",)), Replica(server, "other", "other", ("team-b",))
        one.start(), other.start()
        await asyncio.sleep(10)
        assert (one.leads, other.leads) == (True, True)

    play(story)


def test_who_cannot_see_the_other_leases_does_not_lead() -> None:
    async def story(server: SimulatedKubernetes) -> None:
        first = Replica(server, "first")
        first.client.denied = "leases"
        first.start()
        await asyncio.sleep(30)
        assert not first.leads
        first.client.denied = ""
        await asyncio.sleep(5)
        assert first.leads

    play(story)
