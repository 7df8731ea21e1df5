"""Kubernetes operator that serves DeepSeek models on any infrastructure through SkyPilot."""

__version__: str


def __getattr__(name: str) -> str:
    """Return ``__version__``, looked up only when it is asked for: importlib.metadata takes 50 ms to import."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("deepseek-operator")
    except PackageNotFoundError:  # a source tree on PYTHONPATH, never installed
        return "0.0.0"
