"""Speeds measured with vLLM 0.25.1 and dummy weights: one H200 (engine called in its process), two H100 (over HTTP)."""

from dataclasses import dataclass, replace

from deepseek_operator.catalog import Dtype, GpuInfo, ModelInfo
from deepseek_operator.planning.factors import FACTORS, Factors
from deepseek_operator.planning.layout import Layout
from deepseek_operator.planning.overrides import Overrides
from deepseek_operator.planning.speed import (
    MICRO,
    Traffic,
    prefill_tokens_per_second,
    ready_seconds,
    step_seconds,
)
from tests.unit.planning.builders import CATALOG

__all__ = ["CASES", "Case", "Figure", "cut_of_r1", "figures", "gpu_named", "model_named"]

ONE, TP2 = Layout(1, 1, 1), Layout(1, 2, 2)
ANSWER = 128
"""Tokens of every answer. Requests came all at once, so that the front end took them one after the other first."""
DUMMY_ROUTING = 0.53
"""Exponent with which dummy weights spread the tokens of a step over R1's experts: in 13.55 ms an H200 cannot read the
87 % of them that 64 tokens choose by themselves. Taken from r1-tp8shard."""


@dataclass(frozen=True)
class Case:
    """One run, and what it measured: tokens per second."""

    name: str
    model: str
    gpu: str
    layout: Layout
    one: float | None
    """Decode with one request."""
    many: float | None
    """Decode with ``requests`` requests, all together."""
    prefill: float | None
    """Eight prompts of 2,000 tokens."""
    start: float | None = None
    """Seconds from the first touch of the GPU to the first answer, weights made up, compile cache cold."""
    requests: int = 64
    served: bool = False
    connected: bool = True
    routed: float = 1.0
    eager: bool = False
    running: int = 1024
    """Requests that may run at once; the others wait for them."""
    held_out: bool = False
    """Not used for the fit."""
    left_out: tuple[str, ...] = ()
    """Figures that are not compared."""


CASES = (
    Case("llama8b", "r1-8b", "H200", ONE, 201, 9918, 42895, 45.1),
    Case("qwen7b", "r1-7b", "H200", ONE, 206, 11207, 45977, 50.8),
    Case("v2lite", "v2-lite", "H200", ONE, 288, 4388, 59041, 80.8),
    Case("llama8b@L4", "r1-8b", "H200", ONE, 199, 10002, 41237, 53.2),
    Case("qwen7b@L4", "r1-7b", "H200", ONE, 208, 11055, 44199, 51.4),
    Case("qwen14b", "r1-14b", "H200", ONE, 109, 5753, 22760, 69.2, held_out=True),
    Case("qwen32b", "r1-32b", "H200", ONE, 53, 2919, 9988, 86.9),
    Case("v3-6l", "v3-6-layers", "H200", ONE, 352, 3737, 30829, 68.8),
    Case("llama70b-u.98-s64", "r1-70b", "H200", ONE, 26, 1464, 4564, 83.3),
    Case("llama8b-v1", "r1-8b", "H200", ONE, 202, 9649, 42781, 43.9),
    Case("llama8b-16k", "r1-8b", "H200", ONE, 199, 9799, 42328, 55.1),
    Case("llama8b-8k-256", "r1-8b", "H200", ONE, 201, 9906, 43127),
    Case("r1-tp8shard", "r1", "H200", Layout(1, 8, 8), 126, 4722, 17149, 153.3, connected=False, routed=DUMMY_ROUTING),
    Case("qwen3-8b", "r1-0528-8b", "H200", ONE, 188, 9593, 42667, 67.1),
    Case("llama8b-small", "r1-8b", "H200", ONE, 201, 9846, 40921, 53.6),
    Case("llama8b-eager", "r1-8b", "H200", ONE, 33, 2442, 41995, 9.6, eager=True),
    Case("llama70b-tp8shard@L4", "r1-70b", "H200", Layout(1, 8, 8), 129, 7354, 31068, 83.5, connected=False),
    Case("llama70b-u.98-big", "r1-70b", "H200", ONE, 27, 1329, None),
    Case(
        "h-v3tp16-v2",
        "v3-12-layers",
        "H200",
        Layout(1, 16, 16),
        518,
        21904,
        161616,
        64.3,
        connected=False,
        routed=DUMMY_ROUTING,
        held_out=True,
    ),
    Case("70B TP2", "r1-70b", "H100", TP2, 36.1, 4177, 8346, 107.5, served=True, requests=300),
    Case("70B TP2 2048/256", "r1-70b", "H100", TP2, 36.0, 3293, 8104, 97.9, served=True, requests=300, running=256),
    Case("32B TP2", "r1-32b", "H100", TP2, 68.3, 6517, 17053, 78.0, served=True, requests=300, held_out=True),
    Case("8B TP2", "r1-8b", "H100", TP2, 222.4, 11646, 57429, served=True, requests=300),
    Case(
        "R1 TP16 shape, 16 layers",
        "r1-tp16-shape",
        "H100",
        replace(TP2, expert_parallel=True),
        325.1,
        15136,
        33827,
        served=True,
        requests=300,
        routed=DUMMY_ROUTING,
        left_out=("prefill",),
    ),
)


def gpu_named(name: str) -> GpuInfo:
    """Return a GPU of the catalog."""
    found = CATALOG.find_gpu(name)
    assert found
    return found


def cut_of_r1(
    *,
    layers: int,
    heads: int = 128,
    dense: int = 18432,
    expert: int = 2048,
    gib: float,
    dtype: Dtype = Dtype.FP8,
    parameters: float = 671e9,
    active: float = 37e9,
    share: float = 0.966,
) -> ModelInfo:
    """Return R1 with fewer layers and the widths of what was run, so that few GPUs hold it."""
    r1 = CATALOG.find("r1")
    assert r1
    assert r1.shape.moe
    moe = r1.shape.moe.model_copy(update={"intermediate_size": expert, "expert_weight_share": share})
    sizes = {"layers": layers, "attention_heads": heads, "kv_heads": heads, "intermediate_size": dense, "moe": moe}
    parts = {
        "shape": r1.shape.model_copy(update=sizes),
        "weights": r1.weights.model_copy(update={"gib": gib, "dtype": dtype}),
        "kv_bytes_per_token": r1.kv_bytes_per_token * layers // r1.shape.layers,
        "parameters": int(parameters),
        "active_parameters": int(active),
    }
    return r1.model_copy(update=parts)


def model_named(name: str) -> ModelInfo:
    """Return a model of the catalog, or one of the cut shapes that were run."""
    if name == "v3-6-layers":  # three dense layers, three mixtures
        return cut_of_r1(layers=6, gib=37.46, parameters=38.1e9, active=5.35e9, share=0.84)
    if name == "v3-12-layers":  # three dense layers, nine mixtures; weights of a rank times 16
        return cut_of_r1(layers=12, gib=105.4, parameters=107.1e9, active=8.85e9, share=0.896)
    if name == "r1-tp16-shape":  # an eighth of the widths: a rank of two is one of R1's sixteen
        sizes = {"heads": 16, "dense": 2304, "expert": 256}
        return cut_of_r1(layers=16, gib=21.58, parameters=21.0e9, active=3.3e9, share=0.79, **sizes)  # type: ignore[arg-type]
    if name == "r1-4-layers":
        return cut_of_r1(layers=4, gib=25.38, dtype=Dtype.BF16)
    found = CATALOG.find(name)
    assert found
    return found


@dataclass(frozen=True)
class Figure:
    """One measured figure beside the model's."""

    case: Case
    what: str
    measured: float
    predicted: float

    @property
    def error(self) -> float:
        """Relative error of the model: above 0 where its figure is higher."""
        return self.predicted / self.measured - 1


def figures(case: Case, factors: Factors = FACTORS) -> list[Figure]:
    """Return what the speed model says of a case."""
    model, gpu = model_named(case.model), gpu_named(case.gpu)
    overrides = Overrides(eager=case.eager)

    def decode(requests: int) -> float:
        waves = [min(case.running, requests - done) for done in range(0, requests, case.running)]
        steps = sum(step(Traffic(wave, 100, routed=case.routed)) for wave in waves)
        front = MICRO * factors.prompt * requests if case.served else 0.0
        return ANSWER * requests / (front + ANSWER * steps)

    def step(traffic: Traffic) -> float:
        connected = case.connected
        return step_seconds(model, gpu, case.layout, traffic, overrides, connected=connected, factors=factors)

    found = []
    if case.one is not None:
        found.append(Figure(case, "decode, 1 request", case.one, decode(1)))
    if case.many is not None:
        found.append(Figure(case, "decode, many", case.many, decode(case.requests)))
    if case.prefill is not None:
        prefill = prefill_tokens_per_second(
            model, gpu, case.layout, overrides, connected=case.connected, served=case.served, factors=factors
        )
        found.append(Figure(case, "prefill", case.prefill, prefill))
    if case.start is not None:
        found.append(Figure(case, "start", case.start, ready_seconds(model, overrides)))
    return [figure for figure in found if figure.what not in case.left_out]
