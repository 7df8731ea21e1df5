"""What the text of the pages names between backquotes is there: values, metrics, fields, files, commands, options."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic.alias_generators import to_camel

from deepseek_operator.facts.names import _NOT_IN_REVISION
from deepseek_operator.plugin.main import SUMMARIES, make_parser
from hack.site.api_reference import schema_at
from hack.site.cli_reference import commands as cli_commands
from hack.site.cli_reference import help_of
from tests.unit.docs.blocks import PAGES, ROOT
from tests.unit.exported import series

VALUES: dict[str, Any] = yaml.safe_load((ROOT / "charts/deepseek-operator/values.yaml").read_text(encoding="utf-8"))
SOURCES = {"proxy.py", "catalog.py", "endpoint.py"}
"""Files whose names begin as values or fields do."""
PACKAGE = ROOT / "operator/deepseek_operator"
OF_OTHERS = {"examples/tool_chat_template_deepseekv31.jinja"}
"""Files of other projects; docs/neighbours.md has no others."""
SECTIONS = {"model", "engine", "objective", "updateStrategy", "endpoint", "podTemplate"}
"""Fields of the spec below which there are others. ``resources`` is also one of tasks and of values."""


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


def files_named(words: str) -> Iterator[str]:
    """Yield the path that some words are: in the repository, or in a room of the package."""
    found = re.fullmatch(r"([\w.-]+)/[\w./*-]*", words.partition("::")[0])
    if found and ((ROOT / found[1]).is_dir() or (PACKAGE / found[1]).is_dir()):
        yield found[0].rstrip("/")


OURS = [page for page in (*PAGES, ROOT / "CONTRIBUTING.md") if page.name != "neighbours.md"]


@pytest.mark.parametrize("page", OURS, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_the_text_names_are_there(page: Path) -> None:
    named = {path for one in quoted(page) for path in files_named(one)} - OF_OTHERS
    assert [path for path in named if not any(any(root.glob(path)) for root in (ROOT, PACKAGE))] == []


def fields_named(words: str) -> Iterator[str]:
    """Yield the path of a field at the beginning of some words: ``status.plan.hash``, ``engine.args: [...]``."""
    found = re.match(r"([a-z]\w*)(?:\.\w+(?:\[\])?)+(?=$|[=: ,])", words)
    if found and found[0] not in SOURCES and not is_value(found[0]):
        if found[1] in ("spec", "status"):
            yield found[0]
        elif found[1] in SECTIONS:
            yield f"spec.{found[0]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_fields_that_the_text_names_are_there(page: Path) -> None:
    named = {path for one in quoted(page) for path in fields_named(one)}
    assert [path for path in named if schema_at(path.replace("[]", "[0]")) is None] == []


def unknown_words(command: str) -> Iterator[str]:
    """Yield the words of a command in the text that are no command of ours, and no option of it."""
    first, *words = command.removeprefix("kubectl ").split()
    if first == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        yield from (word for word in words if re.fullmatch(r"[a-z-]+", word) and word not in targets)
    elif first == "deepseek" and words:
        if words[0] not in SUMMARIES:
            yield words[0]
            return
        commands = next(action for action in make_parser(words)._actions if action.dest == "command").choices
        assert isinstance(commands, dict)
        known = {option for action in commands[words[0]]._actions for option in action.option_strings}
        yield from (word for word in words if word.startswith("-") and word.partition("=")[0] not in known)
    elif first == "deepseek-operator" and words and not words[0].startswith("-"):
        longest = max(cli_commands(), key=lambda known: (tuple(words[: len(known)]) == known, len(known)))
        if tuple(words[: len(longest)]) != longest:
            yield words[0]
            return
        text = help_of(*longest)
        options = (word.strip("[]").partition("=")[0] for word in words if word.strip("[]").startswith("-"))
        yield from (option for option in options if f"{option} " not in text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_that_the_text_names_are_there(page: Path) -> None:
    found = [one for one in quoted(page) if one.startswith(("make ", "kubectl deepseek ", "deepseek-operator "))]
    assert [(one, wrong) for one in found for wrong in unknown_words(one)] == []


@pytest.mark.parametrize(
    "command",
    [
        *("make tests", "kubectl deepseek state", "kubectl deepseek logs r1 --rank=0"),
        *("deepseek-operator plan --gpu L4", "deepseek-operator catalogue", "deepseek-operator audit [--remove]"),
    ],
)
def test_a_command_that_is_not_there_would_be_seen(command: str) -> None:
    assert len(list(unknown_words(command))) == 1


def test_a_file_and_a_field_that_are_not_there_would_be_seen() -> None:
    assert list(files_named("tests/unit/gone.py::test_it")) == ["tests/unit/gone.py"]
    assert [schema_at(path) for path in fields_named("engine.arguments: []")] == [None]
