"""What each replica runs on: GPUs, places, how machines are paid and at most how much."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, WithJsonSchema

from deepseek_operator.api.base import IntOrString, SpecModel, field, list_of, rules

__all__ = ["ACCELERATOR_PATTERN", "Capacity", "CapacityType", "Interconnect", "Resources"]

ACCELERATOR_PATTERN = r"^[A-Za-z][A-Za-z0-9.-]*(:[1-9][0-9]{0,2})?$"


def _with_rule(schema: dict[str, Any], rule: str, message: str) -> dict[str, Any]:
    return {**schema, **rules((rule, message))}


_SizeString = Annotated[
    IntOrString,
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            **rules(
                (
                    r"type(self) == int ? self > 0 : string(self).matches('^[0-9]{1,6}([.][0-9]{1,3})?[+]?$') "
                    r"&& !string(self).matches('^0+([.]0+)?[+]?$')",
                    'must be a number above 0, or one with "+" for "at least", such as 8 or "32+"',
                )
            ),
        }
    ),
]


class CapacityType(StrEnum):
    """How machines are paid."""

    ON_DEMAND = "OnDemand"
    SPOT = "Spot"
    SPOT_THEN_ON_DEMAND = "SpotThenOnDemand"

    @property
    def spot(self) -> tuple[bool, ...]:
        """Whether a launch asks for spot machines (True) or on-demand machines (False), in the order of its tries."""
        first = () if self is CapacityType.ON_DEMAND else (True,)
        return first if self is CapacityType.SPOT else (*first, False)


class Capacity(SpecModel):
    """Which replicas are on demand whatever ``capacityType`` says."""

    on_demand_base: int = field(
        "So many replicas are on on-demand machines, the others as capacityType says. A change replaces no replica: it "
        "holds from the next launch on.",
        default=0,
        ge=0,
        le=100,
    )


class Interconnect(StrEnum):
    """Network between the nodes of a replica."""

    AUTO = "Auto"
    FAST = "Fast"


class Resources(SpecModel):
    """What each replica runs on. Unset fields are planned from the model."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.accelerators) || size(self.accelerators) > 0 || has(self.cpus)",
                "cpus must be set when accelerators is an empty list (a CPU engine)",
            ),
            (
                "!has(self.capacity) || !has(self.capacity.onDemandBase) || self.capacity.onDemandBase == 0 "
                "|| (has(self.capacityType) && self.capacityType != 'OnDemand')",
                "capacity.onDemandBase must be unset with capacityType OnDemand, where all replicas are on demand; set "
                "capacityType to Spot or SpotThenOnDemand, or remove it",
            ),
        )
    )

    accelerators: Annotated[
        tuple[str, ...] | None,
        list_of(
            _with_rule(
                {"type": "string", "minLength": 1, "maxLength": 40},
                f"self.matches('{ACCELERATOR_PATTERN}')",
                'must be NAME or NAME:COUNT with a count from 1, such as "L4:1"',
            ),
            max_items=16,
        ),
    ] = field(
        'GPUs of one node, any of which will do: ["L4:1", "A10G:1"]. Names are SkyPilot\'s. Unset: planned. An empty '
        "list together with cpus: a CPU engine.",
        default=None,
    )
    infra: Annotated[
        tuple[str, ...],
        list_of(
            _with_rule(
                {"type": "string", "minLength": 1, "maxLength": 128},
                r"self.matches('^[a-z0-9]+(/[A-Za-z0-9._*:@-]+){0,2}$')",
                'must be CLOUD, CLOUD/REGION, CLOUD/REGION/ZONE or kubernetes/CONTEXT, such as "aws/us-east-1"',
            ),
            max_items=16,
        ),
    ] = field(
        'Where replicas may run, in order of preference: ["kubernetes", "aws/us-east-1", "gcp"]; kubernetes is the '
        "cluster of this object. Unset: the default of the operator, which is kubernetes: nothing is rented unless a "
        "cloud is named here or there.",
        default=(),
    )
    nodes: int | None = field(
        "Nodes of one replica. Unset: one, or several where accelerators are a full machine (H100:8).",
        default=None,
        ge=1,
        le=64,
    )
    interconnect: Interconnect = field(
        "Network between the nodes of a replica. Fast: InfiniBand, EFA or the like, over which tensor parallelism may "
        "span nodes. Auto: fast only where the catalog says so of every machine type that could be rented; pipeline "
        "stages span nodes otherwise.",
        default=Interconnect.AUTO,
    )
    cpus: _SizeString | None = field('vCPUs of one node: 8, or "8+" for at least 8. Unset: planned.', default=None)
    memory: _SizeString | None = field('Memory of one node in GB: 64, or "64+". Unset: planned.', default=None)
    disk_size: int | None = field(
        "Disk of one rented machine in GB. Unset: planned from the weights. Not used on Kubernetes.",
        default=None,
        ge=30,
        le=65_536,
    )
    capacity_type: CapacityType = field(
        "OnDemand, Spot, or SpotThenOnDemand: spot machines where there are any, on-demand ones where not.",
        default=CapacityType.ON_DEMAND,
    )
    capacity: Capacity = field("Which replicas are on demand whatever capacityType says.", default=Capacity())
    max_hourly_cost: Annotated[
        IntOrString | None,
        WithJsonSchema(
            {
                "x-kubernetes-int-or-string": True,
                **rules(
                    (
                        r"type(self) == int ? self > 0 : string(self).matches('^[0-9]{1,7}([.][0-9]{1,4})?$') "
                        r"&& !string(self).matches('^0+([.]0+)?$')",
                        'must be an amount of US dollars an hour above 0, such as "40" or "12.50"',
                    )
                ),
            }
        ),
    ] = field(
        "Most that the whole deployment, all replicas and nodes, may cost in US dollars an hour: 40, or in quotes "
        'with decimals, "12.50". Unset: no limit.',
        default=None,
    )
    provision_timeout_seconds: int = field(
        "Seconds for which one attempt waits until pods have found nodes; rented machines have 25 minutes more. Raise "
        "it where an autoscaler has to bring GPU nodes first.",
        default=120,
        ge=10,
        le=86_400,
    )
    retry_until_up: bool = field(
        "true: a launch that failed is tried again, whatever the reason. false: it is not, and the condition Stalled "
        "is True, until the spec is changed.",
        default=True,
    )

    @property
    def ordered(self) -> bool:
        """Whether a launch tries its places and kinds of machines in the user's order; else SkyPilot's, by price."""
        return len(self.infra) > 1 or self.capacity_type is CapacityType.SPOT_THEN_ON_DEMAND
