"""End-to-end fixtures: the chart on the test cluster, a namespace per test, and whether anything is left."""

import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from deepseek_operator.facts.names import uid_prefix
from tests.cluster.api import Cluster
from tests.cluster.providers import DEFAULT_NAME, select
from tests.system.demo import EXAMPLE
from tests.system.kubectl import Kubectl
from tests.system.stack import Stack, install, uninstall
from tests.system.wait import eventually

PREFIX = "dsd-e2e-"


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The test cluster; left running, because whoever started it may want to look."""
    cluster = select(DEFAULT_NAME)
    cluster.up()
    return cluster


@pytest.fixture(scope="session")
def stack(cluster: Cluster) -> Iterator[Stack]:
    """The operator and SkyPilot, installed by Helm."""
    leftovers(Kubectl(cluster.kubeconfig, cluster.bin_dir))
    yield install(cluster, print)
    uninstall(cluster)


def leftovers(kubectl: Kubectl) -> None:
    """Remove namespaces that a killed run left."""
    for namespace in kubectl.get("namespaces"):
        name = namespace["metadata"]["name"]
        if name.startswith(PREFIX):
            kubectl("delete", "namespace", name, "--wait=false")


@dataclass(frozen=True)
class Tenant:
    """A user of the operator, in a namespace of their own."""

    stack: Stack
    kubectl: Kubectl

    @property
    def namespace(self) -> str:
        """Name of the namespace."""
        return self.kubectl.namespace

    def apply(self, name: str = "tiny", **spec: Any) -> dict[str, Any]:
        """Apply the CPU example under ``name``, parts of its spec replaced, and return the stored object."""
        body = yaml.safe_load(EXAMPLE.read_text())
        body["metadata"]["name"] = name
        engine = {**body["spec"]["engine"], "image": self.stack.engine_image, **spec.pop("engine", {})}
        body["spec"] |= {**spec, "engine": engine}
        self.kubectl.apply(body)
        return dict(self.get(name))

    def get(self, name: str = "tiny") -> Any:
        """Return the object, or None."""
        return self.kubectl.get("dsd", name)

    def deepseek(self, *args: str, within: float = 120) -> str:
        """Run ``kubectl deepseek ARGS`` in the namespace; return what it prints for programs and pipes."""
        kubectl = self.kubectl
        command = [str(kubectl.bin_dir / "kubectl"), "deepseek", *args, "--namespace", self.namespace]
        done = subprocess.run(
            command, env=kubectl.environment, capture_output=True, text=True, timeout=within, check=False
        )
        assert done.returncode == 0, f"kubectl deepseek {' '.join(args)}: {done.stderr}{done.stdout}"
        return str(done.stdout)

    def condition(self, name: str = "tiny", kind: str = "Ready") -> dict[str, Any]:
        """Return a condition of the object, or an empty one."""
        body = self.get(name) or {}
        conditions = (body.get("status") or {}).get("conditions") or []
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def wait_reason(self, reason: str, name: str = "tiny", *, within: float = 180) -> str:
        """Wait until Ready has this Reason; return its message."""

        def look() -> dict[str, Any]:
            condition = self.condition(name)
            return condition if condition.get("reason") == reason else {}

        return str(eventually(look, within=within, what=f"{name} has Reason {reason}")["message"])

    def wait_ready(self, name: str = "tiny", *, within: float = 300) -> dict[str, Any]:
        """Wait as a user would: ``kubectl wait --for=condition=Ready``."""
        seconds = f"{within:g}s"
        self.kubectl("wait", "--for=condition=Ready", f"dsd/{name}", f"--timeout={seconds}", timeout=within + 30)
        body: dict[str, Any] = self.get(name)
        return body

    def delete(self, name: str = "tiny", *, within: float = 60) -> None:
        """Delete the object; it must be gone in time."""
        self.kubectl("delete", "dsd", name, f"--timeout={within:g}s", timeout=within + 30)

    def traces(self, body: dict[str, Any]) -> list[str]:
        """Return everything that is left of a deployment, asked of SkyPilot and of Kubernetes."""
        name, uid = body["metadata"]["name"], body["metadata"]["uid"]
        left = [f"cluster {row['name']}" for row in self.stack.skypilot_clusters() if uid_prefix(uid) in row["name"]]
        active = self.stack.skypilot_get("/api/status")
        left += [f"request {r['name']}" for r in active if uid_prefix(uid) in (r.get("cluster_name") or "")]
        for kind in ("pods", "services", "endpointslices", "serviceaccounts", "secrets"):
            for labels in (f"deepseek-operator.io/uid={uid}", f"deepseek-operator.io/name={name}"):
                left += [f"{kind} {item['metadata']['name']}" for item in self.kubectl.get(kind, labels=labels)]
            on_cloud = self.kubectl.get(kind, labels="skypilot-cluster-name")
            left += [
                f"{kind} {item['metadata']['name']}"
                for item in on_cloud
                if uid_prefix(uid) in item["metadata"]["labels"]["skypilot-cluster-name"]
            ]
        return sorted(set(left))

    def expect_nothing_left(self, body: dict[str, Any]) -> None:
        """Expect that nothing of a deleted deployment is left, once the garbage collector had its time."""
        eventually(
            lambda: not self.traces(body) or None, within=30, what=f"nothing is left of {body['metadata']['name']}"
        )


@pytest.fixture
def tenant(stack: Stack) -> Iterator[Tenant]:
    """A namespace of its own; deployments are deleted before it, or nobody would give their nodes back."""
    name = f"{PREFIX}{uuid.uuid4().hex[:6]}"
    stack.kubectl("create", "namespace", name)
    tenant = Tenant(stack, stack.kubectl.within(name))
    yield tenant
    tenant.kubectl("delete", "dsd", "--all", "--timeout=120s", timeout=150)
    stack.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
