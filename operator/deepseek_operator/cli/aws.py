"""What AWS itself says is rented under our name: asked with the ``aws`` program and whatever credentials it has.

The operator has no rights on any cloud, and SkyPilot forgets machines together with its database. What is left then is
the tag that SkyPilot puts on every machine, and the account of whoever runs the audit.
"""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from deepseek_operator.facts.names import parse_cluster_name

__all__ = ["AwsError", "AwsMachine", "rented", "terminate"]

_TAG: Final = "skypilot-cluster-name"
_COSTS: Final = "pending,running,stopping,stopped"
_TIMEOUT_S: Final = 120
_REGIONS_AT_ONCE: Final = 6
"""An account has some twenty regions; each question starts a program that takes a second of CPU."""


class AwsError(Exception):
    """AWS could not be asked; the message is what ``aws`` said."""


@dataclass(frozen=True)
class AwsMachine:
    """An instance that costs money.

    Attributes
    ----------
    cluster
        Name of the SkyPilot cluster that it belongs to.
    """

    id: str
    type: str
    region: str
    spot: bool
    cluster: str


def rented(user: str) -> tuple[AwsMachine, ...]:
    """Return the machines of a SkyPilot user id's deployments in every region that is enabled for the account.

    Raises
    ------
    AwsError
        If any region cannot be asked: a list with a gap would look like good news.
    """
    regions = sorted(str(one["RegionName"]) for one in _aws("describe-regions")["Regions"])
    with ThreadPoolExecutor(_REGIONS_AT_ONCE) as pool:
        found = pool.map(lambda region: tuple(_of_region(region, user)), regions)
        return tuple(machine for machines in found for machine in machines)


def terminate(machines: tuple[AwsMachine, ...]) -> None:
    """Terminate machines, wait until they are, and delete their clusters' security groups."""
    for region in sorted({machine.region for machine in machines}):
        here = [machine for machine in machines if machine.region == region]
        identities = [machine.id for machine in here]
        _aws("terminate-instances", f"--region={region}", "--instance-ids", *identities)
        _aws("wait", "instance-terminated", f"--region={region}", "--instance-ids", *identities, seconds=900)
        names = ",".join(sorted({f"sky-sg-{machine.cluster}" for machine in here}))
        found = _aws("describe-security-groups", f"--region={region}", f"--filters=Name=group-name,Values={names}")
        for group in found["SecurityGroups"]:
            _aws("delete-security-group", f"--region={region}", f"--group-id={group['GroupId']}")


def _of_region(region: str, user: str) -> Iterator[AwsMachine]:
    filters = [f"Name=tag:{_TAG},Values=*-{user}", f"Name=instance-state-name,Values={_COSTS}"]
    answer = _aws("describe-instances", f"--region={region}", "--filters", *filters)
    for reservation in answer["Reservations"]:
        for one in reservation["Instances"]:
            tags = {tag["Key"]: tag["Value"] for tag in one["Tags"]}
            cluster = tags[_TAG].removesuffix(f"-{user}")
            if parse_cluster_name(cluster) is None:
                continue  # somebody else's, who asks the same SkyPilot server as the same user
            yield AwsMachine(
                id=str(one["InstanceId"]),
                type=str(one["InstanceType"]),
                region=region,
                spot=one.get("InstanceLifecycle") == "spot",
                cluster=cluster,
            )


def _aws(*words: str, seconds: float = _TIMEOUT_S) -> Any:
    command = ["aws", "ec2", *words, "--output=json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except FileNotFoundError as error:
        raise AwsError("there is no program aws on the PATH: install the AWS command line, and configure it") from error
    except subprocess.TimeoutExpired as error:
        raise AwsError(f"aws ec2 {words[0]} has not ended after {seconds:g} s") from error
    if done.returncode != 0:
        raise AwsError(f"aws ec2 {words[0]}: {done.stderr.strip() or 'failed'}")
    return json.loads(done.stdout) if done.stdout.strip() else {}
