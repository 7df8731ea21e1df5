"""Thought and answer of a model that thinks aloud, told apart while they come. Pure."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

__all__ = ["Kind", "Splitter"]

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"


class Kind(StrEnum):
    """What a piece of text is."""

    THOUGHT = "thought"
    ANSWER = "answer"
    TURN = "turn"
    """No text: all that was taken for an answer so far was thought. Templates that begin the thought themselves leave
    the model to close a tag that it never opened."""


class Splitter:
    """Splits ``<think>...</think>answer`` that comes in pieces of any size.

    The tags count only around the beginning: later ones are part of what the model wants to say. Pieces never contain a
    tag or a part of one, and not the empty lines after the thought.
    """

    def __init__(self) -> None:
        self._held = ""
        self._state = self._beginning

    def feed(self, text: str) -> Iterator[tuple[Kind, str]]:
        """Yield what is certain now."""
        self._held += text
        while True:
            state = self._state
            yield from state()
            if self._state == state:
                return

    def end(self) -> Iterator[tuple[Kind, str]]:
        """Yield what was held back in case it became a tag."""
        held, self._held = self._held, ""
        if held:
            yield (Kind.THOUGHT if self._state == self._thought else Kind.ANSWER), held

    def _beginning(self) -> Iterator[tuple[Kind, str]]:
        text = self._held.lstrip()
        if text.startswith(_OPEN):
            self._held, self._state = text.removeprefix(_OPEN), self._thought
        elif not _OPEN.startswith(text):
            self._state = self._unsure
        yield from ()

    def _thought(self) -> Iterator[tuple[Kind, str]]:
        before, found = self._until_close()
        if before:
            yield Kind.THOUGHT, before
        if found:
            self._state = self._gap

    def _unsure(self) -> Iterator[tuple[Kind, str]]:
        """Take it for the answer until a tag is closed that was not opened."""
        before, found = self._until_close()
        if before:
            yield Kind.ANSWER, before
        if found:
            self._state = self._gap
            yield Kind.TURN, ""

    def _gap(self) -> Iterator[tuple[Kind, str]]:
        self._held = self._held.lstrip()
        if self._held:
            self._state = self._answer
        yield from ()

    def _answer(self) -> Iterator[tuple[Kind, str]]:
        held, self._held = self._held, ""
        if held:
            yield Kind.ANSWER, held

    def _until_close(self) -> tuple[str, bool]:
        """Take what stands before the closing tag, or before what may become one."""
        before, tag, after = self._held.partition(_CLOSE)
        if tag:
            self._held = after
            return before, True
        keep = next((size for size in range(len(_CLOSE) - 1, 0, -1) if before.endswith(_CLOSE[:size])), 0)
        self._held = before[len(before) - keep :]
        return before[: len(before) - keep], False
