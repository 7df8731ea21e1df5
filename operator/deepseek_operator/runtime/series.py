"""Prometheus series of deployments and their engines.

They come from :data:`DEPLOYMENTS`, which makes them when Prometheus asks: what is gone leaves no series behind.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deepseek_operator.engines.metrics import Figures
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.store import Key
from deepseek_operator.runtime.metrics import PREFIX

__all__ = ["DEPLOYMENTS", "ENGINES", "DeploymentCollector", "DeploymentFacts", "LiveFigures", "ReplicaSeries"]


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
        name, labels = f"{PREFIX}deployment_", ["namespace", "name"]
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
        prefix, labels = f"{PREFIX}engine_", ["namespace", "name", "replica"]
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
            f"{PREFIX}kv_cache_prediction_error_ratio",
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
