"""Where output goes: colours by Rich on a terminal, plain text into a pipe or a file."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO

from deepseek_operator.plugin.lines import Line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["STYLES", "Screen", "is_terminal", "print_json", "say"]

STYLES: Final = {"good": "green", "bad": "red", "busy": "yellow", "faint": "dim", "head": "bold", "": ""}


def is_terminal(stream: TextIO | None = None) -> bool:
    """Return whether a person reads this stream (standard output by default)."""
    return (stream or sys.stdout).isatty() and os.environ.get("TERM") != "dumb"


def say(text: str) -> None:
    """Write a line for people to standard error."""
    print(text, file=sys.stderr, flush=True)


def print_json(document: Any, *, line: bool = False) -> None:
    """Write a document for programs; ``line`` puts it on one line, as streams of documents are written."""
    import json

    print(json.dumps(document, indent=None if line else 2, ensure_ascii=False), flush=True)


class Screen:
    """Standard output, for lines with styles."""

    def __init__(self) -> None:
        self.terminal = is_terminal()
        self._console: Console | None = None

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None where lines must not be broken."""
        return self.console.width if self.terminal else None

    @property
    def console(self) -> "Console":
        """The terminal, made when it is first needed: Rich takes a third of the time that a command may take."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(highlight=False, markup=False, emoji=False)
        return self._console

    def show(self, lines: Iterable[Line]) -> None:
        """Write lines."""
        if self.terminal:
            self.console.print(self.styled(lines), no_wrap=True, overflow="ellipsis", crop=True)
        else:
            print("\n".join(plain(lines)), flush=True)

    def styled(self, lines: Iterable[Line]) -> "RenderableType":
        """Return lines in colours, each cut at the edge of the terminal."""
        from rich.text import Text

        texts = [Text.assemble(*((segment.text, STYLES[segment.style]) for segment in line)) for line in lines]
        return Text("\n", no_wrap=True, overflow="ellipsis").join(texts)


def plain(lines: Iterable[Line]) -> Sequence[str]:
    """Return lines without styles."""
    return ["".join(segment.text for segment in line).rstrip() for line in lines]
