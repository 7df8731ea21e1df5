"""Memory of ranks that talk to each other, against vLLM 0.25.1 and SGLang 0.5.17 on two H100 with NVLink."""

import pytest

from deepseek_operator.api.spec import EngineName
from deepseek_operator.api.status import Verdict
from deepseek_operator.catalog import GpuInfo
from deepseek_operator.engines import Rank, get_engine
from deepseek_operator.planning.communication import outside_gib
from deepseek_operator.planning.fit import assess
from deepseek_operator.planning.memory import Batch, Layout, measure, utilization
from deepseek_operator.planning.overrides import Overrides
from tests.unit.planning.builders import plan_for
from tests.unit.planning.measured import gpu_named, model_named

TP2, PP2, TP2_EP = Layout(1, 2, 2), Layout(2, 1, 1, 2), Layout(2, 1, 2, expert_parallel=True)

gpu, model = gpu_named, model_named


# model, layout, requests, tokens, context, KV GiB by vLLM 0.33's accounting; FlashInfer was off
VLLM = [
    ("r1-70b", TP2, 1024, 8192, 15360, 3.36),
    ("r1-70b", TP2, 256, 2048, 21504, 4.18),
    ("r1-32b", TP2, 1024, 8192, 131072, 38.82),
    ("r1-8b", TP2, 1024, 8192, 131072, 62.67),
    ("v2-lite", TP2, 1024, 8192, 163840, 55.13),
    ("r1-tp16-shape", TP2_EP, 1024, 8192, 163840, 57.21),
    ("r1-32b", PP2, 1024, 8192, 131072, 39.68),  # first stage
    ("r1-32b", PP2, 1024, 8192, 131072, 38.99),  # last stage
]


@pytest.mark.parametrize(("name", "layout", "seqs", "tokens", "context", "kv"), VLLM)
def test_kv_memory_of_two_gpus_is_never_above_what_was_measured_and_at_most_15_percent_below(
    name: str, layout: Layout, seqs: int, tokens: int, context: int, kv: float
) -> None:
    batch = Batch(seqs, tokens)
    memory = measure(model(name), gpu("H100"), layout, EngineName.VLLM, batch, context, Overrides(), flashinfer=False)
    assert 0.85 * kv <= memory.kv_cache <= kv


def test_the_fused_all_reduce_counts_only_where_it_is_used() -> None:
    plain, fused = gpu("A100-80GB"), gpu("H100")
    batch = Batch(256, 2048)

    def overhead(card: GpuInfo, layout: Layout) -> float:
        return measure(model("r1-70b"), card, layout, EngineName.VLLM, batch, 4096, Overrides()).overhead

    assert overhead(fused, TP2) - overhead(plain, TP2) == pytest.approx(0.5)
    assert overhead(fused, Layout(1, 4, 4)) == pytest.approx(overhead(plain, Layout(1, 4, 4)))
    assert overhead(gpu("B200"), Layout(1, 4, 4)) - overhead(plain, Layout(1, 4, 4)) == pytest.approx(0.5)


# model, layout, GiB outside the budget: CUDA context, NCCL, custom all-reduce
OUTSIDE = [
    ("r1-70b", Layout(1, 1, 1), 0.515),
    ("r1-70b", TP2, 1.47),
    ("v2-lite", TP2, 1.94),
    ("r1-tp16-shape", TP2_EP, 1.94),
    ("r1-32b", PP2, 1.43),
]


@pytest.mark.parametrize(("name", "layout", "measured"), OUTSIDE)
def test_what_no_budget_counts_is_planned_with_what_was_measured(name: str, layout: Layout, measured: float) -> None:
    assert measured <= outside_gib(model(name), layout) <= measured + 0.08


def test_a_mixture_needs_one_communicator_more_where_ranks_share_a_layer_or_experts() -> None:
    mixture, dense = model("v2-lite"), model("r1-8b")
    for shared in (TP2, Layout(1, 2, 1, 1, 2, expert_parallel=True)):
        assert outside_gib(mixture, shared) - outside_gib(dense, shared) == pytest.approx(0.48)
    assert outside_gib(mixture, PP2) == outside_gib(dense, PP2)


def test_copies_of_a_whole_model_need_what_one_needs() -> None:
    alone, copies = Layout(1, 4, 4), Layout(1, 8, 4, 1, 2)
    batch = Batch(256, 2048)
    one, other = (
        measure(model("v2-lite"), gpu("L4"), layout, EngineName.VLLM, batch, 4096, Overrides())
        for layout in (alone, copies)
    )
    assert one == other


def test_copies_that_share_experts_leave_room_for_nccl() -> None:
    shared = Layout(1, 8, 1, 1, 8, expert_parallel=True)
    fit = assess(model("v3.2"), gpu("H200"), shared, EngineName.VLLM, Overrides(memory_fraction=0.99))
    assert "leaves 1.40 GiB of H200 for CUDA and NCCL: 1.98 GiB are needed, so use at most 0.98" in fit.reason


# model, GPU, layout, planned share of memory: vLLM refuses to start where less is free than total x share
SHARES = [
    ("r1-8b", "L4", Layout(1, 1, 1), 0.92),
    ("r1-14b", "L4", TP2, 0.92),
    ("v2-lite", "L4", TP2, 0.91),
    ("v2-lite", "A10G", Layout(1, 4, 4), 0.91),
    ("r1-8b", "T4", TP2, 0.89),
    ("r1-1.5b", "T4", Layout(1, 1, 1), 0.92),
    ("r1-70b", "L4", Layout(1, 8, 4, 2), 0.91),
    ("v2-lite", "H100", TP2, 0.92),
]


@pytest.mark.parametrize(("name", "card", "layout", "share"), SHARES)
def test_the_share_of_memory_leaves_room_for_cuda_and_nccl(name: str, card: str, layout: Layout, share: float) -> None:
    planned = utilization(model(name), gpu(card), layout, Overrides())
    assert planned == share
    assert gpu(card).memory_gib * (1 - planned) >= outside_gib(model(name), layout)


@pytest.mark.parametrize(
    ("name", "accelerators", "share", "needed"),
    [("v2-lite", "L4:2", 0.91, "1.98"), ("v2-lite", "A10G:4", 0.91, "1.98"), ("r1-8b", "T4:2", 0.89, "1.50")],
)
def test_a_lower_share_is_planned_before_a_model_is_refused_and_the_reason_says_so(
    name: str, accelerators: str, share: float, needed: str
) -> None:
    plan = plan_for(name, resources={"accelerators": [accelerators]})
    assert plan.verdict is Verdict.FITS
    assert [options.gpu_memory_utilization for options in plan.serve.values()] == [share]
    words = f"--gpu-memory-utilization {share} leaves {needed} GiB for CUDA and NCCL beside the budget"
    assert f"{words} (measured on NVLink)" in plan.reason


def test_the_lower_share_is_passed_to_vllm_unless_the_user_gives_one() -> None:
    resources = {"accelerators": ["L4:2"]}
    planned = plan_for("v2-lite", resources=resources)
    users = plan_for("v2-lite", engine={"args": ["--gpu-memory-utilization", "0.9"]}, resources=resources)
    assert "--gpu-memory-utilization" in get_engine(EngineName.VLLM).command(planned.serve[2], Rank())
    assert users.serve[2].gpu_memory_utilization is None


@pytest.mark.parametrize(("share", "launchable"), [("0.93", True), ("0.94", False)])
def test_a_users_share_that_leaves_nccl_nothing_is_refused_with_the_largest_that_would_do(
    share: str, launchable: bool
) -> None:
    engine = {"name": "VLLM", "args": ["--gpu-memory-utilization", share]}
    plan = plan_for("r1-14b", engine=engine, resources={"accelerators": ["L4:2"], "nodes": 1})
    assert plan.launchable is launchable
    words = (
        "leaves 1.32 GiB of L4 for CUDA and NCCL: 1.50 GiB are needed (measured on NVLink), so use at most 0.93. "
        "Cheapest that fits: "
    )
    assert (words in plan.reason) is not launchable


# model, layout, KV GiB of SGLang 0.5.17. It reserved 1536 MiB less for MLA than 0.5.23 does.
SGLANG = [("v2-lite", Layout(2, 1, 2), 49.98), ("r1-4-layers", Layout(2, 1, 2), 50.52), ("r1-8b", TP2, 56.73)]


@pytest.mark.parametrize(("name", "layout", "kv"), SGLANG)
def test_sglangs_kv_memory_is_never_above_what_was_measured_and_at_most_5_percent_below(
    name: str, layout: Layout, kv: float
) -> None:
    memory = measure(model(name), gpu("H100"), layout, EngineName.SGLANG, Batch(256, 8192), 131072, Overrides())
    assert 0.95 * kv <= memory.kv_cache <= kv


def test_a_request_table_that_sglang_has_room_for_is_left_to_it() -> None:
    fit = assess(model("r1"), gpu("H200"), Layout(1, 8, 8), EngineName.SGLANG, Overrides())
    assert fit.verdict is Verdict.FITS
    assert fit.batch is None


def test_a_context_of_a_million_tokens_gets_fewer_running_requests_so_that_the_table_fits() -> None:
    flash = model("sgl-project/DeepSeek-V4-Flash-FP8")
    fit = assess(flash, gpu("H200"), Layout(1, 8, 8), EngineName.SGLANG, Overrides())
    assert fit.verdict is Verdict.FITS
    assert fit.batch
    assert fit.batch.max_num_seqs * fit.max_model_len * 4 < 14 * 2**30
    assert f"at most {fit.batch.max_num_seqs:,} running requests" in fit.reason


def test_more_running_requests_than_the_table_has_room_for_are_refused() -> None:
    flash = model("sgl-project/DeepSeek-V4-Flash-FP8")
    fit = assess(flash, gpu("H200"), Layout(1, 8, 8), EngineName.SGLANG, Overrides(max_num_seqs=4096))
    assert fit.verdict is Verdict.DOES_NOT_FIT
    assert "--max-running-requests 4096 needs a table of 4 bytes" in fit.reason
