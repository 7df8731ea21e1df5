"""What one identity asked the API server, by the API server's own audit log."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

__all__ = ["Audit"]


class Audit:
    """The audit log as far as it speaks of one user.

    Parameters
    ----------
    start
        Position in the file before which nothing concerns the reader.
    """

    def __init__(self, log: Path, user: str, start: int) -> None:
        self._log, self._user, self._start = log, user, start

    def now(self) -> int:
        """Return a mark to read from."""
        return self._log.stat().st_size

    def entries(self, since: int | None = None) -> list[dict[str, Any]]:
        """Return the entries after a mark, or of the whole run."""
        with self._log.open("rb") as log:
            log.seek(self._start if since is None else since)
            lines = [line for line in log if self._user.encode() in line and line.endswith(b"\n")]
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if entry["user"]["username"] == self._user]

    def writes(self, since: int, namespace: str) -> list[str]:
        """Return what was written in a namespace after a mark."""
        return [
            f"{entry['verb']} {entry['requestURI']}"
            for entry in self.entries(since)
            if entry["verb"] not in ("get", "list", "watch") and f"/{namespace}/" in entry["requestURI"]
        ]

    def counts(self, since: int) -> Counter[tuple[str, str]]:
        """Return the number of requests after a mark, by verb and ``resource[/subresource]``."""
        found: Counter[tuple[str, str]] = Counter()
        for entry in self.entries(since):
            reference = entry.get("objectRef") or {}
            parts = (reference.get("resource", entry["requestURI"]), reference.get("subresource", ""))
            found[entry["verb"], "/".join(filter(None, parts))] += 1
        return found
