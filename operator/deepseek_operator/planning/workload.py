"""What the speed of a candidate depends on besides the candidate."""

from dataclasses import dataclass

from deepseek_operator.api.spec import Ranking
from deepseek_operator.catalog import ModelInfo
from deepseek_operator.planning.overrides import Overrides

__all__ = ["Workload"]


@dataclass(frozen=True)
class Workload:
    """What is served, and what is wanted of it."""

    model: ModelInfo
    overrides: Overrides
    downloads: bool
    """Weights come from Hugging Face and not from a directory."""
    concurrency: int | None
    ranking: Ranking
