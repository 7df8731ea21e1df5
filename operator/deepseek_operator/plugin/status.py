"""``kubectl deepseek status``: deployments, their replicas and nodes, why each is as it is, and what it costs."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from deepseek_operator.api.names import LABEL_NAME, LABEL_UID
from deepseek_operator.plugin.kubectl import DEPLOYMENTS, Kubectl, KubectlError, Reading
from deepseek_operator.plugin.lines import Line
from deepseek_operator.plugin.objects import Deployment, read_deployment
from deepseek_operator.plugin.options import NAME, Command, Options, kubectl_of, output_option
from deepseek_operator.plugin.screen import Screen, print_json, say
from deepseek_operator.plugin.tree import draw
from deepseek_operator.plugin.watch import LOOK_S, looks

__all__ = ["COMMAND", "document", "read"]

_Look = Callable[[], list[Deployment]]


def read(kubectl: Kubectl, name: str | None = None, *, everywhere: bool = False) -> list[Deployment]:
    """Return the deployments of a namespace, or one, with the pods of their replicas.

    Without the right to list pods the replicas come without nodes, and standard error says so.

    Raises
    ------
    KubectlError
        If the deployments cannot be read.
    """
    scope = ("--all-namespaces",) if everywhere else ()
    wanted = kubectl.get(DEPLOYMENTS, *scope, *((name,) if name is not None else ()))
    label = f"{LABEL_NAME}={name}" if name is not None else LABEL_UID
    pods = kubectl.get("pods", *scope, "--selector", label)
    try:
        bodies = wanted.items()
    except KubectlError as error:
        if name is None or everywhere:
            raise
        raise kubectl.explained(name, error) from None
    finally:
        nodes, why = _tolerated(pods)
    if why:
        say(f"nodes are not shown: {why}")
    return [read_deployment(body, nodes) for body in bodies]


def _tolerated(pods: Reading) -> tuple[list[dict[str, Any]], str]:
    try:
        return pods.items(), ""
    except KubectlError as error:
        return [], error.message


def document(deployments: Sequence[Deployment]) -> dict[str, Any]:
    """Return what ``-o json`` prints: camelCase, as in the API."""
    return {"deployments": [_camel(asdict(deployment)) for deployment in deployments]}


def _camel(value: Any) -> Any:
    if isinstance(value, dict):
        return {_camel_key(key): _camel(item) for key, item in value.items()}
    return [_camel(item) for item in value] if isinstance(value, list | tuple) else value


def _camel_key(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join("URL" if part == "url" else part.capitalize() for part in rest)


def _run(options: Options) -> int:
    kubectl = kubectl_of(options)

    def look() -> list[Deployment]:
        return read(kubectl, options.name, everywhere=options.all_namespaces)

    if options.watch:
        _watch(look, options)
    deployments = look()
    if options.output == "json":
        print_json(document(deployments))
    elif not deployments:
        say("no deployments" if options.all_namespaces else "no deployments in this namespace; -A shows all")
    else:
        screen = Screen()
        screen.show(draw(deployments, datetime.now(UTC), screen.width))
    return 0


def _watch(look: _Look, options: Options) -> None:
    """Show every change until interrupted."""
    screen = Screen()
    if options.output == "json":
        before = None
        for deployments in looks(look):
            after = document(deployments)
            if after != before:
                print_json(after, line=True)
            before = after
    elif screen.terminal:
        _live(screen, look)
    else:
        _film(screen, look)


def _live(screen: Screen, look: _Look) -> None:
    from rich.live import Live

    with Live(console=screen.console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        for deployments in looks(look):
            live.update(screen.styled(_frame(screen, deployments)), refresh=True)


def _frame(screen: Screen, deployments: list[Deployment]) -> list[Line]:
    return draw(deployments, datetime.now(UTC), screen.width)


def _film(screen: Screen, look: _Look) -> None:
    """Write the tree each time that something other than a time has changed."""
    before: list[Deployment] | None = None
    for deployments in looks(look):
        if deployments != before:
            print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
            screen.show(_frame(screen, deployments))
        before = deployments


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar=NAME, help="only this deployment")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="the deployments of all namespaces")
    parser.add_argument(
        "-w", "--watch", action="store_true", help=f"look every {LOOK_S:g} s until interrupted, and show what changes"
    )
    output_option(parser)


COMMAND: Final = Command(
    name="status",
    description="""
Shows a tree: each deployment, its replicas, and the nodes (pods) of each replica. Below whatever is not well stands
why, in the provider's or the engine's own words, and what to do about it.

STATE of a deployment is Ready, Progressing, Stalled (it will not get on without you), Idle (scaled to zero or
suspended), Terminating, or Unseen (no operator has looked at it), with ready and wanted replicas. SINCE is for how long
a deployment has been ready or not, and for how long state and reason of a replica have been so. $/H is in US dollars;
machines of the cluster itself count as 0. Rented machines have no pods.
""",
    examples=(
        ("kubectl deepseek status", "the deployments of this namespace"),
        ("kubectl deepseek status r1 -n prod --watch", "one, as it changes"),
        ("kubectl deepseek status -A -o json | jq '.deployments[] | select(.state != \"Ready\")'", "what is not ready"),
    ),
    arguments=_arguments,
    run=_run,
)
