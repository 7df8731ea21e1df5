"""Times as Kubernetes writes them, and intervals that survive a clock which is set back."""

from datetime import UTC, datetime, timedelta

__all__ = ["elapsed", "format_time", "later", "whole_second"]


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
