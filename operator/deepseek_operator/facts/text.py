"""Words of other programs, made fit to be shown: no colours, no secrets, bounded."""

import re
from typing import Final

__all__ = ["cause", "clean", "counted", "tail", "within", "without_colours"]

_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
"""Besides control characters halves of characters, as which Python writes bytes that are no text: they can neither be
sent nor stored."""
_PREFIX: Final = re.compile(r"^(\([^()]*pid=\d+[^()]*\) )*((ERROR|WARNING|INFO) \d\S+ \S+ \[[^\]]+\] )?")
"""What SkyPilot and vLLM put before each line: job and process, level, time and place."""
_LOGGED: Final = re.compile(r"\b[DIWEC] \d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? (PID=\d+ )?\S+\.py:\d+\] ")
"""What SkyPilot's own log puts before each line, which its errors may quote."""
_ERROR_LINE: Final = re.compile(r"^([A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b.*|[\w .:-]*\berror: .*)$")
_OF_SKYPILOT: Final = re.compile(r"^(ERROR: Job \d+ failed|✓ Job finished|├──|└──|📋|\S*sky (logs|queue|exec) )")
_SECRETS: Final = (
    re.compile(r"\bhf_[A-Za-z0-9]{10,}"),
    re.compile(r"\bsk-[A-Za-z0-9_-]{10,}"),
    re.compile(r"\bsky_[A-Za-z0-9_.-]{16,}"),
    re.compile(r"\bAKIA[0-9A-Z]{12,}"),
    re.compile(r"(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"(?i)(?<=api[-_]key[= ])[^\s'\",]{6,}"),
    re.compile(r"(?i)(?<=token[=])[^\s'\",]{6,}"),
    re.compile(r"(?i)(?<=password[=])[^\s'\",]{4,}"),
)


def without_colours(text: str) -> str:
    """Return ``text`` without the escape sequences of terminals."""
    return _ANSI.sub("", text)


def clean(text: str, limit: int = 1024) -> str:
    """Return ``text`` on one line, without ANSI colours, control characters and secrets, at most ``limit`` long."""
    line = " ".join(_plain(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def within(text: str, size: int) -> str:
    """Return the beginning of ``text`` that takes at most ``size`` bytes, with an ellipsis where something was cut."""
    encoded = text.encode(errors="replace")
    return text if len(encoded) <= size else encoded[: size - 3].decode(errors="ignore").rstrip() + "…"


def counted(number: int, noun: str) -> str:
    """Return ``1 replica`` or ``2 replicas``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def tail(text: str, lines: int = 12, limit: int = 1400) -> str:
    """Return the last ``lines`` non-empty lines of ``text``, cleaned like :func:`clean` but kept as lines.

    The end is what says why a program died, so it is the beginning that is cut.
    """
    kept = [line.rstrip() for line in _plain(text).splitlines() if line.strip()][-lines:]
    joined = "\n".join(kept)
    return joined if len(joined) <= limit else "…" + joined[-(limit - 1) :]


def cause(log: str, limit: int = 1400) -> str:
    """Return why a program died, read off its log: the first errors that it named, then its last lines.

    Engines end with "see root cause above": the cause is the first error, not the last line.
    """
    lines = [_PREFIX.sub("", line) for line in _plain(log).splitlines()]
    errors = list(dict.fromkeys(line.strip()[:300] for line in lines if _ERROR_LINE.match(line)))
    first = "; ".join(errors[:2])
    last = tail(
        "\n".join(line for line in lines if not _OF_SKYPILOT.match(line)), lines=6, limit=max(200, limit - len(first))
    )
    return f"{first}\nlast lines:\n{last}" if first else last


def _plain(text: str) -> str:
    text = _LOGGED.sub("", _CONTROL.sub("", without_colours(text).replace("\r", "\n")))
    for secret in _SECRETS:
        text = secret.sub("[redacted]", text)
    return text
