"""SkyPilot's errors, read: which Reason they are, and the part of them that a person needs.

``ResourcesUnavailableError`` says the same for no capacity, quota, missing rights and SkyPilot's own races, so its
text, and for clouds the provider's code in the request's log, decide. The table is ordered; the first match wins.
"""

import re
from collections.abc import Iterable
from typing import Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.base import Failure
from deepseek_operator.facts.text import clean

__all__ = ["classify"]

_PROVIDER_CODE: Final = re.compile(r"An error occurred \((\w+)\)[^\n]*")

_CODES: Final[tuple[tuple[re.Pattern[str], Reason], ...]] = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (r"LimitExceeded|Quota", Reason.QUOTA_EXCEEDED),
        (r"Unauthorized|AuthFailure|AccessDenied|InvalidClientTokenId|ExpiredToken|Forbidden", Reason.ACCESS_DENIED),
        (r"InsufficientInstanceCapacity|Unsupported|ZONE_RESOURCE_POOL_EXHAUSTED|OutOfCapacity", Reason.NO_CAPACITY),
    )
)

_TEXTS: Final[tuple[tuple[re.Pattern[str], Reason], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), reason)
    for pattern, reason in (
        (r"ErrImage(NeverPull|Pull)|ImagePullBackOff|InvalidImageName|pull(ing)? image", Reason.IMAGE_PULL_FAILED),
        (r"CreateContainerConfigError|admission webhook|violates PodSecurity|exceeded quota", Reason.POD_REJECTED),
        (
            r"\(403\)|forbidden|NoCloudAccess|Cloud access is not set up|requires \w+ which is not enabled|credential",
            Reason.ACCESS_DENIED,
        ),
        (
            r"does not contain any instances satisfying|No launchable resource|Catalog .*does not contain"
            r"|is not available in|not supported in",
            Reason.NO_MATCHING_RESOURCES,
        ),
        (
            r"nodes are available|Timed out while waiting for nodes to start|Insufficient |FailedScheduling"
            r"|out of .* capacity in context",
            Reason.UNSCHEDULABLE,
        ),
        (r"quota", Reason.QUOTA_EXCEEDED),
        (r"Failed to acquire resources in all zones|no capacity|capacity", Reason.NO_CAPACITY),
    )
)

_TYPES: Final[dict[str, Reason]] = {
    "NoCloudAccessError": Reason.ACCESS_DENIED,
    "PermissionDeniedError": Reason.ACCESS_DENIED,
    "SystemExit": Reason.ACCESS_DENIED,  # what rejected cloud credentials come out as
    "InvalidClusterNameError": Reason.INVALID_SPEC,
    "RequestCancelled": Reason.LAUNCH_INTERRUPTED,
}

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
        return Failure(_TYPES[error_type], shown or error_type)
    if code := _PROVIDER_CODE.search(log):
        reason = _first(_CODES, code[1])
        if reason is not None:
            return Failure(reason, clean(code[0]))
    reason = _first(_TEXTS, message)
    if reason is None:
        prefix = f"{error_type}: " if error_type and error_type not in shown else ""
        return Failure(Reason.LAUNCH_FAILED, clean(prefix + shown))
    return Failure(reason, shown)


def _first(table: Iterable[tuple[re.Pattern[str], Reason]], text: str) -> Reason | None:
    return next((reason for pattern, reason in table if pattern.search(text)), None)


def _shown(message: str) -> str:
    """Return ``message`` without SkyPilot's hints for people at its command line."""
    text = message
    for noise in _NOISE:
        text = noise.sub("", text)
    return clean(text) or clean(message)
