"""Observe: everything one decision needs, gathered into a frozen World. All reads of a pass are here.

The shared snapshot answers most questions. What it leaves open (why a launch failed, what the engine's job says) is
asked per cluster, and remembered until something of that cluster moves.
"""

import asyncio
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import DeepSeekDeploymentSpec, Model, SecretKeyRef
from deepseek_operator.api.status import Phase, Verdict
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment, InvalidObjectError
from deepseek_operator.catalog import Catalog
from deepseek_operator.kube.read import ClusterReader, Observed
from deepseek_operator.planning import Plan, PlanInputError, plan
from deepseek_operator.reconcile.decide import known_names
from deepseek_operator.reconcile.naming import revision_of, uid_prefix
from deepseek_operator.reconcile.world import (
    ClusterRow,
    ClusterState,
    Failure,
    Job,
    JobState,
    Outcome,
    SkyPilotView,
    World,
)
from deepseek_operator.runtime.prober import Prober
from deepseek_operator.runtime.queue import Key
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.errors import SkyPilotError
from deepseek_operator.skypilot.snapshot import Snapshot, SnapshotLoop

__all__ = ["Memory", "Observer", "parse_leniently"]

JOB_MAX_AGE_S = 15.0
"""Seconds for which an answer about a job that runs is believed. Asking costs SkyPilot a kubectl exec, and the engine
that is starting beside it some of its processor."""


@dataclass
class Memory:
    """What was asked about one cluster name and need not be asked again; dropped when anything of it moves."""

    outcome: Outcome | None = None
    rejected: Outcome | None = None
    job: Job | None = None
    job_asked_at: float = -1e9
    address: str | None = None


@dataclass
class Observer:
    """Gathers worlds."""

    reader: ClusterReader
    skypilot: SkyPilotClient
    snapshots: SnapshotLoop
    prober: Prober
    catalog: Catalog
    default_infra: tuple[str, ...] = ("kubernetes",)
    memories: dict[str, Memory] = field(default_factory=dict)
    clouds: set[str] = field(default_factory=set)
    clouds_changed: asyncio.Event = field(default_factory=asyncio.Event)

    def memory(self, cluster_name: str) -> Memory:
        """Return what is remembered of a cluster name."""
        return self.memories.setdefault(cluster_name, Memory())

    async def observe(self, key: Key, acted_at: float) -> World | None:
        """Return the world of one deployment, or None if its object is gone.

        Parameters
        ----------
        acted_at
            ``time.monotonic()`` of the last action for this key: only a snapshot asked for later can show its effect.
        """
        body = await self.reader.deployment(*key)
        if body is None:
            self.prober.watch(key, {})
            return None
        deployment, invalid = parse_leniently(body)
        chosen, failure = self._plan(deployment.spec) if invalid is None else (None, invalid)
        snapshot = await self.snapshots.newer_than(acted_at)
        seen = await self.reader.observe(deployment)
        missing = await self.reader.missing_secrets(key[0], _secrets(deployment.spec))
        world = World(
            now=datetime.now(UTC).replace(microsecond=0),
            deployment=deployment,
            skypilot=SkyPilotView(snapshot.reachable, snapshot.message, snapshot.rows, snapshot.requests),
            plan=chosen,
            plan_failure=failure,
            missing_secrets=missing,
            pods=seen.pods,
            launched_services=seen.launched_services,
            service_account_exists=seen.service_account_exists,
            service=seen.service,
        )
        return await self._complete(world, seen, snapshot)

    async def _complete(self, world: World, seen: Observed, snapshot: Snapshot) -> World:
        names = known_names(world)
        rows = {name: row for name, row in snapshot.rows.items() if name in names}
        requests = {name: found for name, found in snapshot.requests.items() if name in names}
        uid = uid_prefix(world.deployment.metadata.uid)
        for name in [name for name in self.memories if f"-{uid}-" in name and name not in names]:
            del self.memories[name]
        for name in requests:
            self.memories[name] = Memory()  # something moves: what was known of it is history
        addresses: dict[str, str] = {
            name: address for name in names if (address := await self._address(world, name, rows.get(name)))
        }
        health = world.plan.health_path if world.plan is not None else "/health"
        targets = dict.fromkeys(addresses.values(), health)
        if seen.service.cluster_ip and seen.service.addresses:
            targets[f"{seen.service.cluster_ip}:{seen.service.port}"] = health
        self.prober.watch(world.deployment.key, targets)
        probes = self.prober.results(targets)
        outcomes: dict[str, Outcome] = {}
        jobs: dict[str, Job] = {}
        # A replica on its way out may answer until its nodes are gone; how its teardown ended is asked all the same.
        leaving = {i.name for i in world.deployment.status.instances if i.phase is Phase.TERMINATING}
        if snapshot.reachable:
            for name in names:
                probe = probes.get(addresses.get(name, ""))
                answers = probe is not None and probe.healthy
                if name in requests or (answers and name not in leaving):
                    continue
                if (outcome := await self._outcome(name)) is not None:
                    outcomes[name] = outcome
                if not answers and name in rows and rows[name].state is ClusterState.UP:
                    jobs[name] = await self._job(name)
        return replace(
            world,
            skypilot=SkyPilotView(snapshot.reachable, snapshot.message, rows, requests),
            outcomes=outcomes,
            jobs=jobs,
            addresses=addresses,
            probes=probes,
        )

    def placed(self, spec: DeepSeekDeploymentSpec) -> DeepSeekDeploymentSpec:
        """Return ``spec`` with the operator's default infra where the user named none."""
        if spec.resources.infra:
            return spec
        resources = spec.resources.model_copy(update={"infra": self.default_infra})
        return spec.model_copy(update={"resources": resources})

    def _plan(self, spec: DeepSeekDeploymentSpec) -> tuple[Plan | None, Failure | None]:
        spec = self.placed(spec)
        clouds = {infra.partition("/")[0] for infra in spec.resources.infra} - {"kubernetes", "k8s"}
        if not clouds <= self.clouds:
            self.clouds |= clouds
            self.clouds_changed.set()
        try:
            chosen = plan(spec, self.catalog)
        except PlanInputError as error:
            return None, Failure(Reason.INVALID_SPEC, str(error))
        if chosen.needs_api_key and spec.endpoint.api_key_secret_ref is None:
            return chosen, Failure(
                Reason.INVALID_SPEC,
                "endpoint.apiKeySecretRef must be set when resources.infra names a cloud "
                f"({', '.join(spec.resources.infra)}): the port of a rented machine is open to the internet",
            )
        if chosen.verdict is Verdict.DOES_NOT_FIT:
            return chosen, Failure(Reason.DOES_NOT_FIT, chosen.reason)
        return chosen, None

    async def _address(self, world: World, name: str, row: ClusterRow | None) -> str | None:
        """Return ``host:port`` of a replica's engine; the port of an older revision is the one it was ready at."""
        previous = next((i.address for i in world.deployment.status.instances if i.name == name), None)
        current = f"-{revision_of(world.deployment.spec)}-" in name
        port = world.plan.port if current and world.plan is not None else None
        if port is None and previous is not None:
            port = int(previous.rsplit(":", 1)[1])
        if port is None:
            return None
        head = next((pod for pod in world.pods if pod.cluster_name == name and pod.head and pod.running), None)
        if head is not None:
            return f"{head.ip}:{port}" if head.ip else None
        if row is None or row.on_kubernetes or row.state is not ClusterState.UP or not world.skypilot.reachable:
            return None
        memory = self.memory(name)
        if memory.address is None:
            try:
                memory.address = await self.skypilot.endpoints(name, port)
            except SkyPilotError:
                return previous
        return memory.address

    async def _outcome(self, name: str) -> Outcome | None:
        memory = self.memory(name)
        if memory.rejected is not None:
            return memory.rejected
        if memory.outcome is None:
            memory.outcome = await self.skypilot.last_outcome(name)
        return memory.outcome

    async def _job(self, name: str) -> Job:
        memory, now = self.memory(name), time.monotonic()
        known = memory.job
        if known is not None and (known.state is JobState.ENDED or now - memory.job_asked_at < JOB_MAX_AGE_S):
            return known
        job = await self.skypilot.job(name)
        if job.state is JobState.ENDED:
            job = Job(job.id, job.state, job.status, await self.skypilot.job_log(name, job.id))
        memory.job, memory.job_asked_at = job, now
        return job


def parse_leniently(body: dict[str, Any]) -> tuple[DeepSeekDeployment, Failure | None]:
    """Return the typed object; a spec that this version cannot read becomes a placeholder, so that it can go."""
    try:
        return DeepSeekDeployment.parse(body), None
    except InvalidObjectError as error:
        stand_in = DeepSeekDeploymentSpec(model=Model(name="unreadable"), replicas=0)
        readable = {**body, "spec": stand_in.model_dump(by_alias=True, exclude_none=True)}
        return DeepSeekDeployment.parse(readable), Failure(Reason.INVALID_SPEC, str(error))


def _secrets(spec: DeepSeekDeploymentSpec) -> tuple[SecretKeyRef, ...]:
    references = [spec.model.hugging_face_token_secret_ref, spec.endpoint.api_key_secret_ref]
    references += [variable.value_from.secret_key_ref for variable in spec.engine.env if variable.value_from]
    return tuple(reference for reference in references if reference is not None)
