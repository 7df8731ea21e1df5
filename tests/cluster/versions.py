"""Pinned versions, read from ``versions.env``."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def read_versions(path: Path = ROOT / "versions.env") -> dict[str, str]:
    """Read KEY=VALUE lines; blank lines and comments are skipped.

    Raises
    ------
    ValueError
        A line is neither.
    """
    versions = {}
    for line in path.read_text().splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, separator, value = text.partition("=")
        if not separator or not key.isidentifier() or not value or value != value.strip():
            raise ValueError(f"{path}: not KEY=VALUE: {line!r}")
        versions[key] = value
    return versions
