"""From measurements to catalog rows: what engines really had and did, against what was planned. Pure.

A GPU's row learns three things: how much more memory the engine needs than the formula says (never less, so that plans
stay on the safe side), and by which factors decode and prefill differ from the speed model.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from math import exp, log
from typing import Any

from pydantic import Field

from deepseek_operator.api.spec import DeepSeekDeploymentSpec, EngineName
from deepseek_operator.catalog import Catalog, GpuInfo, parse_accelerator
from deepseek_operator.catalog.schema import Row
from deepseek_operator.planning.errors import PlanInputError
from deepseek_operator.planning.planner import plan

__all__ = ["Comparison", "Measurement", "catalog_rows", "compare"]

GIB = 2**30


class Measurement(Row):
    """What one engine reported, and how it was started. Names are those of ``spec`` and ``status.plan``."""

    model: str
    accelerators: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9.-]*(:[1-9][0-9]*)?$")
    nodes: int = Field(default=1, ge=1)
    engine: EngineName = EngineName.AUTO
    args: tuple[str, ...] = ()
    max_model_len: int | None = Field(default=None, ge=1)
    kv_cache_tokens: int | None = Field(default=None, gt=0)
    """Tokens that the KV cache holds, as the engine logs at its start."""
    decode_tokens_per_second: float | None = Field(default=None, gt=0)
    concurrency: int | None = Field(default=None, ge=1)
    decode_tokens_per_second_at_concurrency: float | None = Field(default=None, gt=0)
    prefill_tokens_per_second: float | None = Field(default=None, gt=0)


@dataclass(frozen=True)
class Comparison:
    """One figure, planned and measured."""

    measurement: Measurement
    gpu: GpuInfo
    what: str
    planned: float
    measured: float
    missing_gib: float = 0.0
    """GiB per GPU that the plan had too much for the KV cache."""

    @property
    def error(self) -> float:
        """Relative error of the plan: above 0 where it was too optimistic."""
        return self.planned / self.measured - 1


def compare(measurements: Iterable[Measurement], catalog: Catalog) -> list[Comparison]:
    """Return every measured figure beside the planned one.

    Raises
    ------
    PlanInputError
        A measurement names what the planner does not know, or what it says does not fit.
    """
    return [found for measurement in measurements for found in _compare(measurement, catalog)]


def _compare(measurement: Measurement, catalog: Catalog) -> list[Comparison]:
    accelerator = parse_accelerator(measurement.accelerators)
    spec = DeepSeekDeploymentSpec.model_validate(
        {
            "model": {"name": measurement.model},
            "engine": {
                "name": measurement.engine,
                "args": measurement.args,
                "maxModelLen": measurement.max_model_len,
            },
            "resources": {
                "accelerators": [str(accelerator)],
                "nodes": measurement.nodes,
                "infra": ["kubernetes"],
            },
            "objective": {"concurrency": measurement.concurrency},
        }
    )
    planned = plan(spec, catalog)
    gpu, memory, speed = catalog.find_gpu(accelerator.name), planned.memory, planned.performance
    if not planned.launchable or memory is None or gpu is None:
        raise PlanInputError("resources.accelerators", accelerator, f"ran {measurement.model}, but: {planned.reason}")
    found = []
    if measurement.kv_cache_tokens is not None:
        missing = (memory.tokens - measurement.kv_cache_tokens) * memory.kv_bytes_per_token / GIB
        found.append(Comparison(measurement, gpu, "kvCacheTokens", memory.tokens, measurement.kv_cache_tokens, missing))
    if speed is None:
        return found
    for what in ("decode_tokens_per_second", "decode_tokens_per_second_at_concurrency", "prefill_tokens_per_second"):
        measured = getattr(measurement, what)
        if measured is not None:
            found.append(Comparison(measurement, gpu, _camel(what), getattr(speed, what), measured))
    return found


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def catalog_rows(comparisons: Iterable[Comparison], source: str, day: date) -> dict[str, Any]:
    """Return a catalog file with a row for each GPU that was measured.

    Parameters
    ----------
    source
        Who measured, for the row's ``sources``.
    """
    rows: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        rows.setdefault(comparison.gpu.name, []).append(comparison)
    return {
        "sources": {"calibrated": f"{source}, {day.isoformat()}"},
        "gpus": [_row(found[0].gpu, found) for found in rows.values()],
    }


def _row(gpu: GpuInfo, found: list[Comparison]) -> dict[str, Any]:
    row: dict[str, Any] = {"base": gpu.name, "name": gpu.name}
    missing = [one.missing_gib for one in found if one.what == "kvCacheTokens"]
    if missing and (gpu.overhead_gib or max(missing) > 0):
        row["overheadGib"] = round(max(0.0, gpu.overhead_gib + max(missing)) + 0.005, 2)
    efficiency = {}
    for key, start in (("decode", "decode"), ("prefill", "prefill")):
        ratios = [one.measured / one.planned for one in found if one.what.startswith(start)]
        if ratios:
            mean = exp(sum(map(log, ratios)) / len(ratios))
            efficiency[key] = round(getattr(gpu.efficiency, key) * mean, 3)
    if efficiency:
        row["efficiency"] = efficiency
    row["sources"] = dict.fromkeys((key for key in ("overheadGib", "efficiency") if key in row), "calibrated")
    return row
