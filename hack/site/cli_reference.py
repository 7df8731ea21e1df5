"""The page of every command: what ``--help`` prints."""

import argparse
import os
from typing import Any
from unittest import mock

from typer.main import get_command
from typer.testing import CliRunner

from deepseek_operator.cli.main import app
from deepseek_operator.plugin.main import SUMMARIES, make_parser

__all__ = ["commands", "help_of", "page", "plugin_parser"]

_HEAD = """# Command line reference

What `--help` prints. Two programs come with the package: `deepseek-operator`, which is the operator and its planner,
and [`kubectl-deepseek`](../kubectl-deepseek.md), a plugin of kubectl that looks at deployments. Options of
`deepseek-operator run` can also be given as environment variables, as listed.
"""
_WIDTH = 98


def page() -> str:
    """Return the page as Markdown."""
    parts = [_HEAD, "## deepseek-operator", ""]
    for words in commands():
        parts += _section(" ".join(("deepseek-operator", *words)), help_of(*words), "###")
    parts += ["## kubectl deepseek", ""]
    with mock.patch.dict(os.environ, {"COLUMNS": str(_WIDTH)}):
        for name in SUMMARIES:
            parts += _section(f"kubectl deepseek {name}", plugin_parser(name).format_help(), "###")
    return "\n".join(parts)


def help_of(*words: str) -> str:
    """Return what a command of ``deepseek-operator`` prints for ``--help``."""
    done = CliRunner().invoke(app, [*words, "--help"], prog_name="deepseek-operator", terminal_width=_WIDTH)
    assert done.exit_code == 0, done.output
    return done.output


def commands() -> list[tuple[str, ...]]:
    """Return the words of every command of ``deepseek-operator``; a group comes as its commands."""
    found: list[tuple[str, ...]] = []
    for name, command in _commands_of(get_command(app)).items():
        found += [(name, inner) for inner in _commands_of(command)] or [(name,)]
    return found


def _commands_of(command: Any) -> dict[str, Any]:
    """Return the commands of a group; none of anything else."""
    return dict(getattr(command, "commands", {}))


def plugin_parser(name: str) -> argparse.ArgumentParser:
    """Return the parser of a command of the plugin."""
    (parsers,) = (a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    parser: argparse.ArgumentParser = parsers.choices[name]
    return parser


def _section(title: str, text: str, level: str) -> list[str]:
    return [f"{level} {title}", "", "```text", text.strip(), "```", ""]
