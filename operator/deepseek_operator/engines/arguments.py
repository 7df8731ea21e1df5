"""Reads ``spec.engine.args`` the way the engines' argument parsers do, as far as planning depends on them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["ArgumentError", "Arguments", "Flag", "grouped", "merge", "optional", "parse_arguments"]

Flag = tuple[str, ...]
"""A flag with its values, word by word."""


class ArgumentError(ValueError):
    """``engine.args`` make no sense.

    Attributes
    ----------
    value
        The argument at fault.
    """

    def __init__(self, value: str, message: str) -> None:
        self.value = value
        super().__init__(message)


@dataclass(frozen=True)
class Arguments:
    """A user's arguments, in order, and by flag under the planner's spelling."""

    words: tuple[str, ...] = ()
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Flag to its values; empty for a switch. ``--no-x`` is kept under ``--x`` with the one value ``no``."""

    def __contains__(self, flag: object) -> bool:
        return flag in self.flags

    def get(self, flag: str) -> str | None:
        """Return the first value of a flag, or None where it is absent or a switch."""
        values = self.flags.get(flag)
        return values[0] if values else None

    def integer(self, flag: str) -> int | None:
        """Return the value of a flag as a whole number; ``k`` and ``K`` and so on as in vLLM.

        Raises
        ------
        ArgumentError
            It is not a number.
        """
        value = self.get(flag)
        if value is None:
            return None
        units = {"k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}
        try:
            return int(float(value[:-1]) * units[value[-1]] if value[-1:] in units else value)
        except (ValueError, OverflowError):  # the latter of infk
            raise ArgumentError(f"{flag} {value}", f"{flag} must be a whole number, not {value!r}") from None

    def fraction(self, flag: str) -> float | None:
        """Return the value of a flag as a number above 0 and up to 1.

        Raises
        ------
        ArgumentError
            It is not one.
        """
        value = self.get(flag)
        if value is None:
            return None
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 < number <= 1:
            raise ArgumentError(f"{flag} {value}", f"{flag} must be above 0 and at most 1, not {value!r}")
        return number


def _split(words: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    flag: str | None = None
    values: list[str] = []
    for word in words:
        if word.startswith("-") and not _is_number(word):
            if flag is not None:
                yield flag, tuple(values)
            flag, equals, value = word.partition("=")
            values = [value] if equals else []
        elif flag is None:
            raise ArgumentError(word, f"{word!r} follows no flag; write every argument as a list item after its flag")
        else:
            values.append(word)
    if flag is not None:
        yield flag, tuple(values)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def parse_arguments(words: tuple[str, ...], aliases: Mapping[str, str]) -> Arguments:
    """Return a user's arguments by flag.

    Underscores count as dashes, as in vLLM, and ``aliases`` leads other spellings to the planner's.

    Raises
    ------
    ArgumentError
        A word follows no flag, or one flag is given twice with different values.
    """
    flags: dict[str, tuple[str, ...]] = {}
    for written, values in _split(words):
        name, dot, rest = written.partition(".")
        flag = name.replace("_", "-") + dot + rest
        flag = aliases.get(flag, flag)
        if flag.startswith("--no-"):
            flag, values = "--" + flag.removeprefix("--no-"), ("no",)
        if flag in flags and flags[flag] != values:
            one, other = (" ".join(v) or "nothing" for v in (flags[flag], values))
            raise ArgumentError(written, f"{written} is given twice, with {one} and with {other}; keep one of them")
        flags[flag] = values
    return Arguments(words=words, flags=flags)


def merge(planned: list[tuple[str, ...]], user: Arguments) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the command line's flags and those of the planned ones that the user's replace.

    Parameters
    ----------
    planned
        Flags with their values: ``("--port", "8000")``.
    user
        Wins, flag by flag.
    """
    kept: list[str] = []
    replaced: list[str] = []
    for flag, *values in planned:
        name, wanted = flag, tuple(values)
        if flag.startswith("--no-"):
            name, wanted = "--" + flag.removeprefix("--no-"), ("no",)
        if name in user:
            if user.flags[name] != wanted:
                replaced.append(" ".join((flag, *values)))
        else:
            kept += [flag, *values]
    return (*kept, *user.words), tuple(replaced)


def optional(flag: str, value: object | None) -> list[Flag]:
    """Return the flag with its value, or nothing where there is none."""
    return [] if value is None else [(flag, str(value))]


def grouped(words: tuple[str, ...]) -> list[Flag]:
    """Return flags of a catalog row with their values: ``(--block-size, 256)``."""
    flags: list[Flag] = []
    for word in words:
        if word.startswith("--"):
            flags.append((word,))
        else:
            flags[-1] = (*flags[-1], word)
    return flags
