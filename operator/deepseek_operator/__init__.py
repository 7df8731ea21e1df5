"""Kubernetes operator that serves DeepSeek models on any infrastructure through SkyPilot."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("deepseek-operator")
except PackageNotFoundError:  # a source tree on PYTHONPATH, never installed
    __version__ = "0.0.0"
