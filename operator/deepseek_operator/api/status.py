"""``status`` of a DeepSeekDeployment: what is, why it is so, and what it costs."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import Field, field_validator

from deepseek_operator.api.base import StatusModel, field

__all__ = [
    "Alternative",
    "Condition",
    "Cost",
    "DeepSeekDeploymentStatus",
    "EndpointStatus",
    "EngineStatus",
    "ExcludedPlace",
    "Instance",
    "Ledger",
    "PerformanceStatus",
    "Phase",
    "PlaceTriedStatus",
    "PlanStatus",
    "Verdict",
]


class Verdict(StrEnum):
    """Whether a model fits the GPUs it would get."""

    FITS = "Fits"
    TIGHT = "Tight"
    DOES_NOT_FIT = "DoesNotFit"
    UNKNOWN = "Unknown"


class Phase(StrEnum):
    """Stage of one replica, for people. No rule of the operator reads it: rules read facts and the :class:`Ledger`."""

    PENDING = "Pending"
    LAUNCHING = "Launching"
    STARTING = "Starting"
    READY = "Ready"
    FAILED = "Failed"
    TERMINATING = "Terminating"


class Condition(StatusModel):
    """One condition in the form of metav1.Condition."""

    type: str = field("Type of the condition.", min_length=1, max_length=316)
    status: str = field("True, False or Unknown.", pattern="^(True|False|Unknown)$")
    reason: str = field("Reason in CamelCase, for programs.", min_length=1, max_length=128)
    message: str = field("Sentence for people: what is so, and what to do.", default="", max_length=4096)
    observed_generation: int | None = field("Generation of the spec that this speaks of.", default=None, ge=0)
    last_transition_time: str = field(
        "When status last changed.", max_length=40, json_schema_extra={"format": "date-time"}
    )


class EndpointStatus(StatusModel):
    """Addresses at which the model answers, as base URLs of the OpenAI API."""

    url: str | None = field("Address from outside the cluster, if there is one.", default=None, max_length=300)
    internal_url: str | None = Field(
        description="Address from inside the cluster.", default=None, max_length=300, alias="internalURL"
    )
    api_key_secret_name: str | None = field(
        "Secret with the key that engines ask for. Where the user named none it is the operator's own, and requests "
        "through the Service need not bring it.",
        default=None,
        max_length=253,
    )


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
    data_parallel_size: int = field("Copies of the attention layers that share the experts.", default=1, ge=1)
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


class Cost(StatusModel):
    """US dollars of the whole deployment. Machines of the cluster itself count as 0.

    Spent up to now: ``spent`` plus ``hourly`` for every hour since ``spentAt``. Only a change of what is rented changes
    these fields.
    """

    hourly: str | None = field(
        "US dollars an hour of what is rented now, at the prices of SkyPilot's catalog.", default=None, max_length=32
    )
    max_hourly: str | None = field("Limit of the spec, in US dollars an hour.", default=None, max_length=32)
    spent: str | None = field(
        "US dollars spent up to spentAt. Since then hourly has been added every hour. Unset: nothing was ever rented.",
        default=None,
        max_length=32,
    )
    spent_at: str | None = field(
        "Moment up to which spent counts: when hourly last changed.",
        default=None,
        max_length=40,
        json_schema_extra={"format": "date-time"},
    )

    @property
    def counted_until(self) -> datetime | None:
        """``spentAt`` as a moment; None where it is unset or cannot be read."""
        try:
            return datetime.fromisoformat(self.spent_at) if self.spent_at is not None else None
        except ValueError:
            return None

    def spent_until(self, moment: datetime) -> Decimal:
        """Return US dollars spent from the first launch up to ``moment``, at least ``spent``."""
        since = self.counted_until
        try:
            spent, hourly = Decimal(self.spent or 0), Decimal(self.hourly or 0)
        except ArithmeticError:
            return Decimal(0)
        if not (spent.is_finite() and hourly.is_finite()):
            return Decimal(0)
        seconds = max(0, int((moment - since).total_seconds())) if since is not None else 0
        return spent + hourly * seconds / 3600


class ExcludedPlace(StatusModel):
    """A place whose machines did not come up."""

    place: str = field("As in spec.resources.infra: aws/us-east-1.", max_length=253)
    until: datetime = field("Until when no launch asks for it, where another place is left.")


class Ledger(StatusModel):
    """What the operator remembers of one replica between two passes and across its own restarts.

    This is the only memory that rules read. Every field has a default, so a ledger of another version is readable.
    Times have whole seconds.
    """

    engine: str | None = field("Engine that it was launched with.", default=None, max_length=32)
    port: int | None = field("Port on which its engine listens.", default=None, ge=1, le=65_535)
    health_path: str | None = field("HTTP path of its readiness probe.", default=None, max_length=200)
    nodes: int = field("Number of nodes that it was launched on.", default=1, ge=1)
    startup_seconds: int = field("Seconds that its engine may take to its first answer.", default=3600, ge=1)
    drain_seconds: int = field("Seconds that running requests get before teardown.", default=60, ge=0)
    infra: str | None = field("Where it runs, once SkyPilot has said so.", default=None, max_length=128)
    address: str | None = field("host:port of its engine, as seen last.", default=None, max_length=300)
    renting: bool = field("Machines of it are rented, as far as is known.", default=False)
    price: str | None = field(
        "US dollars an hour of all its nodes, as SkyPilot's catalog has it.", default=None, max_length=32
    )
    cost_limit: str | None = field(
        "US dollars an hour that its launch was allowed to cost. Unset: no limit.", default=None, max_length=32
    )
    on_demand: bool = field("Its launch was to rent on-demand machines only.", default=False)
    place: str | None = field(
        "Where SkyPilot is bringing up its machines: aws/us-east-1.", default=None, max_length=253
    )
    place_since: datetime | None = field("Since when it has been doing so there.", default=None)
    excluded: tuple[ExcludedPlace, ...] = field("Places whose machines did not come up.", default=(), max_length=8)
    certificate_until: datetime | None = field(
        "Until when the certificate of its engine is valid, should it run on a rented machine.", default=None
    )
    launched_at: datetime | None = field("When SkyPilot was last asked to launch it.", default=None)
    starting_since: datetime | None = field("Since when its nodes have been up without an answer.", default=None)
    ready_since: datetime | None = field("Since when its engine has answered.", default=None)
    silent_since: datetime | None = field("Since when an engine that had answered does not.", default=None)
    leaving_since: datetime | None = field("Since when it has no longer been wanted.", default=None)
    unpublished_since: datetime | None = field("Since when the Service has not led to it, while leaving.", default=None)
    teardown_at: datetime | None = field("When SkyPilot was last asked to tear it down.", default=None)
    unanswered: str = field(
        "Kind of a request to SkyPilot that ended without an answer and may still be carried out.",
        default="",
        max_length=32,
    )
    unanswered_at: datetime | None = field("When that request was sent.", default=None)
    attempts: int = field("Failures in a row.", default=0, ge=0)
    restarts: int = field("How often its engine was started again.", default=0, ge=0)
    counted: str = field("Identity of the failure counted last.", default="", max_length=128)
    failure_reason: str = field("Reason of the failure counted last.", default="", max_length=128)
    failure_message: str = field("Message of the failure counted last.", default="", max_length=2048)
    retry_after: datetime | None = field("Earliest time of the next attempt.", default=None)
    final: bool = field("The failure counted last is not retried.", default=False)


class PlaceTriedStatus(StatusModel):
    """A place at which a launch found no machines, or none that came up."""

    place: str = field("As in spec.resources.infra: aws/us-east-1.", max_length=253)
    reason: str = field("Why it was not taken: NoCapacity, QuotaExceeded ...", max_length=128)
    code: str = field(
        "The provider's own code, such as InsufficientInstanceCapacity. Empty where it gave none.",
        default="",
        max_length=128,
    )
    time: str = field("When the launch that tried it ended.", max_length=40, json_schema_extra={"format": "date-time"})


class EngineStatus(StatusModel):
    """What an engine reports of itself. Live values are metrics of the operator; these are written rarely."""

    kv_cache_tokens: int | None = field(
        "Tokens that its KV cache holds; of each copy, where data parallelism makes several.", default=None, ge=0
    )
    planned_kv_cache_tokens: int | None = Field(
        description="The same as the planner had it for these nodes.",
        default=None,
        ge=0,
        alias="plannedKVCacheTokens",
    )
    tokens_per_second: float | None = field(
        "Output tokens a second of all its requests, two digits of it; written when it has changed by a quarter.",
        default=None,
        ge=0,
    )
    running: int | None = field("Requests that it worked on when tokensPerSecond was written.", default=None, ge=0)
    waiting: int | None = field("Requests in its queue then.", default=None, ge=0)
    kv_cache_usage: float | None = field("Share of its KV cache that was in use then, 0 to 1.", default=None, ge=0)


class Instance(StatusModel):
    """One replica: one SkyPilot cluster."""

    name: str = field("Name of the SkyPilot cluster.", max_length=64)
    revision: str = field("Revision of the spec that it runs.", default="", max_length=16)
    phase: Phase = field("Pending, Launching, Starting, Ready, Failed or Terminating.", default=Phase.PENDING)
    infra: str | None = field("Where it runs: kubernetes, aws ...", default=None, max_length=128)
    region: str | None = field("Region, or context of a Kubernetes cluster.", default=None, max_length=253)
    accelerators: str | None = field('GPUs of one node, such as "L4:1".', default=None, max_length=64)
    nodes: int = field("Number of nodes.", default=1, ge=1)
    hourly_cost: str | None = field(
        "US dollars an hour of all its nodes. The catalog's estimate until SkyPilot says what it rented.",
        default=None,
        max_length=32,
    )
    address: str | None = field("host:port of its engine.", default=None, max_length=300)
    restarts: int = field("How often its engine was started again.", default=0, ge=0)
    attempts: int = field("Failures in a row.", default=0, ge=0)
    reason: str = field("Why it is in this phase.", default="", max_length=128)
    message: str = field(
        "Sentence for people, in the provider's own words where there are any.", default="", max_length=2048
    )
    since: str | None = field(
        "Since when phase and reason have been so.",
        default=None,
        max_length=40,
        json_schema_extra={"format": "date-time"},
    )
    retry_after: str | None = field(
        "When the next attempt is due.", default=None, max_length=40, json_schema_extra={"format": "date-time"}
    )
    places_tried: tuple[PlaceTriedStatus, ...] = field(
        "Places where its launches found no machines and why, newest last; the same failure of a place is listed once.",
        default=(),
        max_length=10,
    )
    engine: EngineStatus | None = field("What its engine reports of itself.", default=None)
    ledger: Ledger = field("Memory of the operator. Its fields may change between versions.", default=Ledger())


class DeepSeekDeploymentStatus(StatusModel):
    """What is."""

    observed_generation: int | None = field("Generation of the spec that this status speaks of.", default=None, ge=0)
    replicas: int = field("Replicas that exist.", default=0, ge=0)
    ready_replicas: int = field("Replicas whose engine answers.", default=0, ge=0)
    updated_replicas: int = field("Replicas of the newest revision.", default=0, ge=0)
    selector: str | None = field("Label selector of the pods, for the scale subresource.", default=None, max_length=500)
    endpoint: EndpointStatus | None = field("Where the model answers.", default=None)
    plan: PlanStatus | None = field("What the planner made of the spec.", default=None)
    cost: Cost | None = field("What it costs.", default=None)
    instances: tuple[Instance, ...] = field(
        "The replicas, one by one.",
        default=(),
        max_length=200,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    plan_warned_revision: str | None = field(
        "Revision of which an Event has said that its plan was too optimistic.", default=None, max_length=16
    )
    conditions: tuple[Condition, ...] = field(
        "Ready, Reconciling, Stalled, Planned and EndpointPublished.",
        default=(),
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )

    @field_validator("instances", mode="before")
    @classmethod
    def _named_only(cls, value: Any) -> Any:
        """Drop what is not an instance at all, so that one such entry does not hide the others."""
        if not isinstance(value, list):
            return value
        return [item for item in value if not isinstance(item, dict) or isinstance(item.get("name"), str)]
