"""The cluster, the operator's own identity, and stages. Everything made here is removed again, leftovers included."""

import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, cast

import pytest
from lightkube import ApiError, Client, KubeConfig
from lightkube.resources.core_v1 import Namespace, Pod
from lightkube.types import PatchType

from tests.cluster import Cluster, ClusterError, select
from tests.cluster.local.cluster import LocalCluster
from tests.cluster.providers import DEFAULT_NAME
from tests.fakes.nodes import Pods
from tests.fakes.skypilot import FakeSkyPilot
from tests.integration.network import Reachable, engine_addresses
from tests.integration.stage import History, Stage, until
from tests.system.audit import Audit
from tests.system.identity import operator_identity
from tests.system.process import OperatorProcess
from tests.system.resources import DeploymentResource

PREFIX: Final = "dsd-int-"
SYSTEM: Final = f"{PREFIX}system"
SHARED: Final = f"{PREFIX}shared"
ALONE: Final = f"{PREFIX}alone"
RELEASE: Final = "dsd-int"
ACCOUNT: Final = "dsd-int-deepseek-operator"
ROOT: Final = Path(__file__).parents[2]
CRD: Final = "deepseekdeployments.deepseek-operator.io"

OURS: Final = "dsd-int"
SIDE_BY_SIDE: Final = 8

Kubectl = Callable[..., str]


def create_dry(kubectl: Kubectl, body: dict[str, Any]) -> str:
    """Return what creating an object in the shared namespace says; nothing is kept of it."""
    flags = ("create", "--dry-run=server", "--validate=strict", f"--namespace={SHARED}", "-f", "-")
    return kubectl(*flags, stdin=json.dumps(body), check=False)


def pytest_configure(config: pytest.Config) -> None:
    """Make this suite's markers known."""
    config.addinivalue_line("markers", "last: speaks of the whole run, and comes at its end")
    config.addinivalue_line("markers", "side_by_side(slow=False): needs the shared stage only, and runs beside others")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what speaks of the whole run at its end."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


@pytest.fixture(scope="session", autouse=True)
def side_by_side(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """Bodies of the tests that run side by side: they wait most of the time, and each has deployments of its own."""
    marked = {item: item.get_closest_marker("side_by_side") for item in request.session.items}
    items = [item for item, marker in marked.items() if marker is not None and isinstance(item, pytest.Function)]
    if not items:
        yield {}
        return
    items.sort(key=lambda item: not (marked[item] or pytest.mark.x).kwargs.get("slow", False))
    stage = request.getfixturevalue("stage")
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        yield {item.nodeid: pool.submit(item.obj, stage) for item in items}
        pool.shutdown(cancel_futures=True)


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Wait for the body of a test that runs beside others, instead of running it."""
    if pyfuncitem.get_closest_marker("side_by_side") is None:
        return None
    futures = cast(dict[str, Future[None]], pyfuncitem.funcargs["side_by_side"])
    futures[pyfuncitem.nodeid].result()
    return True


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """A cluster whose Services this machine reaches, and that reaches this machine."""
    chosen = select(DEFAULT_NAME)
    if not isinstance(chosen, LocalCluster):
        pytest.skip("needs a cluster that reaches addresses of this machine: the local one (DSD_TEST_PROVIDER=local)")
    try:
        health = chosen.health()
    except ClusterError as error:
        pytest.fail(f"no test cluster: {error}")
    if not health.healthy:
        pytest.fail(f"the test cluster is not healthy ({'; '.join(health.details)}): python -m tests.cluster up")
    return chosen


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Kubectl:
    """Run kubectl as the administrator; return what it prints."""

    def run(*arguments: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            [cluster.bin_dir / "kubectl", f"--kubeconfig={cluster.kubeconfig}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    return run


@pytest.fixture(scope="session")
def client(cluster: Cluster) -> Client:
    """The administrator."""
    return Client(KubeConfig.from_file(cluster.kubeconfig))


@pytest.fixture(scope="session")
def no_other_operator(kubectl: Kubectl) -> None:
    """Two operators for one deployment would each clear away what the other launched."""
    found = kubectl("get", "deployments", "-A", "-l", "app.kubernetes.io/name=deepseek-operator", "-o", "name").split()
    if found:
        pytest.fail(f"another operator runs in this cluster ({found[0]}): uninstall it, or set DSD_TEST_CLUSTER")


@pytest.fixture(scope="session")
def crd(client: Client, kubectl: Kubectl, no_other_operator: None) -> Iterator[None]:
    """The checked-out CRD; taken away again if it was not there before and nobody uses it."""
    # One that a crashed run of this suite left counts as not there: Helm does not adopt what it did not make.
    there = bool(kubectl("get", "crd", "-l", f"!{OURS}", f"--field-selector=metadata.name={CRD}", "-o", "name"))
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / f"crds/{CRD}.yaml"))
    kubectl("wait", "--for=condition=Established", f"crd/{CRD}", "--timeout=30s")
    if not there:
        kubectl("label", "crd", CRD, f"{OURS}=", "--overwrite")
    yield
    if not there and not kubectl("get", "dsd", "-A", "-o", "name"):
        kubectl("delete", "crd", CRD, "--wait=false")


@pytest.fixture(scope="session")
def namespaces(crd: None, client: Client, kubectl: Kubectl) -> Iterator[None]:
    """Namespaces of this suite; first those that a crashed run left are removed."""
    _remove(client, kubectl)
    for name in (SYSTEM, SHARED, ALONE):
        kubectl("create", "namespace", name)
    yield
    _remove(client, kubectl)


def _remove(client: Client, kubectl: Kubectl) -> None:
    found = [str(n.metadata.name) for n in client.list(Namespace) if n.metadata and n.metadata.name]
    ours = [name for name in found if name.startswith(PREFIX)]
    for name in ours:
        # Deployments first: their finalizer would hold the namespace, and no operator is left to take it off.
        for body in client.list(DeploymentResource, namespace=name):
            nobody = {"metadata": {"finalizers": None}}
            client.patch(
                DeploymentResource, body["metadata"]["name"], nobody, namespace=name, patch_type=PatchType.MERGE
            )
        client.deletecollection(DeploymentResource, namespace=name)
        client.deletecollection(Pod, namespace=name)
        client.delete(Namespace, name)
    for name in ours:
        until(lambda name=name: _gone(client, name), f"namespace {name} gone")  # type: ignore[misc]
    kubectl("delete", "clusterrole,clusterrolebinding", "-l", f"app.kubernetes.io/instance={RELEASE}")


def _gone(client: Client, namespace: str) -> bool:
    try:
        client.get(Namespace, namespace)
    except ApiError as error:
        return bool(error.status.code == 404)
    return False


@pytest.fixture(scope="session")
def audit_start(cluster: LocalCluster) -> int:
    """Where the audit log stood before the operator's identity existed."""
    log = cluster.layout.audit_log
    return log.stat().st_size if log.exists() else 0


@pytest.fixture(scope="session")
def operator_kubeconfig(
    cluster: Cluster, audit_start: int, namespaces: None, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Kubeconfig of the operator's own identity: the chart's ServiceAccount, with the chart's rights and no others."""
    path = tmp_path_factory.mktemp("identity") / "operator.kubeconfig"
    return operator_identity(cluster, kubectl, RELEASE, SYSTEM, (SHARED, ALONE), path)


@pytest.fixture(scope="session")
def reachable(cluster: LocalCluster) -> Iterator[Reachable]:
    """Addresses of this machine that stand for pods."""
    with Reachable(cluster.layout) as addresses:
        yield addresses


def _stage(
    namespace: str, cluster: Cluster, client: Client, kubectl: Kubectl, kubeconfig: Path, pods: Pods, log: Path
) -> Iterator[Stage]:
    with FakeSkyPilot(pods) as skypilot:
        operator = OperatorProcess(kubeconfig, namespace, skypilot.url, log)
        # A watch of its own: lightkube's client is not made for two threads.
        history = History(Client(KubeConfig.from_file(cluster.kubeconfig)), namespace)
        history.start()
        stage = Stage(client, kubectl, namespace, skypilot, operator, history)
        try:
            operator.start()
            yield stage
            _give_back(stage)
        finally:
            operator.end()


def _give_back(stage: Stage) -> None:
    """Delete all deployments while the operator runs, so that it is the operator that leaves nothing."""
    names = [body["metadata"]["name"] for body in stage.client.list(DeploymentResource, namespace=stage.namespace)]
    if not names:
        return
    if stage.operator.process is None:
        stage.operator.start()
    for name in names:
        stage.client.delete(DeploymentResource, name, namespace=stage.namespace)
    for name in names:
        stage.until_gone(name, 90)


@pytest.fixture(scope="session")
def stage(
    cluster: Cluster,
    client: Client,
    kubectl: Kubectl,
    operator_kubeconfig: Path,
    reachable: Reachable,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    """The stage that most tests share; each has deployments of its own on it, and none stops SkyPilot."""
    pods = Pods(cluster.kubeconfig, engine_addresses(reachable.layout, 0))
    log = tmp_path_factory.mktemp("shared") / "operator.log"
    yield from _stage(SHARED, cluster, client, kubectl, operator_kubeconfig, pods, log)


@pytest.fixture(scope="module")
def alone(
    cluster: Cluster,
    client: Client,
    kubectl: Kubectl,
    operator_kubeconfig: Path,
    reachable: Reachable,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    """A stage for tests that stop SkyPilot or kill the operator."""
    pods = Pods(cluster.kubeconfig, engine_addresses(reachable.layout, 1))
    log = tmp_path_factory.mktemp("alone") / "operator.log"
    yield from _stage(ALONE, cluster, client, kubectl, operator_kubeconfig, pods, log)


@pytest.fixture(scope="session")
def audit(cluster: LocalCluster, audit_start: int) -> Audit:
    """The API server's audit log of this run."""
    if not cluster.layout.audit_log.exists():
        pytest.skip("the cluster was made with --no-audit")
    return Audit(cluster.layout.audit_log, f"system:serviceaccount:{SYSTEM}:{ACCOUNT}", audit_start)
