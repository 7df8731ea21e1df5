"""An API server as far as the operator uses it: objects with resource versions, applies, merges, watches, deletion.

It answers raw requests, so that the operator's own reader and writer are part of what is simulated.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.kube.client import APPLY
from deepseek_operator.kube.errors import KubeConflictError, KubeDeniedError, KubeNotFoundError, KubeUnavailableError
from deepseek_operator.kube.resources import MANAGED_BY

__all__ = ["KINDS", "SimulatedKubernetes"]

Body = dict[str, Any]
Place = tuple[str, str, str]
"""Plural, namespace, name."""

_PATH: Final = re.compile(r"/apis?/.*?v1[a-z0-9]*(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?(?:/(status))?$")
KINDS: Final = {
    api.PLURAL: "deployments",
    "pods": "pods",
    "services": "services",
    "endpointslices": "endpointslices",
    "namespaces": "namespaces",
}

_SKYPILOT: Final = "skypilot-cluster-name"
_MERGED: Final = ("annotations", "finalizers", "labels")


class SimulatedKubernetes:
    """The API server, its storage and its garbage collector.

    Attributes
    ----------
    away
        It refuses connections.
    changed_at
        By plural, the version of the last change.
    refused
        Plurals (or ``status``) whose writes are refused, as by a webhook or a quota.
    history
        By kind, every change: version, type and body.
    watchers
        Called with the kind of every change.
    deployment_changed
        Called with namespace and name of a Deployment (of pods) that was written or is gone.
    pod_removed
        Called with a pod of SkyPilot's that is gone, whoever deleted it.
    """

    def __init__(self, now: Callable[[], str]) -> None:
        self._now = now
        self.objects: dict[Place, Body] = {}
        self._of_kind: dict[str, dict[tuple[str, str], Body]] = {}
        self._owned: dict[str, dict[Place, None]] = {}
        """By UID of the owner, in the order in which they were made."""
        self.version = 1
        self.changed_at: dict[str, int] = {}
        self.away = False
        self.refused: set[str] = set()
        self.history: dict[str, list[tuple[int, str, Body]]] = {kind: [] for kind in KINDS.values()}
        self.watchers: list[Callable[[str], None]] = []
        self.pod_removed: Callable[[Body], None] = lambda body: None
        self.deployment_changed: Callable[[str, str], None] = lambda namespace, name: None
        self.writes: list[tuple[str, str]] = []
        self.reads: list[tuple[str, str]] = []

    # --- what everybody else does ------------------------------------------------------------------------------------

    def put(self, plural: str, namespace: str, name: str, body: Body) -> Body:
        """Store an object; nothing happens if it is stored like this already."""
        place = (plural, namespace, name)
        before = self.objects.get(place)
        head = {key: value for key, value in body["metadata"].items() if key != "resourceVersion"}
        if before is not None:
            same = {key: value for key, value in before["metadata"].items() if key != "resourceVersion"}
            if same == head and {**before, "metadata": 0} == {**body, "metadata": 0}:
                return before
        self.version += 1
        self.changed_at[plural] = self.version
        stored = {**body, "metadata": {**head, "resourceVersion": str(self.version)}}
        self.objects[place] = self._of_kind.setdefault(plural, {})[namespace, name] = stored
        if (owner := _owner(stored)) is not None:
            self._owned.setdefault(owner, {})[place] = None
        self._tell(plural, "MODIFIED" if before is not None else "ADDED", stored)
        if plural == "services" and before is None:
            self._mirror(stored)
        if plural == "deployments":
            self.deployment_changed(namespace, name)
        return stored

    def _mirror(self, service: Body) -> None:
        """Make a slice for a Service with a selector and copy its labels, as the controller of Kubernetes does."""
        metadata = service["metadata"]
        if "selector" in service["spec"]:
            labels = {**metadata["labels"], MANAGED_BY: "endpointslice-controller.k8s.io"}
            owner = [{"uid": metadata["uid"]}]
            head = {"name": f"{metadata['name']}-x7k2p", "namespace": metadata["namespace"], "labels": labels}
            body = {"metadata": {**head, "ownerReferences": owner}, "endpoints": [], "ports": []}
            self.put("endpointslices", metadata["namespace"], head["name"], body)

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """Delete an object at once, and what it owns."""
        body = self.objects.pop((plural, namespace, name), None)
        if body is None:
            return
        del self._of_kind[plural][namespace, name]
        self.version += 1
        self.changed_at[plural] = self.version
        last = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        self._tell(plural, "DELETED", last)
        if plural == "pods" and _SKYPILOT in body["metadata"]["labels"]:
            self.pod_removed(body)
        if plural == "deployments":
            self.deployment_changed(namespace, name)
        self._owned.get(_owner(body) or "", {}).pop((plural, namespace, name), None)
        for owned in self._owned.pop(body["metadata"].get("uid") or "", ()):
            self.remove(*owned)

    def delete(self, plural: str, namespace: str, name: str) -> None:
        """Ask for deletion: an object with finalizers waits for them."""
        body = self.objects.get((plural, namespace, name))
        if body is None:
            return
        metadata = body["metadata"]
        if not metadata.get("finalizers"):
            self.remove(plural, namespace, name)
        elif not metadata.get("deletionTimestamp"):
            self.put(plural, namespace, name, {**body, "metadata": {**metadata, "deletionTimestamp": self._now()}})

    def get(self, plural: str, namespace: str, name: str) -> Body | None:
        """Return an object."""
        return self.objects.get((plural, namespace, name))

    def list(self, plural: str, namespace: str = "", selector: str = "") -> list[Body]:
        """Return the objects of a kind, by ``key`` or ``key=value``, and a second pair of them after a comma."""
        wanted = [pair.partition("=")[::2] for pair in selector.split(",") if pair]
        found = []
        for (where, _), body in self._of_kind.get(plural, {}).items():
            if namespace and where != namespace:
                continue
            labels = body["metadata"].get("labels") or {}
            if all(labels.get(key) == value if value else key in labels for key, value in wanted):
                found.append(body)
        return found

    def _tell(self, plural: str, type_: str, body: Body) -> None:
        kind = KINDS.get(plural)
        if kind is None:
            return
        labels = body["metadata"].get("labels") or {}
        if kind not in ("deployments", "namespaces") and api.LABEL_UID not in labels:
            return
        if kind == "endpointslices" and labels.get(MANAGED_BY) != api.GROUP:
            return
        self.history[kind].append((self.version, type_, body))
        for watcher in self.watchers:
            watcher(kind)

    # --- what the operator's client does -----------------------------------------------------------------------------

    def kind_watched(self, path: str) -> str:
        """Return the kind whose watch is asked for, or raise what the operator's client would."""
        match = _PATH.match(path)
        assert match is not None, path
        if self.away:
            raise KubeUnavailableError("the Kubernetes API server does not answer: connection refused")
        return KINDS[match.group(2)]

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, Any] | None, content_type: str
    ) -> Body:
        """Answer one request, or raise what the operator's client would."""
        match = _PATH.match(path)
        assert match is not None, path
        namespace, plural, name, sub = (part or "" for part in match.groups())
        if self.away:
            raise KubeUnavailableError("the Kubernetes API server does not answer: connection refused")
        if method == "GET":
            self.reads.append(("GET" if name else "LIST", plural))
            return self._read(plural, namespace, name, dict(query or {}))
        if {plural, sub} & self.refused:
            raise KubeDeniedError(f"{plural} are refused by a webhook", 403)
        self.writes.append((method, plural + ("/status" if sub else "")))
        if method == "DELETE":
            self._find(plural, namespace, name)
            self.delete(plural, namespace, name)
            return {}
        assert body is not None
        if method == "POST":
            return self._create(plural, namespace, dict(body))
        return self._patch(plural, namespace, name, sub, body, content_type)

    def _read(self, plural: str, namespace: str, name: str, query: Body) -> Body:
        if name:
            return self._find(plural, namespace, name)
        items = self.list(plural, namespace, query.get("labelSelector", ""))
        return {"items": items, "metadata": {"resourceVersion": str(self.version)}}

    def _create(self, plural: str, namespace: str, body: Body) -> Body:
        home = self.get("namespaces", "", namespace)
        if home is not None and home["metadata"].get("deletionTimestamp"):
            raise KubeDeniedError(f"namespace {namespace} is being terminated", 403)
        name = body["metadata"]["name"]
        if plural == "events":
            return body
        if self.get(plural, namespace, name) is not None:
            raise KubeConflictError(f"{plural} {name} already exists", 409)
        if plural == "services":
            body = {**body, "spec": {"clusterIP": f"10.96.0.{len(self.writes) % 250 + 1}", **body["spec"]}}
        return self.put(plural, namespace, name, body)

    def _patch(
        self, plural: str, namespace: str, name: str, sub: str, body: Mapping[str, Any], content_type: str
    ) -> Body:
        wanted = body["metadata"]
        if content_type == APPLY and not sub and self.get(plural, namespace, name) is None:
            return self._create(plural, namespace, dict(body))
        found = self._find(plural, namespace, name)
        metadata = found["metadata"]
        if wanted.get("uid", metadata.get("uid")) != metadata.get("uid"):
            raise KubeConflictError("the UID in the precondition differs", 409)
        if wanted.get("resourceVersion", metadata["resourceVersion"]) != metadata["resourceVersion"]:
            raise KubeConflictError("the object has been modified", 409)
        if sub == "status":
            return self.put(plural, namespace, name, {**found, "status": body["status"]})
        merged = {**metadata, **{key: value for key, value in wanted.items() if key in _MERGED}}
        after = {**found, "metadata": merged}
        if content_type == APPLY:
            after |= {key: value for key, value in body.items() if key not in ("metadata", "spec")}
        if "spec" in body:
            after["spec"] = {**found.get("spec", {}), **body["spec"]}
        if merged.get("deletionTimestamp") and not merged.get("finalizers"):
            self.remove(plural, namespace, name)
            return {}
        return self.put(plural, namespace, name, after)

    def _find(self, plural: str, namespace: str, name: str) -> Body:
        found = self.get(plural, namespace, name)
        if found is None:
            raise KubeNotFoundError(f"{plural} {name} not found", 404)
        return found


def _owner(body: Body) -> str | None:
    owners = body["metadata"].get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners), None)
