"""The one order of verdicts, from best to worst."""

from typing import Final

from deepseek_operator.api.status import Verdict

__all__ = ["rank"]

_ORDER: Final = (Verdict.FITS, Verdict.TIGHT, Verdict.UNKNOWN, Verdict.DOES_NOT_FIT)


def rank(verdict: Verdict) -> int:
    """Return the place of a verdict: 0 for the best. What is unknown may not fit at all, so it comes after Tight."""
    return _ORDER.index(verdict)
