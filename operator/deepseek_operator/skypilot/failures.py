"""SkyPilot's errors, read: which Reason they are, and the part of them that a person needs.

``ResourcesUnavailableError`` says the same for no capacity, quota, missing rights and SkyPilot's own races, so its
text, and for clouds the provider's code in the request's log, decide. The table is ordered; the first match wins.
"""

import re
from typing import Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.base import Failure
from deepseek_operator.facts.skypilot import PlaceTried
from deepseek_operator.facts.text import clean, without_colours
from deepseek_operator.skypilot.codes import WAYS_OUT, more_hopeful, reason_of
from deepseek_operator.skypilot.infra import no_such_place
from deepseek_operator.skypilot.tried import decisive_error, places_tried

__all__ = ["classify", "no_access"]

_PLACES_TOLD: Final = 4
"""Places in a message; the status has all."""

_TYPES: Final[dict[str, Reason]] = {
    "NoCloudAccessError": Reason.CREDENTIALS_INVALID,
    "PermissionDeniedError": Reason.NOT_AUTHORIZED,
    "InvalidClusterNameError": Reason.INVALID_SPEC,
    "RequestCancelled": Reason.LAUNCH_INTERRUPTED,
}

_GAVE_UP: Final = frozenset({"ResourcesUnavailableError", "SystemExit"})
"""Errors of a launch that found no machines. After any other one there are some, and what it tried before is past."""

_CHECK_REASON: Final = re.compile(r"Reason(?: \[[^\]]*\])?: ([^\n]+)")
"""How ``sky check`` prints why it has not enabled a cloud."""

_ANNOUNCED: Final = re.compile(r"(^|(?<=\.))[^.:]*:\s*$")
"""A last sentence that announces lines which are left out: ``Run the following commands:``."""

_WANTED_GPUS: Final = re.compile(r"\{'([\w.-]+)': (\d+)\}")
_GPUS_TOLD: Final = 8

_NOISE: Final = (
    re.compile(r"To keep retrying until the cluster is up, use the `--retry-until-up` flag\.?"),
    re.compile(r"Relax the task's resource requirements:\s*"),
    re.compile(r"(View logs|To stream (provision )?logs|Hint):?[^\n]*"),
    re.compile(r"Failed to provision all possible launchable resources\.\s*"),
    # The request itself, where the reasons follow. Elsewhere it says which GPU is missing.
    re.compile(r"\d+x \w+\([^()]*(\{[^{}]*\}[^()]*)*\)\s*(?=Reasons for provision failures)"),
    re.compile(r"Reasons for provision failures( \(for details[^()]*\))?:?\s*"),
)


def classify(error_type: str, message: str, log: str = "") -> Failure:
    """Return what an error of a SkyPilot request means.

    Parameters
    ----------
    error_type
        Name of the exception's class on the server.
    message
        Its text, colours and all.
    log
        The request's log, where a cloud's own code stands; empty if it was not read.
    """
    shown = _shown(message)
    if error_type in _TYPES:
        return _helpful(_TYPES[error_type], shown or error_type)
    gave_up = error_type in _GAVE_UP
    if gave_up and (tried := places_tried(log)):
        return _of_places(tried)
    error = decisive_error(f"{message}\n{log}" if gave_up else message)
    if error is not None and error.code:
        return _helpful(error.reason, error.words)
    if error_type == "SystemExit":  # what rejected cloud credentials come out as
        return _helpful(Reason.CREDENTIALS_INVALID, "the provider did not accept the SkyPilot server's credentials")
    if wrong := no_such_place(without_colours(message)):
        return Failure(Reason.INVALID_SPEC, clean(wrong, 900))
    if lacking := _lacking_gpus(without_colours(message)):
        return Failure(Reason.NO_MATCHING_RESOURCES, lacking)
    reason = reason_of(message)
    if reason is None:
        prefix = f"{error_type}: " if error_type and error_type not in shown else ""
        return Failure(Reason.LAUNCH_FAILED, clean(prefix + shown))
    return _helpful(reason, shown)


def no_access(cloud: str, error_type: str, said: str) -> Failure:
    """Return why the SkyPilot server cannot use a cloud.

    Parameters
    ----------
    said
        The error of its check, or what the check has printed.
    """
    if error_type:
        failure = classify(error_type, said)
        if failure.message.startswith("spec."):
            return failure
        return Failure(failure.reason, clean(f"spec.resources.infra: {cloud}: {failure.message}"))
    why = _CHECK_REASON.search(without_colours(said))
    said_why = clean(_ANNOUNCED.sub("", why[1]), 300).rstrip(".") if why else ""
    detail = f" ({said_why})" if said_why else ""
    words = f"spec.resources.infra: {cloud}: the SkyPilot server has no working credentials for {cloud}{detail}"
    return Failure(
        Reason.CREDENTIALS_INVALID,
        f"{words}; give it some, as docs/clouds.md says, or name another place. Nothing was launched.",
    )


def _lacking_gpus(message: str) -> str:
    """Say which GPUs no node of the cluster has; empty if that is not what SkyPilot says.

    It writes out each alternative of the task as it would have asked for it, in another order each time.
    """
    _, said, wanted = message.partition("Kubernetes cluster does not contain any instances satisfying the request:")
    gpus = sorted({f"{name}:{count}" for name, count in _WANTED_GPUS.findall(wanted)}) if said else []
    if not gpus:
        return ""
    told = ", ".join(gpus[:_GPUS_TOLD]) + (f" and {len(gpus) - _GPUS_TOLD} more" if len(gpus) > _GPUS_TOLD else "")
    return (
        f"no node of the cluster offers any of these, with the CPUs and the memory that are wanted: {told}. "
        "What helps: GPU nodes that carry SkyPilot's labels (kubectl deepseek doctor shows what nodes have), "
        "resources.accelerators that nodes have, or a cloud in resources.infra"
    )


def _of_places(tried: tuple[PlaceTried, ...]) -> Failure:
    """Return the failure of a launch that has tried these places: the one that may pass, and what each place said."""
    reason = min((one.reason for one in tried), key=more_hopeful)
    first = [one for one in tried if one.reason is reason]
    others = [one for one in tried if one.reason is not reason]
    told = "; ".join(f"{one.place}: {one.words}" for one in [*first, *others][:_PLACES_TOLD])
    more = len(tried) - _PLACES_TOLD
    return _helpful(reason, told + (f"; and {more} more places, see placesTried" if more > 0 else ""))


def _helpful(reason: Reason, words: str) -> Failure:
    """Return a failure whose message says what to do, too."""
    way_out = WAYS_OUT.get(reason, "")
    text = clean(words, 900).rstrip(".")
    return Failure(reason, f"{text}. What helps: {way_out}" if way_out and text else clean(words))


def _shown(message: str) -> str:
    """Return ``message`` without SkyPilot's hints for people at its command line."""
    text = message
    for noise in _NOISE:
        text = noise.sub("", text)
    return clean(text) or clean(message)
