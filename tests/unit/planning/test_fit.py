"""Where a comfortable fit ends, where a tight one ends, and what a verdict says of it."""

import pytest

from deepseek_operator.api.spec import EngineName
from deepseek_operator.api.status import Verdict
from deepseek_operator.catalog import GpuInfo
from deepseek_operator.planning.fit import Fit, assess
from deepseek_operator.planning.memory import Batch, Layout
from deepseek_operator.planning.overrides import Overrides
from tests.unit.planning.measured import gpu_named, model_named

TP2, SHARED = Layout(1, 2, 2), Layout(1, 2, 1, 1, 2, expert_parallel=True)


def assessed(
    model: str, gpu: GpuInfo, layout: Layout, overrides: Overrides, engine: EngineName = EngineName.VLLM
) -> Fit:
    return assess(model_named(model), gpu, layout, engine, overrides)


def leaving(room: float, model: str, gpu: str, layout: Layout, engine: EngineName, overrides: Overrides) -> GpuInfo:
    """Return the GPU with so much overhead that the engine's default batch leaves that many GiB."""
    card = gpu_named(gpu)
    found = assessed(model, card, layout, overrides, engine).memory.kv_cache
    return card.model_copy(update={"overhead_gib": found - room})


@pytest.mark.parametrize(
    ("gpu", "layout", "verdict"),
    [
        ("H100", Layout(1, 1, 1), Verdict.FITS),
        ("H100", TP2, Verdict.FITS),
        ("L40S", TP2, Verdict.TIGHT),
        ("H100", Layout(1, 4, 4), Verdict.TIGHT),
        ("H100", Layout(2, 1, 2), Verdict.TIGHT),
        ("H100", SHARED, Verdict.TIGHT),
    ],
)
def test_gpus_that_talk_otherwise_than_two_over_nvlink_need_more_to_spare(
    gpu: str, layout: Layout, verdict: Verdict
) -> None:
    overrides = Overrides(max_model_len=2048)
    card = leaving(1.3, "v2-lite", gpu, layout, EngineName.VLLM, overrides)
    assert assessed("v2-lite", card, layout, overrides).verdict is verdict


def test_a_shorter_context_leaves_latent_attention_more_room() -> None:
    whole = assessed("v2-lite", gpu_named("L4"), TP2, Overrides()).memory
    short = assessed("v2-lite", gpu_named("L4"), TP2, Overrides(max_model_len=1024)).memory
    assert short.kv_cache > whole.kv_cache + 0.1


def test_less_than_1024_tokens_are_served_only_where_the_user_wants_no_more() -> None:
    alone = Layout(1, 1, 1)
    overrides = Overrides(max_num_seqs=64, max_num_batched_tokens=2048)
    card = leaving(0.1, "r1-8b", "L4", alone, EngineName.VLLM, overrides)
    fit = assessed("r1-8b", card, alone, overrides)
    assert fit.verdict is Verdict.DOES_NOT_FIT
    assert 512 <= fit.longest < 1024
    assert fit.reason.endswith("tokens: too few")
    wanted = Overrides(max_num_seqs=64, max_num_batched_tokens=2048, max_model_len=512)
    assert assessed("r1-8b", card, alone, wanted).verdict is Verdict.TIGHT


def test_a_batch_that_the_user_gave_is_not_planned_once_more() -> None:
    overrides = Overrides(max_num_seqs=64, max_num_batched_tokens=2048)
    card = leaving(0.5, "r1-8b", "L4", Layout(1, 1, 1), EngineName.VLLM, overrides)
    fit = assessed("r1-8b", card, Layout(1, 1, 1), overrides)
    assert fit.verdict is Verdict.TIGHT
    assert fit.batch is None
    assert "with at most" not in fit.reason


def test_what_the_user_gave_of_the_batch_stays_where_the_fit_is_tight() -> None:
    for overrides, batch in (
        (Overrides(max_num_seqs=128), Batch(128, 2048)),
        (Overrides(max_num_batched_tokens=4096), Batch(64, 4096)),
    ):
        card = leaving(0.5, "r1-8b", "H100", Layout(1, 1, 1), EngineName.VLLM, overrides)
        assert assessed("r1-8b", card, Layout(1, 1, 1), overrides).batch == batch


def test_a_context_below_a_whole_step_and_memory_below_nothing_are_said_as_they_are() -> None:
    overrides = Overrides(max_num_seqs=64, max_num_batched_tokens=2048)
    few = leaving(0.02, "r1-8b", "L4", Layout(1, 1, 1), EngineName.VLLM, overrides)
    assert 0 < assessed("r1-8b", few, Layout(1, 1, 1), overrides).longest < 256
    none = leaving(-0.5, "r1-8b", "L4", Layout(1, 1, 1), EngineName.VLLM, overrides)
    assert assessed("r1-8b", none, Layout(1, 1, 1), overrides).reason.endswith("0.5 GiB too much")


@pytest.mark.parametrize("card", [gpu_named("L40S"), gpu_named("L4").model_copy(update={"nvlink": True})])
def test_what_was_measured_on_nvlink_is_said_only_of_small_gpus_without(card: GpuInfo) -> None:
    reason = assessed("r1-14b", card, TP2, Overrides(memory_fraction=0.99)).reason
    assert "for CUDA and NCCL: 1.50 GiB are needed, so use at most" in reason


def test_what_sglang_cannot_hold_anyway_is_not_refused_for_its_request_table() -> None:
    fit = assessed("r1-32b", gpu_named("L4"), Layout(1, 1, 1), Overrides(memory_fraction=0.98), EngineName.SGLANG)
    assert fit.reason.endswith("GiB too much")


@pytest.mark.parametrize(("share", "batch"), [(0.96, Batch(64, 2048)), (0.99, Batch(32, 2048))])
def test_a_small_batch_needs_no_larger_request_table(share: float, batch: Batch) -> None:
    model, layout = "sgl-project/DeepSeek-V4-Flash-FP8", Layout(1, 8, 8)
    overrides = Overrides(max_model_len=1_048_576, memory_fraction=share)
    card = leaving(4.2, model, "H200", layout, EngineName.SGLANG, overrides)
    fit = assessed(model, card, layout, overrides, EngineName.SGLANG)
    assert fit.verdict is Verdict.TIGHT
    assert fit.batch == batch
