"""How a simulated SkyPilot launches: it looks for nodes, place after place, and starts the engine on them as a job."""

import asyncio
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.base import Address, Failure
from deepseek_operator.facts.skypilot import JobState, PlaceTried, SkyPilotClusterState
from tests.simulation.ground import Engine
from tests.simulation.machines import NO_NODE
from tests.simulation.rows import PRICE, REGION, Request, Row, clouds_of, labels_of, uid_of
from tests.simulation.trust import Identity, identity_of

if TYPE_CHECKING:
    from tests.simulation.skypilot import SimulatedSkyPilot

__all__ = ["Launches"]

_PORT: Final = re.compile(r"--port[= ](\d+)")
MUTE_S: Final = 3500.0
"""Seconds for which SkyPilot waits for machines that do not come up."""
NO_ROOM_S: Final = 8.0
"""Seconds after which SkyPilot goes on to the next place where pods find no node."""

Task = dict[str, Any]


class Launches:
    """Carries out launches, and further jobs on nodes that are up."""

    def __init__(self, server: "SimulatedSkyPilot") -> None:
        self._server = server

    async def launch(self, one: Request, task: Task) -> Failure | None:
        """Bring nodes up, unless there are some, and start the engine on them."""
        server = self._server
        fault = server.launch_faults.pop(0) if server.launch_faults else ""
        if fault == "hangs":
            await asyncio.Event().wait()
        row = server.rows.get(one.name)
        if row is None or row.state is not SkyPilotClusterState.UP:
            failure = await self._find_nodes(one, task, fault)
            if failure is not None:
                return failure
        self._job(server.rows[one.name], port_of(task), identity_of(task))
        return None

    async def exec(self, one: Request, task: Task) -> Failure | None:
        """Start the engine on nodes that are up."""
        await asyncio.sleep(self._server.dice.uniform(0.2, 2))
        row, nodes = self._server.rows.get(one.name), self._server.ground.nodes.get(one.name)
        if row is None or row.state is not SkyPilotClusterState.UP or nodes is None or not nodes.whole:
            return Failure(Reason.LAUNCH_FAILED, "the cluster is not up")
        self._job(row, port_of(task), identity_of(task))
        return None

    async def _find_nodes(self, one: Request, task: Task, fault: str) -> Failure | None:
        """Try one place after the other; return the failure of the last one if none has nodes."""
        failure = None
        *_, last = clouds = tuple(clouds_of(task))
        for cloud in clouds:
            failure = await self._try(one, task, cloud, fault, last=cloud == last)
            if failure is None or one.name in self._server.rows:
                return failure  # it has nodes, or what is left of them
            place = f"aws/{REGION}" if cloud == "AWS" else "kubernetes"
            one.tried.append(PlaceTried(place, failure.reason))
        return failure

    async def _try(self, one: Request, task: Task, cloud: str, fault: str, *, last: bool) -> Failure | None:
        """Bring up nodes in one place; where that fails, nothing is left there unless the row is."""
        server, on_kubernetes, uid = self._server, cloud == "Kubernetes", uid_of(task)
        row = server.rows.get(one.name)
        if row is None:
            row = server.rows[one.name] = Row(one.name, f"{one.id:x>16}", cloud, port_of(task))
        row.cloud, row.nodes = cloud, int(task.get("num_nodes") or 1)
        await asyncio.sleep(server.dice.uniform(0.2, 1))
        there, labels = one.name in server.ground.nodes, labels_of(task)
        if not there and not server.machines.make(one.name, uid, row.nodes, labels, on_kubernetes=on_kubernetes):
            server.rows.pop(one.name, None)
            return Failure(Reason.LAUNCH_FAILED, "the namespace is being terminated")
        if not on_kubernetes:
            server.on_launch("rent", one.name)
        await asyncio.sleep(server.pace * server.dice.uniform(0.5, 12))
        if server.mute and not on_kubernetes:
            server.mute -= 1
            await asyncio.sleep(MUTE_S)
        denied = await self._wait(one, uid, task, cloud, last=last) or self._why_not(task, cloud)
        if fault == "clean" or denied:
            server.machines.remove(one.name)
            if on_kubernetes:  # their pods take a moment to go
                await asyncio.sleep(server.dice.uniform(0.2, 4))
            server.rows.pop(one.name, None)
            return denied or Failure(Reason.NO_CAPACITY, "no capacity anywhere")
        nodes = server.ground.nodes.get(one.name)
        if fault == "stuck" or nodes is None or not nodes.whole:
            return Failure(Reason.LAUNCH_FAILED, "the nodes could not be reached")
        server.machines.run(one.name)
        row.state, row.port, row.incomplete = SkyPilotClusterState.UP, port_of(task), False
        chosen = self._entry(task, cloud) or {}
        row.spot, row.accelerators = bool(chosen.get("use_spot")), str(chosen.get("accelerators", ""))
        return None

    async def _wait(self, one: Request, uid: str, task: Task, cloud: str, *, last: bool) -> Failure | None:
        """Wait while the nodes of a place cannot start; return the failure where SkyPilot waits no longer."""
        server, on_kubernetes, waited_s = self._server, cloud == "Kubernetes", 0
        while True:
            full = on_kubernetes and "Kubernetes" in server.full
            misses = on_kubernetes and server.machines.misses_secret(uid, task)
            if not (full or misses or uid in server.stuck):
                return None
            if waited_s >= NO_ROOM_S and (full or not last):
                return Failure(Reason.UNSCHEDULABLE, NO_NODE)
            if full:
                server.machines.find_no_node(one.name)
            await asyncio.sleep(1)
            waited_s += 1

    def _entry(self, task: Task, cloud: str) -> dict[str, Any] | None:
        """Return the first entry of a cloud that it has something for."""
        entries = clouds_of(task)[cloud]
        return next((one for one in entries if not (one.get("use_spot") and self._server.no_spot)), None)

    def _why_not(self, task: Task, cloud: str) -> Failure | None:
        """Return why a cloud gives nothing."""
        server = self._server
        if cloud == "Kubernetes":
            return None
        if (refused := server.cloud_access(cloud.lower())) is not None:
            return refused
        limit = clouds_of(task)[cloud][0].get("max_hourly_cost")
        if limit is not None and Decimal(str(limit)) < PRICE:
            return Failure(Reason.NO_MATCHING_RESOURCES, f"no machine for {limit} dollars an hour")
        if cloud in server.full:
            return Failure(Reason.NO_CAPACITY, f"no capacity in {REGION}")
        return Failure(Reason.NO_CAPACITY, "no spot machine anywhere") if self._entry(task, cloud) is None else None

    def _job(self, row: Row, port: int, identity: Identity | None) -> None:
        server = self._server
        nodes = server.ground.nodes[row.name]
        if row.jobs and row.jobs[-1] is JobState.ACTIVE and not nodes.record_lost:
            server.on_launch("P2-second-job", row.name)
        row.jobs.append(JobState.ACTIVE)
        if nodes.uid in server.crashing:
            row.jobs[-1] = JobState.ENDED
            return
        engine = Engine(Address(nodes.host, port), None if nodes.on_kubernetes else identity)
        server.ground.set_engine(row.name, engine)
        seconds = server.pace * server.dice.uniform(0.5, 10)
        asyncio.get_running_loop().call_later(seconds, self._loaded, row.name, engine)

    def _loaded(self, name: str, engine: Engine) -> None:
        nodes = self._server.ground.nodes.get(name)
        if nodes is not None and nodes.engine is engine:
            engine.loaded, engine.since = True, asyncio.get_running_loop().time()
            self._server.ground.changed(nodes.host)


def port_of(task: Task) -> int:
    """Return the port on which the engine of a task listens."""
    return int(found[1]) if (found := _PORT.search(task["run"])) else 8000
