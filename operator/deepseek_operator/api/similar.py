"""What a name that nobody knows may have been meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["closest", "did_you_mean"]


def closest(name: str, known: Iterable[str], *, most: int = 2, cutoff: float = 0.5) -> tuple[str, ...]:
    """Return the known names that look most like this one, best first; letters may be large or small.

    Parameters
    ----------
    cutoff
        How alike they must be, from 0 to 1.
    """
    names = {each.lower(): each for each in known}
    return tuple(names[each] for each in get_close_matches(name.lower(), names, n=most, cutoff=cutoff))


def did_you_mean(names: Iterable[str]) -> str:
    """Return the question that ends a refusal; empty where no name is like it."""
    found = " or ".join(names)
    return f"did you mean {found}?" if found else ""
