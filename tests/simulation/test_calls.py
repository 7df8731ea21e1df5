"""What one deployment costs the API server in its whole life, so that a new call in a pass fails at once."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from tests.simulation.clock import VirtualLoop, run_virtually
from tests.simulation.run import Simulation
from tests.simulation.schedule import Event, Schedule

CREATED = Event(40, "create", "a")
DELETED = Event(160, "delete", "a")
LISTS = [("LIST", kind) for kind in ("deepseekdeployments", "pods", "services", "endpointslices")]
"""Once a quarter of an hour; never in a pass."""
FIRST = [("LIST", "namespaces"), *LISTS[1:], LISTS[0]]
"""Once when the operator starts."""

Calls = dict[tuple[str, str], int]


def calls(seed: int, *events: Event) -> tuple[Calls, list[tuple[str, str]]]:
    """Writes by kind, and reads in their order, while these things happen to a settled operator."""
    loop = VirtualLoop()
    simulation = Simulation(Schedule(seed, events, (0, 0)), loop, random.Random(seed))
    run_virtually(simulation.run(), loop)
    assert simulation.promises.found == []
    return dict(Counter(simulation.kubernetes.writes)), simulation.kubernetes.reads


def test_somebody_who_changes_the_service_back_at_once_is_not_answered_at_once() -> None:
    """A webhook of a service mesh, say."""
    loop = VirtualLoop()
    simulation = Simulation(Schedule(1, (), (1, 0)), loop, random.Random(1))
    put = simulation.kubernetes.put

    def webhook(plural: str, namespace: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        if plural == "services" and "selector" not in body["spec"]:
            kept = [port for port in body["spec"]["ports"] if port["name"] != "mesh"]
            body = {**body, "spec": {**body["spec"], "ports": [*kept, {"name": "mesh", "port": 15001}]}}
        return put(plural, namespace, name, body)

    async def story() -> int:
        simulation.kubernetes.put = webhook  # type: ignore[method-assign]
        task = asyncio.create_task(simulation.run())
        await asyncio.sleep(60)
        before = len(simulation.kubernetes.writes)
        await asyncio.sleep(60)
        task.cancel()
        return len(simulation.kubernetes.writes) - before

    assert 5 < run_virtually(story(), loop) < 20


@pytest.mark.parametrize("seed", range(5))
class TestADeployment:
    def test_becomes_ready_with_ten_writes(self, seed: int) -> None:
        writes, _ = calls(seed, CREATED)
        assert writes.pop(("PATCH", "deepseekdeployments/status")) <= 4, "launching, starting, ready; details once"
        assert writes.pop(("POST", "events")) <= 3
        assert writes == {
            ("PATCH", "deepseekdeployments"): 1,  # the finalizer
            ("POST", "serviceaccounts"): 1,
            ("POST", "services"): 1,
            ("PATCH", "endpointslices"): 1,
        }

    def test_is_given_back_with_five_more(self, seed: int) -> None:
        before, _ = calls(seed, CREATED)
        after, _ = calls(seed, CREATED, DELETED)
        more = Counter(after) - Counter(before)
        assert more.pop(("PATCH", "deepseekdeployments/status")) <= 2, "torn down; what is left of it, if there is"
        assert more == {
            ("DELETE", "endpointslices"): 1,
            ("PATCH", "deepseekdeployments"): 1,  # the finalizer
            ("POST", "events"): 1,
        }

    def test_is_never_read(self, seed: int) -> None:
        _, reads = calls(seed, CREATED)
        assert reads in (FIRST, FIRST + LISTS)
