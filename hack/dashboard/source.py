"""Which dashboard a picture was drawn from: a test asks that it is today's."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

__all__ = ["DASHBOARD", "PICTURE", "SOURCE", "digest"]

_ROOT: Final = Path(__file__).parents[2]
DASHBOARD: Final = _ROOT / "charts" / "deepseek-operator" / "files" / "dashboard.json"
PICTURE: Final = _ROOT / "docs" / "images" / "dashboard.png"
SOURCE: Final = "dashboard-sha256"
"""Keyword of the PNG's text."""


def digest(dashboard: dict[str, Any]) -> str:
    """Return what tells one dashboard from another: its panels, wherever the file has spaces."""
    return hashlib.sha256(json.dumps(dashboard["panels"], sort_keys=True).encode()).hexdigest()
