"""``--help`` says in a line what a command does, explains every option, and shows examples as they are typed."""

import re

import pytest
from typer.testing import CliRunner

from deepseek_operator.cli.main import app
from hack.site.cli_reference import commands, help_of

COMMANDS = [pytest.param(words, id=" ".join(words)) for words in commands()]


def test_no_summary_in_the_list_of_commands_is_cut_off() -> None:
    for words in {(), *(words[:-1] for words in commands())}:
        listed = CliRunner().invoke(app, [*words, "--help"], terminal_width=80).output.partition("Commands:")[2]
        assert listed
        assert "..." not in listed


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_is_explained(words: tuple[str, ...]) -> None:
    text = help_of(*words).partition("Options:\n")[2]
    options = re.split(r"\n(?=  -)", f"\n{text}")[1:]
    assert options
    for option in options:
        described = re.sub(r"\[.*?\]", "", " ".join(option.split()), flags=re.DOTALL)
        assert re.search(r"[a-z].*\.", re.sub(r"^(-\S+,? ?)+(<[^>]*>|[A-Z:]+)?", "", described)), option


@pytest.mark.parametrize(
    "words", [w for w in commands() if w not in [("version",), ("check", "installed"), ("check", "uninstall")]]
)
def test_examples_stand_on_lines_of_their_own(words: tuple[str, ...]) -> None:
    lines = help_of(*words).splitlines()
    examples = [
        line for line in lines if re.match(r" +(kubectl exec .* -- )?deepseek-operator " + " ".join(words), line)
    ]
    assert examples
    assert all(len(line) <= 120 for line in examples)


def test_the_version_is_printed_as_a_command_and_as_an_option() -> None:
    asked, said = (CliRunner().invoke(app, [word]) for word in ("--version", "version"))
    assert (asked.exit_code, asked.output) == (0, said.output)
    assert re.fullmatch(r"\d+\.\d+\.\d+.*\n", asked.output)
