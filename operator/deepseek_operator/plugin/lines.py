"""Lines in columns, each piece with a style. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Line", "Segment", "columns"]


class Segment(NamedTuple):
    """A piece of a line and its style: ``good``, ``bad``, ``busy``, ``faint``, ``head`` or nothing."""

    text: str
    style: str = ""


Line = tuple[Segment, ...]


def columns(headings: Sequence[str], rows: Sequence[Line], *, right: frozenset[str] = frozenset()) -> list[Line]:
    """Return a heading and rows in aligned columns, as kubectl writes them.

    Parameters
    ----------
    right
        Headings of columns that hold numbers.
    """
    heading = tuple(Segment(text, "head") for text in headings)
    widths = [max(len(row[i].text) for row in (heading, *rows)) for i in range(len(headings))]
    return [_line(row, widths, [text in right for text in headings]) for row in (heading, *rows)]


def _line(row: Line, widths: Sequence[int], right: Sequence[bool]) -> Line:
    padded = [
        Segment(segment.text.rjust(width) if to_the_right else segment.text.ljust(width), segment.style)
        for segment, width, to_the_right in zip(row, widths, right, strict=True)
    ]
    spaced = [piece for segment in padded for piece in (segment, Segment("  "))][:-1]
    # Nothing at the end of a line that cannot be seen.
    while len(spaced) > 1 and not spaced[-1].text.strip():
        spaced.pop()
    spaced[-1] = Segment(spaced[-1].text.rstrip(), spaced[-1].style)
    return tuple(spaced)
