"""The page that says which commands of the documentation are run, and by which test."""

from pathlib import Path
from typing import Any

import yaml

__all__ = ["EVIDENCE", "evidence", "page"]

EVIDENCE = Path(__file__).parents[2] / "tests" / "unit" / "docs" / "evidence.yaml"
_HEAD = """# Which commands of these pages are run

`make unit` goes through every block of these pages and of the README: objects are checked against the API's models,
values against the chart's schema, options against the programs, and what needs no cluster is run, with helm and
kubectl as well. Files, fields, commands and options that the text names must exist. What a row of this table says is
done for every command that begins so.

| commands that begin with | checked each time | run by |
|---|---|---|
"""


def evidence() -> list[dict[str, Any]]:
    """Return the rows of the file."""
    rows: list[dict[str, Any]] = yaml.safe_load(EVIDENCE.read_text(encoding="utf-8"))
    return rows


def page() -> str:
    """Return the page as Markdown."""
    lines = []
    for row in evidence():
        by = "<br>".join(f"`{test}`" for test in row.get("run", ())) or "not run"
        if row.get("checked", "").startswith("run;"):
            by = "`tests/unit/docs/test_commands.py`"
        lines.append(f"| `{row['begins']}` | {row.get('checked', '-')} | {by} |")
    return _HEAD + "\n".join(lines) + "\n"
