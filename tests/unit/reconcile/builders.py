"""Worlds in a few words, for table tests of the decision."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.api.status import DeepSeekDeploymentStatus, Instance, Ledger
from deepseek_operator.api.v1alpha1 import FINALIZER, DeepSeekDeployment
from deepseek_operator.catalog import load_catalog
from deepseek_operator.facts.base import Address, Failure, Known, Probe, Unknown
from deepseek_operator.facts.kubernetes import Endpoints, Pod, ProxyPod, PublishedService
from deepseek_operator.facts.names import ClusterName, cluster_name, parse_cluster_name, revision_of
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
from deepseek_operator.facts.world import ReplicaFacts, Seen, World
from deepseek_operator.planning import Planned, Planner, Refused
from deepseek_operator.reconcile.decide import Decision, decide
from deepseek_operator.reconcile.results import Result, ResultKind, with_results
from deepseek_operator.reconcile.status import compute_status

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
UID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
PORT = 8000
SERVICE = Address("10.96.1.1", PORT)
CPU_SPEC: dict[str, Any] = {
    "model": {"name": "tiny", "path": "/models/tiny"},
    "engine": {"name": "VLLM", "image": "localhost/engine:1"},
    "resources": {"accelerators": [], "cpus": "1+", "memory": "2+"},
}
AWAY = Unknown("the SkyPilot API server does not answer", NOW)


def ago(seconds: float) -> datetime:
    """A moment before NOW."""
    return NOW - timedelta(seconds=seconds)


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


API_KEY_EXISTS = {SecretKeyRef(name="key", key="token"): Known("", NOW)}
"""The Secret of :func:`rented_deployment` exists."""


CLOUDS_ENABLED: dict[str, Known[Failure | None] | Unknown] = {cloud: Known(None, NOW) for cloud in ("aws", "gcp")}
"""The SkyPilot server has credentials for both clouds."""


def rented_deployment(*infra: str, **fields: Any) -> DeepSeekDeployment:
    """A deployment that runs on L4 machines of these places, at 0.80 dollars an hour or a little more."""
    resources = {"accelerators": ["L4:1"], "infra": list(infra or ("aws",)), **fields.pop("resources", {})}
    return deployment(
        model={"name": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"},
        engine={"name": "VLLM"},
        resources=resources,
        endpoint={"apiKeySecretRef": {"name": "key", "key": "token"}},
        **fields,
    )


@lru_cache
def planner() -> Planner:
    """The planner with the shipped catalog."""
    return Planner(load_catalog())


def planned(of: DeepSeekDeployment) -> Planned:
    """What the planner makes of it."""
    found = planner().plan(of.spec)
    assert isinstance(found, Planned), found
    return found


def name(of: DeepSeekDeployment, ordinal: int = 0) -> ClusterName:
    """The cluster name of a replica of the current revision."""
    return cluster_name(of, revision_of(of.spec), ordinal)


def older(of: DeepSeekDeployment, ordinal: int = 0) -> ClusterName:
    """The cluster name of a replica of another revision."""
    return cluster_name(of, "0ddba11f", ordinal)


def ledger(**fields: Any) -> Ledger:
    """A ledger of a replica that was launched ten minutes ago."""
    return Ledger(**{"engine": "VLLM", "port": PORT, "launched_at": ago(600), "infra": "kubernetes", **fields})


def remembering(of: DeepSeekDeployment, ledgers: dict[ClusterName, Ledger]) -> DeepSeekDeployment:
    """The deployment with a status that holds these ledgers."""
    instances = tuple(
        Instance(name=str(cluster), revision=cluster.revision, ledger=kept) for cluster, kept in ledgers.items()
    )
    return of.model_copy(update={"status": of.status.model_copy(update={"instances": instances})})


def facts(cluster: ClusterName, **fields: Any) -> ReplicaFacts:
    """What is known of one replica: SkyPilot can be asked and knows nothing, unless ``skypilot`` says otherwise."""
    seen = fields.pop("skypilot", Known(Seen(), NOW))
    last = seen.value if isinstance(seen, Known) else fields.pop("last_seen", Seen())
    fields.setdefault("outcome", Known(None, NOW))
    return ReplicaFacts(cluster, skypilot=seen, last_seen=last, **fields)


def seen(*things: SkyPilotCluster | SkyPilotRequest) -> Known[Seen]:
    """What a snapshot shows of one name."""
    cluster = next((thing for thing in things if isinstance(thing, SkyPilotCluster)), None)
    requests = tuple(thing for thing in things if isinstance(thing, SkyPilotRequest))
    return Known(Seen(cluster, requests), NOW)


def world(of: DeepSeekDeployment, *replicas: ReplicaFacts, **fields: Any) -> World:
    """A world in which these replicas exist, the Service leads nowhere, and everything can be asked."""
    base = World(
        now=NOW,
        deployment=of,
        revision=revision_of(of.spec),
        skypilot=Known(None, NOW),
        replicas={one.name: one for one in replicas},
        service=service(),
    )
    return replace(base, **fields)


def service(*ports: int, type: str = "ClusterIP") -> PublishedService:
    """Our Service."""
    numbers = ports or (PORT,)
    names = tuple("http" if index == 0 else f"http-{port}" for index, port in enumerate(numbers))
    return PublishedService(cluster_ip=SERVICE.host, ports=numbers, port_names=names, type=type)


def endpoints(*addresses: Address, names: tuple[str, ...] = ("http",)) -> Endpoints:
    """The slice that leads to these addresses."""
    return Endpoints(f"r1-{addresses[0].port}", tuple(sorted(addresses)), names)


TERMINATED = Known(NOW, NOW)
"""SkyPilot remembers that the cluster is gone."""


def row(cluster: ClusterName, state: str = "UP", **fields: Any) -> SkyPilotCluster:
    """A cluster in SkyPilot's table."""
    return SkyPilotCluster(str(cluster), SkyPilotClusterState(state), **{"cloud": "Kubernetes", "hash": "g1", **fields})


def request(
    cluster: ClusterName, kind: str = "launch", state: str = "RUNNING", *, since: float = 20, detail: str = ""
) -> SkyPilotRequest:
    """A request in flight."""
    return SkyPilotRequest("req-1", RequestKind(kind), str(cluster), RequestState(state), ago(since), detail)


def host(ordinal: int = 0) -> str:
    """The IP of a replica's head pod."""
    return f"10.88.0.{5 + ordinal}"


def pod(cluster: ClusterName, *, head: bool = True, phase: str = "Running", trouble: Failure | None = None) -> Pod:
    """A pod of a replica."""
    role = "head" if head else "worker1"
    on_cloud = f"{cluster}-d5ee9000"
    return Pod(f"{on_cloud}-{role}", str(cluster), on_cloud, head, phase, host(cluster.ordinal), trouble=trouble)


def failed_launch(
    reason: Reason = Reason.UNSCHEDULABLE, message: str = "0/1 nodes are available", *, request_id: str = "req-9"
) -> Known[Outcome | None]:
    """The last launch of a name failed."""
    return Known(Outcome(request_id, RequestKind.LAUNCH, ago(5), Failure(reason, message)), NOW)


def failed_teardown(message: str = "AuthFailure", *, request_id: str = "req-7") -> Known[Outcome | None]:
    """The last teardown of a name failed."""
    return Known(Outcome(request_id, RequestKind.DOWN, ago(5), Failure(Reason.LAUNCH_FAILED, message)), NOW)


def job(state: JobState, *, id: int = 1, log_tail: str = "", age: float = 1) -> Known[Job]:
    """The newest job of a cluster."""
    status = {JobState.ACTIVE: "RUNNING", JobState.ENDED: "FAILED"}.get(state, "")
    return Known(Job(id, state, status, log_tail), ago(age))


def up(cluster: ClusterName, **fields: Any) -> ReplicaFacts:
    """A replica whose nodes are up on Kubernetes, with a job that runs."""
    fields = {"job": job(JobState.ACTIVE), **fields}
    return facts(cluster, skypilot=seen(row(cluster)), pods=(pod(cluster),), **fields)


def answering(*addresses: Address) -> dict[Address, Probe]:
    """Probes of addresses that answer."""
    return {address: Probe(True, ago(60)) for address in addresses}


AUTHORITY = Known("-----BEGIN CERTIFICATE-----", NOW)
"""The certificate authority of a deployment is known."""


def proxy_pod(number: int = 0, revision: str = "", **fields: Any) -> ProxyPod:
    """A pod of the proxy."""
    return ProxyPod(f"r1-proxy-{number}", revision, **{"ip": f"10.88.1.{number + 1}", **fields})


def silent(address: Address, detail: str = "connection refused", *, dropped: bool = False) -> dict[Address, Probe]:
    """The probe of an address that does not answer."""
    return {address: Probe(False, ago(5), detail, dropped=dropped)}


def serving(of: DeepSeekDeployment, *names: ClusterName) -> World:
    """A settled world: these replicas answer, the Service leads to them, and the status remembers them."""
    clusters = names or (name(of),)
    addresses = tuple(Address(host(cluster.ordinal), PORT) for cluster in clusters)
    remembered = remembering(
        of,
        {
            cluster: ledger(ready_since=ago(300), address=str(address))
            for cluster, address in zip(clusters, addresses, strict=True)
        },
    )
    return world(
        remembered,
        *(up(cluster) for cluster in clusters),
        probes=answering(SERVICE, *addresses),
        endpoints=(endpoints(*addresses),),
    )


def step(world_: World, plan: Planned | Refused | None = None) -> tuple[Decision, DeepSeekDeploymentStatus]:
    """One pass in which every action on a replica succeeds: the decision after it, and the status."""
    chosen = plan if plan is not None else planner().plan(world_.deployment.spec)
    decision = decide(world_, chosen)
    results = [Result(cluster, action, ResultKind.DONE) for cluster, action in decision.actions]
    planned_ = chosen if isinstance(chosen, Planned) else None
    after = with_results(decision, results, planned_, world_.now)
    return after, compute_status(world_, chosen, after)


def named(text: str) -> ClusterName:
    """A name taken apart."""
    parsed = parse_cluster_name(text)
    assert parsed is not None
    return parsed
