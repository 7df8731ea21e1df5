"""How a command describes itself, and the options that all have. argparse: typer needs 400 ms to run a command."""

import argparse
import shutil
import textwrap
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from deepseek_operator.plugin.kubectl import FAILED_S, Kubectl

__all__ = ["NAME", "Command", "Options", "add_common", "describe", "kubectl_of", "output_option", "seconds", "whole"]

Options = argparse.Namespace
NAME: Final = "NAME"
"""Metavariable of an argument that names a deployment; completion offers their names for it."""
_EXIT: Final = ("0  done", "1  not found, not possible, or kubectl failed", "2  the command line is wrong")


class Command(NamedTuple):
    """One command of the plugin.

    Attributes
    ----------
    description
        Paragraphs, separated by empty lines.
    examples
        Command line and what it does.
    exits
        Exit statuses, each with its meaning.
    arguments
        Adds its arguments to a parser.
    run
        Does the work and returns the exit status.
    cluster
        It asks one, so that the options of kubectl make sense.
    """

    name: str
    description: str
    examples: tuple[tuple[str, str], ...]
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Options], int]
    exits: tuple[str, ...] = _EXIT
    cluster: bool = True


class _Help(argparse.RawDescriptionHelpFormatter):
    """Text as it was laid out, as wide as the terminal but never wider than can be read."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=min(shutil.get_terminal_size().columns - 2, 100))

    def start_section(self, heading: str | None) -> None:
        """Write headings as manual pages do."""
        super().start_section(heading.upper() if heading is not None else None)

    def _format_usage(self, usage: Any, *_: Any) -> str:
        return f"USAGE:\n  {usage}\n\n"

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Write ``-o, --output {text,json}``: the value once."""
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


def describe(parser: argparse.ArgumentParser, command: Command) -> None:
    """Give a parser, once it has its arguments, the help of a command."""
    parser.formatter_class = _Help
    parser._positionals.title = "arguments"
    parser.usage = " ".join((parser.prog, *_places(parser), "[options]"))
    parser.description = _paragraphs(command.description)
    parts = []
    if command.examples:
        parts.append("EXAMPLES:\n" + "\n".join(f"  $ {line}\n      {what}" for line, what in command.examples))
    parts.append("EXIT STATUS:\n" + "\n".join(f"  {line}" for line in command.exits))
    parser.epilog = "\n\n".join(parts)


def _places(parser: argparse.ArgumentParser) -> list[str]:
    """Return the arguments that are no options, those in brackets that may be left out."""
    places = [action for action in parser._actions if not action.option_strings]
    return [f"[{action.metavar}]" if action.nargs == "?" else str(action.metavar) for action in places]


def _paragraphs(text: str) -> str:
    width = min(shutil.get_terminal_size().columns - 2, 100)
    return "\n\n".join(textwrap.fill(" ".join(part.split()), width) for part in text.strip().split("\n\n"))


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what is passed on to kubectl. Nothing is set where nothing was given: it may stand before a command, too."""
    group = parser.add_argument_group("options of kubectl")

    def add(*flags: str, **settings: str) -> None:
        group.add_argument(*flags, default=argparse.SUPPRESS, **settings)  # type: ignore[arg-type]

    add("-n", "--namespace", metavar="NAMESPACE", help="namespace; without it, that of the context")
    add("--context", metavar="CONTEXT", help="context of the kubeconfig")
    add("--kubeconfig", metavar="FILE", help="kubeconfig to use")
    add("--as", dest="as_user", metavar="USER", help="user to impersonate")
    group.add_argument(
        "--request-timeout",
        type=seconds,
        default=argparse.SUPPRESS,
        metavar="SECONDS",
        help=f"when to give up a request to the API server (default: {FAILED_S:g})",
    )


def kubectl_of(options: Options) -> Kubectl:
    """Return kubectl with the flags that were given."""
    given = vars(options)
    flags: list[str] = []
    for key, flag in (("kubeconfig", "--kubeconfig"), ("context", "--context"), ("as_user", "--as")):
        if given.get(key) is not None:
            flags += [flag, given[key]]
    return Kubectl(given.get("namespace"), flags, given.get("request_timeout", FAILED_S))


def output_option(parser: argparse.ArgumentParser) -> None:
    """Add ``-o json``."""
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="for people or for programs (default: text)"
    )


def seconds(text: str) -> float:
    """Read a positive number of seconds, with or without ``s`` behind it."""
    value = float(text.removesuffix("s"))
    if not 0 < value < 86_400:
        raise argparse.ArgumentTypeError("must be a number of seconds above 0")
    return value


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers within limits."""

    def integer(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be from {least} to {most}")
        return value

    return integer
