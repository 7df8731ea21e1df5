"""``kubectl-deepseek``, which kubectl runs for ``kubectl deepseek``."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from deepseek_operator.plugin.kubectl import KubectlError
from deepseek_operator.plugin.options import Command, add_common, describe

__all__ = ["PROG", "SUMMARIES", "load", "main", "make_parser"]

PROG: Final = "kubectl deepseek"
SUMMARIES: Final = {
    "status": "deployments, their replicas and nodes: state, reason, since when, $/h",
    "endpoint": "the base URL at which a model answers",
    "events": "what happened to a deployment and its pods, the newest last",
    "logs": "what the engines write, on the head and the workers",
    "chat": "talk to a model; its thoughts are dimmed",
    "bench": "how fast a deployment answers, with more and more clients",
    "approve": "show the plan and the price of a deployment, ask, and let it be launched",
    "plan": "what a deployment would come to, before anything is launched",
    "audit": "what exists although no deployment owns it, and costs money",
    "doctor": "what keeps deployments from working here, and what to do about it",
}
"""Commands by name, each in a module of that name, which is imported only when the command is named."""
_INTERRUPTED: Final = 128 + signal.SIGINT
_ABOUT: Final = Command(
    name=PROG,
    description="""
Looks at DeepSeekDeployments: how they are and why, what their engines write, how fast they answer.

It calls kubectl for everything, so it reaches what kubectl reaches, with the rights of the same user. Set KUBECTL to
use another kubectl than the one on the PATH.
""",
    examples=(
        ("kubectl deepseek status -A", "how everything is"),
        ("kubectl deepseek COMMAND --help", "all about a command"),
    ),
    arguments=lambda parser: None,
    run=lambda options: 2,
)


class _Version(argparse.Action):
    """Prints the version, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        import deepseek_operator

        print(deepseek_operator.__version__)
        parser.exit()


def load(name: str) -> Command:
    """Return a command."""
    command: Command = importlib.import_module(f"deepseek_operator.plugin.{name}").COMMAND
    return command


def make_parser(words: Iterable[str] = SUMMARIES) -> argparse.ArgumentParser:
    """Return the parser of a command line; commands that are not among its words have no arguments in it."""
    parser = argparse.ArgumentParser(prog=PROG, allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version of the plugin")
    add_common(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", required=True, prog=PROG)
    named = set(words)
    for name, summary in SUMMARIES.items():
        sub = commands.add_parser(name, help=summary, allow_abbrev=False)
        if name not in named:
            continue
        command = load(name)
        command.arguments(sub)
        if command.cluster:
            add_common(sub)
        describe(sub, command)
        sub.set_defaults(run=command.run)
    describe(parser, _ABOUT)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser(words)
    if not words:
        parser.print_help()
        return 2
    options = parser.parse_args(words)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except KubectlError as error:
        hint = (
            "\nThe CRD is not installed, or not this version of it: kubectl deepseek doctor"
            if error.no_such_kind
            else ""
        )
        print(f"Error: {error.message}{hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough. Python would complain once more when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
