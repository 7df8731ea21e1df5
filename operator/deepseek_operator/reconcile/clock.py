"""Times as Kubernetes writes them."""

from datetime import UTC, datetime, timedelta

__all__ = ["format_time", "later", "parse_time"]


def format_time(moment: datetime) -> str:
    """Return ``moment`` in RFC 3339 with seconds, as metav1.Time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """Return the moment that ``text``, in RFC 3339, names."""
    return datetime.fromisoformat(text)


def later(moment: datetime, seconds: float) -> datetime:
    """Return ``moment`` plus ``seconds``, in whole seconds like everything in a status."""
    return (moment + timedelta(seconds=seconds)).replace(microsecond=0)
