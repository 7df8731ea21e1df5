"""A SkyPilot server as far as the operator uses it: rows, requests, workers, jobs, and its ways to fail.

Its manners are those of facts about SkyPilot 0.14.1 that ``tests/contract`` asks of a real server: a launch of a name
that is up adds a job; a teardown ends the launches of its name; a restart forgets what was in flight and leaves INIT.
"""

import asyncio
import random
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.base import Address, Failure
from deepseek_operator.facts.names import parse_cluster_name
from deepseek_operator.facts.skypilot import (
    Job,
    JobState,
    Outcome,
    RequestKind,
    RequestState,
    SkyPilotCluster,
    SkyPilotClusterState,
    SkyPilotRequest,
)
from deepseek_operator.skypilot.client import Snapshot
from tests.simulation.ground import Engine, Ground, Nodes
from tests.simulation.kubernetes import SimulatedKubernetes
from tests.simulation.trust import Identity, identity_of

__all__ = ["PRICE", "SimulatedSkyPilot", "entries_of"]

_LABEL = "skypilot-cluster-name"
_PORT = re.compile(r"--port[= ](\d+)")
_SECRET = re.compile(r"'secretKeyRef': \{'name': '([^']+)'")
MUTE_S = 3500.0
"""Seconds for which SkyPilot waits for machines that do not come up."""
PRICE = Decimal("0.8048")
"""US dollars an hour of every machine."""
Check = Callable[[str, str], None]
"""Called with the name of a promise and a cluster when a request comes in that breaks it."""


@dataclass
class _Row:
    name: str
    hash: str
    cloud: str
    port: int
    state: SkyPilotClusterState = SkyPilotClusterState.INIT
    jobs: list[JobState] = field(default_factory=list)
    spot: bool = False
    accelerators: str = ""
    nodes: int = 1
    incomplete: bool = False


@dataclass
class _Request:
    id: str
    kind: RequestKind
    name: str
    at: datetime
    state: RequestState = RequestState.PENDING
    task: asyncio.Task[None] | None = None


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
        So many launches of rented machines get some that do not come up for :data:`MUTE_S`.
    without_credentials
        Clouds that the server cannot use.
    no_spot
        Nobody has a spot machine left.
    pace
        How many times as long machines and engines take as in a schedule, where they take seconds.
    """

    dice: random.Random
    ground: Ground
    kubernetes: SimulatedKubernetes
    now: Callable[[], datetime]
    workers: int = 4
    rows: dict[str, _Row] = field(default_factory=dict)
    requests: dict[str, _Request] = field(default_factory=dict)
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
    _ids: int = 0

    # --- what the operator's client asks -----------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return rows and requests in flight."""
        for row in self.rows.values():
            nodes = self.ground.nodes.get(row.name)
            if row.incomplete and nodes is not None and nodes.told_at is None:
                nodes.told_at = asyncio.get_running_loop().time()
        clusters = {
            row.name: SkyPilotCluster(
                row.name,
                row.state,
                "",
                row.cloud,
                "us-east-1" if row.cloud == "AWS" else "",
                row.accelerators,
                row.nodes,
                row.hash,
                incomplete=row.incomplete,
                spot=row.spot and row.state is SkyPilotClusterState.UP,
            )
            for row in self.rows.values()
        }
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
        if row is None or row.state is not SkyPilotClusterState.UP or nodes is None or "head" not in nodes.members:
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
        """Forget everything; nodes and engines stay."""
        self.restart()
        for nodes in self.ground.nodes.values():
            nodes.record_lost = True
            if not nodes.whole:  # it cannot serve, ends after a while, and nothing but its row says so before
                self.ground.set_engine(nodes.cluster, None)
        self.rows.clear()
        self.outcomes.clear()
        self.history.clear()

    def engine_ends(self, name: str) -> None:
        """Let the engine of a cluster exit."""
        self.ground.set_engine(name, None)
        row = self.rows.get(name)
        if row is not None and row.jobs:
            row.jobs[-1] = JobState.ENDED

    def nodes_go(self, name: str) -> None:
        """Take the nodes of a cluster away, as a preemption does; SkyPilot notices later."""
        self._remove_nodes(name)
        row = self.rows.get(name)
        if row is not None:
            asyncio.get_running_loop().call_later(self.dice.uniform(15, 60), self._notice, row)

    def node_goes(self, name: str, member: str) -> None:
        """Take one of several nodes away; the engine on the head ends, or goes on saying that it is well."""
        nodes = self.ground.nodes[name]
        if nodes.on_kubernetes:
            self.kubernetes.remove("pods", nodes.namespace, f"{name}-d5ee9000-{member}")
        else:
            self._member_gone(name, member)
        if member != "head" and self.dice.random() < 0.5:
            self.engine_ends(name)
        row = self.rows.get(name)
        if row is not None:
            asyncio.get_running_loop().call_later(self.dice.uniform(15, 60), self._count, row)

    def _count(self, row: _Row) -> None:
        nodes = self.ground.nodes.get(row.name)
        if self.rows.get(row.name) is row and nodes is not None and not nodes.whole:
            row.state, row.incomplete = SkyPilotClusterState.INIT, True

    def _member_gone(self, name: str, member: str) -> None:
        nodes = self.ground.nodes.get(name)
        if nodes is None or member not in nodes.members:
            return
        nodes.members.discard(member)
        if not nodes.members:
            self.ground.remove(name)
        elif member == "head":
            self.ground.set_engine(name, None)

    def _notice(self, row: _Row) -> None:
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
        self, kind: RequestKind, name: str, work: Callable[[_Request], Coroutine[Any, Any, Failure | None]]
    ) -> str:
        self._ids += 1
        one = _Request(f"request-{self._ids}", kind, name, self.now())
        self.requests[one.id] = one

        async def run() -> None:
            found = kind is not RequestKind.DOWN or name in self.rows
            failure = await work(one)
            self.requests.pop(one.id, None)
            self.outcomes[name] = Outcome(one.id, kind, self.now(), failure, found)

        one.task = asyncio.get_running_loop().create_task(run())
        return one.id

    def _cancel(self, one: _Request) -> None:
        self.requests.pop(one.id, None)
        if one.task is not None:
            one.task.cancel()

    async def _worker(self, one: _Request) -> None:
        long = (RequestKind.LAUNCH, RequestKind.EXEC)
        while True:
            queue = [other for other in self.requests.values() if other.kind in long]
            if one in queue[: self.workers]:
                one.state = RequestState.RUNNING
                return
            await asyncio.sleep(0.5)

    async def _launch(self, one: _Request, task: dict[str, Any]) -> Failure | None:
        await self._worker(one)
        fault = self.launch_faults.pop(0) if self.launch_faults else ""
        row = self.rows.get(one.name)
        port = int(found[1]) if (found := _PORT.search(task["run"])) else 8000
        if row is None or row.state is not SkyPilotClusterState.UP:
            entries = entries_of(task)
            on_kubernetes = str(entries[0].get("infra", "k8s")).startswith("k8s")
            there = next((one for one in entries if not (one.get("use_spot") and self.no_spot)), None)
            if row is None:
                cloud = "Kubernetes" if on_kubernetes else "AWS"
                row = self.rows[one.name] = _Row(one.name, f"{one.id:x>16}", cloud, port)
            labels = ((task.get("config") or {}).get("kubernetes") or {}).get("custom_metadata", {}).get("labels", {})
            uid = labels.get(api.LABEL_UID) or entries[0].get("labels", {}).get("deepseek-operator-uid", "")
            row.nodes = int(task.get("num_nodes") or 1)
            await asyncio.sleep(self.dice.uniform(0.2, 1))
            known = self.ground.nodes
            if one.name not in known and not self._add_nodes(one.name, uid, on_kubernetes, labels, row.nodes):
                self.rows.pop(one.name, None)
                return Failure(Reason.LAUNCH_FAILED, "the namespace is being terminated")
            await asyncio.sleep(self.pace * self.dice.uniform(0.5, 12))
            if self.mute and not on_kubernetes:
                self.mute -= 1
                await asyncio.sleep(MUTE_S)
            while uid in self.stuck or (on_kubernetes and self._misses_secret(uid, task)):
                await asyncio.sleep(1)
            denied = not on_kubernetes and self.cloud_access(row.cloud.lower())
            limit = entries[0].get("max_hourly_cost")
            if not on_kubernetes and limit is not None and Decimal(str(limit)) < PRICE:
                denied = Failure(Reason.NO_MATCHING_RESOURCES, f"no machine for {limit} dollars an hour")
            if there is None:
                denied = denied or Failure(Reason.NO_CAPACITY, "no spot machine anywhere")
            if fault == "clean" or denied:
                self._remove_nodes(one.name)
                self.rows.pop(one.name, None)
                return denied or Failure(Reason.NO_CAPACITY, "no capacity anywhere")
            if fault == "stuck" or one.name not in self.ground.nodes or not self.ground.nodes[one.name].whole:
                return Failure(Reason.LAUNCH_FAILED, "the nodes could not be reached")
            self._run_pod(one.name)
            row.state, row.port, row.incomplete = SkyPilotClusterState.UP, port, False
            row.spot = there is not None and bool(there.get("use_spot"))
            row.accelerators = str((there or {}).get("accelerators", ""))
        self._job(row, port, identity_of(task))
        return None

    async def _exec(self, one: _Request, task: dict[str, Any]) -> Failure | None:
        await self._worker(one)
        await asyncio.sleep(self.dice.uniform(0.2, 2))
        row = self.rows.get(one.name)
        nodes = self.ground.nodes.get(one.name)
        if row is None or row.state is not SkyPilotClusterState.UP or nodes is None or not nodes.whole:
            return Failure(Reason.LAUNCH_FAILED, "the cluster is not up")
        port = int(found[1]) if (found := _PORT.search(task["run"])) else 8000
        self._job(row, port, identity_of(task))
        return None

    def _job(self, row: _Row, port: int, identity: Identity | None) -> None:
        nodes = self.ground.nodes[row.name]
        if row.jobs and row.jobs[-1] is JobState.ACTIVE and not nodes.record_lost:
            self.on_launch("P2-second-job", row.name)
        row.jobs.append(JobState.ACTIVE)
        if nodes.uid in self.crashing:
            row.jobs[-1] = JobState.ENDED
            return
        engine = Engine(Address(nodes.host, port), None if nodes.on_kubernetes else identity)
        self.ground.set_engine(row.name, engine)
        asyncio.get_running_loop().call_later(self.pace * self.dice.uniform(0.5, 10), self._loaded, row.name, engine)

    def _loaded(self, name: str, engine: Engine) -> None:
        nodes = self.ground.nodes.get(name)
        if nodes is not None and nodes.engine is engine:
            engine.loaded, engine.since = True, asyncio.get_running_loop().time()
            self.ground.changed(nodes.host)

    async def _down(self, one: _Request) -> Failure | None:
        one.state = RequestState.RUNNING
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
        self._remove_nodes(one.name)
        self.rows.pop(one.name, None)
        self.history[one.name] = self.now()
        return None

    # --- nodes -------------------------------------------------------------------------------------------------------

    def _add_nodes(self, name: str, uid: str, on_kubernetes: bool, labels: dict[str, str], count: int) -> bool:
        members = ["head", *(f"worker{number}" for number in range(1, count))]
        namespace = self.namespace_of(uid)
        if on_kubernetes:
            home = self.kubernetes.get("namespaces", "", namespace)
            if home is not None and home["metadata"].get("deletionTimestamp"):
                return False
            for member in members:
                pod = _pod(name, namespace, labels, member)
                self.kubernetes.put("pods", namespace, pod["metadata"]["name"], pod)
            self.kubernetes.put("services", namespace, f"{name}-d5ee9000-head", _service(name, namespace, labels))
        host = self.ground.take_host(on_kubernetes=on_kubernetes)
        self.ground.add(Nodes(name, uid, namespace, host, on_kubernetes, count=count, members=set(members)))
        return True

    def _misses_secret(self, uid: str, task: dict[str, Any]) -> bool:
        """Return whether the pods of a task wait for a Secret that is not there."""
        names = _SECRET.findall(str(task.get("config")))
        return any(self.kubernetes.get("secrets", self.namespace_of(uid), name) is None for name in names)

    def _run_pod(self, name: str) -> None:
        nodes = self.ground.nodes[name]
        for member in sorted(nodes.members) if nodes.on_kubernetes else ():
            place = ("pods", nodes.namespace, f"{name}-d5ee9000-{member}")
            body = self.kubernetes.get(*place)
            if body is not None:
                ip = nodes.host if member == "head" else f"10.0.2.{nodes.host.rpartition('.')[2]}"
                self.kubernetes.put(*place, {**body, "status": {"phase": "Running", "podIP": ip}})

    def _remove_nodes(self, name: str) -> None:
        nodes = self.ground.nodes.get(name)
        if nodes is not None and nodes.on_kubernetes:
            for member in sorted(nodes.members):
                self.kubernetes.remove("pods", nodes.namespace, f"{name}-d5ee9000-{member}")
            self.kubernetes.remove("services", nodes.namespace, f"{name}-d5ee9000-head")
        self.ground.remove(name)

    def namespace_of(self, uid: str) -> str:
        """Return the namespace of a deployment; the last one known, once it is gone."""
        for (plural, namespace, _), body in self.kubernetes.objects.items():
            if plural == api.PLURAL and body["metadata"]["uid"] == uid:
                self._namespaces[uid] = namespace
        return self._namespaces.get(uid, "serving")

    def __post_init__(self) -> None:
        self._namespaces: dict[str, str] = {}
        self.kubernetes.pod_removed = self._pod_removed

    def _pod_removed(self, body: dict[str, Any]) -> None:
        metadata = body["metadata"]
        self._member_gone(metadata["annotations"][_LABEL], metadata["name"].rpartition("-")[2])

    def belongs(self, name: str, uid: str) -> bool:
        """Return whether a name was made for a deployment."""
        parsed = parse_cluster_name(name)
        return parsed is not None and parsed.uid == uid[:8]


def entries_of(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the places and kinds that a task asks for, in its order."""
    resources = task["resources"]
    return list(resources.get("ordered") or resources.get("any_of") or [resources])


def _metadata(name: str, namespace: str, labels: dict[str, str], member: str = "head") -> dict[str, Any]:
    own = {_LABEL: f"{name}-d5ee9000", "skypilot-head-node": str(int(member == "head"))}
    return {
        "name": f"{name}-d5ee9000-{member}",
        "namespace": namespace,
        "labels": {**own, **labels},
        "annotations": {_LABEL: name},
    }


def _pod(name: str, namespace: str, labels: dict[str, str], member: str) -> dict[str, Any]:
    return {"metadata": _metadata(name, namespace, labels, member), "status": {"phase": "Pending"}}


def _service(name: str, namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    metadata = {**_metadata(name, namespace, labels), "uid": f"service-of-{name}"}
    spec = {"clusterIP": "None", "selector": {"component": metadata["name"]}, "ports": [{"port": 22}]}
    return {"metadata": metadata, "spec": spec}
