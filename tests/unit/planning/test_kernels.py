"""Which kernels a number format gets, as far as it shows in the speed."""

import pytest

from deepseek_operator.planning.kernels import rate_tflops
from deepseek_operator.planning.layout import Layout
from deepseek_operator.planning.overrides import Overrides
from deepseek_operator.planning.speed import Traffic, step_seconds
from tests.unit.planning.measured import gpu_named, model_named

INT8 = "RedHatAI/DeepSeek-R1-Distill-Llama-70B-quantized.w8a8"
AWQ = "QuixiAI/DeepSeek-R1-0528-AWQ"


@pytest.mark.parametrize(("model", "gpu"), [(INT8, "A100"), ("r1", "H100")])
def test_eight_bits_compute_twice_as_fast_as_sixteen_unless_the_catalog_knows_better(model: str, gpu: str) -> None:
    unknown = gpu_named(gpu).model_copy(update={"fp8_tflops": None})
    sixteen = rate_tflops(model_named("r1-70b"), unknown, Overrides())
    assert rate_tflops(model_named(model), unknown, Overrides()) == 2 * sixteen


def test_weights_that_were_published_in_few_bits_are_not_quantised_again() -> None:
    awq, gpu, layout = model_named(AWQ), gpu_named("H100"), Layout(1, 8, 8)
    plain = step_seconds(awq, gpu, layout, Traffic(), Overrides())
    assert step_seconds(awq, gpu, layout, Traffic(), Overrides(quantization="fp8")) == plain
