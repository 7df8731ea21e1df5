"""``status.instances[].ledger``: what the operator remembers of a replica."""

from deepseek_operator.api.base import Moment, StatusModel, field

__all__ = ["ExcludedPlace", "Ledger"]


class ExcludedPlace(StatusModel):
    """A place whose machines did not come up."""

    place: str = field("As in spec.resources.infra: aws/us-east-1.", max_length=253)
    until: Moment = field("Until when no launch asks for it, where another place is left.")


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
    spot: bool = field("Its machines are ones that their provider may take back.", default=False)
    place: str | None = field(
        "Where SkyPilot is bringing up its machines: aws/us-east-1.", default=None, max_length=253
    )
    place_since: Moment | None = field("Since when it has been doing so there.", default=None)
    begun_at: Moment | None = field(
        "Since when a worker of SkyPilot has had its launch, while no cluster is listed for it.", default=None
    )
    excluded: tuple[ExcludedPlace, ...] = field("Places whose machines did not come up.", default=(), max_length=8)
    certificate_until: Moment | None = field(
        "Until when the certificate of its engine is valid, should it run on a rented machine.", default=None
    )
    launched_at: Moment | None = field("When SkyPilot was last asked to launch it.", default=None)
    starting_since: Moment | None = field("Since when its nodes have been up without an answer.", default=None)
    ready_since: Moment | None = field("Since when its engine has answered.", default=None)
    silent_since: Moment | None = field("Since when an engine that had answered does not.", default=None)
    leaving_since: Moment | None = field("Since when it has no longer been wanted.", default=None)
    unpublished_since: Moment | None = field("Since when the Service has not led to it, while leaving.", default=None)
    teardown_at: Moment | None = field("When SkyPilot was last asked to tear it down.", default=None)
    unanswered: str = field(
        "Kind of a request to SkyPilot that ended without an answer and may still be carried out.",
        default="",
        max_length=32,
    )
    unanswered_at: Moment | None = field("When that request was sent.", default=None)
    attempts: int = field("Failures in a row.", default=0, ge=0)
    restarts: int = field("How often its engine was started again.", default=0, ge=0)
    counted: str = field("Identity of the failure counted last.", default="", max_length=128)
    failure_reason: str = field("Reason of the failure counted last.", default="", max_length=128)
    failure_message: str = field("Message of the failure counted last.", default="", max_length=2048)
    retry_after: Moment | None = field("Earliest time of the next attempt.", default=None)
    final: bool = field("The failure counted last is not retried.", default=False)
