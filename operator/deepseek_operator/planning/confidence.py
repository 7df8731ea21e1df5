"""How sure the speed model is of a GPU and a number format: by the cases that were measured on such ones."""

from enum import StrEnum

from deepseek_operator.catalog import Dtype, GpuInfo, ModelInfo, Vendor
from deepseek_operator.planning.layout import Layout

__all__ = ["Chip", "Kernels", "error_percent"]


class Chip(StrEnum):
    """GPUs that run the same kernels: figures of one say something of the others."""

    AMPERE = "A100"
    HOPPER = "H100, H200"
    BLACKWELL = "B200"
    CDNA = "MI300X"


class Kernels(StrEnum):
    """What an engine runs for a model: a dense one, or a mixture of experts, by number format."""

    DENSE = "dense models in BF16 or FP8"
    MIXTURE_BF16 = "mixtures in BF16"
    MIXTURE_FP8 = "mixtures in FP8"


_CHIPS = {(8, 0): Chip.AMPERE, (9, 0): Chip.HOPPER, (10, 0): Chip.BLACKWELL}
_MEASURED = {
    (Chip.AMPERE, Kernels.DENSE),
    (Chip.AMPERE, Kernels.MIXTURE_BF16),
    (Chip.HOPPER, Kernels.DENSE),
    (Chip.HOPPER, Kernels.MIXTURE_BF16),
    (Chip.HOPPER, Kernels.MIXTURE_FP8),
    (Chip.BLACKWELL, Kernels.MIXTURE_FP8),
    (Chip.CDNA, Kernels.MIXTURE_FP8),
}
_PERCENT = 15
"""Within which at least eight of ten measured cases of each of them lie (tests/unit/planning/test_confidence.py)."""


def chip_of(gpu: GpuInfo) -> Chip | None:
    """Return what the GPU counts as; None where nobody measured any of its kind."""
    if gpu.vendor is Vendor.AMD:
        return Chip.CDNA if gpu.name.startswith(Chip.CDNA) else None
    return _CHIPS.get(gpu.capability)


def kernels_of(model: ModelInfo) -> Kernels | None:
    """Return what runs for the model; None where nobody measured its number format."""
    dtype = model.weights.dtype
    if model.shape.moe is None:
        return Kernels.DENSE if dtype in (Dtype.BF16, Dtype.FP8) else None
    return {Dtype.BF16: Kernels.MIXTURE_BF16, Dtype.FP8: Kernels.MIXTURE_FP8}.get(dtype)


def error_percent(model: ModelInfo, gpu: GpuInfo, layout: Layout, *, fast: bool, quantized: bool = False) -> int | None:
    """Return within how many per cent most measured cases lie that are like this one; None where there are none.

    Parameters
    ----------
    fast
        The network between nodes is InfiniBand or EFA: others, and pipeline stages, were not measured.
    quantized
        The engine quantises the weights while it loads them, which was not measured.
    """
    if quantized or layout.pipeline_parallel_size > 1 or (layout.nodes > 1 and not (fast and layout.spans_nodes)):
        return None
    return _PERCENT if (chip_of(gpu), kernels_of(model)) in _MEASURED else None
