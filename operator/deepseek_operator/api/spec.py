"""``spec`` of a DeepSeekDeployment: which model, and optionally where, how big, how many and at what price.

Only ``model.name`` is needed; everything left out is planned. Every description below is what ``kubectl explain``
prints. Lists and strings are bounded because the API server refuses CEL rules whose estimated cost is unbounded.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, WithJsonSchema

from deepseek_operator.api.base import IntOrString, SpecModel, field, list_of, rules
from deepseek_operator.api.pod_template import PodTemplate

__all__ = [
    "RESERVED_VARIABLES",
    "CapacityType",
    "DeepSeekDeploymentSpec",
    "Endpoint",
    "Engine",
    "EngineName",
    "EngineRuntime",
    "EnvVar",
    "EnvVarSource",
    "Interconnect",
    "Model",
    "Objective",
    "Ranking",
    "Resources",
    "SecretKeyRef",
    "ServiceType",
    "UpdateStrategy",
]

RESERVED_VARIABLES = "DEEPSEEK_OPERATOR_"
"""How variables begin by which the operator tells the script of an engine whether it has to encrypt."""
ACCELERATOR_PATTERN = r"^[A-Za-z][A-Za-z0-9.-]*(:[1-9][0-9]{0,2})?$"
_DNS_LABEL = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"


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


class SecretKeyRef(SpecModel):
    """A key of a Secret in the namespace of the deployment."""

    name: str = field("Name of the Secret.", min_length=1, max_length=253, pattern=_DNS_LABEL)
    key: str = field("Key in the Secret's data.", default="token", min_length=1, max_length=253)


class Model(SpecModel):
    """Which model is served."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.path) || !has(self.huggingFaceTokenSecretRef)",
                "huggingFaceTokenSecretRef must not be set together with path: nothing is downloaded when the model "
                "is read from a directory",
            ),
            ("!has(self.path) || !self.path.matches('/[.][.](/|$)')", "path must not contain .."),
        )
    )

    name: str = field(
        "Hugging Face id of the model (deepseek-ai/DeepSeek-R1-Distill-Llama-8B) or an alias from the catalog. "
        "The name as written here is always accepted in requests. A model that is not in the catalog needs "
        "resources.accelerators.",
        min_length=1,
        max_length=200,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$",
    )
    served_names: Annotated[
        tuple[str, ...],
        list_of(
            {"type": "string", "minLength": 1, "maxLength": 200, "pattern": r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$"},
            max_items=16,
        ),
    ] = field("Further names under which requests may ask for the model.", default=())
    path: str | None = field(
        "Directory with the weights, in the engine image or on a volume of podTemplate, read instead of downloading.",
        default=None,
        max_length=500,
        pattern=r"^/[A-Za-z0-9._/-]*$",
    )
    hugging_face_token_secret_ref: SecretKeyRef | None = field(
        "Secret with a Hugging Face token, for gated models and against rate limits. Unset: none is used.", default=None
    )


class EngineName(StrEnum):
    """The serving engine."""

    AUTO = "Auto"
    VLLM = "VLLM"
    SGLANG = "SGLang"


class EngineRuntime(StrEnum):
    """What the engine is started from on each machine."""

    IMAGE = "Image"
    PACKAGES = "Packages"


class EnvVarSource(SpecModel):
    """Where the value of a variable comes from."""

    secret_key_ref: SecretKeyRef = field("A key of a Secret. Kubernetes replicas only.")


class EnvVar(SpecModel):
    """An environment variable of the engine."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.value) != has(self.valueFrom)", "exactly one of value and valueFrom must be set"),
            (
                f"!self.name.startsWith('{RESERVED_VARIABLES}')",
                f"names that begin with {RESERVED_VARIABLES} are the operator's own; take another name",
            ),
        )
    )

    name: str = field("Name of the variable.", min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    value: str | None = field("Its value. Never put a secret here: use valueFrom.", default=None, max_length=4096)
    value_from: EnvVarSource | None = field("Where the value comes from.", default=None)


class Engine(SpecModel):
    """What serves the model."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.runtime) || self.runtime != 'Packages' || !has(self.image)",
                "image must be unset with runtime Packages, which installs the engine's own packages",
            )
        )
    )

    name: EngineName = field(
        "Auto, VLLM or SGLang. Auto: the engine that the model's recipe wants; else VLLM on one node and SGLang on "
        "several.",
        default=EngineName.AUTO,
    )
    image: str | None = field(
        "Container image. Unset: the pinned release of the engine.",
        default=None,
        min_length=1,
        max_length=500,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$",
    )
    runtime: EngineRuntime = field(
        "Image or Packages. Image: a container image, on rented machines run by their Docker. Packages: the pinned "
        "Python packages of the engine, installed on each machine before its first start; for rented machines only.",
        default=EngineRuntime.IMAGE,
    )
    max_model_len: int | None = field(
        "Longest context in tokens, prompt and answer together. Unset: the longest that fits, as status.plan shows.",
        default=None,
        ge=1,
        le=10_485_760,
    )
    args: Annotated[tuple[str, ...], list_of({"type": "string", "maxLength": 2048}, max_items=100)] = field(
        "Further arguments of the engine, passed through as they are. A flag given here wins over the planned one, "
        "and status.plan says so.",
        default=(),
    )
    env: tuple[EnvVar, ...] = field(
        "Environment variables of the engine. Names that begin with DEEPSEEK_OPERATOR_ are the operator's own.",
        default=(),
        max_length=50,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )


class CapacityType(StrEnum):
    """How machines are paid."""

    ON_DEMAND = "OnDemand"
    SPOT = "Spot"
    SPOT_THEN_ON_DEMAND = "SpotThenOnDemand"


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
            )
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
        'GPUs of one node, any of which will do: ["L4:1", "A10G:1"]. Names are SkyPilot\'s. Unset: the cheapest that '
        "fit. An empty list together with cpus: a CPU engine.",
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
        'Where replicas may run, in order of preference: ["kubernetes", "aws/us-east-1", "gcp"]. Unset: the '
        "default of the operator, which is kubernetes: nothing is rented unless a cloud is named here or there.",
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
        "Most that the whole deployment, all replicas and nodes, may cost in US dollars an hour. Unset: no limit.",
        default=None,
    )
    provision_timeout_seconds: int = field(
        "How long one attempt waits for nodes. Raise it where an autoscaler has to bring GPU nodes first.",
        default=120,
        ge=10,
        le=86_400,
    )
    retry_until_up: bool = field(
        "true: try again for as long as there is no capacity. false: stop after the first failed attempt.",
        default=True,
    )


class Ranking(StrEnum):
    """Which of the machines that will do is taken."""

    LOWEST_HOURLY_COST = "LowestHourlyCost"
    LOWEST_COST_PER_TOKEN = "LowestCostPerToken"


class Objective(SpecModel):
    """What the answers should be like. Figures are the planner's, for prompts of 2,000 and answers of 500 tokens."""

    min_tokens_per_second_per_request: float | None = field(
        "Fewest output tokens a second of each request: with as many requests at once as concurrency says, or of one "
        "request alone where it is unset. Unset: no limit.",
        default=None,
        gt=0,
        le=100_000,
    )
    max_time_to_first_token_seconds: float | None = field(
        "Longest time from a prompt's arrival at an idle engine to its first token. Unset: no limit.",
        default=None,
        gt=0,
        le=3600,
    )
    concurrency: int | None = field(
        "Requests that one replica works on at the same time. Unset: as many as fit, up to 256, and no demand.",
        default=None,
        ge=1,
        le=4096,
    )
    ranking: Ranking = field(
        "LowestHourlyCost: the machine that costs least. LowestCostPerToken: the one whose output tokens cost least at "
        "full load.",
        default=Ranking.LOWEST_HOURLY_COST,
    )


_ReplicaCount = Annotated[
    IntOrString,
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            **rules(
                (
                    r"type(self) == int ? self >= 0 && self <= 100 "
                    r": string(self).matches('^([0-9]|[1-9][0-9]|100)%$')",
                    'must be a number of replicas from 0 to 100 or a percentage, such as 1 or "25%"',
                )
            ),
        }
    ),
]


class UpdateStrategy(SpecModel):
    """How many replicas may be added or missing while a change of the spec rolls out."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!(string(self.maxSurge) in ['0', '0%']) || !(string(self.maxUnavailable) in ['0', '0%'])",
                "maxSurge and maxUnavailable must not both be 0: nothing could ever change",
            )
        )
    )

    max_surge: _ReplicaCount = field(
        "Replicas above the wanted number while changing: a number or a percentage, rounded up.", default="1"
    )
    max_unavailable: _ReplicaCount = field(
        "Replicas that may be missing while changing: a number or a percentage, rounded down. Where that and maxSurge "
        "come to 0, one may be missing.",
        default="0",
    )


class ServiceType(StrEnum):
    """Type of the Service in front of the replicas."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


class Endpoint(SpecModel):
    """The address at which the model answers."""

    port: int | None = field(
        "Port of the Service and of the engine. Unset: 8000 for VLLM, 30000 for SGLang.", default=None, ge=1, le=65_535
    )
    type: ServiceType = field("Type of the Service.", default=ServiceType.CLUSTER_IP)
    api_key_secret_ref: SecretKeyRef | None = field(
        "Secret with the key that requests must bring as a bearer token. Unset: requests through the Service need "
        "none; rented machines ask for one that the operator makes, and its proxy adds it.",
        default=None,
    )
    proxy: bool = field(
        "true: a proxy stands between the Service and the replicas even where all of them run in this cluster. As soon "
        "as one replica is rented there is always one.",
        default=False,
    )


class DeepSeekDeploymentSpec(SpecModel):
    """What is wanted."""

    model: Model = field("Which model is served.")
    engine: Engine = field("What serves it.", default=Engine())
    resources: Resources = field("What each replica runs on, where, and at what price.", default=Resources())
    objective: Objective = field(
        "How fast and how cheap per token it should be. A spec that no machine can meet is refused with the figures.",
        default=Objective(),
    )
    replicas: int = field("Number of replicas.", default=1, ge=0, le=100)
    update_strategy: UpdateStrategy = field("How a change of the spec rolls out.", default=UpdateStrategy())
    endpoint: Endpoint = field("The address at which the model answers.", default=Endpoint())
    suspend: bool = field(
        "true: everything rented is given back and the object stays. false again: it comes back.", default=False
    )
    pod_template: PodTemplate = field("Further settings of pods on Kubernetes.", default=PodTemplate())
