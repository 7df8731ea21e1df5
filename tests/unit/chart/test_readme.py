"""The chart's README has every value, with its default and the words of ``values.yaml``.

``pytest tests/unit/chart --regenerate-expected`` writes the table again.
"""

import json
import re
from typing import Any

import pytest
import yaml

from tests.unit.chart.chart import CHART

README = CHART / "README.md"
WHOLE = {"resources", "labels", "annotations"}
"""Values that are one thing to their reader, although they are mappings."""
LINE = re.compile(r"(?P<indent> *)(?P<key>\w+):(?P<value>[^#]*)(?:# (?P<words>.*))?")


def comments() -> dict[str, str]:
    """Return the words about each value: the comment at its end, or the lines above it."""
    found: dict[str, str] = {}
    path: list[str] = []
    above: list[str] = []
    for line in (CHART / "values.yaml").read_text().splitlines():
        text = line.strip()
        if text.startswith("#"):
            above += [] if text.startswith("#  ") else [text.removeprefix("#").strip()]
            continue
        if match := LINE.fullmatch(line):
            path = [*path[: len(match["indent"]) // 2], match["key"]]
            found[".".join(path)] = (match["words"] or " ".join(above)).strip().removesuffix(":")
        above = []
    return found


def rows(values: dict[str, Any], words: dict[str, str], at: str = "") -> list[str]:
    found = []
    for key, value in values.items():
        path = f"{at}{key}"
        section = isinstance(value, dict) and bool(value) and key not in WHOLE
        default = "" if section else f"`{json.dumps(value)}`"
        if not section or words[path]:
            found.append(f"| `{path}` | {default} | {words[path].replace('|', chr(92) + '|')} |")
        if section:
            found += rows(value, words, f"{path}.")
    return found


def test_every_value_has_words_of_its_own() -> None:
    table = rows(yaml.safe_load((CHART / "values.yaml").read_text()), comments())
    assert [row for row in table if row.endswith("|  |")] == []


def test_the_table_has_every_value_with_its_default_and_its_words(request: pytest.FixtureRequest) -> None:
    table = rows(yaml.safe_load((CHART / "values.yaml").read_text()), comments())
    text = README.read_text(encoding="utf-8")
    if request.config.getoption("--regenerate-expected", default=False):
        head = text[: text.index("| --- | --- | --- |\n")]
        text = head + "| --- | --- | --- |\n" + "".join(f"{row}\n" for row in table)
        README.write_text(text, encoding="utf-8")
    assert text.partition("| --- | --- | --- |\n")[2].splitlines() == table, (
        "pytest tests/unit/chart --regenerate-expected"
    )
