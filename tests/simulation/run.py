"""One schedule, played: two deployments, one operator at a time, and whatever the schedule does to them."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.catalog import load_catalog
from deepseek_operator.facts.base import Address, Encryption
from deepseek_operator.facts.clock import format_time
from deepseek_operator.planning import Planned, Planner, Refused
from deepseek_operator.runtime.queue import LONGEST_BACKOFF_S
from tests.simulation.accidents import Accidents
from tests.simulation.clock import VirtualLoop
from tests.simulation.ground import Ground
from tests.simulation.kubernetes import SimulatedKubernetes
from tests.simulation.process import Process
from tests.simulation.promises import Promises
from tests.simulation.proxies import SimulatedProxies
from tests.simulation.schedule import Schedule
from tests.simulation.skypilot import SimulatedSkyPilot
from tests.simulation.specs import NAMESPACE, OWN_SECRET, spec_of

__all__ = ["Simulation"]

Body = dict[str, Any]

CONVERGE_S: Final = 4000.0
"""Seconds after the last fault within which everything must be as the specs want it."""
FAULTS_S: Final = 25.0
"""Seconds for which faults go on after the last event."""
QUIET_S: Final = 700.0
"""Seconds for which a settled world is watched: longer than the resync period."""


@lru_cache
def _catalog() -> Any:
    return load_catalog()


class _Planner(Planner):
    """The planner, with prices that can rise above what everybody allows."""

    refusing = False

    def plan(self, spec: DeepSeekDeploymentSpec) -> Planned | Refused:
        """Return the plan, or refuse it."""
        if self.refusing:
            return Refused(Reason.DOES_NOT_FIT, "the price has risen above spec.resources.maxHourlyCost")
        return super().plan(spec)


@lru_cache
def _planner() -> _Planner:
    return _Planner(_catalog())


@dataclass
class Simulation:
    """The world of one schedule."""

    schedule: Schedule
    loop: VirtualLoop
    dice: random.Random
    traced: bool = False
    lines: list[str] = field(default_factory=list)
    gap_until: float = 0.0
    api_back_at: float = 0.0

    def __post_init__(self) -> None:
        self.ground = Ground(changed=self.ground_changed)
        self.kubernetes = SimulatedKubernetes(lambda: format_time(self.loop.now()))
        self.skypilot = SimulatedSkyPilot(self.dice, self.ground, self.kubernetes, self.loop.now)
        self.proxies = SimulatedProxies(self.kubernetes, self.dice, self.ground, self.ground_changed)
        self.promises = Promises(self.kubernetes, self.skypilot, self.ground, self.proxies, self.loop.time)
        self.skypilot.on_launch = self.promises.requests.heard
        self.planner = _planner()
        self.planner.refusing = False
        self.process: Process | None = None
        self.accidents = Accidents(self)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._mode, self._mode_until = "up", 0.0
        self._post_faults: list[tuple[str, float]] = []
        self._late = 0
        self._created = 0
        self._calm = False
        self._was_refused = False

    # --- the run -----------------------------------------------------------------------------------------------------

    async def run(self) -> float:
        """Play everything; return how long it took on the virtual clock."""
        await self._run()
        return self.loop.moment

    async def _run(self) -> None:
        self.kubernetes.put("namespaces", "", NAMESPACE, {"metadata": {"name": NAMESPACE, "uid": "n"}})
        self.put_own_secret()
        for name, replicas in zip("ab", self.schedule.replicas, strict=True):
            if replicas:
                self.create(name, replicas)
        self.start_operator()
        for event in self.schedule.events:
            self.loop.call_at(event.at, self.accidents.happen, event)
        last = max((event.at for event in self.schedule.events), default=0.0)
        if not await self._watch(last + FAULTS_S):
            return
        self._calm_down()
        shifted_s = sum(abs(event.value) for event in self.schedule.events if event.kind == "clock")
        if not await self._watch(self.loop.time() + CONVERGE_S + shifted_s, until_converged=True):
            return
        if words := self.promises.status.unfinished():
            self.promises.broken("not-converged", words)
            return
        await self._quiet()

    async def _watch(self, until: float, *, until_converged: bool = False) -> bool:
        """Let time pass; return False as soon as a promise is broken."""
        second = 0
        while self.loop.time() < until:
            await asyncio.sleep(1)
            second += 1
            if not self._operating():
                self.promises.acting = None
            elif self.promises.acting is None:
                self.promises.acting = self.loop.time() + (LONGEST_BACKOFF_S if self._was_refused else 0)
                self._was_refused = False
            self.promises.informed = self.skypilot_mode() == "up" and self.loop.time() >= self.gap_until
            self.promises.tick()
            if self.promises.found:
                return False
            if until_converged and second % 5 == 0:
                self._help()
                if not self.promises.status.unfinished():
                    return True
        return True

    def _operating(self) -> bool:
        self._was_refused |= bool(self.kubernetes.refused) or self.kubernetes.away
        return self.process is not None and not self.kubernetes.away and not self.kubernetes.refused

    async def _quiet(self) -> None:
        """Watch a settled world: nobody may write anything."""
        await asyncio.sleep(150)  # the last probes may move a condition, and a request without an answer expires
        writes, reads = len(self.kubernetes.writes), len(self.kubernetes.reads)
        await asyncio.sleep(QUIET_S)
        if new := self.kubernetes.writes[writes:]:
            self.promises.broken("P5-writes", str(new[:5]))
        if len(new := self.kubernetes.reads[reads:]) > 4:  # one list of each kind
            self.promises.broken("P5-reads", str(new))
        if words := self.promises.status.unfinished():
            self.promises.broken("not-settled", words)

    def _calm_down(self) -> None:
        """End every fault, and let an operator run."""
        self.trace("faults stop")
        self._calm = True
        self._post_faults.clear()
        self.skypilot.launch_faults.clear()
        self.skypilot.down_faults.clear()
        self.skypilot.stuck.clear()
        self.skypilot.mute = 0
        self.skypilot.without_credentials.clear()
        self.skypilot.full.clear()
        self.skypilot.crashing.clear()
        self.kubernetes.refused.clear()
        if self.planner.refusing:
            self.planner.refusing = False
            self.accidents.wake_all()
        self.accidents.lift_caps()
        self._mode = "up"
        for nodes in self.ground.nodes.values():
            if nodes.engine is not None and nodes.engine.hung:
                nodes.engine.hung, nodes.engine.since = False, self.loop.moment
                self.ground.changed(nodes.host)
        if self.process is not None:
            self.process.kill_in = None

    def _help(self) -> None:
        """Do what a status tells its user to do."""
        self.accidents.approve_what_waits()
        for body in self.kubernetes.list(api.PLURAL):
            instances = (body.get("status") or {}).get("instances") or ()
            lost = [one for one in instances if one["reason"] == Reason.MACHINES_UNACCOUNTED]
            for one in lost:
                self.ground.remove(one["name"])
            if lost:
                _, _, told = lost[0]["message"].rpartition(f"{api.ANNOTATION_ABANDON}=")
                self.annotate(body, {api.ANNOTATION_ABANDON: told})

    def annotate(self, body: Body, annotations: dict[str, str]) -> None:
        """Add annotations to a deployment, as a user does."""
        metadata = body["metadata"]
        kept = metadata.get("annotations") or {}
        after = {**body, "metadata": {**metadata, "annotations": {**kept, **annotations}}}
        self.kubernetes.put(api.PLURAL, NAMESPACE, metadata["name"], after)

    # --- the operator ------------------------------------------------------------------------------------------------

    def start_operator(self) -> None:
        """Start a process, unless one runs."""
        if self.process is None:
            self.trace("operator starts")
            self.process = self.make_process()
            self.process.start()

    def make_process(self) -> Process:
        """Return an operator that has not started."""
        return Process(self, self.planner)

    def kill(self, seconds: float = 3.0) -> None:
        """Kill the process; another one starts after a while."""
        if self.process is None:
            return
        self.trace("operator is killed")
        process, self.process = self.process, None
        self.promises.acting = None
        process.kill()
        self.loop.call_later(seconds, self.start_operator)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something beside everything else."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what the process touches ------------------------------------------------------------------------------------

    def answers(self, address: Address, encryption: Encryption | None = None) -> bool:
        """Return whether a probe of an engine, of a proxy or of a Service is answered."""
        if self.proxies.owns(address):
            return self.proxies.answers(address)
        if not address.host.startswith("10.96."):
            return self.ground.answers_as(address, encryption)
        for body in self.kubernetes.list("services", NAMESPACE, api.LABEL_UID):
            if body["spec"].get("clusterIP") == address.host:
                uid = body["metadata"]["labels"][api.LABEL_UID]
                return any(self.ground.answers(one) for one in self.promises.published(uid))
        return False

    def write(self, method: str, path: str, body: Any, query: Any, content_type: str) -> Body:
        """Let the operator write in Kubernetes, and check what comes of it."""
        traffic = "endpointslices" in path or "services" in path
        before = self.promises.traffic.reachable() if traffic else {}
        released = api.PLURAL in path and not path.endswith("/status")
        objects = {body["metadata"]["uid"]: body for body in self.kubernetes.list(api.PLURAL)} if released else {}
        answer = self.kubernetes.request(method, path, body, query, content_type)
        if traffic:
            self._trace_traffic(before)
            self.promises.traffic.on_write(before)
            if self.process is not None and self.process.prober is not None:
                self.process.prober.traffic_changed()
        if path.endswith("/status"):
            self.promises.status.on_status(answer)
            if self.traced:
                self.trace(_summary(answer))
        elif released:
            left = {found["metadata"]["uid"] for found in self.kubernetes.list(api.PLURAL)}
            for gone in [found for uid, found in objects.items() if uid not in left]:
                self.trace(f"{gone['metadata']['name']} is released")
                self.promises.status.on_released(gone)
        return answer

    def _trace_traffic(self, before: dict[str, set[Address]]) -> None:
        if not self.traced:
            return
        names = {body["metadata"]["uid"]: body["metadata"]["name"] for body in self.kubernetes.list(api.PLURAL)}
        for uid, addresses in self.promises.traffic.reachable().items():
            if addresses != before.get(uid, set()):
                self.trace(f"Service {names[uid]} leads to {', '.join(map(str, sorted(addresses))) or 'nobody'}")

    def skypilot_mode(self) -> str:
        """Return whether SkyPilot answers: ``up``, ``refuses`` or ``hangs``."""
        return self._mode if self.loop.time() < self._mode_until else "up"

    def set_mode(self, mode: str, seconds: float) -> None:
        """Let SkyPilot refuse or hang for a while."""
        if not self._calm:
            self._mode, self._mode_until = mode, self.loop.time() + seconds

    def add_post_fault(self, kind: str, value: float) -> None:
        """Let something happen to the next request to SkyPilot that has no fault yet."""
        self._post_faults.append((kind, value))

    def next_post_fault(self) -> tuple[str, float]:
        """Return what becomes of the next request to SkyPilot."""
        return self._post_faults.pop(0) if self._post_faults else ("", 0.0)

    def asks_to_launch(self, process: Process, cluster: str, *, spot: bool) -> None:
        """Note a launch that an operator is about to ask for."""
        self.promises.requests.asked(cluster, spot=spot, asking=lambda: not process.dead)

    def heard_late(self, process: Process, label: str, effect: Callable[[], str], sent_at: float) -> None:
        """Let SkyPilot hear a request that its sender has given up.

        Not that of a process that has been killed since: between the death of an operator and such a request, nothing
        remembers it. It takes a server that stalls for longer than the next operator needs to start.
        """
        if process.dead:
            return
        self.trace(f"heard late: {label}")
        self.promises.sent_at = sent_at
        effect()
        self.promises.sent_at = None

    def trace(self, words: str) -> None:
        """Write down what happens, if anybody wants to read it."""
        if self.traced:
            self.lines.append(f"{self.loop.time():8.1f}  {words}")

    def ground_changed(self, host: str) -> None:
        """Let the prober notice, as late as it would, that something at an address has changed."""
        if self.process is not None and self.process.prober is not None:
            self.process.prober.changed(host)

    # --- what people and accidents do --------------------------------------------------------------------------------

    def create(self, name: str, replicas: int) -> None:
        """Create a deployment."""
        if self.kubernetes.get(api.PLURAL, NAMESPACE, name) is not None or self.terminating():
            return
        self._created += 1
        uid = f"{self._created:08x}-4e5f-6789-abcd-ef0123456789"
        spec = {**self.spec_of(name), "replicas": replicas}
        head = {"name": name, "namespace": NAMESPACE, "uid": uid, "generation": 1}
        body = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": head, "spec": spec}
        self.promises.wishes.note(self.kubernetes.put(api.PLURAL, NAMESPACE, name, body))

    def put_own_secret(self) -> None:
        """Create the Secret in which users keep a key."""
        body = {"metadata": {"name": OWN_SECRET, "namespace": NAMESPACE}, "data": {"token": "c2VzYW1l"}}
        self.kubernetes.put("secrets", NAMESPACE, OWN_SECRET, body)

    @property
    def may_be_killed(self) -> bool:
        """Whether an operator is killed in this schedule."""
        return any(event.kind.startswith("kill") for event in self.schedule.events)

    def spec_of(self, name: str) -> Body:
        """Return the spec of a deployment, without its replicas."""
        return spec_of(self.schedule, name)

    def terminating(self) -> bool:
        """Return whether the namespace is being deleted."""
        home = self.kubernetes.get("namespaces", "", NAMESPACE)
        return home is not None and bool(home["metadata"].get("deletionTimestamp"))


def _summary(body: Body) -> str:
    status = body["status"]
    ready: Body = next((one for one in status["conditions"] if one["type"] == "Ready"), {})
    parts = [f"{one['name'].split('-', 2)[2]} {one['phase']}/{one['reason']}" for one in status.get("instances") or ()]
    return f"status {body['metadata']['name']}: Ready={ready.get('status')} {ready.get('reason')}; {', '.join(parts)}"
