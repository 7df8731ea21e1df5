"""SkyPilot's words about a place that does not exist, as a sentence that names the field, its value and a way out."""

import re
from typing import Final

from deepseek_operator.api.places import unknown_cloud
from deepseek_operator.api.similar import did_you_mean

__all__ = ["no_such_place"]

_CLOUD: Final = re.compile(
    r"Cloud '(?P<name>[^']+)' is not a valid cloud"
    # Of a whole task SkyPilot only says that the text does not match its schema.
    r"|Invalid resources YAML: '(?P<place>[^'/]+)[^']*' does not match .*problematic field\(s\): \$\.\S*infra",
    re.DOTALL,
)
_PLACE: Final = re.compile(r"Invalid (?P<kind>region|zone) '(?P<name>[^']+)'(?: for region '(?P<region>[^']+)')?")
_SIMILAR: Final = re.compile(r"Did you mean one of these: '?(?P<names>[^'?]+)'?\?")
_SUPPORTED: Final = re.compile(r"List of supported (?P<cloud>\w+) regions: '(?P<names>[^']+)'")
_MOST: Final = 8
"""Regions that are named; a cloud has up to forty."""


def no_such_place(text: str) -> str:
    """Return what is wrong with a place of ``resources.infra``; empty if that is not what SkyPilot says."""
    if (found := _CLOUD.search(text)) is not None:
        name = found["name"] or found["place"]
        unknown = f"resources.infra: {name}: the SkyPilot server has no such cloud; use one it knows, or upgrade it"
        return f"spec.{unknown_cloud(name) or unknown}"
    if (found := _PLACE.search(text)) is None:
        return ""
    kind, name = found["kind"], found["name"]
    where = f" in {found['region']}" if found["region"] else ""
    return f"spec.resources.infra: {name}: SkyPilot's catalog has no {kind} of this name{where}; {_instead(kind, text)}"


def _instead(kind: str, text: str) -> str:
    if (similar := _SIMILAR.search(text)) is not None:
        return did_you_mean(_names(similar["names"]))
    if (supported := _SUPPORTED.search(text)) is not None:
        names = _names(supported["names"])
        more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
        return f"{supported['cloud']} has {', '.join(names[:_MOST])}{more}"
    return f"correct it, or leave the {kind} out, and any will do"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
