"""Prometheus metrics of the operator itself; those of the engines are served by the engines.

docs/metrics.md is written from what is defined here, by ``tests/unit/runtime/test_metrics.py``. Series of a deployment
come from :data:`DEPLOYMENTS`, which makes them when Prometheus asks: what is gone leaves no series behind.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import deepseek_operator
from deepseek_operator.engines.metrics import Figures
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.store import Key
from deepseek_operator.skypilot.client import SERVER_VERSION

__all__ = [
    "DEPLOYMENTS",
    "ENGINES",
    "FAILURES",
    "LAUNCHES",
    "LAUNCHES_IN_FLIGHT",
    "LAUNCHES_WAITING",
    "LEADER",
    "ORPHANS",
    "PASSES",
    "PASS_SECONDS",
    "PROBES",
    "QUEUE_LENGTH",
    "QUEUE_SECONDS",
    "QUEUE_WAIT_SECONDS",
    "SKYPILOT_CALLS",
    "SKYPILOT_ERRORS",
    "SKYPILOT_REACHABLE",
    "SKYPILOT_SECONDS",
    "STAGES",
    "STAGE_SECONDS",
    "START_RATIO",
    "UNSETTLED",
    "DeploymentCollector",
    "DeploymentFacts",
    "LiveFigures",
    "ReplicaSeries",
    "count_probe",
    "expect_launch",
    "observe_skypilot",
]

_PREFIX: Final = "deepseek_operator_"
_STAGES_S: Final = (5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 900.0, 1200.0, 1800.0, 3600.0)
"""A pod with its image on the node takes 25 s, the download of R1's weights half an hour."""
_REQUESTS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)
"""The longest time that the client gives a call is 30 s."""
_WAITS_S: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)

PASSES: Final = Counter(f"{_PREFIX}passes", "Passes over a deployment, by how they ended: ok or error.", ["result"])
PASS_SECONDS: Final = Histogram(f"{_PREFIX}pass_seconds", "Duration of a pass.")
QUEUE_LENGTH: Final = Gauge(f"{_PREFIX}queue_length", "Deployments that wait for a worker.")
QUEUE_SECONDS: Final = Gauge(f"{_PREFIX}queue_seconds", "How long the deployment waits that waits longest.")
QUEUE_WAIT_SECONDS: Final = Histogram(
    f"{_PREFIX}queue_wait_seconds", "How long a deployment had waited when a worker took it.", buckets=_WAITS_S
)
UNSETTLED: Final = Gauge(f"{_PREFIX}unsettled_deployments", "Deployments on which something is under way.")

LAUNCHES: Final = Counter(
    f"{_PREFIX}launches",
    "Launches that have ended, by result (Ready, or the Reason of the failure) and by where: kubernetes, aws ...",
    ["result", "infra"],
)
LAUNCHES_IN_FLIGHT: Final = Gauge(f"{_PREFIX}launches_in_flight", "Launches under way at the SkyPilot API server.")
LAUNCHES_WAITING: Final = Gauge(f"{_PREFIX}launches_waiting", "Launches that wait for a launch slot.")
STAGES: Final = ("nodes", "engine", "ready")
STAGE_SECONDS: Final = Histogram(
    f"{_PREFIX}stage_seconds",
    "Duration of the stages of a launch: nodes (until they are up), engine (from then to its first answer), and ready "
    "(both).",
    ["stage", "infra"],
    buckets=_STAGES_S,
)
START_RATIO: Final = Histogram(
    f"{_PREFIX}start_prediction_ratio",
    "Duration of the stage engine, divided by what the planner expected (status.plan.performance.startSeconds).",
    ["infra"],
    buckets=(0.25, 0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0, 4.0),
)
FAILURES: Final = Counter(
    f"{_PREFIX}replica_failures",
    "Failures of replicas, in a launch and later, by Reason and by where.",
    ["reason", "infra"],
)
PROBES: Final = Counter(
    f"{_PREFIX}probes", "Probes of engines and Services, by result: answered or missed.", ["result"]
)

SKYPILOT_REACHABLE: Final = Gauge(f"{_PREFIX}skypilot_reachable", "1 if the SkyPilot API server answers.")
SKYPILOT_CALLS: Final = Gauge(f"{_PREFIX}skypilot_snapshot_calls", "Snapshot calls to the SkyPilot API server.")
SKYPILOT_SECONDS: Final = Histogram(
    f"{_PREFIX}skypilot_request_seconds",
    "Duration of HTTP requests to the SkyPilot API server, by path.",
    ["path"],
    buckets=_REQUESTS_S,
)
SKYPILOT_ERRORS: Final = Counter(
    f"{_PREFIX}skypilot_errors",
    "Requests to the SkyPilot API server without success, by path and kind: unavailable, rejected or failed.",
    ["path", "kind"],
)
ORPHANS: Final = Gauge(f"{_PREFIX}orphaned_clusters", "SkyPilot clusters of this installation that no deployment owns.")
LEADER: Final = Gauge(f"{_PREFIX}leader", "1 if this process holds the Lease and acts.")
BUILD_INFO: Final = Gauge(
    f"{_PREFIX}build_info",
    "1; the version of the operator, and of SkyPilot as tested.",
    ["version", "skypilot_version"],
)
BUILD_INFO.labels(deepseek_operator.__version__, SERVER_VERSION).set(1)

_ANSWERED, _MISSED = PROBES.labels("answered"), PROBES.labels("missed")


def count_probe(healthy: bool) -> None:
    """Count a probe. It is called for each of up to a thousand probes a second."""
    (_ANSWERED if healthy else _MISSED).inc()


def expect_launch(infra: str) -> None:
    """Let the series of a launch that succeeds begin at zero.

    Launches are rare: in a series whose first value is 1, Prometheus sees no increase, and the launch is lost to it.
    """
    LAUNCHES.labels("Ready", infra)
    START_RATIO.labels(infra)
    for stage in STAGES:
        STAGE_SECONDS.labels(stage, infra)


def observe_skypilot(path: str, seconds: float | None, error: str) -> None:
    """Record a request to the SkyPilot API server.

    Parameters
    ----------
    seconds
        Duration of the HTTP request; None for one that was recorded when it was accepted, and has failed since.
    error
        ``unavailable``, ``rejected`` or ``failed``; empty if there was none.
    """
    if seconds is not None:
        SKYPILOT_SECONDS.labels(path).observe(seconds)
    if error:
        SKYPILOT_ERRORS.labels(path, error).inc()


class ReplicaSeries(NamedTuple):
    """What is exported of one replica that serves.

    Attributes
    ----------
    accelerators
        GPUs of one node, ``L4:1``; ``cpu`` where there are none.
    kv_cache_tokens, planned_kv_cache_tokens
        Measured and planned; None where one of them is not known.
    """

    name: str
    address: Address
    accelerators: str
    kv_cache_tokens: int | None
    planned_kv_cache_tokens: int | None


class DeploymentFacts(NamedTuple):
    """What is exported of one deployment.

    Attributes
    ----------
    desired, replicas, ready
        Numbers of replicas: wanted, existing, and answering.
    hourly_cost
        US dollars an hour of what is rented now.
    conditions
        Type, whether it is True, and Reason.
    serving
        Its replicas that serve.
    """

    model: str
    desired: int
    replicas: int
    ready: int
    hourly_cost: float
    conditions: tuple[tuple[str, bool, str], ...]
    serving: tuple[ReplicaSeries, ...] = ()


class LiveFigures:
    """The newest figures of each engine that answers."""

    def __init__(self) -> None:
        self._figures: dict[Address, Figures] = {}

    def put(self, address: Address, figures: Figures | None) -> None:
        """Note what an engine reports now; None where it does not."""
        if figures is None:
            self._figures.pop(address, None)
        else:
            self._figures[address] = figures

    def of(self, address: Address) -> Figures:
        """Return what an engine reports; nothing where it does not. Called in the thread of the metrics server."""
        return self._figures.get(address, _NOTHING)


_NOTHING: Final = Figures()


class DeploymentCollector(Collector):
    """Series of each deployment, made when they are asked for. Only the process that acts has any."""

    def __init__(self, live: LiveFigures) -> None:
        self._live = live
        self._facts: dict[Key, DeploymentFacts] = {}

    def put(self, key: Key, facts: DeploymentFacts) -> None:
        """Note what is so now."""
        self._facts[key] = facts

    def forget(self, key: Key) -> None:
        """Drop the series of a deployment that is gone."""
        self._facts.pop(key, None)

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without their series."""
        return (*self._families(), *_EngineFamilies().finished())

    def collect(self) -> Iterable[Metric]:
        """Return the series. Called in the thread of the metrics server, so it works on a copy."""
        info, desired, replicas, ready, cost, condition = families = self._families()
        engines = _EngineFamilies()
        for (namespace, name), facts in self._facts.copy().items():
            labels = [namespace, name]
            info.add_metric([*labels, facts.model], 1)
            desired.add_metric(labels, facts.desired)
            replicas.add_metric(labels, facts.replicas)
            ready.add_metric(labels, facts.ready)
            cost.add_metric(labels, facts.hourly_cost)
            for type_, true, reason in facts.conditions:
                condition.add_metric([*labels, type_, reason], int(true))
            for replica in facts.serving:
                engines.add(labels, facts.model, replica, self._live.of(replica.address))
        return (*families, *engines.finished())

    @staticmethod
    def _families() -> tuple[GaugeMetricFamily, ...]:
        name, labels = f"{_PREFIX}deployment_", ["namespace", "name"]
        return (
            GaugeMetricFamily(f"{name}info", "1; the model that is served.", labels=[*labels, "model"]),
            GaugeMetricFamily(f"{name}replicas_desired", "Replicas wanted; 0 while suspended.", labels=labels),
            GaugeMetricFamily(f"{name}replicas", "Replicas that exist.", labels=labels),
            GaugeMetricFamily(f"{name}replicas_ready", "Replicas whose engine answers.", labels=labels),
            GaugeMetricFamily(f"{name}hourly_cost_dollars", "US dollars an hour of what is rented now.", labels=labels),
            GaugeMetricFamily(
                f"{name}condition",
                "1 if the condition is True, else 0; for Ready and Stalled.",
                labels=[*labels, "type", "reason"],
            ),
        )


class _EngineFamilies:
    """Series of what engines report."""

    def __init__(self) -> None:
        prefix, labels = f"{_PREFIX}engine_", ["namespace", "name", "replica"]
        self._tokens = CounterMetricFamily(
            f"{prefix}generation_tokens", "Output tokens of an engine since its start.", labels=labels
        )
        self._running = GaugeMetricFamily(
            f"{prefix}running_requests", "Requests that an engine works on.", labels=labels
        )
        self._waiting = GaugeMetricFamily(
            f"{prefix}waiting_requests", "Requests in the queue of an engine.", labels=labels
        )
        self._usage = GaugeMetricFamily(
            f"{prefix}kv_cache_usage_ratio", "Share of an engine's KV cache in use, 0 to 1.", labels=labels
        )
        self._room = GaugeMetricFamily(
            f"{prefix}kv_cache_tokens", "Tokens that an engine's KV cache holds.", labels=labels
        )
        self._error = GaugeMetricFamily(
            f"{_PREFIX}kv_cache_prediction_error_ratio",
            "Tokens that the KV cache holds, divided by those that were planned, minus 1; the lowest of all replicas. "
            "Below 0: the plan was too optimistic.",
            labels=["model", "accelerator"],
        )
        self._errors: dict[tuple[str, str], float] = {}

    def add(self, labels: list[str], model: str, replica: ReplicaSeries, live: Figures) -> None:
        """Add the series of one replica; what is not known has none."""
        for family, value in (
            (self._tokens, live.generation_tokens),
            (self._running, live.running),
            (self._waiting, live.waiting),
            (self._usage, live.kv_cache_usage),
            (self._room, live.kv_cache_tokens),
        ):
            if value is not None:
                family.add_metric([*labels, replica.name], value)
        measured, planned = replica.kv_cache_tokens, replica.planned_kv_cache_tokens
        if measured is not None and planned:
            which, error = (model, replica.accelerators), measured / planned - 1
            self._errors[which] = min(error, self._errors.get(which, error))

    def finished(self) -> tuple[Metric, ...]:
        """Return all of them."""
        for (model, accelerator), error in self._errors.items():
            self._error.add_metric([model, accelerator], error)
        return (self._tokens, self._running, self._waiting, self._usage, self._room, self._error)


ENGINES: Final = LiveFigures()
DEPLOYMENTS: Final = DeploymentCollector(ENGINES)
REGISTRY.register(DEPLOYMENTS)
