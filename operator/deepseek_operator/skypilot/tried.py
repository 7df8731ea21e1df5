"""Which places a launch has tried, and why each had nothing: read off the request's log.

SkyPilot's errors say the same for no capacity, quota, rights and its own races; only the log has the provider's code.
Its shape is that of SkyPilot 0.14.1::

    ⚙︎ Launching on AWS us-east-1 (us-east-1a,us-east-1b).
    create_instances: Attempt failed with An error occurred (VcpuLimitExceeded) when calling the RunInstances ...
    ⚙︎ Launching on GCP us-central1 (us-central1-a).
    Got return code 'ZONE_RESOURCE_POOL_EXHAUSTED' in us-central1-a: 'The zone does not have enough resources'
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.skypilot import PlaceTried
from deepseek_operator.facts.text import clean, without_colours
from deepseek_operator.skypilot.codes import CODES, WORDS, more_hopeful, reason_of

__all__ = ["decisive_error", "places_tried"]

_LAUNCHING: Final = re.compile(
    r"Launching(?: \S+)? on (?P<cloud>\w+)(?: (?P<region>[\w-]+))?(?: \((?P<zones>[^)]*)\))?"
)
_NO_QUOTA: Final = re.compile(r"Found no quota for \S+ [\w-]+ instances in region (?P<region>[\w-]+) in (?P<cloud>\w+)")
_NOT_ENABLED: Final = re.compile(r"requires (?P<clouds>[\w, ]+) which (?:is|are) not enabled")
_AWS: Final = re.compile(r"An error occurred \((?P<code>[\w.]+)\)(?: when calling the \w+ operation)?[^\n]*")
_GCP: Final = re.compile(r"Got return codes? (?P<codes>[^:\n]+?)(?: in [\w-]+)?: [^\n]*")
_AZURE: Final = re.compile(r"Failed to create instances: [^\n]*?\((?P<code>[A-Z]\w+)\)[^\n]*")
_BOTO: Final = re.compile(r"Error code: (?P<code>[\w.]+)")
_RAISED: Final = re.compile(r"\w+(Error|Exception): |Failed to acquire resources")
_WORDS_LIMIT: Final = 400


@dataclass(frozen=True)
class _Error:
    """One error of a provider."""

    reason: Reason
    code: str
    words: str


def places_tried(log: str, *, succeeded: bool = False) -> tuple[PlaceTried, ...]:
    """Return the places that a launch has tried without success, in order, each once.

    Parameters
    ----------
    log
        The log of a launch. A place for which it holds no error is left out: that one may have had room.
    succeeded
        The place tried last had room, whatever its part of the log says.
    """
    found: dict[str, PlaceTried] = {}
    place, lines = "", []
    end = () if succeeded else ("Launching on END",)
    for line in (*without_colours(log).splitlines(), *end):
        for one in _of_line(line):
            found[one.place] = one
        if (start := _LAUNCHING.search(line)) is None:
            lines.append(line)
            continue
        if place and (error := _decisive(_errors("\n".join(lines))) or _raised(lines)) is not None:
            known = found.pop(place, None)
            found[place] = _hopefuller(known, PlaceTried(place, error.reason, error.code, error.words))
        place, lines = _place(start), []
    return tuple(found.values())


def decisive_error(text: str) -> PlaceTried | None:
    """Return what a text says of a provider without naming a place; None if it has neither code nor known words."""
    error = _decisive(_errors(without_colours(text)))
    return PlaceTried("", error.reason, error.code, error.words) if error is not None else None


def _of_line(line: str) -> Iterator[PlaceTried]:
    """Return what SkyPilot says of places without asking their provider."""
    if (quota := _NO_QUOTA.search(line)) is not None:
        place = f"{quota['cloud'].lower()}/{quota['region']}"
        yield PlaceTried(place, Reason.QUOTA_EXCEEDED, "NoQuota", clean(quota[0], _WORDS_LIMIT))
    if (disabled := _NOT_ENABLED.search(line)) is not None:
        for cloud in re.split(r"[,\s]+", disabled["clouds"].strip()):
            words = f"the SkyPilot server has no working credentials (it says: {disabled[0]})"
            yield PlaceTried(cloud.lower(), Reason.CREDENTIALS_INVALID, "NotEnabled", words)


def _place(start: re.Match[str]) -> str:
    """Return the place as a user writes it; with a zone only where one alone was tried."""
    zones = (start["zones"] or "").split(",")
    zone = zones[0].strip() if len(zones) == 1 else ""
    parts = (start["cloud"].lower(), start["region"], zone)
    return "/".join(part for part in parts if part)


def _errors(text: str) -> Iterator[_Error]:
    for match in _AWS.finditer(text):
        yield from _coded((match["code"],), match[0])
    for match in _GCP.finditer(text):
        yield from _coded(re.findall(r"[\w./]+", match["codes"]), match[0])
    for pattern in (_AZURE, _BOTO):
        for match in pattern.finditer(text):
            yield from _coded((match["code"],), match[0])
    for line in text.splitlines():
        for reason, pattern in WORDS:
            if pattern.search(line):
                yield _Error(reason, "", clean(line, _WORDS_LIMIT))
                break


def _raised(lines: Iterable[str]) -> _Error | None:
    """Return the first exception that SkyPilot itself raised for a place: all that there is for Kubernetes."""
    said = [line for line in lines if _RAISED.search(line)]
    known = [(reason, line) for line in said if (reason := reason_of(line)) is not None]
    return _Error(known[0][0], "", clean(known[0][1], _WORDS_LIMIT)) if known else None


def _coded(codes: Iterable[str], words: str) -> Iterator[_Error]:
    # Words first: Azure says SkuNotAvailable both for a size that it lacks now and for one that it never offers there.
    said = next((reason for reason, pattern in WORDS if pattern.search(words)), None)
    for code in codes:
        reason = next((reason for reason, pattern in CODES if pattern.search(code)), None)
        if said is not None or reason is not None:
            yield _Error(said or reason or Reason.LAUNCH_FAILED, code, clean(words, _WORDS_LIMIT))


def _decisive(errors: Iterable[_Error]) -> _Error | None:
    """Return the error that is likeliest to pass; of equals the one with a code, and of these the last."""
    ranked = sorted(enumerate(errors), key=lambda pair: (more_hopeful(pair[1].reason), not pair[1].code, -pair[0]))
    return ranked[0][1] if ranked else None


def _hopefuller(known: PlaceTried | None, new: PlaceTried) -> PlaceTried:
    if known is not None and more_hopeful(known.reason) < more_hopeful(new.reason):
        return known
    return new
