"""What a plan says of its own accuracy, against every measured case: ours and those of others."""

from collections import defaultdict

import pytest

from deepseek_operator.catalog import GpuInfo, ModelInfo
from deepseek_operator.planning.confidence import chip_of, error_percent, kernels_of
from deepseek_operator.planning.layout import Layout
from tests.unit.planning.builders import CATALOG, plan_for
from tests.unit.planning.measured import CASES, figures, gpu_named
from tests.unit.planning.measured import model_named as measured_model
from tests.unit.planning.test_published import COMPARE, layout_of, model_named, rows

FEWEST = 3


def said(model: ModelInfo, gpu: GpuInfo, layout: Layout, *, fast: bool = False) -> tuple[str, int] | None:
    percent = error_percent(model, gpu, layout, fast=fast)
    return None if percent is None else (f"{chip_of(gpu)}: {kernels_of(model)}", percent)


def errors_by_class() -> dict[tuple[str, int] | None, list[float]]:
    """Return the errors of all cases that count, those that stay off too, by what a plan would say of them."""
    found: dict[tuple[str, int] | None, list[float]] = defaultdict(list)
    for case in CASES:
        own = said(measured_model(case.model), gpu_named(case.gpu), case.layout)
        found[own] += [abs(figure.error) for figure in figures(case) if figure.what != "start"]
    for kind in ("speed", "first", "total"):
        for row in rows(kind):
            of = said(model_named(row["model"]), gpu_named(row["gpu"]), layout_of(row), fast="networkGbs" in row)
            found[of].append(abs(COMPARE[kind][0](row).error))
    return found


ERRORS = errors_by_class()


@pytest.mark.parametrize("of", [of for of in ERRORS if of], ids=str)
def test_eight_of_ten_measured_cases_lie_within_what_a_plan_says(of: tuple[str, int]) -> None:
    errors = ERRORS[of]
    assert len(errors) >= FEWEST
    assert sum(error <= of[1] / 100 for error in errors) >= 0.8 * len(errors)


def test_every_accuracy_that_a_plan_can_say_rests_on_measured_cases() -> None:
    sayable = {said(model, gpu, Layout(1, 8, 8)) for model in CATALOG.models.values() for gpu in CATALOG.gpus.values()}
    assert sayable - {None} <= set(ERRORS)


@pytest.mark.parametrize(
    ("model", "accelerators", "nodes", "infra", "percent"),
    [
        ("r1-8b", "H100:1", 1, "aws", 15),
        ("r1", "H200:8", 1, "aws", 15),
        ("r1", "B200:8", 1, "aws", 15),
        ("r1-8b", "L4:1", 1, "aws", None),  # nobody's figures were found
        ("QuixiAI/DeepSeek-R1-0528-AWQ", "A100-80GB:8", 1, "aws", None),  # the format
        ("v4-flash", "H200:8", 1, "aws", None),
        ("RedHatAI/DeepSeek-R1-Distill-Llama-70B-quantized.w8a8", "H100:2", 1, "aws", None),  # of a dense model, too
        ("r1", "H100:8", 2, "aws", 15),
        ("r1", "H100:12", 1, "kubernetes", None),  # pipeline stages within one
        ("r1", "H100:8", 2, "lambda", None),  # pipeline stages between nodes
    ],
)
def test_a_plan_says_how_sure_it_is_of_the_speed(
    model: str, accelerators: str, nodes: int, infra: str, percent: int | None
) -> None:
    found = plan_for(model, resources={"accelerators": [accelerators], "nodes": nodes, "infra": [infra]})
    assert found.performance
    assert found.performance.to_status().error_percent == percent


def test_weights_that_the_engine_quantises_are_like_no_measured_case() -> None:
    resources = {"accelerators": ["H100:1"], "nodes": 1}
    found = plan_for("r1-8b", resources=resources, engine={"name": "VLLM", "args": ["--quantization", "fp8"]})
    assert found.performance
    assert found.performance.error_percent is None


def test_of_amds_gpus_only_the_mi300x_was_measured() -> None:
    r1, gpu, layout = measured_model("r1"), gpu_named("MI300X"), Layout(1, 8, 8)
    assert error_percent(r1, gpu, layout, fast=False) == 15
    assert error_percent(r1, gpu.model_copy(update={"name": "MI355X"}), layout, fast=False) is None


def test_what_was_measured_of_mixtures_says_nothing_of_dense_models() -> None:
    mixture = measured_model("r1")
    dense = measured_model("r1-70b").model_copy(update={"weights": mixture.weights})
    gpu, layout = gpu_named("B200"), Layout(1, 8, 8)
    assert error_percent(mixture, gpu, layout, fast=False) == 15
    assert error_percent(dense, gpu, layout, fast=False) is None


def test_copies_on_several_machines_are_like_no_measured_case() -> None:
    assert error_percent(measured_model("r1"), gpu_named("H100"), Layout(2, 8, 8, 1, 2), fast=True) is None


def test_tensor_parallelism_over_a_slow_network_is_like_no_measured_case() -> None:
    resources = {"accelerators": ["H100:8"], "nodes": 2, "infra": ["lambda"]}
    found = plan_for("r1", resources=resources, engine={"name": "SGLang", "args": ["--tp", "16"]})
    assert found.performance
    assert found.performance.error_percent is None
