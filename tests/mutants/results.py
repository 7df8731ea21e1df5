"""What became of each mutant: kept in a file, so that a run that was interrupted goes on, and shown as a table."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Results", "Verdict", "killed_before", "listed", "table"]


@dataclass(frozen=True)
class Verdict:
    """What became of one mutant.

    Attributes
    ----------
    digest
        Of the function as it was.
    killer
        The test that failed; empty if none did.
    """

    key: str
    digest: str
    killer: str


class Results:
    """A file with a verdict on each line; the last one on a mutant counts."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Verdict]:
        """Return the verdicts by key."""
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        return {verdict.key: verdict for verdict in (Verdict(**json.loads(line)) for line in lines)}

    def add(self, verdict: Verdict) -> None:
        """Append a verdict."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(verdict)) + "\n")


def killed_before(verdicts: Mapping[str, Verdict], key: str, digest: str) -> Verdict | None:
    """Return an earlier verdict that still holds. What survived is tried again: a test may have come."""
    verdict = verdicts.get(key)
    return verdict if verdict is not None and verdict.killer and verdict.digest == digest else None


def listed(text: str) -> frozenset[str]:
    """Return the keys in a list of equivalent mutants; lines that begin with ``#`` say why."""
    return frozenset(line for line in text.splitlines() if line.strip() and not line.startswith("#"))


def table(verdicts: Iterable[Verdict], equivalent: frozenset[str], slow: str) -> str:
    """Return a line for each file and one for all: mutants, what noticed them, survivors, score.

    Parameters
    ----------
    slow
        Beginning of the ids of tests that are counted by themselves.
    """
    rows: dict[str, list[int]] = {}
    for verdict in verdicts:
        survived = not verdict.killer and verdict.key not in equivalent
        simulated, same = verdict.killer.startswith(slow), not verdict.killer and not survived
        for name in (verdict.key.split(":", 1)[0], "all"):
            row = rows.setdefault(name, [0, 0, 0, 0])
            row[:] = [have + more for have, more in zip(row, (1, simulated, same, survived), strict=True)]
    lines = [f"{'file':<36}{'mutants':>8}{'simulation':>11}{'equivalent':>11}{'survived':>9}{'score':>8}"]
    for name, (tried, by_simulation, equal, left) in sorted(rows.items(), key=lambda pair: (pair[0] == "all", pair[0])):
        real = tried - equal
        score = 100 * (real - left) / real if real else 100.0
        lines.append(f"{name:<36}{tried:>8}{by_simulation:>11}{equal:>11}{left:>9}{score:>7.1f}%")
    return "\n".join(lines)
