"""What Kubernetes shows of each deployment: pods, Services and slices, never older than what was seen before."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from deepseek_operator.facts.kubernetes import Endpoints, LaunchedService, Pod, ProxyPod, PublishedService

__all__ = ["Owned", "OwnedFact", "OwnedObjects"]

K = TypeVar("K")
OwnedFact = Pod | ProxyPod | LaunchedService | PublishedService | Endpoints


@dataclass
class Owned:
    """The objects of one deployment, by object name."""

    pods: dict[str, Pod] = field(default_factory=dict)
    proxies: dict[str, ProxyPod] = field(default_factory=dict)
    services: dict[str, LaunchedService] = field(default_factory=dict)
    published: dict[str, PublishedService] = field(default_factory=dict)
    endpoints: dict[str, Endpoints] = field(default_factory=dict)

    def place(self, fact: OwnedFact) -> dict[str, Any]:
        """Return the dictionary in which a fact belongs."""
        if isinstance(fact, Pod):
            return self.pods
        if isinstance(fact, ProxyPod):
            return self.proxies
        if isinstance(fact, LaunchedService):
            return self.services
        return self.published if isinstance(fact, PublishedService) else self.endpoints

    def places(self, kind: str) -> tuple[dict[str, Any], ...]:
        """Return the dictionaries that hold objects of a kind."""
        if kind == "pods":
            return (self.pods, self.proxies)
        return (self.services, self.published) if kind == "services" else (self.endpoints,)


class OwnedObjects(Generic[K]):
    """The objects of all deployments. Methods that change something say whose facts have changed.

    ``K`` says whose an object is. It holds its namespace, not only the UID of its label: that of somebody else's
    deployment can be written on one's own pod.
    """

    def __init__(self) -> None:
        self._of: dict[K, Owned] = {}
        self._versions: dict[tuple[str, str, str], int] = {}
        self._hosts: dict[str, tuple[int, K, str]] = {}

    def of(self, owner: K) -> Owned:
        """Return the objects of one deployment."""
        return self._of.get(owner) or Owned()

    def newer(self, kind: str, body: Mapping[str, Any]) -> bool:
        """Return whether ``body`` is newer than what is stored of it, and remember its version."""
        place, version = _place_and_version(kind, body)
        if version <= self._versions.get(place, -1):
            return False
        self._versions[place] = version
        return True

    def knows_newer(self, kind: str, body: Mapping[str, Any]) -> bool:
        """Return whether something newer than ``body`` was seen under its name."""
        place, version = _place_and_version(kind, body)
        return version < self._versions.get(place, -1)

    def put(self, kind: str, owner: K, body: Mapping[str, Any], fact: OwnedFact) -> tuple[K, ...]:
        """Store an object; return the deployments for which that is news."""
        if not self.newer(kind, body):
            return ()
        displaced: tuple[K, ...] = ()
        if isinstance(fact, Pod) and fact.running and fact.ip:
            version = _version(body["metadata"]["resourceVersion"])
            holder = self._hosts.get(fact.ip)
            if holder is not None and holder[1:] != (owner, fact.name) and self._has(holder, fact.ip):
                if version < holder[0]:
                    return ()
                # No two pods have one IP: the one that had it before is gone, though no watch said so.
                del self.of(holder[1]).pods[holder[2]]
                displaced = (holder[1],)
            self._hosts[fact.ip] = (version, owner, fact.name)
        place = self._of.setdefault(owner, Owned()).place(fact)
        name = body["metadata"]["name"]
        before = place.get(name)
        if before == fact:
            return displaced
        place[name] = fact
        return displaced if before is None and _is_only_there(fact) else (owner, *displaced)

    def _has(self, holder: tuple[int, K, str], ip: str) -> bool:
        """Return whether a pod still has the IP that it had when it was seen to take it."""
        pod = self.of(holder[1]).pods.get(holder[2])
        return pod is not None and pod.running and pod.ip == ip

    def drop(self, kind: str, owner: K, namespace: str, name: str, *, by_us: bool = False) -> bool:
        """Forget an object that is gone; return whether it was known.

        Parameters
        ----------
        by_us
            Its events are still on their way and must not bring it back, so its version is remembered until the last.
        """
        if not by_us:
            self.forget(kind, namespace, name)
        owned = self._of.get(owner)
        if owned is None:
            return False
        found = [place.pop(name) for place in owned.places(kind) if name in place]
        for fact in found:
            self._leave(owner, fact)
        if owned == Owned():
            del self._of[owner]
        return bool(found)

    def drop_cluster(self, owner: K, name_on_cloud: str) -> bool:
        """Forget the pods and Services of a cluster that were deleted by label; a watch may lose their deletion.

        What lingers, because of a finalizer, comes back with its next event.
        """
        owned = self.of(owner)
        places: tuple[dict[str, Any], ...] = (owned.pods, owned.services)
        gone = [(place, name) for place in places for name in place if _on_cloud(place[name]) == name_on_cloud]
        for place, name in gone:
            self._leave(owner, place.pop(name))
        return bool(gone)

    def drop_all(self, owner: K) -> None:
        """Forget the objects of a deployment that is gone."""
        for pod in self._of.pop(owner, Owned()).pods.values():
            self._leave(owner, pod)

    def _leave(self, owner: K, fact: OwnedFact) -> None:
        """Forget which IP a pod had that is gone."""
        if isinstance(fact, Pod) and fact.ip and self._hosts.get(fact.ip, (0, None, ""))[1:] == (owner, fact.name):
            del self._hosts[fact.ip]

    def forget(self, kind: str, namespace: str, name: str) -> None:
        """Forget which version of an object was seen last."""
        self._versions.pop((kind, namespace, name), None)

    def gone(self, kind: str, body: Mapping[str, Any]) -> None:
        """Remember at which version an object went: a list that was under way may still show it, older than that.

        The next list drops what is remembered.
        """
        place, version = _place_and_version(kind, body)
        self._versions[place] = max(version, self._versions.get(place, 0))

    def absent(
        self, kind: str, present: Set[tuple[str, str]], version: str, namespace: str | None = None
    ) -> tuple[tuple[str, str], ...]:
        """Return namespace and name of the objects that are known and that a full list does not show.

        Parameters
        ----------
        present
            Namespace and name of what the list shows.
        version
            Resource version of the list: what was made after it cannot be in it.
        namespace
            Namespace that was listed; None for all.
        """
        limit = _version(version)
        return tuple(
            (where, name)
            for (known, where, name), seen in self._versions.items()
            if known == kind and seen <= limit and namespace in (None, where) and (where, name) not in present
        )

    def owners(self, kind: str) -> dict[str, list[K]]:
        """Return the deployments of all objects of a kind, by the names of the objects."""
        found: dict[str, list[K]] = {}
        for owner, owned in self._of.items():
            for place in owned.places(kind):
                for name in place:
                    found.setdefault(name, []).append(owner)
        return found


def _is_only_there(fact: OwnedFact) -> bool:
    """Return whether something new of a launch says nothing but that it is there.

    Nobody does anything because of that: it keeps a replica from being forgotten, in whichever pass comes next.
    """
    if isinstance(fact, Pod):
        return fact.phase == "Pending" and not fact.deleting and fact.trouble is None
    return isinstance(fact, LaunchedService)


def _on_cloud(fact: Pod | LaunchedService) -> str:
    return fact.cluster_name_on_cloud


def _place_and_version(kind: str, body: Mapping[str, Any]) -> tuple[tuple[str, str, str], int]:
    """Return under which kind, namespace and name the version of an object is kept, and that version."""
    metadata = body["metadata"]
    place = (kind, metadata.get("namespace", ""), metadata["name"])
    return place, _version(metadata.get("resourceVersion", ""))


def _version(text: str) -> int:
    """Return a resource version as a number; Kubernetes guarantees that they can be compared since version 1.35."""
    return int(text) if text.isdigit() else 0
