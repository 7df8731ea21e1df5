"""The chart in a namespace that enforces ``restricted``, and a tenant whose engine is a few lines of Python."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from deepseek_operator.facts.names import uid_prefix
from tests.cluster import build
from tests.cluster.api import Cluster
from tests.cluster.images import reference_of
from tests.cluster.local.cluster import LocalCluster
from tests.cluster.providers import select
from tests.install.prometheus import Prometheus
from tests.install.release import SYSTEM, Release
from tests.system.audit import Audit
from tests.system.kubectl import CommandError, Kubectl
from tests.system.wait import eventually

TENANT, OTHER = "dsd-inst-tenant", "dsd-inst-other"
CRD = "deepseekdeployments.deepseek-operator.io"


def pytest_configure(config: pytest.Config) -> None:
    """Make this suite's marker known."""
    config.addinivalue_line("markers", "last: speaks of the whole run, and comes at its end")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what speaks of the whole run at its end."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The test cluster with the images; left running, because whoever started it may want to look."""
    cluster = select()
    cluster.up()
    for image in ("operator", "operator-previous", "skypilot", "engine-stub", "postgresql"):
        cluster.load_image(image)
    return cluster


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Kubectl:
    """The administrator, with no namespace in mind."""
    return Kubectl(cluster.kubeconfig, cluster.bin_dir)


@pytest.fixture(scope="session", autouse=True)
def namespaces(kubectl: Kubectl) -> Iterator[None]:
    """The namespaces of this suite; what a killed run left goes first. Nobody else's operator may run."""
    _clean(kubectl)
    found = kubectl("get", "deployments", "-A", "-l", "app.kubernetes.io/name=deepseek-operator", "-o", "name").split()
    if found:
        pytest.fail(f"another operator runs in this cluster ({found[0]}): uninstall it, or set DSD_TEST_CLUSTER")
    for name, level in ((SYSTEM, "restricted"), (TENANT, "baseline"), (OTHER, "baseline")):
        kubectl("create", "namespace", name)
        kubectl("label", "namespace", name, f"pod-security.kubernetes.io/enforce={level}")
    yield
    _clean(kubectl)


def _clean(kubectl: Kubectl) -> None:
    """Remove releases and namespaces. An operator that still runs gives back what it holds."""
    for name in (TENANT, OTHER):
        with suppress(CommandError):
            kubectl.within(name)("delete", "dsd", "--all", "--timeout=60s", timeout=90)
        with suppress(CommandError):
            kubectl.within(name)("patch", "dsd", "tiny", "--type=merge", '-p={"metadata":{"finalizers":null}}')
    system = kubectl.within(SYSTEM)
    for release in ("deepseek-operator", "second-deepseek-operator"):
        with suppress(CommandError):
            system.helm("uninstall", release, "--no-hooks", "--ignore-not-found", "--wait", "--timeout=60s")
    for name in (SYSTEM, TENANT, OTHER):
        kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=90s", timeout=120)
    # Helm does not adopt a CRD that another release has left.
    if kubectl.get("crd", CRD) is not None and not kubectl("get", "dsd", "-A", "-o", "name"):
        kubectl("delete", "crd", CRD)


@pytest.fixture(scope="session")
def release(kubectl: Kubectl) -> Release:
    """The release of the tests, driven by Helm 4."""
    return Release(kubectl.within(SYSTEM))


@pytest.fixture(scope="session")
def helm3(cluster: Cluster, kubectl: Kubectl) -> Release:
    """A second release, driven by Helm 3."""
    folder = build.build((*(build.LOCAL if isinstance(cluster, LocalCluster) else build.CLIENTS), *build.HELM3))
    within = Kubectl(kubectl.kubeconfig, folder, SYSTEM)
    return Release(within, "helm3", "second-deepseek-operator")


@pytest.fixture(scope="session")
def prometheus(
    cluster: Cluster, kubectl: Kubectl, namespaces: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the releases of this run."""
    if not isinstance(cluster, LocalCluster):
        pytest.skip("needs a cluster whose pods this machine reaches: the local one (DSD_TEST_PROVIDER=local)")
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), kubectl.within(SYSTEM))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def audit_of(cluster: Cluster) -> Callable[[str], Audit]:
    """The audit log of an account, from now on."""
    if not isinstance(cluster, LocalCluster) or not cluster.layout.audit_log.exists():
        pytest.skip("the cluster writes no audit log")
    log, start = cluster.layout.audit_log, cluster.layout.audit_log.stat().st_size
    return lambda account: Audit(log, f"system:serviceaccount:{SYSTEM}:{account}", start)


@dataclass(frozen=True)
class Tenant:
    """A user in a namespace of their own, with one deployment at a time."""

    kubectl: Kubectl

    def apply(self, **spec: Any) -> dict[str, Any]:
        """Apply the deployment ``tiny`` and return the stored object."""
        body = {
            "apiVersion": "deepseek-operator.io/v1alpha1",
            "kind": "DeepSeekDeployment",
            "metadata": {"name": "tiny", "namespace": self.kubectl.namespace},
            "spec": {
                "model": {"name": "deepseek-ai/DeepSeek-R1", "path": "/models/tiny-deepseek-v3"},
                "engine": {"name": "VLLM", "image": reference_of("engine-stub"), "maxModelLen": 1024},
                "resources": {"accelerators": [], "cpus": "0.1+", "memory": "1+"},
                **spec,
            },
        }
        self.kubectl.apply(body)
        return self.get() or {}

    def get(self) -> dict[str, Any] | None:
        """Return the object, or None."""
        found: dict[str, Any] | None = self.kubectl.get("dsd", "tiny")
        return found

    def condition(self, kind: str = "Ready") -> dict[str, Any]:
        """Return a condition of the object, or an empty one."""
        conditions = ((self.get() or {}).get("status") or {}).get("conditions") or []
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def wait_ready(self, within: float = 420) -> dict[str, Any]:
        """Wait until the object is Ready; return it."""
        try:
            self.kubectl("wait", "--for=condition=Ready", "dsd/tiny", f"--timeout={within:g}s", timeout=within + 30)
        except CommandError as error:
            raise AssertionError(f"{error}: {self.condition()}") from error
        return self.get() or {}

    def engines(self) -> dict[str, int]:
        """Return the UIDs of the engines' pods and how often their containers were started again."""
        found = self.kubectl.get("pods", labels="deepseek-operator.io/name=tiny")
        return {
            pod["metadata"]["uid"]: sum(one["restartCount"] for one in pod["status"].get("containerStatuses", []))
            for pod in found
        }

    def delete(self) -> None:
        """Delete the object; all that SkyPilot made for it must be gone then."""
        uid = (self.get() or {})["metadata"]["uid"]
        self.kubectl("delete", "dsd", "tiny", "--timeout=90s", timeout=120)
        for kind in ("pods", "services"):
            found = self.kubectl.get(kind, labels="skypilot-cluster-name")
            assert not [one for one in found if uid_prefix(uid) in one["metadata"]["labels"]["skypilot-cluster-name"]]


@pytest.fixture(scope="session")
def tenant(kubectl: Kubectl) -> Tenant:
    """The tenant of the first release."""
    return Tenant(kubectl.within(TENANT))


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Print how long something took."""
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.1f} s")


def until(look: Callable[[], Any], within: float, what: str) -> Any:
    """Wait for a true value."""
    return eventually(look, within=within, what=what)
