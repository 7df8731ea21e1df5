"""Worlds in a few words, for table tests of the decision."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import DeepSeekDeploymentStatus, Instance, Phase
from deepseek_operator.api.v1alpha1 import FINALIZER, DeepSeekDeployment
from deepseek_operator.catalog import load_catalog
from deepseek_operator.planning import Plan, plan
from deepseek_operator.reconcile.naming import ClusterName, cluster_name, revision_of
from deepseek_operator.reconcile.world import (
    ClusterRow,
    ClusterState,
    Failure,
    Job,
    JobState,
    Outcome,
    Pod,
    Probe,
    PublishedService,
    Request,
    RequestKind,
    RequestState,
    SkyPilotView,
    World,
)

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
UID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
PORT = 8000
CPU_SPEC: dict[str, Any] = {
    "model": {"name": "tiny", "path": "/models/tiny"},
    "engine": {"name": "VLLM", "image": "localhost/engine:1"},
    "resources": {"accelerators": [], "cpus": "1+", "memory": "2+"},
}


def ago(seconds: float) -> str:
    """A time in a status, ``seconds`` before NOW."""
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def deployment(
    *, held: bool = True, deleting: bool = False, status: DeepSeekDeploymentStatus | None = None, **spec: Any
) -> DeepSeekDeployment:
    """A deployment of the CPU engine, with fields of the spec replaced."""
    body = {
        "metadata": {
            "name": "r1",
            "namespace": "serving",
            "uid": UID,
            "generation": 3,
            "resourceVersion": "42",
            "finalizers": [FINALIZER] if held else [],
            "deletionTimestamp": "2026-11-24T11:59:00Z" if deleting else None,
        },
        "spec": {**CPU_SPEC, **spec},
    }
    parsed = DeepSeekDeployment.parse(body)
    return parsed if status is None else parsed.model_copy(update={"status": status})


@lru_cache
def _catalog() -> Any:
    return load_catalog()


def planned(of: DeepSeekDeployment) -> Plan:
    """What the planner makes of it."""
    return plan(of.spec, _catalog())


def name(of: DeepSeekDeployment, ordinal: int = 0) -> ClusterName:
    """The cluster name of a replica of the current revision."""
    return cluster_name(of, revision_of(of.spec), ordinal)


def instance(cluster: str, phase: Phase, reason: Reason, *, since: float = 60, **fields: Any) -> Instance:
    """What the status before said of a replica."""
    revision = cluster.split("-")[-2]
    values = {"name": cluster, "revision": revision, "phase": phase, "reason": reason, "since": ago(since), **fields}
    return Instance(**values)


def with_instances(of: DeepSeekDeployment, *instances: Instance) -> DeepSeekDeployment:
    """The deployment with a status that lists these replicas."""
    return of.model_copy(update={"status": of.status.model_copy(update={"instances": instances})})


def world(of: DeepSeekDeployment, **fields: Any) -> World:
    """A world in which nothing exists but the object and its account, and everything can be asked."""
    base = World(
        now=NOW,
        deployment=of,
        skypilot=SkyPilotView(reachable=True),
        plan=planned(of),
        service_account_exists=True,
        service=PublishedService(exists=True, cluster_ip="10.96.1.1", port=PORT, type="ClusterIP"),
    )
    return replace(base, **fields)


def row(cluster: str, state: ClusterState = ClusterState.UP, **fields: Any) -> ClusterRow:
    """A row of SkyPilot's cluster table."""
    return ClusterRow(cluster, state, **{"cloud": "Kubernetes", "generation": "g1", **fields})


def request(
    cluster: str,
    kind: RequestKind = RequestKind.LAUNCH,
    state: RequestState = RequestState.RUNNING,
    *,
    since: float = 20,
    detail: str = "",
) -> Request:
    """A request in flight."""
    return Request("req-1", kind, cluster, state, NOW - timedelta(seconds=since), detail)


def pod(cluster: str, *, head: bool = True, phase: str = "Running", trouble: Failure | None = None) -> Pod:
    """A pod of a replica."""
    role = "head" if head else "worker1"
    on_cloud = f"{cluster}-d5ee9000"
    return Pod(f"{on_cloud}-{role}", cluster, on_cloud, head, phase, "10.88.0.5", False, trouble)


def failed_launch(
    reason: Reason = Reason.UNSCHEDULABLE, message: str = "0/1 nodes are available", *, request_id: str = "req-9"
) -> Outcome:
    """The last launch of a name failed."""
    return Outcome(request_id, RequestKind.LAUNCH, NOW - timedelta(seconds=5), Failure(reason, message))


def skypilot(*things: ClusterRow | Request, reachable: bool = True, message: str = "") -> SkyPilotView:
    """A snapshot that holds these rows and requests."""
    rows = {thing.name: thing for thing in things if isinstance(thing, ClusterRow)}
    requests: dict[str, tuple[Request, ...]] = {}
    for thing in things:
        if isinstance(thing, Request):
            requests[thing.cluster_name] = (*requests.get(thing.cluster_name, ()), thing)
    return SkyPilotView(reachable, message, rows, requests)


def healthy(address: str = f"10.88.0.5:{PORT}") -> dict[str, Probe]:
    """An address that answers."""
    return {address: Probe(True, NOW)}


def serving(of: DeepSeekDeployment, *ordinals: int) -> World:
    """A world in which these replicas answer and the Service leads to them."""
    names = [name(of, ordinal) for ordinal in ordinals or (0,)]
    hosts = [f"10.88.0.{5 + ordinal}" for ordinal in ordinals or (0,)]
    addresses = {cluster: f"{host}:{PORT}" for cluster, host in zip(names, hosts, strict=True)}
    probes = {address: Probe(True, NOW) for address in addresses.values()} | healthy("10.96.1.1:8000")
    return world(
        of,
        skypilot=skypilot(*(row(cluster) for cluster in names)),
        pods=tuple(replace(pod(cluster), ip=host) for cluster, host in zip(names, hosts, strict=True)),
        addresses=addresses,
        probes=probes,
        service=PublishedService(
            exists=True,
            cluster_ip="10.96.1.1",
            port=PORT,
            type="ClusterIP",
            addresses=tuple(sorted(hosts)),
            target_port=PORT,
        ),
    )


def job(state: JobState, *, id: int = 1, log_tail: str = "") -> Job:
    """The newest job of a cluster."""
    status = {JobState.ACTIVE: "RUNNING", JobState.ENDED: "FAILED"}.get(state, "")
    return Job(id, state, status, log_tail)
