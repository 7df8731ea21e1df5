"""The nodes that a simulated SkyPilot makes: pods with a Service in Kubernetes, machines on a cloud."""

import re
from typing import Any, Final

from deepseek_operator.api import v1alpha1 as api
from tests.simulation.ground import Ground, Nodes
from tests.simulation.kubernetes import SimulatedKubernetes

__all__ = ["NO_NODE", "Machines"]

Body = dict[str, Any]
NO_NODE: Final = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
_LABEL: Final = "skypilot-cluster-name"
_SECRET: Final = re.compile(r"'secretKeyRef': \{'name': '([^']+)'")


class Machines:
    """Makes nodes and takes them away."""

    def __init__(self, kubernetes: SimulatedKubernetes, ground: Ground) -> None:
        self._kubernetes, self._ground = kubernetes, ground
        self._namespaces: dict[str, str] = {}
        kubernetes.pod_removed = self._pod_removed

    def make(self, name: str, uid: str, count: int, labels: dict[str, str], *, on_kubernetes: bool) -> bool:
        """Make the nodes of a cluster; return False where the namespace is being deleted."""
        members = ["head", *(f"worker{number}" for number in range(1, count))]
        namespace = self.namespace_of(uid)
        if on_kubernetes:
            home = self._kubernetes.get("namespaces", "", namespace)
            if home is not None and home["metadata"].get("deletionTimestamp"):
                return False
            for member in members:
                pod = _pod(name, namespace, labels, member)
                self._kubernetes.put("pods", namespace, pod["metadata"]["name"], pod)
            self._kubernetes.put("services", namespace, f"{name}-d5ee9000-head", _service(name, namespace, labels))
        host = self._ground.take_host(on_kubernetes=on_kubernetes)
        self._ground.add(Nodes(name, uid, namespace, host, on_kubernetes, count=count, members=set(members)))
        return True

    def find_no_node(self, name: str) -> None:
        """Let the scheduler say that the pods of a cluster fit nowhere."""
        nodes = self._ground.nodes.get(name)
        if nodes is None:
            return
        unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_NODE}
        for member in sorted(nodes.members):
            place = ("pods", nodes.namespace, f"{name}-d5ee9000-{member}")
            if (body := self._kubernetes.get(*place)) is not None:
                self._kubernetes.put(*place, {**body, "status": {"phase": "Pending", "conditions": [unschedulable]}})

    def run(self, name: str) -> None:
        """Let the pods of a cluster run."""
        nodes = self._ground.nodes[name]
        for member in sorted(nodes.members) if nodes.on_kubernetes else ():
            place = ("pods", nodes.namespace, f"{name}-d5ee9000-{member}")
            body = self._kubernetes.get(*place)
            if body is not None:
                ip = nodes.host if member == "head" else f"10.0.2.{nodes.host.rpartition('.')[2]}"
                self._kubernetes.put(*place, {**body, "status": {"phase": "Running", "podIP": ip}})

    def remove(self, name: str) -> None:
        """Take the nodes of a cluster away, with what runs on them."""
        nodes = self._ground.nodes.get(name)
        if nodes is not None and nodes.on_kubernetes:
            for member in sorted(nodes.members):
                self._kubernetes.remove("pods", nodes.namespace, f"{name}-d5ee9000-{member}")
            self._kubernetes.remove("services", nodes.namespace, f"{name}-d5ee9000-head")
        self._ground.remove(name)

    def remove_one(self, name: str, member: str) -> None:
        """Take one node of a cluster away."""
        nodes = self._ground.nodes[name]
        if nodes.on_kubernetes:
            self._kubernetes.remove("pods", nodes.namespace, f"{name}-d5ee9000-{member}")
        else:
            self._member_gone(name, member)

    def misses_secret(self, uid: str, task: Body) -> bool:
        """Return whether the pods of a task wait for a Secret that is not there."""
        names = _SECRET.findall(str(task.get("config")))
        return any(self._kubernetes.get("secrets", self.namespace_of(uid), name) is None for name in names)

    def namespace_of(self, uid: str) -> str:
        """Return the namespace of a deployment; the last one known, once it is gone."""
        for body in self._kubernetes.list(api.PLURAL):
            if body["metadata"]["uid"] == uid:
                self._namespaces[uid] = body["metadata"]["namespace"]
        return self._namespaces.get(uid, "serving")

    def _pod_removed(self, body: Body) -> None:
        metadata = body["metadata"]
        self._member_gone(metadata["annotations"][_LABEL], metadata["name"].rpartition("-")[2])

    def _member_gone(self, name: str, member: str) -> None:
        nodes = self._ground.nodes.get(name)
        if nodes is None or member not in nodes.members:
            return
        nodes.members.discard(member)
        if not nodes.members:
            self._ground.remove(name)
        elif member == "head":
            self._ground.set_engine(name, None)


def _metadata(name: str, namespace: str, labels: dict[str, str], member: str = "head") -> Body:
    own = {_LABEL: f"{name}-d5ee9000", "skypilot-head-node": str(int(member == "head"))}
    return {
        "name": f"{name}-d5ee9000-{member}",
        "namespace": namespace,
        "labels": {**own, **labels},
        "annotations": {_LABEL: name},
    }


def _pod(name: str, namespace: str, labels: dict[str, str], member: str) -> Body:
    return {"metadata": _metadata(name, namespace, labels, member), "status": {"phase": "Pending"}}


def _service(name: str, namespace: str, labels: dict[str, str]) -> Body:
    metadata = {**_metadata(name, namespace, labels), "uid": f"service-of-{name}"}
    spec = {"clusterIP": "None", "selector": {"component": metadata["name"]}, "ports": [{"port": 22}]}
    return {"metadata": metadata, "spec": spec}
