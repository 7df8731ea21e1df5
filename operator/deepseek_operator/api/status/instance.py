"""``status.instances``: the replicas, one by one, as people see them."""

from enum import StrEnum

from pydantic import Field

from deepseek_operator.api.base import StatusModel, field
from deepseek_operator.api.status.ledger import Ledger

__all__ = ["EngineStatus", "Instance", "Phase", "PlaceTriedStatus"]


class Phase(StrEnum):
    """Stage of one replica, for people. No rule reads a stored one: rules read facts and the :class:`Ledger`."""

    PENDING = "Pending"
    LAUNCHING = "Launching"
    STARTING = "Starting"
    READY = "Ready"
    FAILED = "Failed"
    TERMINATING = "Terminating"


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
