"""Model times GPUs to fit, parallelism, engine and task. Pure: no I/O, no clock, no randomness."""

from deepseek_operator.planning.errors import PlanInputError
from deepseek_operator.planning.planner import plan
from deepseek_operator.planning.result import Candidate, Plan
from deepseek_operator.planning.task import LaunchTask, SecretValue, TaskContext, build_task

__all__ = [
    "Candidate",
    "LaunchTask",
    "Plan",
    "PlanInputError",
    "SecretValue",
    "TaskContext",
    "build_task",
    "plan",
]
