"""The deployments themselves, and whose a UID or a name is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deepseek_operator.api.status import DeepSeekDeploymentStatus
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.names import belongs_to, parse_cluster_name, revision_of, uid_prefix

__all__ = ["Deployments", "Key", "Stored"]

Key = tuple[str, str]
"""``(namespace, name)`` of a deployment."""


@dataclass(frozen=True)
class Stored:
    """A deployment as it was sent last.

    Attributes
    ----------
    problem
        What is wrong with its spec; empty if nothing is.
    revision
        What the spec asks for.
    written
        The spec as the API server has it, in JSON: as long as it is the same, it is not read again.
    """

    deployment: DeepSeekDeployment
    problem: str
    revision: str
    written: Any = None


class Deployments:
    """Every deployment as the API server has it, and the statuses that it does not have yet."""

    def __init__(self) -> None:
        self._stored: dict[Key, Stored] = {}
        self._by_uid: dict[str, Key] = {}
        self._by_prefix: dict[str, set[Key]] = {}
        self._unsaved: dict[Key, tuple[str, DeepSeekDeploymentStatus]] = {}

    def __iter__(self) -> Iterator[Key]:
        """Iterate over the keys."""
        return iter(self._stored)

    def get(self, key: Key) -> Stored | None:
        """Return a deployment; None if it is not there."""
        return self._stored.get(key)

    def put(self, body: Mapping[str, Any]) -> tuple[Stored, Stored | None]:
        """Store a deployment as the API server sent it; return it, and what was stored before under its name."""
        metadata, written = body["metadata"], body.get("spec")
        before = self._stored.get((metadata["namespace"], metadata["name"]))
        same = before if before is not None and not before.problem and before.written == written else None
        readable = dict(body) if same is None else {**body, "spec": same.deployment.spec}
        deployment, problem = DeepSeekDeployment.parse_leniently(readable)
        revision = revision_of(deployment.spec) if same is None else same.revision
        key, uid = deployment.key, deployment.metadata.uid
        if before is not None and before.deployment.metadata.uid != uid:
            self._unindex(before.deployment)
        deployment = self._with_known_status(deployment, before)
        stored = self._stored[key] = Stored(deployment, problem, revision, written)
        self._by_uid[uid] = key
        self._by_prefix.setdefault(uid_prefix(uid), set()).add(key)
        return stored, before

    def _with_known_status(self, deployment: DeepSeekDeployment, before: Stored | None) -> DeepSeekDeployment:
        """Let a status that is known already stay one object, which is kept once and compared by identity."""
        known = [self._unsaved.get(deployment.key, ("", None))[1], before.deployment.status if before else None]
        same = next((status for status in known if status == deployment.status), None)
        return deployment if same is None else deployment.model_copy(update={"status": same})

    def drop(self, key: Key) -> None:
        """Forget a deployment."""
        self._unindex(self._stored.pop(key).deployment)

    def _unindex(self, deployment: DeepSeekDeployment) -> None:
        """Forget whose the UID and the names of a deployment are, and its status that is not stored yet."""
        uid, key = deployment.metadata.uid, deployment.key
        self._by_uid.pop(uid, None)
        keys = self._by_prefix.get(uid_prefix(uid), set())
        keys.discard(key)
        if not keys:
            self._by_prefix.pop(uid_prefix(uid), None)
        self._unsaved.pop(key, None)

    def of_uid(self, uid: str) -> Key | None:
        """Return the key of the deployment with this UID."""
        return self._by_uid.get(uid)

    def of_cluster(self, name: str) -> tuple[Key, ...]:
        """Return the keys of the deployments whose cluster may have this name."""
        parsed = parse_cluster_name(name)
        if parsed is None:
            return ()
        candidates = self._by_prefix.get(parsed.uid, ())
        return tuple(key for key in candidates if belongs_to(parsed, self._stored[key].deployment))

    def in_namespace(self, namespace: str) -> tuple[Key, ...]:
        """Return the keys of the deployments of a namespace."""
        return tuple(key for key in self._stored if key[0] == namespace)

    def using(self, cloud: str) -> tuple[Key, ...]:
        """Return the keys of the deployments that may run on a cloud."""
        found = []
        for key, known in self._stored.items():
            places = known.deployment.spec.resources.infra
            if not places or any(place.split("/", 1)[0] == cloud for place in places):
                found.append(key)
        return tuple(found)

    # --- statuses that are not stored yet ----------------------------------------------------------------------------

    def put_unsaved(self, deployment: DeepSeekDeployment, status: DeepSeekDeploymentStatus) -> None:
        """Keep a status that is to be written: what was done must not be forgotten if it cannot be."""
        self._unsaved[deployment.key] = (deployment.metadata.uid, status)

    def drop_unsaved(self, key: Key) -> None:
        """Forget it: it is stored, or nothing in it is news."""
        self._unsaved.pop(key, None)

    def latest(self, deployment: DeepSeekDeployment) -> DeepSeekDeployment:
        """Return a deployment with its latest status, stored or not."""
        uid, status = self._unsaved.get(deployment.key, ("", deployment.status))
        return deployment.model_copy(update={"status": status}) if uid == deployment.metadata.uid else deployment
