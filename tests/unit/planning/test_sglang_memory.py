"""What SGLang keeps free by its own rule, and what has to fit there."""

import pytest

from deepseek_operator.api.spec import EngineName
from deepseek_operator.api.status import Verdict
from deepseek_operator.planning.fit import assess
from deepseek_operator.planning.memory import Batch, Layout, default_batch, sglang_reserve
from deepseek_operator.planning.overrides import Overrides
from tests.unit.planning.measured import gpu_named, model_named

FLASH = "sgl-project/DeepSeek-V4-Flash-FP8"


def test_more_is_kept_free_for_latent_attention_and_at_least_10_gib_of_large_gpus() -> None:
    def kept(model: str, gpu: str) -> float:
        return sglang_reserve(model_named(model), gpu_named(gpu), Layout(1, 1, 1), Batch(32, 2048), Overrides())

    assert kept("v2-lite", "L40S") == kept("r1-8b", "L40S") + 1
    assert kept("v2-lite", "L40S") < 10
    assert kept("r1-8b", "H100") == kept("v2-lite", "H100") == 10


def test_four_gpus_that_share_a_model_work_on_larger_batches() -> None:
    few, many = (default_batch(EngineName.SGLANG, gpu_named("L4"), Layout(1, n, n), Overrides()) for n in (2, 4))
    assert (few.max_num_seqs, many.max_num_seqs) == (48, 160)


@pytest.mark.parametrize(("share", "requests"), [(0.92, 2048), (0.94, 1024), (0.96, 512), (0.98, 32)])
def test_the_less_is_kept_free_the_fewer_requests_of_a_million_tokens_may_run(share: float, requests: int) -> None:
    overrides = Overrides(memory_fraction=share)
    fit = assess(model_named(FLASH), gpu_named("H200"), Layout(1, 8, 8), EngineName.SGLANG, overrides)
    assert fit.batch
    assert fit.batch.max_num_seqs == requests


def test_as_few_requests_as_the_user_asks_for_have_room() -> None:
    overrides = Overrides(max_num_seqs=64)
    fit = assess(model_named(FLASH), gpu_named("H200"), Layout(1, 8, 8), EngineName.SGLANG, overrides)
    assert fit.verdict is Verdict.FITS
