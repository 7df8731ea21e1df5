"""A SkyPilot server as far as the operator uses it: rows, requests, workers, jobs, and its ways to fail.

Its manners are those of facts about SkyPilot 0.14.1 that ``tests/contract`` asks of a real server: a launch of a name
that is up adds a job; a teardown ends the launches of its name; a restart forgets what was in flight and leaves INIT.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.v1alpha1 import PLURAL
from deepseek_operator.facts.base import Address, Failure
from deepseek_operator.facts.names import parse_cluster_name
from deepseek_operator.facts.skypilot import (
    Job,
    JobState,
    Outcome,
    RequestKind,
    RequestState,
    SkyPilotClusterState,
    SkyPilotRequest,
)
from deepseek_operator.skypilot.client import Snapshot
from tests.simulation.ground import Ground, Nodes
from tests.simulation.kubernetes import SimulatedKubernetes
from tests.simulation.launches import Launches
from tests.simulation.machines import Machines
from tests.simulation.rows import PRICE, Request, Row

__all__ = ["SimulatedSkyPilot"]

Check = Callable[[str, str], None]
"""Called with the name of a promise and a cluster when a request comes in that breaks it."""


@dataclass
class SimulatedSkyPilot:
    """The server.

    Attributes
    ----------
    launch_faults, down_faults
        How the next launches and teardowns fail: a launch that fails ``clean`` leaves nothing, ``stuck`` leaves nodes
        and row; a teardown ``fails``, or ``hangs`` until it is cancelled or the server restarts.
    stuck
        Uids whose pods find no node for as long as they are in it.
    mute
        So many launches of rented machines get some that do not come up for :data:`.launches.MUTE_S`.
    without_credentials
        Clouds that the server cannot use.
    no_spot
        Nobody has a spot machine left.
    full
        Clouds, ``Kubernetes`` among them, that have no room left.
    pace
        How many times as long machines and engines take as in a schedule, where they take seconds.
    """

    dice: random.Random
    ground: Ground
    kubernetes: SimulatedKubernetes
    now: Callable[[], datetime]
    workers: int = 4
    rows: dict[str, Row] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    history: dict[str, datetime] = field(default_factory=dict)
    launch_faults: list[str] = field(default_factory=list)
    down_faults: list[str] = field(default_factory=list)
    stuck: set[str] = field(default_factory=set)
    mute: int = 0
    without_credentials: set[str] = field(default_factory=set)
    no_spot: bool = False
    pace: float = 1.0
    crashing: set[str] = field(default_factory=set)
    on_launch: Check = lambda promise, cluster: None
    full: set[str] = field(default_factory=set)
    _ids: int = 0

    def __post_init__(self) -> None:
        self.machines, self.launches = self.make_machines(), Launches(self)

    def make_machines(self) -> Machines:
        """Return what makes nodes."""
        return Machines(self.kubernetes, self.ground)

    # --- what the operator's client asks -----------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return rows and requests in flight."""
        for row in self.rows.values():
            nodes = self.ground.nodes.get(row.name)
            if row.incomplete and nodes is not None and nodes.told_at is None:
                nodes.told_at = asyncio.get_running_loop().time()
        clusters = {row.name: row.shown() for row in self.rows.values()}
        requests: dict[str, tuple[SkyPilotRequest, ...]] = {}
        for one in self.requests.values():
            shown = SkyPilotRequest(one.id, one.kind, one.name, one.state, one.at)
            requests[one.name] = (*requests.get(one.name, ()), shown)
        return Snapshot(clusters, requests)

    def launch(self, name: str, task: dict[str, Any]) -> str:
        """Accept a launch."""
        self._promise_one_request(name)
        return self._begin(RequestKind.LAUNCH, name, lambda one: self._launch(one, task))

    def exec(self, name: str, task: dict[str, Any]) -> str:
        """Accept a job on nodes that are up."""
        self._promise_one_request(name)
        return self._begin(RequestKind.EXEC, name, lambda one: self._exec(one, task))

    def down(self, name: str) -> str:
        """Accept a teardown."""
        self.on_launch("down", name)
        if any(one.name == name and one.kind is RequestKind.DOWN for one in self.requests.values()):
            self.on_launch("P2-second-teardown", name)
        return self._begin(RequestKind.DOWN, name, self._down)

    def cancel(self, ids: list[str]) -> None:
        """End requests."""
        for one in [self.requests[i] for i in ids if i in self.requests]:
            self._cancel(one)

    def last_outcome(self, name: str) -> Outcome | None:
        """Return how the last request of a name ended."""
        return self.outcomes.get(name)

    def job(self, name: str) -> Job:
        """Return the newest job."""
        row = self.rows.get(name)
        nodes = self.ground.nodes.get(name)
        if row is None or nodes is None:
            return Job(0, JobState.NO_CLUSTER, "ClusterDoesNotExist")
        if row.state is not SkyPilotClusterState.UP or "head" not in nodes.members:
            return Job(0, JobState.UNREACHABLE, "ClusterNotUpError")
        if not row.jobs:
            return Job(0, JobState.NONE)
        return Job(len(row.jobs), row.jobs[-1], "FAILED" if row.jobs[-1] is JobState.ENDED else "RUNNING")

    def endpoints(self, name: str, port: int) -> Address | None:
        """Return where a rented head answers."""
        nodes = self.ground.nodes.get(name)
        return Address(nodes.host, port) if nodes is not None and name in self.rows else None

    def terminated(self, name: str) -> datetime | None:
        """Return when a cluster of this name was terminated last."""
        return self.history.get(name)

    def hourly_price(self, name: str) -> Decimal | None:
        """Return what a cluster costs."""
        row = self.rows.get(name)
        return PRICE * row.nodes if row is not None and row.cloud != "Kubernetes" else None

    def cloud_access(self, cloud: str) -> Failure | None:
        """Return why a cloud cannot be used."""
        if cloud in self.without_credentials:
            return Failure(Reason.CREDENTIALS_INVALID, f"the SkyPilot server has no working credentials for {cloud}")
        return None

    # --- accidents ---------------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Forget everything in flight."""
        for one in list(self.requests.values()):
            self._cancel(one)

    def lose_database(self) -> None:
        """Forget everything; nodes and engines stay.

        Not machines of which no status tells: nothing but the lost record said that the launch had rented any.
        """
        self.restart()
        for nodes in list(self.ground.nodes.values()):
            if not nodes.on_kubernetes and nodes.cluster not in self._known():
                self.machines.remove(nodes.cluster)
        for nodes in self.ground.nodes.values():
            nodes.record_lost = True
            self._end_unnoticed(nodes)
        self.rows.clear()
        self.outcomes.clear()
        self.history.clear()

    def _known(self) -> set[str]:
        """Return the replicas of which a status says where they run."""
        statuses = (body.get("status") or {} for body in self.kubernetes.list(PLURAL))
        instances = (one for status in statuses for one in status.get("instances") or ())
        return {one["name"] for one in instances if (one.get("ledger") or {}).get("infra")}

    def engine_ends(self, name: str) -> None:
        """Let the engine of a cluster exit."""
        self.ground.set_engine(name, None)
        row = self.rows.get(name)
        if row is not None and row.jobs:
            row.jobs[-1] = JobState.ENDED

    def nodes_go(self, name: str) -> None:
        """Take the nodes of a cluster away, as a preemption does; SkyPilot notices later."""
        self.machines.remove(name)
        row = self.rows.get(name)
        if row is not None:
            asyncio.get_running_loop().call_later(self.dice.uniform(15, 60), self._notice, row)

    def node_goes(self, name: str, member: str) -> None:
        """Take one of several nodes away; the engine on the head ends, or goes on saying that it is well."""
        self.machines.remove_one(name, member)
        if member != "head" and self.dice.random() < 0.5:
            self.engine_ends(name)
        row = self.rows.get(name)
        if row is not None:
            asyncio.get_running_loop().call_later(self.dice.uniform(15, 60), self._count, row)
        elif (nodes := self.ground.nodes.get(name)) is not None:
            self._end_unnoticed(nodes)

    def _end_unnoticed(self, nodes: Nodes) -> None:
        """Let the engine end on machines that cannot serve: nothing but the row that was lost tells of them before."""
        if nodes.record_lost and not nodes.whole and not nodes.on_kubernetes:
            self.ground.set_engine(nodes.cluster, None)

    def _count(self, row: Row) -> None:
        nodes = self.ground.nodes.get(row.name)
        if self.rows.get(row.name) is row and nodes is not None and not nodes.whole:
            row.state, row.incomplete = SkyPilotClusterState.INIT, True

    def _notice(self, row: Row) -> None:
        if self.rows.get(row.name) is row and row.name not in self.ground.nodes:
            if row.cloud == "AWS":
                del self.rows[row.name]
                self.history[row.name] = self.now()
            else:
                row.state = SkyPilotClusterState.INIT

    # --- requests ----------------------------------------------------------------------------------------------------

    def _promise_one_request(self, name: str) -> None:
        kinds = (RequestKind.LAUNCH, RequestKind.EXEC)
        if any(one.name == name and one.kind in kinds for one in self.requests.values()):
            self.on_launch("P2-two-requests", name)
        self.on_launch("launch", name)

    def _begin(
        self, kind: RequestKind, name: str, work: Callable[[Request], Coroutine[Any, Any, Failure | None]]
    ) -> str:
        self._ids += 1
        one = Request(f"request-{self._ids}", kind, name, self.now())
        self.requests[one.id] = one

        async def run() -> None:
            found = kind is not RequestKind.DOWN or name in self.rows
            failure = await work(one)
            self.requests.pop(one.id, None)
            self.outcomes[name] = Outcome(one.id, kind, self.now(), failure, found, tuple(one.tried))

        one.task = asyncio.get_running_loop().create_task(run())
        return one.id

    def _cancel(self, one: Request) -> None:
        self.requests.pop(one.id, None)
        if one.task is not None:
            one.task.cancel()

    async def _worker(self, one: Request) -> None:
        long = (RequestKind.LAUNCH, RequestKind.EXEC)
        while True:
            queue = [other for other in self.requests.values() if other.kind in long]
            if one in queue[: self.workers]:
                one.state = RequestState.RUNNING
                return
            await asyncio.sleep(0.5)

    async def _launch(self, one: Request, task: dict[str, Any]) -> Failure | None:
        await self._worker(one)
        return await self.launches.launch(one, task)

    async def _exec(self, one: Request, task: dict[str, Any]) -> Failure | None:
        await self._worker(one)
        return await self.launches.exec(one, task)

    async def _down(self, one: Request) -> Failure | None:
        one.state = RequestState.RUNNING
        if one.name not in self.rows:
            return None  # and a launch of that name goes on
        for other in list(self.requests.values()):
            if other.name == one.name and other is not one and other.kind is not RequestKind.DOWN:
                self._cancel(other)
        await asyncio.sleep(self.dice.uniform(0.5, 6))
        if one.name not in self.rows:
            return None
        fault = self.down_faults.pop(0) if self.down_faults else ""
        if fault == "hangs":
            await asyncio.Event().wait()
        if fault:
            return Failure(Reason.LAUNCH_FAILED, "the provider answered 500")
        self.machines.remove(one.name)
        self.rows.pop(one.name, None)
        self.history[one.name] = self.now()
        return None

    def belongs(self, name: str, uid: str) -> bool:
        """Return whether a name was made for a deployment."""
        parsed = parse_cluster_name(name)
        return parsed is not None and parsed.uid == uid[:8]
