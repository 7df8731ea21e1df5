"""The fact store: one place for everything that is known, and the only thing that a pass reads.

- Feeds put facts; the store wakes the keys of the deployments that a changed fact concerns.
- :meth:`Store.world` joins the facts of one deployment, synchronously and without I/O; :mod:`.join` those of a replica.
- Nothing goes backwards: an object with an older resource version than the one stored is ignored, and so is a SkyPilot
  snapshot that was asked for before our last request about a name (:meth:`Store.acted`).

===================  ==================================  ===========================================
facts                key -> value                        written by
===================  ==================================  ===========================================
:mod:`.deployments`  key -> typed object                 feeds.kubernetes, and answers to our writes
:mod:`.owned`        namespace, UID -> pods, Services .. feeds.kubernetes, and answers to our writes
:mod:`.snapshots`    name -> cluster, requests           feeds.skypilot; runtime.act notes its requests
:mod:`.answers`      question -> answer                  feeds.questions
:mod:`.probed`       address -> probe, reading           feeds.probes; feeds.engines
===================  ==================================  ===========================================
"""

from collections.abc import Callable, Iterable, Mapping, Set
from datetime import datetime
from typing import Any

from pydantic import SecretStr

from deepseek_operator.api.status import DeepSeekDeploymentStatus
from deepseek_operator.api.v1alpha1 import LABEL_UID, DeepSeekDeployment
from deepseek_operator.facts.answers import Answers
from deepseek_operator.facts.base import Address, Fact, Known, Probe
from deepseek_operator.facts.deployments import Deployments, Key
from deepseek_operator.facts.engine import EngineReading
from deepseek_operator.facts.join import join_replicas, seen_names
from deepseek_operator.facts.names import belongs_to, parse_cluster_name, uid_prefix
from deepseek_operator.facts.owned import OwnedFact, OwnedObjects
from deepseek_operator.facts.probed import Probed
from deepseek_operator.facts.skypilot import SkyPilotCluster, SkyPilotRequest
from deepseek_operator.facts.snapshots import Snapshots
from deepseek_operator.facts.world import (
    Question,
    QuestionKind,
    World,
    api_key_question,
    authority_question,
)

__all__ = ["Key", "Store", "owner_uid"]

_Owner = tuple[str, str]
"""Namespace and UID of the deployment for which an object was made."""


class Store:
    """Facts about all deployments.

    Parameters
    ----------
    wake
        Called with the key of a deployment about which something has changed.
    wake_urgently
        The same where its engine answers no longer, or for the first time.
    wake_edited
        The same where its user has created, changed or deleted it.
    wake_later
        The same where only the status changes by it, and nobody waits for that.
    """

    def __init__(
        self,
        wake: Callable[[Key], None],
        wake_urgently: Callable[[Key], None] | None = None,
        wake_edited: Callable[[Key], None] | None = None,
        wake_later: Callable[[Key], None] | None = None,
    ) -> None:
        self._wake, self._wake_later = wake, wake_later or wake
        self._wake_urgently, self._wake_edited = wake_urgently or wake, wake_edited or wake
        self._deployments = Deployments()
        self._owned: OwnedObjects[_Owner] = OwnedObjects()
        self._terminating: set[str] = set()
        self._conflicts: set[Key] = set()
        self._skypilot: Snapshots[Key] = Snapshots()
        self._answers = Answers()
        self._probed: Probed[Key] = Probed()

    # --- Kubernetes --------------------------------------------------------------------------------------------------

    def all_keys(self) -> tuple[Key, ...]:
        """Return the keys of all deployments."""
        return tuple(self._deployments)

    def put_deployment(self, body: Mapping[str, Any], *, wake: bool = True) -> None:
        """Store a deployment as the API server sent it.

        The answer to a write of ours (``wake=False``) is no news but for what a user has changed just before: the event
        of that comes after it, and is ignored because it is older.
        """
        if not self._owned.newer("deployments", body):
            return
        stored, before = self._deployments.put(body)
        deployment = stored.deployment
        if before is not None and before.deployment.metadata.uid != deployment.metadata.uid:
            self._forget(before.deployment)  # another object of the same name
        elif before is not None:
            # Of a replica that is gone nobody asks any more, and no snapshot will show it again.
            for name in _replicas(before.deployment) - _replicas(deployment):
                self._answers.forget(name)
        if before is None or _wishes(before.deployment) != _wishes(deployment):
            self._wake_edited(deployment.key)
        elif wake:
            self._wake(deployment.key)

    def drop_deployment(self, key: Key, uid: str = "") -> None:
        """Forget a deployment that is gone, unless another one of its name has come since."""
        known = self._deployments.get(key)
        if known is None or not uid or known.deployment.metadata.uid == uid:
            self._owned.forget("deployments", *key)
        if known is not None and (not uid or known.deployment.metadata.uid == uid):
            self._drop_object(known.deployment)

    def drop_released(self, deployment: DeepSeekDeployment) -> None:
        """Forget a deployment whose last finalizer was taken off, before the watch says that it is gone.

        Its version is remembered until then: an event that is still on its way must not bring it back. Another object
        of its name may have come by now, and stays.
        """
        known = self._deployments.get(deployment.key)
        if known is not None and known.deployment.metadata.uid == deployment.metadata.uid:
            self._drop_object(deployment)

    def _drop_object(self, deployment: DeepSeekDeployment) -> None:
        self._forget(deployment)
        self._deployments.drop(deployment.key)
        if not self._deployments.in_namespace(deployment.key[0]):
            self._answers.drop_namespace(deployment.key[0])
        self._wake(deployment.key)

    def put_owned(self, kind: str, uid: str, body: Mapping[str, Any], fact: OwnedFact, *, wake: bool = True) -> None:
        """Store a pod, Service or EndpointSlice that carries the UID of a deployment."""
        owner = (body["metadata"].get("namespace", ""), uid)
        for changed in self._owned.put(kind, owner, body, fact):
            if wake or changed != owner:
                self._wake_owner(changed)

    def drop_owned(self, kind: str, uid: str, namespace: str, name: str, *, wake: bool = True) -> None:
        """Forget a pod, Service or EndpointSlice that is gone, or (``wake=False``) that we have just deleted."""
        if self._owned.drop(kind, (namespace, uid), namespace, name, by_us=not wake) and wake:
            self._wake_owner((namespace, uid))

    def drop_cluster(self, namespace: str, uid: str, name_on_cloud: str) -> None:
        """Forget the pods and Services of a cluster that were deleted by label."""
        if self._owned.drop_cluster((namespace, uid), name_on_cloud):
            self._wake_owner((namespace, uid))

    def knows_newer(self, kind: str, body: Mapping[str, Any]) -> bool:
        """Return whether another object of the same name has come after the one that is gone."""
        return self._owned.knows_newer(kind, body)

    def put_gone(self, kind: str, body: Mapping[str, Any]) -> None:
        """Remember that an object is gone, with the version of its deletion: nothing older brings it back."""
        self._owned.gone(kind, body)

    def put_listing(self, kind: str, present: Set[tuple[str, str]], version: str, namespace: str | None = None) -> None:
        """Drop what a full list no longer shows, by namespace and name. A watch can lose a deletion."""
        if kind == "namespaces":
            for gone in self._terminating - {name for _, name in present}:
                self.put_namespace(gone, terminating=False)
            return
        absent = self._owned.absent(kind, present, version, namespace)
        owners = self._owned.owners(kind) if absent else {}  # once: a thousand may be gone beside ten thousand
        for where, name in absent:
            if kind == "deployments":
                self.drop_deployment((where, name))
                continue
            for owner in owners.get(name, ()):
                if owner[0] == where:
                    self.drop_owned(kind, owner[1], where, name)
            self._owned.forget(kind, where, name)

    def put_namespace(self, name: str, *, terminating: bool) -> None:
        """Note whether a namespace is being deleted."""
        if terminating == (name in self._terminating):
            return
        self._terminating.symmetric_difference_update({name})
        for key in self._deployments.in_namespace(name):
            self._wake(key)

    def put_service_conflict(self, key: Key, *, conflict: bool) -> None:
        """Note whether a Service of the deployment's name belongs to someone else, unless it has gone meanwhile."""
        if conflict != (key in self._conflicts) and self._deployments.get(key) is not None:
            self._conflicts.symmetric_difference_update({key})
            self._wake(key)

    # --- SkyPilot ----------------------------------------------------------------------------------------------------

    def ask_snapshot(self) -> int:
        """Return a sequence number for a snapshot that is about to be asked for."""
        return self._skypilot.ask()

    def put_snapshot(
        self,
        sequence: int,
        at: datetime,
        clusters: Mapping[str, SkyPilotCluster],
        requests: Mapping[str, tuple[SkyPilotRequest, ...]],
    ) -> None:
        """Store everything that SkyPilot knows at one moment."""
        news = self._skypilot.put(sequence, at, clusters, requests)
        for name in news.changed:
            self._answers.forget(name)
        keys = {key for name in news.changed | news.settled for key in self._deployments.of_cluster(name)}
        for key in self._deployments if news.recovered else sorted(keys):
            self._wake(key)

    def outdate_snapshot(self) -> None:
        """Believe no snapshot that was asked for before now: another process acted until now."""
        self._skypilot.outdate()

    def put_skypilot_unknown(self, why: str, since: datetime) -> None:
        """Note that SkyPilot cannot be asked; what was seen last is kept."""
        if self._skypilot.put_unknown(why, since):
            for key in self._deployments:
                self._wake(key)

    def acted(self, key: Key, name: str, *, launch: bool) -> None:
        """Note that a request about ``name`` was sent: only a snapshot asked for later can show its effect."""
        self._skypilot.acted(key, name, launch=launch)
        self._answers.forget(name)

    def not_acted(self, name: str) -> None:
        """Note that the last request about ``name`` certainly never reached the server."""
        self._skypilot.not_acted(name)

    def snapshot_pending(self) -> bool:
        """Return whether a name waits for a snapshot newer than the last request about it."""
        return self._skypilot.pending()

    def launches(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the names of launches in flight, and those of them that have no worker yet."""
        return self._skypilot.launches()

    def names(self, key: Key) -> frozenset[str]:
        """Return the names of a deployment that SkyPilot knows or was asked about."""
        known = self._deployments.get(key)
        seen = seen_names(known.deployment, self._skypilot) if known is not None else ()
        return frozenset({*map(str, seen), *self._skypilot.acted_names(key)})

    def orphans(self, user: str) -> tuple[str, ...]:
        """Return the clusters that ``user`` launched and no living object owns."""
        ours = (name for name, cluster in self._skypilot.clusters().items() if cluster.user == user)
        named = (name for name in ours if parse_cluster_name(name))
        return tuple(sorted(name for name in named if not self._deployments.of_cluster(name)))

    # --- statuses that are not stored yet ----------------------------------------------------------------------------

    def put_unsaved(self, deployment: DeepSeekDeployment, status: DeepSeekDeploymentStatus) -> None:
        """Keep a status that is to be written: what was done must not be forgotten if it cannot be."""
        self._deployments.put_unsaved(deployment, status)

    def drop_unsaved(self, key: Key) -> None:
        """Forget it: it is stored, or nothing in it is news."""
        self._deployments.drop_unsaved(key)

    def stored_status(self, key: Key) -> DeepSeekDeploymentStatus | None:
        """Return the status as the API server has it; None if the deployment is gone."""
        known = self._deployments.get(key)
        return known.deployment.status if known is not None else None

    # --- questions and probes ----------------------------------------------------------------------------------------

    def put_answer(self, question: Question, answer: Fact[Any], askers: Iterable[Key] = ()) -> None:
        """Store the answer to a question.

        Parameters
        ----------
        askers
            Deployments that wait for it. Only they are woken by what is known of a Secret: it is asked for again every
            few seconds while it is missing, and a namespace may hold a thousand others.
        """
        if question.kind is QuestionKind.CLOUD:
            concerned = self._deployments.using(question.subject)
            keys = concerned if self._answers.put_cloud(question.subject, answer) else ()  # only where it is news
        else:
            keys = self._keys_of_question(question, askers)
            if not keys or not self._answers.put(question, answer):
                return  # it is no news, or comes after everybody whom it concerned has gone
        for key in keys:
            self._wake(key)

    def authority(self, deployment: DeepSeekDeployment) -> Fact[str]:
        """Return the certificates of the authorities whose engines are believed, newest first, as PEM."""
        fact: Fact[str] = self._answers.of_deployment(authority_question(deployment))
        return fact

    def api_key(self, deployment: DeepSeekDeployment) -> Fact[SecretStr]:
        """Return the key that the operator made for the engines of a deployment."""
        fact: Fact[SecretStr] = self._answers.of_deployment(api_key_question(deployment))
        return fact

    def watch(self, key: Key, addresses: Iterable[Address]) -> None:
        """Wake ``key`` when the probe of one of these addresses changes, from now on."""
        if self._probed.watch(key, addresses):
            self._wake(key)  # probed for someone else already, so no first result will announce itself

    def put_probe(self, address: Address, fact: Known[Probe] | None) -> None:
        """Store the result of a probe; None when the address is no longer probed."""
        for key in sorted(self._probed.put(address, fact)):
            self._wake_urgently(key)

    def put_reading(self, address: Address, fact: Fact[EngineReading] | None) -> None:
        """Store what an engine reports of itself; None when it is no longer read."""
        for key in sorted(self._probed.put_reading(address, fact)):
            self._wake_later(key)

    def world(self, key: Key, now: datetime) -> World | None:
        """Return everything that is known about a deployment; None if its object is gone."""
        known = self._deployments.get(key)
        if known is None:
            return None
        deployment = self._deployments.latest(known.deployment)
        owned = self._owned.of((key[0], deployment.metadata.uid))
        return World(
            now=now,
            deployment=deployment,
            revision=known.revision,
            unreadable=known.problem,
            namespace_terminating=key[0] in self._terminating,
            skypilot=self._skypilot.fact,
            replicas=join_replicas(deployment, owned, self._skypilot, self._answers),
            service=owned.published.get(key[1]),
            service_conflict=key in self._conflicts,
            services=frozenset(owned.published),
            proxies=tuple(owned.proxies[name] for name in sorted(owned.proxies)),
            endpoints=tuple(owned.endpoints[name] for name in sorted(owned.endpoints)),
            secrets=self._answers.secrets(key[0], now),
            clouds=self._answers.clouds,
            authority=self.authority(deployment),
            api_key=self.api_key(deployment),
            probes=self._probed.of(key),
            readings=self._probed.readings_of(key),
        )

    # --- indexes -----------------------------------------------------------------------------------------------------

    def _keys_of_question(self, question: Question, askers: Iterable[Key]) -> tuple[Key, ...]:
        if question.kind is QuestionKind.SECRET:
            return tuple(key for key in askers if self._deployments.get(key) is not None)
        if question.kind in (QuestionKind.AUTHORITY, QuestionKind.API_KEY):
            namespace, name, uid = question.subject.split("/", 2)
            return ((namespace, name),) if self._deployments.of_uid(uid) == (namespace, name) else ()
        return self._deployments.of_cluster(question.subject)

    def _wake_owner(self, owner: _Owner) -> None:
        namespace, uid = owner
        key = self._deployments.of_uid(uid)
        if key is not None and key[0] == namespace:
            self._wake(key)

    def _forget(self, deployment: DeepSeekDeployment) -> None:
        """Drop every fact about a deployment that is gone."""
        key, uid = deployment.key, deployment.metadata.uid
        for name in self._answers.names(uid_prefix(uid)):
            if belongs_to(name, deployment):
                self._answers.forget(str(name))
        for question in (authority_question(deployment), api_key_question(deployment)):
            self._answers.drop_of_deployment(question)
        self._skypilot.drop(key)
        self._owned.drop_all((key[0], uid))
        self._conflicts.discard(key)
        self.watch(key, ())


def _wishes(deployment: DeepSeekDeployment) -> tuple[object, ...]:
    """Return what only a user changes; a new generation stands for a new spec."""
    metadata = deployment.metadata
    return metadata.uid, metadata.generation, metadata.deletion_timestamp, metadata.annotations


def _replicas(deployment: DeepSeekDeployment) -> set[str]:
    return {instance.name for instance in deployment.status.instances}


def owner_uid(body: Mapping[str, Any]) -> str:
    """Return the UID of the deployment that an object was made for, from its label; empty if it has none."""
    return str((body["metadata"].get("labels") or {}).get(LABEL_UID, ""))
