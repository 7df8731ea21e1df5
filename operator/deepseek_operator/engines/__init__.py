"""Serving engines: command lines, probes, metric names. One module per engine behind one protocol. Pure."""

from deepseek_operator.api.spec import EngineName
from deepseek_operator.engines.arguments import ArgumentError, Arguments, parse_arguments
from deepseek_operator.engines.base import Engine, Metrics, Rank, ServeOptions, Shell
from deepseek_operator.engines.sglang import SGLANG
from deepseek_operator.engines.vllm import VLLM

__all__ = [
    "ENGINES",
    "SGLANG",
    "VLLM",
    "ArgumentError",
    "Arguments",
    "Engine",
    "EngineName",
    "Metrics",
    "Rank",
    "ServeOptions",
    "Shell",
    "get_engine",
    "parse_arguments",
]

ENGINES: dict[EngineName, Engine] = {EngineName.VLLM: VLLM, EngineName.SGLANG: SGLANG}
"""Engine by its name in the API."""


def get_engine(name: EngineName) -> Engine:
    """Return the engine of this name; ``Auto`` must have been resolved before."""
    return ENGINES[name]
