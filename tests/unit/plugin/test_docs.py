"""docs/kubectl-deepseek.md and the help know every command and option."""

import argparse
import re
from pathlib import Path

import pytest

from deepseek_operator.plugin.main import SUMMARIES, make_parser
from tests.unit.plugin.conftest import Run

PAGE = (Path(__file__).parents[3] / "docs" / "kubectl-deepseek.md").read_text(encoding="utf-8")
NAMES = list(SUMMARIES)


def parser_of(name: str) -> argparse.ArgumentParser:
    (commands,) = (a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    parser: argparse.ArgumentParser = commands.choices[name]
    return parser


def section(name: str) -> str:
    found = re.search(rf"^## {name}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/kubectl-deepseek.md has no section {name}"
    return found[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_page_names_every_option_of_a_command(name: str) -> None:
    common = PAGE.partition("## ")[0]
    options = [option for action in parser_of(name)._actions for option in action.option_strings if option[:2] == "--"]
    known = section(name) + common
    assert [option for option in options if option not in known and option != "--help"] == []
    assert f"[`{name}`](#{name})" in common


@pytest.mark.parametrize("name", NAMES)
def test_help_reads_like_a_manual_page(name: str, run: Run) -> None:
    code, text, _ = run(name, "--help")
    assert code == 0
    headings = re.findall(r"^([A-Z ]+):$", text, re.MULTILINE)
    assert headings[0] == "USAGE"
    assert headings[-2:] == ["EXAMPLES", "EXIT STATUS"]
    assert max(map(len, re.split(r"EXAMPLES:", text)[0].splitlines())) <= 100
    assert f"kubectl deepseek {name}" in text


@pytest.mark.parametrize("name", NAMES)
def test_the_list_of_commands_has_a_line_for_each(name: str, run: Run) -> None:
    assert re.search(rf"^ +{name} +\w", run("--help")[1], re.MULTILINE)
    assert f"[`{name}`](#{name}) | {SUMMARIES[name]} |" in PAGE
