"""The asynchronous half of the official client, without the other half.

``kubernetes/__init__.py`` imports the synchronous client with everything that it needs (requests, oauthlib, websocket):
8 MiB of each operator that nothing here uses. So the package is made known before its ``__init__`` runs, and what is
asked of it later is imported then, as ``import kubernetes`` would have done.
"""

import importlib
import importlib.util
import sys
from types import ModuleType


def _without_init(name: str) -> None:
    if name in sys.modules or (spec := importlib.util.find_spec(name)) is None:
        return
    package = importlib.util.module_from_spec(spec)

    def imported_late(attribute: str) -> ModuleType:
        try:
            return importlib.import_module(f"{name}.{attribute}")
        except ModuleNotFoundError as error:
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}") from error

    package.__dict__["__getattr__"] = imported_late
    sys.modules[name] = package


_without_init("kubernetes")

from kubernetes.aio import client, config  # noqa: E402

__all__ = ["client", "config"]
