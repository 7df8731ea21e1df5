"""What the planner answers with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from functools import cached_property

from deepseek_operator.api.spec import EngineName
from deepseek_operator.api.status import Alternative, PlanStatus, Verdict
from deepseek_operator.catalog import Accelerator, GpuInfo, ModelInfo, PriceInfo
from deepseek_operator.engines import ServeOptions
from deepseek_operator.planning.fit import Fit
from deepseek_operator.planning.interconnect import ETHERNET, Network
from deepseek_operator.planning.memory import Layout, Memory
from deepseek_operator.planning.money import Prices
from deepseek_operator.planning.performance import Performance, estimate
from deepseek_operator.planning.workload import Workload

__all__ = ["Candidate", "Plan", "dollars"]

_CENT = Decimal("0.01")


def dollars(amount: Decimal | None, *, round_up: bool = False) -> str | None:
    """Return an amount of US dollars as ``12.34``.

    Parameters
    ----------
    round_up
        Never less than the amount: somebody may take it for a limit, and catalogs have prices of four decimals.
    """
    rounding = ROUND_CEILING if round_up else ROUND_HALF_UP
    return None if amount is None else str(amount.quantize(_CENT, rounding=rounding))


@dataclass(frozen=True)
class Candidate:
    """One GPU type, number and node count that was looked at."""

    accelerator: Accelerator
    gpu: GpuInfo
    nodes: int
    engine: EngineName
    verdict: Verdict
    layout: Layout | None
    fit: Fit | None
    reason: str
    price: PriceInfo | None = None
    hourly_cost: Decimal | None = None
    """US dollars an hour for one replica; 0 where every place is the user's own Kubernetes."""
    emulated: bool = False
    """The GPU has no hardware for the model's number format: the engine's kernels widen the weights as they go."""
    network: Network = ETHERNET
    """The network between nodes."""
    workload: Workload | None = None
    """What its speed depends on besides; None where the model is not known."""
    on_demand_cost: Decimal | None = None
    """``hourly_cost`` on demand; known where some replicas are on demand and others not."""
    list_price: Decimal | None = None
    """``hourly_cost`` for ranking: where that is not known or 0, the most that it may be, or what clouds take."""

    @cached_property
    def performance(self) -> Performance | None:
        """How fast it is and what a token costs; None where it does not fit, or that is not known."""
        if self.workload is None or self.fit is None or not self.fits:
            return None
        return estimate(self.workload, self.engine, self.gpu, self.fit, self.network, self.hourly_cost)

    @property
    def max_model_len(self) -> int | None:
        """Longest context that fits, in tokens."""
        return self.fit.longest if self.fit else None

    @property
    def fits(self) -> bool:
        """Whether it may be launched."""
        return self.verdict is not Verdict.DOES_NOT_FIT

    def to_status(self) -> Alternative:
        """Return the candidate as it stands in ``status.plan.alternatives``."""
        return Alternative(
            accelerators=str(self.accelerator),
            nodes=self.nodes,
            verdict=self.verdict,
            hourly_cost=dollars(self.hourly_cost),
            price_origin=self.price.origin if self.price is not None and self.hourly_cost else None,
            max_model_len=self.max_model_len,
            reason=self.reason[:1024],
        )


@dataclass(frozen=True)
class Plan:
    """The planner's answer to a spec. Memory is per GPU in GiB, costs are US dollars an hour for one replica."""

    engine: EngineName
    image: str
    port: int
    verdict: Verdict
    reason: str
    model: ModelInfo | None
    served_names: tuple[str, ...]
    accelerators: tuple[str, ...]
    """``NAME:COUNT``, any of which will do, best first. Empty: a CPU engine."""
    nodes: int
    tensor_parallel_size: int
    pipeline_parallel_size: int
    data_parallel_size: int
    max_model_len: int | None
    memory: Memory | None
    health_path: str
    startup_seconds: int
    graceful_stop_seconds: int
    hourly_cost: Decimal | None
    max_instance_hourly_cost: Decimal | None
    """What one node may cost so that the whole deployment stays below ``maxHourlyCost``."""
    price: PriceInfo | None
    overrides: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    """Those that a launch may use, best first."""
    alternatives: tuple[Candidate, ...]
    """Those that it will not use, each with why."""
    serve: Mapping[int, ServeOptions] = field(default_factory=dict)
    """What each node is to serve, by its number of GPUs; 0 for a CPU engine."""
    environment: Mapping[str, str] = field(default_factory=dict)
    memory_gb: int | None = None
    """Memory of one node in GB to ask for, where the user gave none and the default would be too little."""
    cpus: int | None = None
    disk_gb: int | None = None
    replicas: int = 1
    base: int = 0
    """Replicas that are on demand whatever the others are."""
    on_demand_cost: Decimal | None = None
    """``hourly_cost`` on demand; known where there is a base."""
    cpu_kv_cache_tokens: int | None = None
    """Tokens that the KV cache of a CPU engine holds; None where the model is not known."""
    needs_api_key: bool = False
    """Requests must bring a key: the user named one, or a replica may run on a rented machine."""
    network_tier: str | None = None
    """SkyPilot's ``network_tier``, where the plan counts on a network that clouds set up only when asked."""

    @property
    def prices(self) -> Prices:
        """What the replicas cost, each and together, on the first candidate."""
        return Prices(self.replicas, self.base, self.hourly_cost, self.on_demand_cost)

    @property
    def launchable(self) -> bool:
        """Whether anything may be launched."""
        return self.verdict is not Verdict.DOES_NOT_FIT

    @property
    def performance(self) -> Performance | None:
        """How fast the first candidate is; None where that is not known."""
        return self.candidates[0].performance if self.candidates else None

    def kv_cache_tokens(self, accelerators: str | None) -> int | None:
        """Return the tokens that the KV cache holds, per copy where data parallelism makes several; None if unknown.

        Parameters
        ----------
        accelerators
            GPUs of one node that a replica got, such as ``L4:1``; None where nobody has said so.
        """
        if not self.accelerators:
            return self.cpu_kv_cache_tokens
        if len(self.candidates) == 1:
            fit = self.candidates[0].fit
        else:
            fit = next((one.fit for one in self.candidates if str(one.accelerator) == accelerators), None)
        return fit.memory.reported_tokens(fit.max_model_len) if fit is not None else None

    def to_status(self) -> PlanStatus:
        """Return the plan as it stands in ``status.plan``."""
        memory = self.memory
        return PlanStatus(
            engine=self.engine.value,
            image=self.image,
            accelerators=self.accelerators[:32],
            nodes=self.nodes,
            tensor_parallel_size=self.tensor_parallel_size,
            pipeline_parallel_size=self.pipeline_parallel_size,
            data_parallel_size=self.data_parallel_size,
            max_model_len=self.max_model_len,
            weights_gib=round(memory.weights, 2) if memory else None,
            overhead_gib=round(memory.overhead, 2) if memory else None,
            kv_cache_gib=max(0.0, round(memory.kv_cache, 2)) if memory else None,
            hourly_cost=dollars(self.hourly_cost),
            price_origin=self.price.origin if self.price is not None else None,
            total_hourly_cost=dollars(self.prices.total),
            performance=self.performance.to_status() if self.performance else None,
            verdict=self.verdict,
            reason=self.reason[:2048],
            overrides=self.overrides[:64],
            alternatives=tuple(candidate.to_status() for candidate in self.alternatives[:16]),
        )
