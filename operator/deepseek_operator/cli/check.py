"""``deepseek-operator check``: what the chart's hooks ask before they let ``helm test`` or ``helm uninstall`` go on."""

import asyncio
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Protocol

import typer

from deepseek_operator.api.v1alpha1 import FINALIZER, DeepSeekDeployment
from deepseek_operator.cli.run_options import web_address
from deepseek_operator.facts.text import counted
from deepseek_operator.kube.client import KubeClient
from deepseek_operator.kube.errors import KubeError, KubeNotFoundError
from deepseek_operator.kube.reader import KubeReader

__all__ = ["held", "register", "wait_ready", "wait_released"]

EXIT_FOUND: Final = 4
EXIT_UNKNOWN: Final = 2
_ENV: Final = "DEEPSEEK_OPERATOR_"
_LOOK_S: Final = 2.0
_SHOWN: Final = 20
"""Objects that a refusal names."""

Namespaces = Annotated[
    list[str] | None,
    typer.Option(envvar=f"{_ENV}NAMESPACES", help="Namespaces that the operator serves; may be repeated. Unset: all."),
]


class _Reader(Protocol):
    async def list_all(self, kind: str, namespaces: tuple[str, ...]) -> list[dict[str, Any]]: ...


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    commands = typer.Typer(no_args_is_help=True, help="Check an installation.")
    commands.command(short_help="Wait until the operator and SkyPilot are ready.")(installed)
    commands.command(short_help="Refuse while deployments hold nodes.")(uninstall)
    app.add_typer(commands, name="check")


def installed(
    url: Annotated[str, typer.Option(callback=web_address, help="URL of the operator's /readyz.")],
    within: Annotated[float, typer.Option(min=0, help="Seconds to wait.")] = 60.0,
    namespace: Namespaces = None,
) -> None:
    """Wait until the operator and its SkyPilot server are ready, and list the deployments.

    Exit status: 0 everything works, 2 something does not.
    """
    try:
        wait_ready(url, within)
        bodies = asyncio.run(_with_reader(lambda reader: _list(reader, tuple(namespace or ()))))
    except (TimeoutError, KubeError) as error:
        typer.echo(f"not installed well: {error}", err=True)
        raise typer.Exit(EXIT_UNKNOWN) from error
    typer.echo(f"the operator and SkyPilot are ready; {len(bodies)} DeepSeekDeployments")


def uninstall(
    within: Annotated[float, typer.Option(min=0, help="Seconds to wait for objects that are being deleted.")] = 0.0,
    namespace: Namespaces = None,
    undo: Annotated[str, typer.Option(help="Command after which the release can be upgraded again.")] = "",
) -> None:
    """Refuse while there are deployments that only this operator can tear down.

    Exit status: 0 nothing is held, 4 something is, 2 it could not be found out.
    """
    try:
        left = asyncio.run(_with_reader(lambda reader: wait_released(reader, tuple(namespace or ()), within)))
    except KubeError as error:
        typer.echo(f"cannot tell what is held: {error}", err=True)
        raise typer.Exit(EXIT_UNKNOWN) from error
    if not left:
        typer.echo("no DeepSeekDeployment holds anything")
        return
    more = f"\n  and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    whose = counted(len(left), "DeepSeekDeployment")
    places = [f"-n {one}" for one in namespace or ()] or ["--all-namespaces"]  # elsewhere are those of other releases
    typer.echo(
        f"Refused: nobody gives back the nodes of {whose} once the operator is gone:\n"
        + "\n".join(f"  {words}" for words in left[:_SHOWN])
        + more
        + "\nDelete them first:"
        + "".join(f"\n  kubectl delete dsd --all {place}" for place in places)
        + "\nTo leave them running for an operator that is installed later: helm uninstall --no-hooks"
        # Helm calls a release whose hook failed 'uninstalling', and upgrades it no more.
        + (f"\nTo go on with the release as it is: {undo}" if undo else ""),
        err=True,
    )
    raise typer.Exit(EXIT_FOUND)


def held(bodies: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each deployment that the operator has not released.

    The finalizer is there from before the first launch until nothing is left, so it says more than a status does.
    """
    found = []
    for body in bodies:
        if FINALIZER not in (body["metadata"].get("finalizers") or ()):
            continue
        deployment, _ = DeepSeekDeployment.parse_leniently(dict(body))
        status = deployment.status
        nodes = sum(instance.nodes for instance in status.instances)
        cost = status.cost.hourly if status.cost is not None and status.cost.hourly else "0.00"
        going = ", being deleted" if deployment.deleting else ""
        name = "/".join(deployment.key)
        held_by_it = f"{counted(len(status.instances), 'replica')} on {counted(nodes, 'node')}"
        found.append(f"{name}: {held_by_it}, {cost} $/h{going}")
    return sorted(found)


async def wait_released(reader: _Reader, namespaces: tuple[str, ...], within: float) -> list[str]:
    """Return what is still held after at most ``within`` seconds; the empty list as soon as nothing is."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while (left := held(await _list(reader, namespaces))) and loop.time() < end:  # noqa: ASYNC110 - a list, no watch
        await asyncio.sleep(min(_LOOK_S, max(0.0, end - loop.time())))
    return left


def wait_ready(url: str, within: float) -> None:
    """Wait until ``url`` answers 200.

    Raises
    ------
    TimeoutError
        With what was answered last.
    """
    end = time.monotonic() + within
    while words := _problem(url):
        if time.monotonic() >= end:
            raise TimeoutError(f"{url} after {within:g} s: {words}")
        time.sleep(min(_LOOK_S, max(0.0, end - time.monotonic())))


def _problem(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return ""
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace").strip() or f"HTTP {error.code}"
    except (OSError, http.client.HTTPException) as error:  # the latter of what speaks no HTTP
        return str(error) or type(error).__name__


async def _list(reader: _Reader, namespaces: tuple[str, ...]) -> list[dict[str, Any]]:
    try:
        return await reader.list_all("deployments", namespaces)
    except KubeNotFoundError:  # the CustomResourceDefinition is gone, and every object with it
        return []


async def _with_reader(ask: Callable[[KubeReader], Any]) -> Any:
    kube = KubeClient()
    try:
        return await ask(KubeReader(kube))
    finally:
        await kube.close()
