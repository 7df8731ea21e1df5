"""The same with KubeRay, in the same run: as many head-only RayClusters, on the same API server and machine.

KubeRay is built beforehand, from a checkout of its ``ray-operator``: ``go build -o manager .``. It runs as it comes,
with the rights of its own ClusterRole. Its pods are bound to a node without a kubelet, and their statuses patched as a
kubelet would, at once: as the pods of the fake SkyPilot, they cost nothing but their place in the API server.
"""

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import yaml
from lightkube import ApiError, Client, KubeConfig
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.core_v1 import Node, Pod
from lightkube.types import PatchType

from tests.bench.scale.phases import Figures, Meter
from tests.bench.scale.watchers import Watch
from tests.cluster import select
from tests.cluster.local.cluster import LocalCluster
from tests.cluster.providers import DEFAULT_NAME
from tests.system.audit import Audit
from tests.system.identity import write_kubeconfig
from tests.system.kubectl import Kubectl
from tests.system.wait import eventually

__all__ = ["measure"]

NAMESPACE: Final = "dsd-bench-kuberay"
SYSTEM: Final = "dsd-bench-kuberay-system"
ACCOUNT: Final = "kuberay"
NODE: Final = "dsd-bench-kuberay"
WITHIN_S: Final = 1800.0
HEARTBEAT_S: Final = 10.0
"""Seconds between two signs of life of the node; after 50 without one its pods are no longer Ready."""
RayCluster = create_namespaced_resource("ray.io", "v1", "RayCluster", "rayclusters")


class _Kubelet(Thread):
    """Plays the node: every pod that is bound to it runs at once, and is gone at once."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(daemon=True)
        self._config = KubeConfig.from_file(kubeconfig)
        self._pool = ThreadPoolExecutor(4)
        self._ended = Event()
        self._count = 0

    def run(self) -> None:
        Thread(target=self._live, daemon=True).start()
        client = Client(self._config)
        while not self._ended.is_set():
            with contextlib.suppress(Exception):  # a watch ends now and then
                for type_, body in client.watch(Pod, namespace=NAMESPACE, fields={"spec.nodeName": NODE}):
                    if type_ != "DELETED":
                        self._pool.submit(self._attend, client, body.to_dict())

    def end(self) -> None:
        """Let the node fall silent."""
        self._ended.set()
        self._pool.shutdown(cancel_futures=True)

    def _attend(self, client: Client, body: dict[str, Any]) -> None:
        name = body["metadata"]["name"]
        with contextlib.suppress(ApiError):  # it went meanwhile
            if body["metadata"].get("deletionTimestamp"):
                client.delete(Pod, name, namespace=NAMESPACE, grace_period=0)
            elif not _ready(body):
                self._count += 1
                address = f"10.251.{self._count // 250 % 250}.{self._count % 250 + 1}"
                ready = [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady", "Initialized")]
                status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": ready}
                change = {"status": status}
                client.patch(Pod.Status, name, change, namespace=NAMESPACE, patch_type=PatchType.STRATEGIC)

    def _live(self) -> None:
        client = Client(self._config)
        while not self._ended.is_set():
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            alive = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now}
            with contextlib.suppress(ApiError):
                client.patch(Node.Status, NODE, {"status": {"conditions": [alive]}}, patch_type=PatchType.STRATEGIC)
            self._ended.wait(HEARTBEAT_S)


def measure(source: Path, count: int, settled_s: float, log: Path) -> Figures:
    """Create, look at, and delete so many RayClusters; return figures under the names of ours, after ``kuberay.``.

    Parameters
    ----------
    source
        The checkout of ``ray-operator`` with the built ``manager``.
    """
    cluster = select(DEFAULT_NAME)
    assert isinstance(cluster, LocalCluster)  # the benchmark has looked
    kubectl = Kubectl(cluster.kubeconfig, cluster.bin_dir, namespace="")
    client = Client(KubeConfig.from_file(cluster.kubeconfig))
    with _ground(kubectl, source), tempfile.TemporaryDirectory() as folder:
        start = cluster.layout.audit_log.stat().st_size
        identity = write_kubeconfig(cluster, kubectl, ACCOUNT, SYSTEM, Path(folder) / "kubeconfig")
        audit = Audit(cluster.layout.audit_log, f"system:serviceaccount:{SYSTEM}:{ACCOUNT}", start)
        kubelet = _Kubelet(cluster.kubeconfig)
        kubelet.start()
        try:
            with _manager(source, identity, log) as process:
                found = _phases(client, process.pid, audit, count, settled_s)
        finally:
            kubelet.end()
    return {f"kuberay.{key}": value for key, value in found.items()}


def _phases(client: Client, pid: int, audit: Audit, count: int, settled_s: float) -> Figures:
    names = [f"ray-{index}" for index in range(count)]
    ready: set[str] = set()

    def seen(_: str, body: Any) -> None:
        if (body.get("status") or {}).get("state") == "ready":
            ready.add(body["metadata"]["name"])

    Watch(client, RayCluster, NAMESPACE, seen).start()
    meter = Meter(pid, audit, "rayclusters/status")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: client.create(_ray_cluster(name)), names))
    _until(lambda: len(ready) >= count, f"{count} RayClusters ready")
    found = meter.read("create", count)
    meter = Meter(pid, audit)
    time.sleep(settled_s)
    found |= meter.read("settled", 1, events_later=False)
    found["settled.cores"] = found["settled.cpu_s"] / found["settled.wall_s"]
    meter = Meter(pid, audit)
    client.deletecollection(RayCluster, namespace=NAMESPACE)
    _until(lambda: not any(True for _ in client.list(Pod, namespace=NAMESPACE)), "their pods gone")
    return found | meter.read("delete", count)


def _ready(pod: dict[str, Any]) -> bool:
    """Return whether a pod is Ready; one that was bound before its node was Ready is made unready once."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _until(look: Any, what: str) -> None:
    eventually(look, within=WITHIN_S, what=what, every=0.5)


def _ray_cluster(name: str) -> Any:
    pod = {"nodeName": NODE, "containers": [{"name": "ray-head", "image": "localhost/ray:1"}]}
    head = {"rayStartParams": {}, "template": {"spec": pod}}
    metadata = {"name": name, "namespace": NAMESPACE}
    body = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": metadata}
    return RayCluster.from_dict({**body, "spec": {"rayVersion": "2.46.0", "headGroupSpec": head}})


@contextlib.contextmanager
def _manager(source: Path, kubeconfig: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    flags = ["--metrics-addr=127.0.0.1:0", "--health-probe-bind-address=127.0.0.1:0", "--enable-leader-election=false"]
    environment = {"KUBECONFIG": str(kubeconfig), "PATH": os.environ["PATH"]}
    with log.open("ab") as lines:
        command = [str(source / "manager"), *flags, f"--watch-namespace={NAMESPACE}"]
        process = subprocess.Popen(command, env=environment, stdout=lines, stderr=lines)
    try:
        yield process
        if process.poll() is not None:
            raise SystemExit(f"KubeRay ended with {process.returncode}; see {log}")
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def _ground(kubectl: Kubectl, source: Path) -> Iterator[None]:
    """Bring KubeRay's definitions, its rights, namespaces and a node, and take them away again."""
    definitions = source / "config" / "crd" / "bases"
    _clear(kubectl, definitions)
    kubectl("apply", "--server-side", "-f", str(definitions))
    kubectl("wait", "--for=condition=Established", "-f", str(definitions), "--timeout=60s")
    role = yaml.safe_load((source / "config" / "rbac" / "role.yaml").read_text())
    account = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}
    binding = {
        "apiVersion": role["apiVersion"],
        "kind": "ClusterRoleBinding",
        "metadata": {"name": NODE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NODE},
        "subjects": [account],
    }
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "spec": {"unschedulable": True}}
    for name in (SYSTEM, NAMESPACE):
        kubectl("create", "namespace", name)
    kubectl("create", "serviceaccount", ACCOUNT, f"--namespace={SYSTEM}")
    objects = [{**role, "metadata": {"name": NODE}}, binding, node]
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
    try:
        yield
    finally:
        _clear(kubectl, definitions)


def _clear(kubectl: Kubectl, definitions: Path) -> None:
    """Remove what this run, or one that crashed, has left."""
    kubectl("delete", "pods", "--all", f"--namespace={NAMESPACE}", "--force", "--grace-period=0", "--ignore-not-found")
    for kind in ("node", "clusterrole", "clusterrolebinding"):
        kubectl("delete", kind, NODE, "--ignore-not-found")
    kubectl("delete", "namespace", NAMESPACE, SYSTEM, "--ignore-not-found", "--timeout=600s", timeout=620)
    kubectl("delete", "-f", str(definitions), "--ignore-not-found", "--timeout=120s")
