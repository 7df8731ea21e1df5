"""What the text of the pages names between backquotes is there: values of the chart, metrics, fields of the spec."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic.alias_generators import to_camel

from deepseek_operator.facts.names import _NOT_IN_REVISION
from tests.unit.docs.blocks import PAGES, ROOT
from tests.unit.exported import series

VALUES: dict[str, Any] = yaml.safe_load((ROOT / "charts/deepseek-operator/values.yaml").read_text(encoding="utf-8"))
SOURCES = {"proxy.py", "catalog.py"}
"""Files whose names begin as values do."""


def quoted(page: Path) -> list[str]:
    """Return what stands between backquotes in a page, its blocks left out."""
    text = re.sub(r"(?ms)^ *```.*?^ *```", "", page.read_text(encoding="utf-8"))
    return re.findall(r"`([^`\n]+)`", text)


def values_named(words: str) -> Iterator[str]:
    """Return the paths of values of the chart at the beginning of some words: ``proxy.image: x`` has one."""
    found = re.match(r"([a-z]\w*(?:\.\w+)+)(?=$|[=: ,])", words)
    if found and found[1].partition(".")[0] in VALUES and found[1] not in SOURCES:
        yield found[1]


def is_value(path: str) -> bool:
    node: Any = VALUES
    for part in path.split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_values_and_metrics_that_the_text_names_are_there(page: Path) -> None:
    words = quoted(page)
    assert [path for one in words for path in values_named(one) if not is_value(path)] == []
    metrics = {name for one in words for name in re.findall(r"deepseek_operator_\w+", one)}
    # A name that ends in an underscore stands for all that begin so.
    assert [name for name in metrics if not any(f"{one}_".startswith(f"{name.rstrip('_')}_") for one in series())] == []


def test_pages_name_values_and_metrics_at_all() -> None:
    words = [one for page in PAGES for one in quoted(page)]
    assert len([path for one in words for path in values_named(one)]) > 40
    assert len([one for one in words if "deepseek_operator_" in one]) > 30


@pytest.mark.parametrize("words", ["proxy.images", "skypilot.external.cert: x", "crds.keep.it"])
def test_what_is_no_value_would_be_seen(words: str) -> None:
    assert [is_value(path) for path in values_named(words)] == [False]


def test_fields_that_replace_no_replica_are_all_named() -> None:
    text = (ROOT / "docs/tasks/update.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w.]+)`", text.partition("What does not replace a replica:")[2].partition("\n\n")[0])
    harmless = [
        f"endpoint.{to_camel(name)}" if top == "endpoint" else to_camel(name)
        for top, below in _NOT_IN_REVISION.items()
        for name in ([top] if below is True else below)
    ]
    assert sorted(set(named) - {"resources"}) == sorted(harmless)
