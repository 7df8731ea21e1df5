"""Model times GPUs to fit, parallelism and engine. Pure: no I/O, no clock, no randomness."""

from deepseek_operator.planning.errors import PlanInputError
from deepseek_operator.planning.outcome import Planned, Planner, Refused
from deepseek_operator.planning.planner import plan
from deepseek_operator.planning.result import Candidate, Plan

__all__ = ["Candidate", "Plan", "PlanInputError", "Planned", "Planner", "Refused", "plan"]
