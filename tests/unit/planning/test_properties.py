"""What must hold for every model, GPU and layout, whatever the numbers."""

from decimal import Decimal

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deepseek_operator.api.spec import DeepSeekDeploymentSpec, EngineName
from deepseek_operator.api.status import Verdict
from deepseek_operator.catalog import GpuInfo, ModelInfo
from deepseek_operator.planning import Plan, PlanInputError, plan
from deepseek_operator.planning.fit import assess
from deepseek_operator.planning.memory import Layout, measure
from deepseek_operator.planning.memory import default_batch as batch_of
from deepseek_operator.planning.overrides import Overrides
from deepseek_operator.planning.parallelism import layouts
from tests.unit.planning.builders import CATALOG, spec_for

MODELS = st.sampled_from(list(CATALOG.models.values()))
GPUS = st.sampled_from(list(CATALOG.gpus.values()))
ENGINES = st.sampled_from([EngineName.VLLM, EngineName.SGLANG])
COUNTS = st.sampled_from([1, 2, 4, 8])
NODES = st.sampled_from([1, 2, 3, 4])
CONTEXTS = st.one_of(st.none(), st.integers(256, 200_000))
BIGGER = st.floats(1.0, 3.0, allow_nan=False)


@st.composite
def specs(draw: st.DrawFn) -> DeepSeekDeploymentSpec:
    model = draw(MODELS)
    gpu = draw(GPUS)
    resources = {
        "accelerators": draw(st.sampled_from([None, [f"{gpu.name}:{draw(COUNTS)}"]])),
        "nodes": draw(st.one_of(st.none(), NODES)),
        "infra": draw(st.sampled_from([[], ["kubernetes"], ["aws", "gcp"]])),
        "capacityType": draw(st.sampled_from(["OnDemand", "Spot", "SpotThenOnDemand"])),
        "maxHourlyCost": draw(st.sampled_from([None, "1", "40"])),
    }
    engine = {"name": draw(st.sampled_from(["Auto", "VLLM", "SGLang"])), "maxModelLen": draw(CONTEXTS)}
    return spec_for(model.id, engine=engine, resources=resources, replicas=draw(st.integers(0, 3)))


def try_plan(spec: DeepSeekDeploymentSpec) -> Plan | None:
    try:
        return plan(spec, CATALOG)
    except PlanInputError:
        return None


def with_memory(gpu: GpuInfo, factor: float) -> GpuInfo:
    return gpu.model_copy(update={"memory_gib": gpu.memory_gib * factor})


@given(MODELS, GPUS, COUNTS, NODES, ENGINES, CONTEXTS, BIGGER)
@settings(max_examples=400, deadline=None)
def test_more_memory_never_turns_fits_into_does_not_fit(
    model: ModelInfo, gpu: GpuInfo, count: int, nodes: int, engine: EngineName, context: int | None, factor: float
) -> None:
    assume(engine in model.engines)
    overrides = Overrides(max_model_len=context)
    for layout in layouts(model, count, nodes, engine, overrides):
        before = assess(model, gpu, layout, engine, overrides)
        after = assess(model, with_memory(gpu, factor), layout, engine, overrides)
        if before.verdict is Verdict.FITS:
            assert after.verdict is not Verdict.DOES_NOT_FIT


@given(MODELS, GPUS, st.sampled_from([1, 2, 4]), st.integers(1, 4), CONTEXTS)
@settings(max_examples=300, deadline=None)
def test_more_pipeline_stages_never_leave_less_room(
    model: ModelInfo, gpu: GpuInfo, tp: int, stages: int, context: int | None
) -> None:
    assume(EngineName.VLLM in model.engines)
    assume(model.shape.attention_heads % tp == 0)
    overrides = Overrides(max_model_len=context)
    fewer, more = Layout(1, tp * stages * 2, tp, 1 + stages), Layout(1, tp * stages * 2, tp, 2 + stages)
    batch = batch_of(EngineName.VLLM, gpu, fewer, overrides)
    length = context or model.context_length
    first = measure(model, gpu, fewer, EngineName.VLLM, batch, length, overrides)
    second = measure(model, gpu, more, EngineName.VLLM, batch, length, overrides)
    assert second.kv_cache >= first.kv_cache - 1e-9


@given(MODELS, GPUS, COUNTS, NODES, ENGINES)
@settings(max_examples=400, deadline=None)
def test_a_planned_context_always_passes_the_check(
    model: ModelInfo, gpu: GpuInfo, count: int, nodes: int, engine: EngineName
) -> None:
    assume(engine in model.engines)
    for layout in layouts(model, count, nodes, engine, Overrides()):
        planned = assess(model, gpu, layout, engine, Overrides())
        if planned.verdict is Verdict.DOES_NOT_FIT:
            continue
        checked = assess(model, gpu, layout, engine, Overrides(max_model_len=planned.max_model_len))
        assert checked.verdict in (planned.verdict, Verdict.FITS)
        assert checked.max_model_len == planned.max_model_len
        assert 0 < planned.max_model_len <= model.context_length
        batch = planned.batch or batch_of(engine, gpu, layout, Overrides())
        room = measure(model, gpu, layout, engine, batch, planned.max_model_len, Overrides()).tokens
        assert room >= planned.max_model_len * (1.15 if planned.verdict is Verdict.FITS else 1)


@given(MODELS, COUNTS, NODES, ENGINES)
@settings(max_examples=400, deadline=None)
def test_tensor_parallelism_divides_the_heads_and_uses_no_gpu_twice(
    model: ModelInfo, count: int, nodes: int, engine: EngineName
) -> None:
    assume(engine in model.engines)
    for layout in layouts(model, count, nodes, engine, Overrides()):
        assert model.shape.attention_heads % layout.tensor_parallel_size == 0
        used = layout.tensor_parallel_size * layout.pipeline_parallel_size * layout.data_parallel_size
        assert used == count * nodes
        if engine is EngineName.VLLM:
            assert layout.tensor_parallel_size <= count


@given(specs())
@settings(max_examples=150, deadline=None)
def test_a_plan_is_deterministic(spec: DeepSeekDeploymentSpec) -> None:
    assert try_plan(spec) == try_plan(spec)


@given(specs())
@settings(max_examples=150, deadline=None)
def test_a_plan_is_launchable_or_says_why_not(spec: DeepSeekDeploymentSpec) -> None:
    result = try_plan(spec)
    if result is None:
        return
    assert result.reason
    assert bool(result.serve) is result.launchable
    assert result.to_status().verdict is result.verdict
    if spec.resources.accelerators and result.launchable:
        assert set(result.accelerators) <= set(spec.resources.accelerators)


@given(MODELS, GPUS, COUNTS, st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_cost_is_monotone_in_nodes(model: ModelInfo, gpu: GpuInfo, count: int, fewer: int, more: int) -> None:
    assume(fewer <= more)
    assume(count in gpu.counts)

    def cost(nodes: int) -> Decimal | None:
        spec = spec_for(model.id, resources={"accelerators": [f"{gpu.name}:{count}"], "nodes": nodes})
        result = try_plan(spec)
        return result.hourly_cost if result else None

    low, high = cost(fewer), cost(more)
    if low is not None and high is not None:
        assert low <= high


@given(MODELS, st.integers(1, 20), st.integers(1, 20), st.integers(1, 2000))
@settings(max_examples=150, deadline=None)
def test_more_replicas_never_get_a_larger_share_of_the_limit(
    model: ModelInfo, fewer: int, more: int, limit: int
) -> None:
    assume(fewer <= more)

    def share(replicas: int) -> Decimal | None:
        result = try_plan(spec_for(model.id, resources={"maxHourlyCost": limit}, replicas=replicas))
        if result is None or not result.launchable:
            return None
        assert result.max_instance_hourly_cost is not None
        if result.hourly_cost is not None:
            assert result.hourly_cost * replicas <= limit
        return result.max_instance_hourly_cost * result.nodes

    low, high = share(fewer), share(more)
    if low is None:
        assert high is None
    if low is not None and high is not None:
        assert high <= low
