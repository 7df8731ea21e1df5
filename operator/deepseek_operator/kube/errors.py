"""What can go wrong between the operator and the Kubernetes API server."""

import json
from typing import Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.text import clean

__all__ = [
    "KubeConflictError",
    "KubeDeniedError",
    "KubeError",
    "KubeExpiredError",
    "KubeNotFoundError",
    "KubeRejectedError",
    "KubeUnavailableError",
    "error_of",
    "reason_of",
]


class KubeError(Exception):
    """Base of all errors of this package.

    Attributes
    ----------
    status
        HTTP status; 0 if there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class KubeUnavailableError(KubeError):
    """The API server does not answer, or cannot answer now: the same call may succeed later."""


class KubeConflictError(KubeError):
    """The object has changed, exists already, or belongs to someone else."""


class KubeExpiredError(KubeError):
    """The resource version of a watch is too old: list everything again, and watch from there."""


class KubeNotFoundError(KubeError):
    """The object is gone."""


class KubeDeniedError(KubeError):
    """The operator lacks the right, or its credentials are not accepted."""


class KubeRejectedError(KubeError):
    """The API server refused the call for good: a webhook, a quota, an invalid object."""


_BY_STATUS: Final[dict[int, type[KubeError]]] = {
    401: KubeDeniedError,
    403: KubeDeniedError,
    404: KubeNotFoundError,
    408: KubeUnavailableError,
    409: KubeConflictError,
    410: KubeExpiredError,
    429: KubeUnavailableError,
}


def error_of(status: int, body: str | bytes) -> KubeError:
    """Return the error that an answer of the API server stands for."""
    try:
        message = str(json.loads(body).get("message") or "")
    except (ValueError, AttributeError):
        message = str(body[:300])
    kind = _BY_STATUS.get(status, KubeUnavailableError if status >= 500 else KubeRejectedError)
    return kind(clean(message) or f"HTTP {status}", status)


def reason_of(error: KubeError) -> Reason:
    """Return who or what is in the way: a name that is taken, a server that cannot answer now, or its refusal."""
    if isinstance(error, KubeConflictError):
        return Reason.NAME_CONFLICT
    return Reason.KUBERNETES_UNAVAILABLE if isinstance(error, KubeUnavailableError) else Reason.KUBERNETES_REFUSED
