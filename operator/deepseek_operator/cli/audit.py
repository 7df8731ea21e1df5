"""``deepseek-operator audit``: what exists under our name although no deployment owns it, and costs money."""

import asyncio
import json
import os
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from deepseek_operator.api.v1alpha1 import LABEL_UID, DeepSeekDeployment
from deepseek_operator.cli.run import check_user_id
from deepseek_operator.cli.table import render_table
from deepseek_operator.facts.names import belongs_to, parse_cluster_name
from deepseek_operator.kube.client import KubeClient
from deepseek_operator.kube.errors import KubeError
from deepseek_operator.kube.read import SKYPILOT_LABEL
from deepseek_operator.kube.reader import KubeReader
from deepseek_operator.kube.write import KubeWriter
from deepseek_operator.runtime.settings import Settings
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.errors import SkyPilotError

__all__ = ["Orphan", "find", "register"]

EXIT_FOUND: Final = 4
EXIT_UNKNOWN: Final = 2
_DEFAULTS: Final = Settings()
_ENV: Final = "DEEPSEEK_OPERATOR_"
_GONE_S: Final = 600.0
_LOOK_S: Final = 2.0


class AuditFormat(StrEnum):
    """How findings are written."""

    TABLE = "table"
    JSON = "json"


class WrongUserError(Exception):
    """The clusters of living deployments carry another user id than the one that was asked about."""


@dataclass(frozen=True)
class Orphan:
    """Something that no deployment owns.

    Attributes
    ----------
    kind
        ``cluster`` if SkyPilot knows it; ``remains`` for pods and Services that it has forgotten.
    name
        Name of the cluster; for remains, its name on the cloud.
    where
        Cloud and region, or the namespace.
    """

    kind: str
    name: str
    where: str
    nodes: int


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(short_help="List what exists under our name and no deployment owns.")(audit)


def audit(
    delete: Annotated[
        bool, typer.Option("--delete", help="Tear down what was found, and wait until it is gone.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --delete: do not ask.")] = False,
    output: Annotated[AuditFormat, typer.Option("-o", "--output", help="table or json.")] = AuditFormat.TABLE,
    skypilot_endpoint: Annotated[
        str, typer.Option(envvar=f"{_ENV}SKYPILOT_ENDPOINT", help="Base URL of the SkyPilot API server.")
    ] = _DEFAULTS.skypilot_endpoint,
    skypilot_user_id: Annotated[
        str, typer.Option(envvar=f"{_ENV}SKYPILOT_USER_ID", help="The operator's 8 hexadecimal digits.")
    ] = _DEFAULTS.skypilot_user_id,
    skypilot_token_file: Annotated[
        Path | None,
        typer.Option(envvar=f"{_ENV}SKYPILOT_TOKEN_FILE", help="File with a SkyPilot service-account token."),
    ] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            envvar=f"{_ENV}NAMESPACES", help="Namespaces that the operator serves; may be repeated. Unset: all."
        ),
    ] = None,
) -> None:
    """List clusters, pods and Services of this installation that no deployment owns.

    It costs money and nobody will give it back. Run it where the operator runs, whose environment has the options.
    Machines whose record SkyPilot itself has lost are only in the cloud's own console: look for the tag
    skypilot-cluster-name.

    \b
    Examples:
      kubectl exec -n deepseek-system deploy/deepseek-operator -c operator -- deepseek-operator audit
          look
      kubectl exec -n deepseek-system deploy/deepseek-operator -c operator -- deepseek-operator audit --delete --yes
          tear down what was found, and wait until it is gone

    \b
    Exit status:
      0  nothing found, or everything deleted
      2  it could not be found out
      4  something found
    """
    token = skypilot_token_file.read_text().strip() if skypilot_token_file else None
    user = check_user_id(skypilot_user_id)
    try:
        left = asyncio.run(_audit(skypilot_endpoint, user, token, tuple(namespace or ()), output, delete, yes))
    except (SkyPilotError, KubeError, WrongUserError) as error:
        typer.echo(f"cannot audit: {error}", err=True)
        raise typer.Exit(EXIT_UNKNOWN) from error
    raise typer.Exit(EXIT_FOUND if left else 0)


async def _audit(
    endpoint: str,
    user: str,
    token: str | None,
    namespaces: tuple[str, ...],
    output: AuditFormat,
    delete: bool,
    yes: bool,
) -> bool:
    """Return whether anything is left."""
    kube = KubeClient()
    try:
        async with SkyPilotClient(endpoint, user_id=user, token=token) as skypilot:
            reader, writer = KubeReader(kube), KubeWriter(kube, f"audit-{os.getpid()}")
            found = await find(skypilot, reader, user, namespaces)
            typer.echo(_rendered(found, output, user))
            if not found or not delete:
                return bool(found)
            if not yes:
                typer.confirm(f"Tear down {len(found)} of them?", abort=True, err=True)
            for orphan in found:
                await _remove(orphan, skypilot, writer)
            return await _wait(skypilot, reader, user, namespaces)
    finally:
        await kube.close()


async def find(
    skypilot: SkyPilotClient, reader: KubeReader, user: str, namespaces: tuple[str, ...]
) -> tuple[Orphan, ...]:
    """Return what no deployment owns.

    SkyPilot is asked first: a deployment that comes afterwards can only make this list shorter.

    Raises
    ------
    SkyPilotError, KubeError
        If either cannot be asked. Nothing is called an orphan then.
    WrongUserError
        If ``user`` is not the one of this installation.
    """
    clusters = (await skypilot.snapshot()).clusters
    owned = [(kind, await reader.list_all(kind, namespaces)) for kind in ("pods", "services")]
    bodies = await reader.list_all("deployments", namespaces)
    deployments = [DeepSeekDeployment.parse_leniently(dict(body))[0] for body in bodies]
    living = {deployment.metadata.uid for deployment in deployments}
    found, users = [], set()
    for name, cluster in sorted(clusters.items()):
        parsed = parse_cluster_name(name)
        if parsed is None:
            continue
        if any(belongs_to(parsed, deployment) for deployment in deployments):
            users.add(cluster.user)
        elif cluster.user == user:
            place = f"{cluster.cloud.lower()}/{cluster.region}" if cluster.region else cluster.cloud.lower()
            found.append(Orphan("cluster", name, place, cluster.nodes))
    if users and user not in users:
        raise WrongUserError(f"this installation's clusters have the user id {', '.join(sorted(users))}, not {user}")
    known = {f"{orphan.name}-{user}" for orphan in found}
    remains: dict[tuple[str, str], int] = {}
    for kind, listed in owned:
        for body in listed:
            metadata = body["metadata"]
            on_cloud = str(metadata["labels"].get(SKYPILOT_LABEL) or "")
            if on_cloud.endswith(f"-{user}") and metadata["labels"][LABEL_UID] not in living and on_cloud not in known:
                place_of = (on_cloud, metadata["namespace"])
                remains[place_of] = remains.get(place_of, 0) + (kind == "pods")
    found += [Orphan("remains", name, place, nodes) for (name, place), nodes in sorted(remains.items())]
    return tuple(found)


async def _remove(orphan: Orphan, skypilot: SkyPilotClient, writer: KubeWriter) -> None:
    typer.echo(f"tearing down {orphan.kind} {orphan.name}", err=True)
    if orphan.kind == "cluster":
        await skypilot.down(orphan.name)
    else:
        await writer.clear_remains(orphan.where, orphan.name)


async def _wait(skypilot: SkyPilotClient, reader: KubeReader, user: str, namespaces: tuple[str, ...]) -> bool:
    loop = asyncio.get_running_loop()
    end = loop.time() + _GONE_S
    while left := await find(skypilot, reader, user, namespaces):
        if loop.time() > end:
            typer.echo(f"still there after {_GONE_S:g} s:\n{_rendered(left, AuditFormat.TABLE, user)}", err=True)
            return True
        await asyncio.sleep(_LOOK_S)
    typer.echo("nothing is left", err=True)
    return False


def _rendered(found: tuple[Orphan, ...], output: AuditFormat, user: str) -> str:
    if output is AuditFormat.JSON:
        return json.dumps({"orphans": [asdict(orphan) for orphan in found]}, indent=2)
    if not found:
        return f"nothing exists under user id {user} that no deployment owns"
    rows = [[orphan.kind, orphan.name, orphan.where, str(orphan.nodes)] for orphan in found]
    return render_table(["KIND", "NAME", "WHERE", "NODES"], rows, right=frozenset({"NODES"}))
