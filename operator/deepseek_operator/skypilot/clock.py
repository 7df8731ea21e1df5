"""The clock of a SkyPilot server, which dates launches and teardowns, may differ from ours.

One that is an hour behind would make every launch an hour old as it begins, and so late at once: torn down, and
launched again, for ever. The server also dates the requests by which it is asked, so how far it is off is known with
the first answer, to within the time that the answer took.
"""

from datetime import datetime, timedelta
from typing import Any, Final

import structlog

__all__ = ["ServerClock"]

TOLERATED_S: Final = 30.0
"""Seconds that nothing is made of. Moments must not change with each measurement: a changed fact is news."""

log = structlog.get_logger(__name__)


class ServerClock:
    """Translates moments of a server's clock to ours."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def measure(self, created_at: Any, sent: float, accepted: float) -> None:
        """Take note of a request.

        Parameters
        ----------
        created_at
            When it was made, as the server says; seconds since 1970. None: it does not say.
        sent, accepted
            Between which moments of our clock that was.
        """
        if not isinstance(created_at, int | float) or not created_at:
            return
        if not 0 <= accepted - sent <= TOLERATED_S:
            return  # no request takes that long: our own clock was set meanwhile
        ahead = created_at - (sent + accepted) / 2
        if abs(ahead - self._ahead.total_seconds()) > TOLERATED_S:
            self._ahead = timedelta(seconds=round(ahead) if abs(ahead) > TOLERATED_S else 0)
            log.warning("skypilot_clock_differs", seconds_ahead=self._ahead.total_seconds())

    @property
    def differs(self) -> bool:
        """Whether it shows another time than ours."""
        return bool(self._ahead)

    def ours(self, moment: datetime) -> datetime:
        """Return a moment of the server's clock by our own."""
        return moment - self._ahead
