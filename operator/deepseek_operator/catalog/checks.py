"""What can be said against a catalog that loads: figures that contradict each other, old prices, gaps. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from deepseek_operator.catalog.catalog import Catalog
from deepseek_operator.catalog.schema import Dtype, GpuInfo, ModelInfo, PriceInfo, Vendor, parse_accelerator

__all__ = ["MOST_DAYS", "Finding", "age_in_days", "check_catalog", "check_model", "dense_parameters"]

MOST_DAYS = 90
"""Age of a price above which nobody should trust it."""
GIB = 2**30
_TOLERANCE = 0.01
_ROTARY = 64
"""Width of the rotary part of a latent KV vector in every DeepSeek model."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing."""

    row: str
    field: str
    message: str
    wrong: bool
    """The figures cannot be right; else only a warning."""

    def __str__(self) -> str:
        return f"{'error' if self.wrong else 'warning'}: {self.row}: {self.field}: {self.message}"


def check_catalog(catalog: Catalog, *, today: date, known: Catalog | None = None) -> list[Finding]:
    """Return what can be said against a catalog, errors first.

    Parameters
    ----------
    known
        Rows that are the same there are left out: those of the package, where a user's file is checked.
    """
    models, gpus, prices = (known.models, known.gpus, known.prices) if known else ({}, {}, ())
    old = set(prices)
    found: list[Finding] = []
    for name, model in catalog.models.items():
        if models.get(name) != model:
            found += check_model(model)
            found += _check_recommended(model, catalog)
    for name, gpu in catalog.gpus.items():
        if gpus.get(name) != gpu:
            found += _check_gpu(gpu, catalog)
    for price in catalog.prices:
        if price not in old:
            found += _check_price(price, catalog, today)
    return sorted(found, key=lambda finding: not finding.wrong)


def dense_parameters(model: ModelInfo) -> int:
    """Return the parameters of a dense Llama or Qwen model, computed from its shape."""
    s = model.shape
    q, kv = s.attention_heads * s.head_dim, s.kv_heads * s.head_dim
    attention = s.hidden_size * (q + 2 * kv) + q * s.hidden_size
    if model.architecture == "Qwen2ForCausalLM":
        attention += q + 2 * kv
    if model.architecture == "Qwen3ForCausalLM":
        attention += 2 * s.head_dim
    layer = attention + 3 * s.hidden_size * s.intermediate_size + 2 * s.hidden_size
    return s.layers * layer + 2 * s.vocab_size * s.hidden_size + s.hidden_size


def check_model(model: ModelInfo) -> Iterator[Finding]:
    """Yield figures of a model that its shape contradicts."""
    shape = model.shape
    if model.architecture in ("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"):
        computed = dense_parameters(model)
        if abs(model.parameters / computed - 1) > _TOLERANCE:
            yield _wrong(model.id, "parameters", f"{model.parameters}: the shape has {computed}")
        cache = 2 * shape.layers * shape.kv_heads * shape.head_dim * 2
        if model.kv_bytes_per_token != cache:
            yield _wrong(model.id, "kvBytesPerToken", f"{model.kv_bytes_per_token}: the shape has {cache}")
    if shape.mla and model.architecture in ("DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"):
        cache = shape.layers * (shape.mla.kv_lora_rank + _ROTARY) * 2
        if model.kv_bytes_per_token != cache:
            yield _wrong(model.id, "kvBytesPerToken", f"{model.kv_bytes_per_token}: the shape has {cache}")
    if model.weights.dtype is Dtype.BF16:
        gib = 2 * model.parameters / GIB
        if abs(model.weights.gib / gib - 1) > 5 * _TOLERANCE:
            yield _wrong(model.id, "weights.gib", f"{model.weights.gib}: {model.parameters} parameters are {gib:.1f}")
    if shape.moe and model.active_parameters is None:
        yield _gap(model.id, "activeParameters", "missing: its speed is planned as if every expert were always used")


def _check_recommended(model: ModelInfo, catalog: Catalog) -> Iterator[Finding]:
    for machine in model.recommended:
        name = parse_accelerator(machine.rpartition(" ")[2]).name
        if catalog.find_gpu(name) is None:
            yield _wrong(model.id, "recommended", f"{machine}: no GPU of that name is in the catalog")


def _check_gpu(gpu: GpuInfo, catalog: Catalog) -> Iterator[Finding]:
    if gpu.memory_bandwidth is None or gpu.bf16_tflops is None:
        yield _gap(gpu.name, "memoryBandwidth, bf16Tflops", "missing: plans say nothing of its speed")
    elif gpu.link_bandwidth is None and max(gpu.counts) > 1:
        yield _gap(gpu.name, "linkBandwidth", "missing: GPUs of a machine are taken to talk over PCIe 3.0")
    priced = {parse_accelerator(price.accelerators).name.lower() for price in catalog.prices}
    if gpu.vendor is Vendor.NVIDIA and gpu.name.lower() not in priced and not gpu.not_rented:
        yield _gap(gpu.name, "prices", "no machine with it has a price: it ranks behind those that have one")


def _check_price(price: PriceInfo, catalog: Catalog, today: date) -> Iterator[Finding]:
    row = f"{price.cloud}/{price.instance_type}"
    accelerator = parse_accelerator(price.accelerators)
    gpu = catalog.find_gpu(accelerator.name)
    if gpu is None:
        yield _wrong(row, "accelerators", f"{price.accelerators}: no GPU of that name is in the catalog")
    elif accelerator.count not in gpu.counts:
        counts = ", ".join(str(count) for count in gpu.counts)
        yield _gap(row, "accelerators", f"{price.accelerators}: {gpu.name} is sold as {counts}; never planned with")
    age = age_in_days(price, today)
    if age is None:
        yield _gap(row, "asOf", "missing: nobody knows how old the price is")
    elif age > MOST_DAYS:
        yield _gap(row, "asOf", f"{price.as_of}: {age} days old, over {MOST_DAYS}")
    elif age < 0:
        yield _gap(row, "asOf", f"{price.as_of}: lies in the future")


def age_in_days(price: PriceInfo, today: date) -> int | None:
    """Return how old a price is; None where it has no date."""
    return None if price.as_of is None else (today - price.as_of) // timedelta(days=1)


def _wrong(row: str, field: str, message: str) -> Finding:
    return Finding(row, field, message, wrong=True)


def _gap(row: str, field: str, message: str) -> Finding:
    return Finding(row, field, message, wrong=False)
