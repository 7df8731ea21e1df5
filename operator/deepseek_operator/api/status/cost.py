"""``status.cost``: what the whole deployment costs, and has cost."""

from datetime import datetime
from decimal import Decimal

from deepseek_operator.api.base import StatusModel, field, read_amount, read_time

__all__ = ["Cost"]


class Cost(StatusModel):
    """US dollars of the whole deployment. Machines of the cluster itself count as 0.

    Spent up to now: ``spent`` plus ``hourly`` for every hour since ``spentAt``. Only a change of what is rented changes
    these fields.
    """

    hourly: str | None = field(
        "US dollars an hour of what is rented now, at the prices of SkyPilot's catalog.", default=None, max_length=32
    )
    max_hourly: str | None = field("Limit of the spec, in US dollars an hour.", default=None, max_length=32)
    spent: str | None = field(
        "US dollars spent up to spentAt. Since then hourly has been added every hour. Unset: nothing was ever rented.",
        default=None,
        max_length=32,
    )
    spent_at: str | None = field(
        "Moment up to which spent counts: when hourly last changed.",
        default=None,
        max_length=40,
        json_schema_extra={"format": "date-time"},
    )

    @property
    def counted_until(self) -> datetime | None:
        """``spentAt`` as a moment; None where it is unset or cannot be read."""
        return read_time(self.spent_at)

    def spent_until(self, moment: datetime) -> Decimal:
        """Return US dollars spent from the first launch up to ``moment``, at least ``spent``."""
        since = self.counted_until
        spent, hourly = read_amount(self.spent) or Decimal(0), read_amount(self.hourly) or Decimal(0)
        seconds = max(0, int((moment - since).total_seconds())) if since is not None else 0
        return spent + hourly * seconds / 3600
