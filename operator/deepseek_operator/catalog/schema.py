"""Row types of the catalog: what is known about models, GPUs and prices.

Every row comes from YAML (package data or a user's override file). Rows are checked strictly, because a wrong figure
here becomes rented money later: unknown keys, impossible shapes and figures without a source are refused.
"""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from deepseek_operator.api.spec import EngineName

__all__ = [
    "LIVE_PRICE",
    "Accelerator",
    "Dtype",
    "EngineSupport",
    "Fp8Support",
    "GpuInfo",
    "KvWindow",
    "MachineInfo",
    "Mla",
    "ModelInfo",
    "Moe",
    "PriceInfo",
    "Shape",
    "Vendor",
    "Weights",
    "parse_accelerator",
]

GIB = 2**30


class Row(BaseModel):
    """Base of every row: immutable, camelCase in YAML, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Dtype(StrEnum):
    """Number format of the weights as published."""

    BF16 = "BF16"
    FP8 = "FP8"
    """FP8 e4m3 with 128x128 scale blocks."""
    INT8 = "INT8"
    AWQ = "AWQ"
    """4-bit integer weights, 16-bit activations."""
    W4A8 = "W4A8"
    """4-bit integer expert weights, FP8 activations."""
    NVFP4 = "NVFP4"
    FP4 = "FP4"
    """FP4 or MXFP4 experts beside FP8 layers: DeepSeek-V4 and V4.1 as released."""


class Weights(Row):
    """Published weights."""

    dtype: Dtype
    gib: float = Field(gt=0)
    """Size of all safetensors files in GiB."""


class Mla(Row):
    """Multi-head latent attention: one compressed KV vector per token, the same on every tensor-parallel rank."""

    kv_lora_rank: int = Field(gt=0)
    qk_nope_head_dim: int = Field(gt=0)
    v_head_dim: int = Field(gt=0)
    q_lora_rank: int | None = Field(default=None, gt=0)
    """Width of the compressed queries; None where queries are not compressed."""
    sparse_tokens: int | None = Field(default=None, gt=0)
    """Tokens that each token attends to at most; an indexer picks them out of all before it. None: all of them."""
    index_heads: int = Field(default=0, ge=0)
    index_head_dim: int = Field(default=0, ge=0)


class Moe(Row):
    """Mixture-of-experts layers."""

    experts: int = Field(gt=0)
    experts_per_token: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    expert_weight_share: float = Field(gt=0, le=1)
    """Share of the weight bytes that are routed experts: only these are divided by expert parallelism."""


class KvWindow(Row):
    """What some layers keep of the newest tokens only, in blocks of vLLM's one pool that are as large as all others."""

    tokens: int = Field(gt=0)
    """Newest tokens that are kept."""
    block: int = Field(gt=0)
    """Tokens of one block."""


class Shape(Row):
    """Sizes that decide memory and parallelism, as in the model's config.json."""

    layers: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    """Width of the dense MLP; of one expert where every layer is a mixture."""
    vocab_size: int = Field(gt=0)
    attention_heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    mla: Mla | None = None
    moe: Moe | None = None

    def tensor_parallel_sizes(self) -> tuple[int, ...]:
        """Return the sizes that divide the attention heads, which both engines insist on, smallest first."""
        return tuple(n for n in range(1, self.attention_heads + 1) if self.attention_heads % n == 0)


class EngineSupport(Row):
    """How one engine serves the model."""

    min_version: str | None = Field(default=None, pattern=r"^[0-9]+(\.[0-9]+)*$")
    min_compute_capability: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]$")] | None = None
    """Lowest NVIDIA compute capability, where it is above what engine and dtype ask anyway."""
    image: str | None = None
    """Image to use instead of the engine's default, where a release cannot serve the model."""
    reasoning_parser: str | None = None
    tool_parser: str | None = None
    tokenizer_mode: str | None = None
    trust_remote_code: bool = False
    expert_parallel: bool = False
    """The recipe runs the experts in expert parallelism."""
    data_parallel: bool = False
    """The recipe prefers data-parallel attention to tensor parallelism on one node."""
    most_tensor_parallel: int | None = Field(default=None, ge=1)
    """Tensor parallel size of the recipe, where more GPUs shall become copies instead."""
    args: tuple[str, ...] = ()
    """Flags the model needs beyond the above."""
    env: dict[str, str] = {}


class ModelInfo(Row):
    """One model."""

    id: str = Field(min_length=3, pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")
    """Hugging Face id: what is downloaded."""
    aliases: tuple[str, ...] = ()
    family: str
    architecture: str
    licence: str
    released: date | None = None
    gated: bool = False
    parameters: int = Field(gt=0)
    active_parameters: int | None = Field(default=None, gt=0)
    weights: Weights
    shape: Shape
    context_length: int = Field(ge=512)
    """Longest context in tokens that the model's configuration allows."""
    kv_bytes_per_token: int = Field(gt=0)
    """KV-cache bytes per token of the whole model at the engines' default dtype."""
    kv_bytes_per_token_fp8: int | None = Field(default=None, gt=0)
    """The same with an FP8 cache, where it is not simply half."""
    kv_bytes_per_sequence: int = Field(default=0, ge=0)
    """Fixed state of one sequence besides its tokens."""
    kv_block: int | None = Field(default=None, gt=0)
    """Tokens of one block of the whole cache, where vLLM takes blocks of the same size for ``kv_windows``."""
    kv_windows: tuple[KvWindow, ...] = ()
    kv_replicated: bool = False
    """Every tensor-parallel rank holds the whole cache (MLA, and DeepSeek-V4's single KV head)."""
    engines: dict[EngineName, EngineSupport]
    preferred_engine: EngineName = EngineName.AUTO
    """Engine that the recipe wants on one node and on several. Auto: VLLM on one, SGLang on several."""
    recommended: tuple[Annotated[str, Field(pattern=r"^([2-9] x )?[A-Za-z][A-Za-z0-9.-]*:[1-9][0-9]*$")], ...] = ()
    """Machines that an engine's documentation names, such as ``2 x H100:8``; empty where none names any."""
    variant_of: str | None = None
    """Model of which this is a quantised or converted copy."""
    sources: dict[str, str]
    """Field name to key of the file's ``sources``."""
    note: str = ""

    @property
    def short_name(self) -> str:
        """The id without its organisation."""
        return self.id.split("/", 1)[1]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if EngineName.AUTO in self.engines or not self.engines:
            raise ValueError("engines: must name VLLM, SGLang or both")
        if self.preferred_engine not in (EngineName.AUTO, *self.engines):
            raise ValueError(f"preferredEngine: {self.preferred_engine} is not among engines")
        if self.kv_windows and self.kv_block is None:
            raise ValueError("kvBlock: must be given with kvWindows")
        if self.shape.mla and not self.kv_replicated:
            raise ValueError("kvReplicated: must be true for a model with mla")
        if self.shape.moe and self.shape.moe.experts_per_token > self.shape.moe.experts:
            raise ValueError("shape.moe.expertsPerToken: is above shape.moe.experts")
        bits = self.weights.gib * GIB * 8 / self.parameters
        if not 3 <= bits <= 20:
            raise ValueError(
                f"weights.gib: {self.weights.gib} GiB for {self.parameters} parameters are {bits:.1f} bits each"
            )
        return self


class Fp8Support(StrEnum):
    """What the GPU does with FP8 weights."""

    NATIVE = "Native"
    MARLIN = "Marlin"
    """Weight-only kernels: no more memory, but slower."""
    NONE = "None"


class Vendor(StrEnum):
    """Who makes the GPU, which decides the image."""

    NVIDIA = "NVIDIA"
    AMD = "AMD"


class Efficiency(Row):
    """By which factors an engine on this GPU was measured to differ from the speed model; above 1 is faster."""

    decode: float = Field(default=1.0, ge=0.05, le=5)
    prefill: float = Field(default=1.0, ge=0.05, le=5)


class GpuInfo(Row):
    """One GPU type under SkyPilot's name."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9.-]*$")
    vendor: Vendor = Vendor.NVIDIA
    memory_gib: float = Field(gt=1, lt=1000)
    """Total memory as CUDA reports it, which is what the engines take their share of."""
    compute_capability: str = Field(default="0.0", pattern=r"^[0-9]+\.[0-9]$")
    bf16: bool = True
    fp8: Fp8Support
    counts: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    """Numbers per machine that clouds sell."""
    nvlink: bool = False
    memory_bandwidth: float | None = Field(default=None, gt=0)
    """GB/s (10^9 bytes). Without it the plan says nothing of speed."""
    bf16_tflops: float | None = Field(default=None, gt=0)
    """Dense BF16 rate, or FP16 where there is no BF16."""
    fp8_tflops: float | None = Field(default=None, gt=0)
    """Dense FP8 rate, where the GPU has units for it."""
    link_bandwidth: float | None = Field(default=None, gt=0)
    """GB/s in one direction to other GPUs of the machine: NVLink, or PCIe."""
    network_bandwidth: float | None = Field(default=None, gt=0)
    """GB/s in one direction and per GPU to other machines, where these have a fast network."""
    overhead_gib: float = Field(default=0.0, ge=0, lt=1000)
    """GiB that engines were measured to need on it beyond the formula."""
    efficiency: Efficiency = Efficiency()
    only_on: str | None = None
    """The one cloud that uses this name, where others have another name for the same chip."""
    not_rented: str = ""
    """Why no machine with it has a price, where that is known."""
    sources: dict[str, str]

    @property
    def chip(self) -> str:
        """Name of the chip, where one cloud has a name of its own for it: ``H200`` for ``H200-SXM``."""
        return self.name.rpartition("-")[0] if self.only_on else self.name

    @property
    def capability(self) -> tuple[int, int]:
        """Compute capability as numbers that compare."""
        return _numbers(self.compute_capability)


@lru_cache(maxsize=64)
def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")
    return int(major), int(minor)


def _as_decimal(value: object) -> object:
    return str(value) if isinstance(value, float | int) and not isinstance(value, bool) else value


Usd = Annotated[Decimal, BeforeValidator(_as_decimal), Field(ge=0)]


class Accelerator(BaseModel):
    """``NAME:COUNT``: GPUs of one node."""

    model_config = ConfigDict(frozen=True)

    name: str
    count: int = Field(ge=1)

    def __str__(self) -> str:
        return f"{self.name}:{self.count}"


def parse_accelerator(text: str) -> Accelerator:
    """Return ``NAME`` or ``NAME:COUNT`` as an :class:`Accelerator`; the count defaults to 1."""
    name, _, count = text.partition(":")
    return Accelerator(name=name, count=int(count) if count else 1)


class MachineInfo(Row):
    """A machine type with a fast network to others of its kind."""

    cloud: str = Field(pattern=r"^[a-z][a-z0-9]*$")
    instance_type: str
    interconnect: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$")
    """What it is called, such as ``InfiniBand`` or ``EFA``."""
    gbs: float = Field(gt=0)
    """GB/s (10^9 bytes) that one machine can send."""
    source: str


LIVE_PRICE: Final = "SkyPilot's catalog, asked through its API"
"""Source of a price that a SkyPilot server has just told."""


class PriceInfo(Row):
    """Price of one machine type in the cheapest region known, US dollars an hour."""

    cloud: str = Field(pattern=r"^[a-z][a-z0-9]*$")
    instance_type: str
    region: str | None = None
    accelerators: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9.-]*:[1-9][0-9]*$")
    on_demand: Usd | None = None
    spot: Usd | None = None
    as_of: date | None
    """Day on which the price was seen; null where only memory or an undated copy vouches for it."""
    spot_dated: bool = True
    """Whether that is the day of the spot price as well; where not, nobody knows that one's."""
    source: str

    def seen(self, *, spot: bool) -> date | None:
        """Return the day on which the price was seen."""
        return None if spot and not self.spot_dated else self.as_of

    @property
    def origin(self) -> str:
        """Whose price it is, in a few words that do not change while the price does not."""
        if self.source == LIVE_PRICE:
            return "SkyPilot's catalog"
        return f"operator's catalog, {self.as_of or 'undated'}"

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if self.on_demand is None and self.spot is None:
            raise ValueError("onDemand: at least one of onDemand and spot must be given")
        return self
