"""``deepseek-operator audit``: what exists under our name although no deployment owns it, and costs money."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from deepseek_operator.api.status import Instance
from deepseek_operator.api.v1alpha1 import LABEL_UID, DeepSeekDeployment
from deepseek_operator.cli import aws
from deepseek_operator.cli import run_options as options
from deepseek_operator.cli.aws import AwsError, AwsMachine
from deepseek_operator.cli.table import render_table
from deepseek_operator.facts.names import belongs_to, parse_cluster_name
from deepseek_operator.kube.client import KubeClient
from deepseek_operator.kube.errors import KubeDeniedError, KubeError
from deepseek_operator.kube.read import SKYPILOT_LABEL
from deepseek_operator.kube.reader import KubeReader
from deepseek_operator.kube.write import KubeWriter
from deepseek_operator.runtime.settings import Settings
from deepseek_operator.skypilot.authority import AuthorityFile
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.errors import SkyPilotError
from deepseek_operator.skypilot.token import TokenFile

__all__ = ["Orphan", "find", "register"]

EXIT_FOUND: Final = 4
EXIT_UNKNOWN: Final = 2
_DEFAULTS: Final = Settings()
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
        ``cluster`` if SkyPilot knows it; ``remains`` for pods and Services that it has forgotten, ``machines`` for
        rented machines that it has.
    name
        Name of the cluster; for remains, its name on the cloud.
    hourly
        US dollars an hour of all its nodes, by SkyPilot's catalog; None where that is not known, or costs nothing.
    where
        Cloud and region, or the namespace.
    """

    kind: str
    name: str
    where: str
    nodes: int
    hourly: str | None = None


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(short_help="List what exists under our name and no deployment owns.")(audit)


def audit(
    context: typer.Context,
    delete: Annotated[
        bool, typer.Option("--delete", help="Tear down what was found, and wait until it is gone.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --delete: do not ask.")] = False,
    output: Annotated[AuditFormat, typer.Option("-o", "--output", help="table or json.")] = AuditFormat.TABLE,
    skypilot_endpoint: options.SkypilotEndpoint = _DEFAULTS.skypilot_endpoint,
    skypilot_user_id: options.SkypilotUserId = _DEFAULTS.skypilot_user_id,
    skypilot_token_file: options.SkypilotTokenFile = None,
    skypilot_ca_file: options.SkypilotCaFile = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            envvar=f"{options.ENV}NAMESPACES",
            callback=options.namespaces,
            help="Namespace whose pods and Services are looked at; may be repeated. Unset: all. Whatever a deployment "
            "of any other one owns is left alone, too.",
        ),
    ] = None,
    ask_aws: Annotated[
        bool,
        typer.Option("--aws", help="Ask AWS, too, in every enabled region, with the aws program and its credentials."),
    ] = False,
) -> None:
    """List clusters, pods, Services and machines of this installation that no deployment owns.

    It costs money and nobody will give it back. Run it where the operator runs, whose environment has the options.
    Machines whose record SkyPilot itself has lost are only known to the cloud. With --aws they are looked for by their
    tag skypilot-cluster-name, from wherever the aws program and rights on the account are. On other clouds, look for
    that tag in the console. Machines that another Kubernetes cluster rents in the same account under the same user id
    look like nobody's, too: each cluster needs a user id of its own (skypilot.userId of the chart).

    \b
    Examples:
      kubectl exec -n deepseek-system deploy/deepseek-operator -c operator -- deepseek-operator audit
          look
      kubectl exec -n deepseek-system deploy/deepseek-operator -c operator -- deepseek-operator audit --delete --yes
          tear down what was found, and wait until it is gone
      deepseek-operator audit --aws --skypilot-endpoint http://127.0.0.1:46580 --skypilot-user-id d5ee9000
          on a workstation that has the aws program, a kubeconfig and a way to the SkyPilot server

    \b
    Exit status:
      0  nothing found, or everything deleted
      2  it could not be found out
      4  something found
    """
    token = TokenFile(skypilot_token_file) if skypilot_token_file else None
    authority = AuthorityFile(skypilot_ca_file) if skypilot_ca_file else None
    try:
        skypilot = SkyPilotClient(skypilot_endpoint, user_id=skypilot_user_id, token=token, authority=authority)
        source = context.get_parameter_source("namespace")
        served = source is not None and source.name == "ENVIRONMENT"
        question = _Question(skypilot, tuple(namespace or ()), served, ask_aws)
        left = asyncio.run(_audit(question, output, delete, yes))
    except (SkyPilotError, KubeError, WrongUserError, AwsError) as error:
        typer.echo(f"cannot audit: {error}", err=True)
        raise typer.Exit(EXIT_UNKNOWN) from error
    raise typer.Exit(EXIT_FOUND if left else 0)


@dataclass(frozen=True)
class _Question:
    """Who is asked, and for what.

    Attributes
    ----------
    served
        The namespaces are all that this installation serves, by its own word, and not some that somebody named.
    """

    skypilot: SkyPilotClient
    namespaces: tuple[str, ...]
    served: bool
    aws: bool


async def _audit(question: _Question, output: AuditFormat, delete: bool, yes: bool) -> bool:
    """Return whether anything is left."""
    kube = KubeClient()
    try:
        async with question.skypilot as skypilot:
            reader, writer = KubeReader(kube), KubeWriter(kube, f"audit-{os.getpid()}")
            user = await skypilot.user()

            async def look() -> tuple[tuple[Orphan, ...], tuple[AwsMachine, ...]]:
                machines = await asyncio.to_thread(aws.rented, user) if question.aws else ()
                forgotten = await _forgotten(question, reader, machines)
                found = await find(skypilot, reader, user, question.namespaces, served=question.served)
                return found + await _machines(skypilot, forgotten), forgotten

            found, machines = await look()
            typer.echo(_rendered(found, output, user))
            if not found or not delete:
                return bool(found)
            if not yes:
                typer.confirm(f"Tear down {len(found)} of them?", abort=True, err=True)
            for orphan in found:
                if orphan.kind != "machines":
                    await _remove(orphan, skypilot, writer)
            if machines:
                typer.echo(f"terminating {len(machines)} machines of AWS", err=True)
                await asyncio.to_thread(aws.terminate, machines)
            return await _wait(look, user)
    finally:
        await kube.close()


async def _deployments(reader: KubeReader, namespaces: tuple[str, ...], *, served: bool) -> list[dict[str, Any]]:
    """Return the deployments that may own anything.

    The name of a cluster does not say of which namespace its owner is. So those of all namespaces are looked at, unless
    these are known to be the only ones that are served.
    """
    try:
        return await reader.list_all("deployments", namespaces if served else ())
    except KubeDeniedError as error:
        if not namespaces or served:
            raise
        raise KubeDeniedError(
            f"{error}; a deployment of another namespace may own what would look like nobody's: where not all may be "
            f"listed, name every namespace that the operator serves in {options.ENV}NAMESPACES, without --namespace"
        ) from error


async def _forgotten(
    question: _Question, reader: KubeReader, machines: tuple[AwsMachine, ...]
) -> tuple[AwsMachine, ...]:
    """Return the machines that neither SkyPilot nor the status of any deployment knows.

    Those that a status still names are held there with ``MachinesUnaccounted``: their engine may serve.
    """
    if not machines:
        return ()
    bodies = await _deployments(reader, question.namespaces, served=question.served)
    known = {instance.name for body in bodies for instance in _instances(body)}
    snapshot = await question.skypilot.snapshot()
    known |= set(snapshot.clusters) | set(snapshot.requests)
    return tuple(machine for machine in machines if machine.cluster not in known)


def _instances(body: dict[str, Any]) -> tuple[Instance, ...]:
    return DeepSeekDeployment.parse_leniently(body)[0].status.instances


async def _machines(skypilot: SkyPilotClient, machines: tuple[AwsMachine, ...]) -> tuple[Orphan, ...]:
    """Return one line for each cluster of machines, with what it costs, if SkyPilot says that."""
    prices: dict[tuple[str, str, bool], Decimal] = {}
    if machines:
        # A server that has lost its database has its prices to fetch first. The machines are told of all the same.
        with suppress(SkyPilotError):
            prices = await skypilot.machine_prices("aws")
    found: dict[tuple[str, str], Orphan] = {}
    for machine in machines:
        price = prices.get((machine.type, machine.region, machine.spot))
        one = Orphan("machines", machine.cluster, f"aws/{machine.region}", 1, None if price is None else str(price))
        known = found.get((one.name, one.where))
        if known is not None:
            total = None if known.hourly is None or price is None else str(Decimal(known.hourly) + price)
            one = replace(one, nodes=known.nodes + 1, hourly=total)
        found[one.name, one.where] = one
    return tuple(found[key] for key in sorted(found))


async def find(
    skypilot: SkyPilotClient, reader: KubeReader, user: str, namespaces: tuple[str, ...], *, served: bool = False
) -> tuple[Orphan, ...]:
    """Return what no deployment owns.

    SkyPilot is asked first: a deployment that comes afterwards can only make this list shorter.

    Parameters
    ----------
    namespaces
        Where pods and Services are looked for; everywhere if there is none.
    served
        These are all that the installation serves, so deployments are looked for there only.

    Raises
    ------
    SkyPilotError, KubeError
        If either cannot be asked. Nothing is called an orphan then.
    WrongUserError
        If ``user`` is not the one of this installation.
    """
    clusters = (await skypilot.snapshot()).clusters
    owned = [(kind, await reader.list_all(kind, namespaces)) for kind in ("pods", "services")]
    bodies = await _deployments(reader, namespaces, served=served)
    deployments = [DeepSeekDeployment.parse_leniently(dict(body))[0] for body in bodies]
    living = {deployment.metadata.uid for deployment in deployments}
    found, users = [], set()
    for name, cluster in sorted(clusters.items()):
        parsed = parse_cluster_name(name)
        if parsed is None:
            continue
        owner = next((deployment for deployment in deployments if belongs_to(parsed, deployment)), None)
        if owner is not None:
            if not namespaces or owner.metadata.namespace in namespaces:  # else another installation's, maybe
                users.add(cluster.user)
        elif cluster.user == user:
            place = f"{cluster.infra}/{cluster.region}" if cluster.region else cluster.infra
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


async def _wait(look: Callable[[], Awaitable[tuple[tuple[Orphan, ...], tuple[AwsMachine, ...]]]], user: str) -> bool:
    loop = asyncio.get_running_loop()
    end = loop.time() + _GONE_S
    while left := (await look())[0]:
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
    rows = [[one.kind, one.name, one.where, str(one.nodes), one.hourly or ""] for one in found]
    table = render_table(["KIND", "NAME", "WHERE", "NODES", "$/H"], rows, right=frozenset({"NODES", "$/H"}))
    leaking = sum((Decimal(one.hourly) for one in found if one.hourly is not None), Decimal(0))
    return f"{table}\n\nleaking at least ${leaking:.2f}/h" if leaking else table
