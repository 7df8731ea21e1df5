"""Names derived from a deployment, so that no name has to be remembered to be found again.

``<object name, cut>-<8 of the UID>-<8 of the revision>-<ordinal>``: an audit reads the object off a cluster's name, a
re-created object never meets its ghost, and a crash between a launch and the status write is harmless.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from deepseek_operator.api.spec import DeepSeekDeploymentSpec, SecretKeyRef
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment

__all__ = [
    "PORT_NAME",
    "ClusterName",
    "api_key_secret",
    "authority_secret_name",
    "belongs_to",
    "cluster_name",
    "members_service",
    "parse_cluster_name",
    "port_names",
    "proxy_name",
    "revision_of",
    "server_name",
    "service_account_name",
    "shared_server_name",
    "uid_prefix",
]

CLUSTER_NAME_MAX_LENGTH: Final = 33
"""SkyPilot cuts longer names on Kubernetes (42 characters less ``-`` and 8 of the user's hash), and tells those that it
has cut by two characters of a hash: two replicas of one deployment could get the same machines."""

SHORT_NAME_MAX_LENGTH: Final = 26
"""The same on the clouds with the shortest names: 35 characters on Google Cloud."""
_SHORT_NAMES: Final = frozenset({"gcp"})

PORT_NAME: Final = "http"
"""Name of the Service's port, and of the one by which its proxy finds engines."""

_NAME: Final = re.compile(
    r"^(?P<stem>[a-z][-a-z0-9]*)-(?P<uid>[0-9a-f]{8})-(?P<revision>(?:[0-9a-f]{8}|[0-9a-f]{4}))-(?P<ordinal>[0-9]{1,3})$"
)

_NOT_IN_REVISION: Final[dict[str, Any]] = {
    "replicas": True,
    "suspend": True,
    "approval": True,
    "update_strategy": True,
    "resources": {"capacity", "max_hourly_cost", "retry_until_up", "provision_timeout_seconds"},
    "endpoint": {"type", "proxy"},
}
"""Fields that change nothing about a running replica: changing them must not replace it."""


@dataclass(frozen=True, order=True)
class ClusterName:
    """The name of one replica's SkyPilot cluster, taken apart.

    Attributes
    ----------
    text
        The name itself.
    uid
        First 8 hexadecimal digits of the deployment's UID.
    revision
        Revision of the spec that the replica runs: 8 hexadecimal digits, or 4 in names of versions up to 0.1.
    """

    text: str
    uid: str = field(compare=False)
    revision: str = field(compare=False)
    ordinal: int = field(compare=False)

    def __hash__(self) -> int:
        """Return the hash of the name, in which everything else stands."""
        return hash(self.text)

    def __str__(self) -> str:
        """Return the name as SkyPilot knows it."""
        return self.text

    def runs(self, revision: str) -> bool:
        """Return whether the replica runs ``revision``. Short revisions of older operators match by their prefix."""
        return revision.startswith(self.revision)


def uid_prefix(uid: str) -> str:
    """Return the 8 hexadecimal digits of ``uid`` that stand in names."""
    return uid.replace("-", "")[:8].lower()


def revision_of(spec: DeepSeekDeploymentSpec) -> str:
    """Return the revision of ``spec``: 8 hexadecimal digits that change when running replicas have to be replaced.

    Only what the user wrote counts: a new catalog or default image of a later operator replaces nobody's replicas.
    """
    written = spec.model_dump(mode="json", exclude=_NOT_IN_REVISION, exclude_defaults=True)
    # An object of which only excluded fields were set is one that was not set; an empty list (no GPUs) is not.
    written = {key: value for key, value in written.items() if value != {}}
    return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()[:8]


def cluster_name(
    deployment: DeepSeekDeployment, revision: str, ordinal: int, *, clouds: Iterable[str] = ()
) -> ClusterName:
    """Return the name of the SkyPilot cluster of one replica, at most 33 characters.

    Parameters
    ----------
    clouds
        Where it may run. Some have shorter names.
    """
    uid = uid_prefix(deployment.metadata.uid)
    most = CLUSTER_NAME_MAX_LENGTH if _SHORT_NAMES.isdisjoint(clouds) else SHORT_NAME_MAX_LENGTH
    return ClusterName(_text(deployment.metadata.name, uid, revision, ordinal, most), uid, revision, ordinal)


def _text(name: str, uid: str, revision: str, ordinal: int, most: int) -> str:
    suffix = f"-{uid}-{revision}-{ordinal}"
    return name[: most - len(suffix)].rstrip("-") + suffix


@lru_cache(maxsize=65_536)
def parse_cluster_name(name: str) -> ClusterName | None:
    """Return ``name`` taken apart, or None if the operator did not make it."""
    match = _NAME.match(name)
    if match is None:
        return None
    return ClusterName(name, match["uid"], match["revision"], int(match["ordinal"]))


def belongs_to(name: ClusterName, deployment: DeepSeekDeployment) -> bool:
    """Return whether ``name`` was derived from ``deployment``; two UIDs may share the digits that stand in a name."""
    return name.text in _texts(deployment.metadata.name, deployment.metadata.uid, name.revision, name.ordinal)


@lru_cache(maxsize=65_536)
def _texts(name: str, uid: str, revision: str, ordinal: int) -> tuple[str, str]:
    """Return what a replica of an object may be called: clouds with short names have their own."""
    digits = uid_prefix(uid)
    return (
        _text(name, digits, revision, ordinal, CLUSTER_NAME_MAX_LENGTH),
        _text(name, digits, revision, ordinal, SHORT_NAME_MAX_LENGTH),
    )


def service_account_name(deployment: DeepSeekDeployment) -> str:
    """Return the name of the account, without any rights, under which the deployment's pods run."""
    return f"{deployment.metadata.name}-engine"


def api_key_secret(name: str) -> SecretKeyRef:
    """Return where the operator keeps the API key of the deployment ``name`` whose user gave none."""
    return SecretKeyRef(name=f"{name}-api-key", key="token")


def authority_secret_name(name: str) -> str:
    """Return the name of the Secret that holds the certificate authority of the deployment ``name``."""
    return f"{name}-ca"


def proxy_name(name: str) -> str:
    """Return the name of what belongs to the proxy of the deployment ``name``."""
    return f"{name}-proxy"


def members_service(name: str, *, encrypted: bool) -> str:
    """Return the name of the headless Service by which the proxy finds engines with TLS, or those without."""
    return f"{name}-tls" if encrypted else f"{name}-plain"


def port_names(ports: tuple[int, ...]) -> tuple[str, ...]:
    """Return the names of the Service's ports: ``http`` is the wanted one, ``http-PORT`` one of older replicas."""
    return tuple(PORT_NAME if index == 0 else f"{PORT_NAME}-{port}" for index, port in enumerate(ports))


def server_name(cluster: str, uid: str) -> str:
    """Return the name in the certificate of one replica's engine: no DNS server knows it."""
    return f"{cluster}.{shared_server_name(uid)}"


def shared_server_name(uid: str) -> str:
    """Return the name that the certificates of all replicas of one deployment have in common."""
    return f"{uid}.deepseek-operator.internal"
