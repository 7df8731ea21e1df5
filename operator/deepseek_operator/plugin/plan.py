"""``kubectl deepseek plan``: ``deepseek-operator plan`` under the plugin's name. It needs no cluster.

Its options are read off that command, so that the two cannot differ. Planning imports pydantic and the catalog: a
second that every other command is spared.
"""

import argparse
import enum
import inspect
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, get_args, get_origin

from deepseek_operator.plugin.options import Command, Options

__all__ = ["COMMAND"]

_PROG: Final = "kubectl deepseek plan"


class _Option(NamedTuple):
    name: str
    flags: tuple[str, ...]
    help: str
    choices: tuple[str, ...]
    several: bool


def _options() -> Iterator[_Option]:
    """Yield the options of the operator's command, as its signature declares them."""
    import typer

    from deepseek_operator.cli.plan import plan_command

    for name, parameter in inspect.signature(plan_command).parameters.items():
        if parameter.annotation is typer.Context or name.startswith("skypilot"):
            continue  # the plugin has no client of SkyPilot
        kind, declared = get_args(parameter.annotation)
        inner = [part for part in (kind, *get_args(kind)) if part is not type(None)]
        enums = [part for part in inner if isinstance(part, type) and issubclass(part, enum.Enum)]
        # Typer keeps the first name where a default would stand that is not in Annotated.
        flags = (declared.default, *(declared.param_decls or ()))
        yield _Option(
            name,
            tuple(flag for flag in flags if str(flag).startswith("-")) or (f"--{name.replace('_', '-')}",),
            declared.help or "",
            tuple(str(member.value) for member in enums[0]) if enums else (),
            any(get_origin(part) is list for part in inner),
        )


def _arguments(parser: argparse.ArgumentParser) -> None:
    for option in _options():
        settings: dict[str, Any] = {"choices": option.choices} if option.choices else {"metavar": "VALUE"}
        if option.several:
            settings["action"] = "append"
        parser.add_argument(*option.flags, dest=f"plan_{option.name}", help=option.help, **settings)


def _run(options: Options) -> int:
    import typer

    from deepseek_operator.cli import plan

    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    plan.register(app)
    words: list[str] = []
    for option in _options():
        given = getattr(options, f"plan_{option.name}")
        values = given if isinstance(given, list) else [] if given is None else [given]
        words += [f"{option.flags[-1]}={value}" for value in values]
    try:
        app(args=words, prog_name=_PROG)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


COMMAND: Final = Command(
    name="plan",
    description="""
Shows the GPUs, the layout, the longest context and the price that a deployment comes to, and why other GPUs were not
chosen, before anything is launched or rented. It asks no cluster and no cloud: models, GPUs and prices come from the
catalog of the plugin's version, and from files of your own.

It is the command deepseek-operator plan; options that are given go over those of the file.
""",
    examples=(
        ("kubectl deepseek plan -f r1.yaml", "a file with one or several DeepSeekDeployments"),
        ("kubectl deepseek plan --model DeepSeek-R1 --accelerators L4:8", "a question without a file"),
        ("kubectl get dsd r1 -o yaml | kubectl deepseek plan -f - --nodes 2", "a change of what is there"),
    ),
    arguments=_arguments,
    run=_run,
    exits=("0  it fits", "2  the input is wrong", "3  it does not fit"),
    cluster=False,
)
