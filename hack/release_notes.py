"""Print the changelog's section of a version; fail if the version is not the same everywhere.

python3 hack/release_notes.py 0.2.0
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


class NotReadyError(Exception):
    """The version cannot be released as the files are."""


def disagreements(version: str, root: Path = ROOT) -> list[str]:
    """Return a line for each place that has another version."""
    chart = (root / "charts/deepseek-operator/Chart.yaml").read_text(encoding="utf-8")
    found = [
        ("pyproject.toml", tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]),
        ("Chart.yaml version", _value(chart, "version")),
        ("Chart.yaml appVersion", _value(chart, "appVersion")),
    ]
    found += [(f"Chart.yaml image {name}", tag) for name, tag in re.findall(r"image: \S+/([\w-]+):(\S+)", chart)]
    for page in sorted((root / "docs/start").glob("*.md")):  # the tags of images that are built by hand
        tags = re.findall(r"(?:REGISTRY|localhost)/\S+:(\d+\.\d+\.\d+)", page.read_text(encoding="utf-8"))
        found += [(f"docs/start/{page.name}", tag) for tag in dict.fromkeys(tags)]
    return [f"{where} has {has}, not {version}" for where, has in found if has != version]


def notes(version: str, changelog: str) -> str:
    """Return what the changelog says of a version.

    Raises
    ------
    NotReadyError
        It says nothing.
    """
    heading = rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d\n(?P<text>.*?)(?=^## |\Z)"
    match = re.search(heading, changelog, re.MULTILINE | re.DOTALL)
    if match is None or not match["text"].strip():
        raise NotReadyError(f'CHANGELOG.md has nothing below "## {version} - YYYY-MM-DD"')
    return match["text"].strip() + "\n"


def _value(chart: str, key: str) -> str:
    match = re.search(rf'^{key}: "?([^"\n]+)"?$', chart, re.MULTILINE)
    return match[1] if match else "nothing"


def main(version: str) -> int:
    """Print the notes, or what is missing."""
    try:
        if wrong := disagreements(version):
            raise NotReadyError("; ".join(wrong))
        print(notes(version, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")), end="")
    except NotReadyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
