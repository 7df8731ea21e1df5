"""Tables for people, in the style of ``sky launch``."""

from collections.abc import Sequence

__all__ = ["render_table"]


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: frozenset[str] = frozenset()) -> str:
    """Return rows in aligned columns between two rules.

    Parameters
    ----------
    right
        Headings of columns that hold numbers.
    """
    widths = [max(len(heading), *(len(row[i]) for row in rows)) for i, heading in enumerate(header)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if heading in right else cell.ljust(width)
            for cell, width, heading in zip(cells, widths, header, strict=True)
        ]
        return (" " + "   ".join(padded)).rstrip()

    rule = "-" * (sum(widths) + 3 * (len(widths) - 1) + 2)
    return "\n".join([rule, line(header), rule, *(line(row) for row in rows), rule])
