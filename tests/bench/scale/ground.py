"""The ground of the benchmark: a real API server, a fake SkyPilot with real pods, an operator process of its own."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lightkube import Client, KubeConfig
from lightkube.types import PatchType

from deepseek_operator.api import v1alpha1 as api
from tests.bench.scale.service_range import service_range
from tests.bench.scale.watchers import Deployments, Endpoints
from tests.cluster import select
from tests.cluster.local import network
from tests.cluster.local.cluster import LocalCluster
from tests.cluster.local.layout import Layout, choose_slot
from tests.cluster.providers import DEFAULT_NAME
from tests.fakes.listener import Listener
from tests.fakes.nodes import Pods
from tests.fakes.skypilot import FakeSkyPilot
from tests.integration.network import Reachable
from tests.system.audit import Audit
from tests.system.identity import operator_identity
from tests.system.kubectl import Kubectl
from tests.system.process import OperatorProcess
from tests.system.resources import DeploymentResource
from tests.system.wait import eventually

__all__ = ["NAMESPACE", "Ground", "ground"]

NAMESPACE: Final = "dsd-bench-scale"
SYSTEM: Final = "dsd-bench-system"
RELEASE: Final = "dsd-bench"
SLOTS: Final = 4096
"""Launches in flight, and workers of the fake: SkyPilot is never what is waited for."""
LAUNCH_S: Final = 1.0
ROOT: Final = Path(__file__).parents[3]
SPEC: Final[dict[str, Any]] = {
    "model": {"name": "tiny", "path": "/models/tiny"},
    "engine": {"name": "VLLM", "image": "localhost/engine:1"},
    "resources": {"accelerators": [], "cpus": "1+", "memory": "2+"},
}


@dataclass
class Ground:
    """What the phases work with.

    Attributes
    ----------
    created
        Unix time at which each deployment was posted.
    """

    client: Client
    skypilot: FakeSkyPilot
    engines: Listener
    operator: OperatorProcess
    audit: Audit
    deployments: Deployments
    endpoints: Endpoints
    created: dict[str, float] = field(default_factory=dict)

    def create(self, names: list[str]) -> None:
        """Create deployments, eight at a time."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self._create, names))

    def _create(self, name: str) -> None:
        metadata = {"name": name, "namespace": NAMESPACE}
        body = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": metadata, "spec": SPEC}
        self.created[name] = time.time()
        self.client.create(DeploymentResource.from_dict(body))

    def edit(self, names: list[str], spec: dict[str, Any]) -> None:
        """Merge fields into the specs."""

        def patch(name: str) -> None:
            self.client.patch(DeploymentResource, name, {"spec": spec}, namespace=NAMESPACE, patch_type=PatchType.MERGE)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(patch, names))

    def delete(self, names: list[str]) -> None:
        """Ask for deletion."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: self.client.delete(DeploymentResource, name, namespace=NAMESPACE), names))


@contextlib.contextmanager
def ground(log: Path, flags: tuple[str, ...] = ()) -> Iterator[Ground]:
    """Bring everything up, and take it down again."""
    cluster = select(DEFAULT_NAME)
    if not isinstance(cluster, LocalCluster):
        raise SystemExit("needs the local cluster: the engines are addresses of this machine")
    kubectl = Kubectl(cluster.kubeconfig, cluster.bin_dir, namespace="")
    client = Client(KubeConfig.from_file(cluster.kubeconfig))
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    kubectl("wait", "--for=condition=Established", f"crd/{api.PLURAL}.{api.GROUP}", "--timeout=30s")
    _clear(client, kubectl)
    for name in (SYSTEM, NAMESPACE):
        kubectl("create", "namespace", name)
    addresses = Layout("dsd-bench-engines", choose_slot("dsd-bench-engines", network.is_routed)).network
    with (
        tempfile.TemporaryDirectory() as folder,
        Reachable(cluster.layout, addresses),
        service_range(cluster.layout, kubectl),
    ):
        start = cluster.layout.audit_log.stat().st_size
        identity = operator_identity(cluster, kubectl, RELEASE, SYSTEM, (NAMESPACE,), Path(folder) / "kubeconfig")
        engines = Listener()
        pods = Pods(cluster.kubeconfig, addresses)
        account = f"system:serviceaccount:{SYSTEM}:{RELEASE}-deepseek-operator"
        with FakeSkyPilot(pods, workers=SLOTS, launch_seconds=LAUNCH_S, engines=engines) as skypilot:
            operator = OperatorProcess(identity, NAMESPACE, skypilot.url, log, (f"--launch-slots={SLOTS}", *flags))
            found = Ground(
                client,
                skypilot,
                engines,
                operator,
                Audit(cluster.layout.audit_log, account, start),
                Deployments(),
                Endpoints(),
            )
            found.deployments.watch(Client(KubeConfig.from_file(cluster.kubeconfig)), NAMESPACE)
            found.endpoints.watch(Client(KubeConfig.from_file(cluster.kubeconfig)), NAMESPACE)
            operator.start()
            try:
                yield found
            finally:
                operator.end()
                _clear(client, kubectl)


def _patch(client: Client, name: str, change: dict[str, Any]) -> None:
    client.patch(DeploymentResource, name, change, namespace=NAMESPACE, patch_type=PatchType.MERGE)


def _clear(client: Client, kubectl: Kubectl) -> None:
    """Remove what this run, or one that crashed, has left."""
    if kubectl.get("namespace", NAMESPACE) is not None:
        names = [body["metadata"]["name"] for body in client.list(DeploymentResource, namespace=NAMESPACE)]
        nobody = {"metadata": {"finalizers": None}}
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: _patch(client, name, nobody), names))
    kubectl("delete", "namespace", NAMESPACE, SYSTEM, "--ignore-not-found", "--wait=false")
    eventually(
        lambda: all(kubectl.get("namespace", name) is None for name in (NAMESPACE, SYSTEM)),
        within=600,
        what="namespaces of the benchmark gone",
        every=1,
    )
