"""Times as Kubernetes writes them, and intervals that survive a clock which is set back."""

from datetime import UTC, datetime, timedelta

__all__ = ["elapsed", "format_time", "later", "whole_second", "young"]


def format_time(moment: datetime) -> str:
    """Return ``moment`` in RFC 3339 with seconds, as metav1.Time."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"  # a third of strftime's time


def whole_second(moment: datetime) -> datetime:
    """Return ``moment`` without its fraction of a second, like everything in a status."""
    return moment.replace(microsecond=0)


def later(moment: datetime, seconds: float) -> datetime:
    """Return ``moment`` plus ``seconds``, in whole seconds."""
    return whole_second(moment + timedelta(seconds=seconds))


def elapsed(now: datetime, since: datetime | None) -> float:
    """Return the seconds since a moment: 0 for no moment, and for one in the future (the clock was set back)."""
    return max(0.0, (now - since).total_seconds()) if since is not None else 0.0


def young(now: datetime, moment: datetime, limit_s: float) -> bool:
    """Return whether less than ``limit_s`` has passed since a moment; not so for one in the future.

    Its age is unknown: an answer from before the clock was set back would be used until the clock has caught up.
    """
    return 0 <= (now - moment).total_seconds() < limit_s
