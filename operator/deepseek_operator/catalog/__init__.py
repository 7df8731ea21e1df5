"""What is known about models, GPUs and prices: data with sources, a strict loader, look-ups."""

from deepseek_operator.catalog.catalog import Catalog
from deepseek_operator.catalog.errors import CatalogError
from deepseek_operator.catalog.loader import load_catalog
from deepseek_operator.catalog.schema import (
    LIVE_PRICE,
    Accelerator,
    Dtype,
    EngineSupport,
    Fp8Support,
    GpuInfo,
    MachineInfo,
    ModelInfo,
    PriceInfo,
    Shape,
    Vendor,
    parse_accelerator,
)

__all__ = [
    "LIVE_PRICE",
    "Accelerator",
    "Catalog",
    "CatalogError",
    "Dtype",
    "EngineSupport",
    "Fp8Support",
    "GpuInfo",
    "MachineInfo",
    "ModelInfo",
    "PriceInfo",
    "Shape",
    "Vendor",
    "load_catalog",
    "parse_accelerator",
]
