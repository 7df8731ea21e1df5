"""When a failure is tried again: what passes by itself soon and often, what somebody has to mend rarely.

A change of the spec is a new revision and never waits. These waits are for what changes without the spec: capacity,
quota, credentials, rights, what a provider offers.
"""

from dataclasses import dataclass
from typing import Final

from deepseek_operator.api.reasons import Reason

__all__ = ["WAITING", "Retry", "retry_of"]


@dataclass(frozen=True)
class Retry:
    """Waits between attempts, in seconds.

    Attributes
    ----------
    mending
        Somebody has to mend something, so that not even the first attempt after a failure is made at once.
    """

    first_s: int
    cap_s: int
    mending: bool = False

    def wait_s(self, attempts: int) -> int:
        """Return the wait after so many failures in a row: doubled by each, up to the cap."""
        return int(min(self.first_s * 2 ** min(attempts - 1, 10), self.cap_s))


WAITING: Final = Retry(10, 120)
"""What passes by itself: no capacity, a lost machine, an engine that has ended."""

_RULES: Final[dict[Reason, Retry]] = {
    # Part of a quota comes back when anything else of the account is given back; the rest needs the provider.
    Reason.QUOTA_EXCEEDED: Retry(30, 600, mending=True),
    # Mended outside the cluster, where no event tells of it.
    Reason.CREDENTIALS_INVALID: Retry(30, 600, mending=True),
    Reason.NOT_AUTHORIZED: Retry(30, 600, mending=True),
    # Changes when a provider opens a region or an account is let in.
    Reason.NOT_OFFERED: Retry(60, 1800, mending=True),
    # Only another version of the SkyPilot server or its catalog could make it valid.
    Reason.INVALID_SPEC: Retry(60, 1800, mending=True),
}


def retry_of(reason: Reason | str) -> Retry:
    """Return when a failure of this reason is tried again."""
    return next((rule for known, rule in _RULES.items() if known == reason), WAITING)
