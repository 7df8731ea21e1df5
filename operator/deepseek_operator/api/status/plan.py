"""``status.plan``: what the planner made of the spec."""

from enum import StrEnum

from pydantic import Field

from deepseek_operator.api.base import StatusModel, field

__all__ = ["Alternative", "PerformanceStatus", "PlanStatus", "Verdict"]


class Verdict(StrEnum):
    """Whether a model fits the GPUs it would get."""

    FITS = "Fits"
    TIGHT = "Tight"
    DOES_NOT_FIT = "DoesNotFit"
    UNKNOWN = "Unknown"


class Alternative(StatusModel):
    """A candidate that was looked at besides the chosen one."""

    accelerators: str = field('GPUs of one node, such as "H200:8".', max_length=64)
    nodes: int = field("Nodes of one replica.", ge=1)
    verdict: Verdict = field("Fits, Tight, DoesNotFit or Unknown.")
    hourly_cost: str | None = field(
        "US dollars an hour for one replica, at catalog prices.", default=None, max_length=32
    )
    price_origin: str | None = field(
        "Whose price that is: SkyPilot's catalog, asked within hours, or the operator's own, of the day it names.",
        default=None,
        max_length=64,
    )
    max_model_len: int | None = field("Longest context that fits.", default=None, ge=0)
    reason: str = field("Why it was or was not chosen.", default="", max_length=1024)


class PerformanceStatus(StatusModel):
    """What the planner expects of one replica, for prompts of 2,000 and answers of 500 tokens."""

    decode_tokens_per_second: float = field("Output tokens a second of one request alone.", ge=0)
    concurrency: int = field("Requests at the same time.", ge=1)
    decode_tokens_per_second_at_concurrency: float = field(
        "Output tokens a second of all these requests together.", ge=0
    )
    prefill_tokens_per_second: float = field("Prompt tokens a second while nothing else is done.", ge=0)
    time_to_first_token_seconds: float = field("Of one prompt at an idle engine.", ge=0)
    start_seconds: float = field(
        "From nodes that are up to the first answer: download, loading and compiling, without the image.", ge=0
    )
    dollars_per_million_tokens: float | None = field(
        "US dollars per million output tokens at full load. Unset on one's own machines and without a price.",
        default=None,
        ge=0,
    )
    error_percent: int | None = field(
        "Within how many per cent eight of ten measured cases with such GPUs and this number format lie. Unset: no "
        "measured case is like this one, and the speed may be off by half or more.",
        default=None,
        ge=0,
    )


class PlanStatus(StatusModel):
    """What the planner made of the spec. Memory is per GPU, in GiB; costs are for one replica."""

    hash: str | None = field(
        "What the annotation deepseek-operator.io/approved-plan has to hold where spec.approval is Required: a digest "
        "of what decides the cost of a replica, the number of replicas, and how many more during an update.",
        default=None,
        max_length=32,
    )
    engine: str = field("VLLM or SGLang.", max_length=32)
    image: str | None = field("Container image of the engine.", default=None, max_length=500)
    accelerators: tuple[str, ...] = field(
        'GPUs of one node, any of which will do, best first: ["L4:1"]. Empty: a CPU engine.', default=(), max_length=32
    )
    nodes: int = field("Nodes of one replica.", default=1, ge=1)
    tensor_parallel_size: int = field("GPUs over which each layer is split.", default=1, ge=1)
    pipeline_parallel_size: int = field("Groups over which the layers are spread.", default=1, ge=1)
    data_parallel_size: int = field(
        "Copies of the model, or of its attention layers alone where these copies share the experts.", default=1, ge=1
    )
    max_model_len: int | None = field("Longest context in tokens that is served.", default=None, ge=0)
    weights_gib: float | None = Field(
        description="Weights on each GPU.", default=None, alias="weightsGiB", serialization_alias="weightsGiB"
    )
    overhead_gib: float | None = Field(
        description="Activations, CUDA graphs, communication and the engine itself on each GPU.",
        default=None,
        alias="overheadGiB",
    )
    kv_cache_gib: float | None = Field(
        description="Room for the KV cache on each GPU.", default=None, alias="kvCacheGiB"
    )
    hourly_cost: str | None = field(
        "US dollars an hour for one replica of the first candidate, at catalog prices.", default=None, max_length=32
    )
    price_origin: str | None = field(
        "Whose prices these are: SkyPilot's catalog, asked within hours, or the operator's own, of the day it names.",
        default=None,
        max_length=64,
    )
    total_hourly_cost: str | None = field(
        "US dollars an hour of all replicas of the first candidate, at catalog prices: capacity.onDemandBase of them "
        "on demand, the others as capacityType says. SpotThenOnDemand counts as on demand.",
        default=None,
        max_length=32,
    )
    performance: PerformanceStatus | None = field(
        "How fast the first candidate is, by the speed model. Unset where that is not known.", default=None
    )
    verdict: Verdict = field("Fits, Tight, DoesNotFit or Unknown.")
    reason: str = field("The arithmetic behind the verdict, in a sentence.", default="", max_length=2048)
    overrides: tuple[str, ...] = field("Planned flags that spec.engine.args replaces.", default=(), max_length=64)
    alternatives: tuple[Alternative, ...] = field("Other candidates.", default=(), max_length=16)
