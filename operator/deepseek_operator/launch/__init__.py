"""From a plan to the task that SkyPilot is asked to launch. Pure."""

from deepseek_operator.launch.task import Identity, LaunchTask, SecretValue, build_task

__all__ = ["Identity", "LaunchTask", "SecretValue", "build_task"]
