"""One world for the whole run, without faults at the beginning of each test and without machines at its end."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest

from deepseek_operator.skypilot.client import SkyPilotClient
from tests.cloud.join import join
from tests.cloud.parts import build_images
from tests.cloud.tenant import API_KEY, HF_TOKEN, Tenant
from tests.cloud.world import World, world
from tests.cluster import select
from tests.cluster.images import reference_of
from tests.cluster.local.cluster import LocalCluster
from tests.cluster.providers import DEFAULT_NAME
from tests.cluster.versions import ROOT
from tests.system.identity import operator_identity
from tests.system.kubectl import Kubectl
from tests.system.process import OperatorProcess
from tests.system.wait import eventually

RELEASE: Final = "dsd-cloud"
SYSTEM: Final = "dsd-cloud-system"
TENANT: Final = "dsd-cloud-tenant"
"""Admits only pods of the profile ``restricted``, as a careful company's namespaces do."""
MIXED: Final = "dsd-cloud-mixed"
"""Admits the pods of engines as well, which SkyPilot makes and which run as root."""
CRD: Final = "deepseekdeployments.deepseek-operator.io"


@pytest.fixture(scope="session")
def shared_world(request: pytest.FixtureRequest) -> Iterator[World]:
    """The world that all tests share; its machines boot if any test has the cluster from which they are reached."""
    with world(machines=any("cluster" in getattr(one, "fixturenames", ()) for one in request.session.items)) as made:
        yield made


@pytest.fixture
def cloud(shared_world: World) -> Iterator[World]:
    """The world, without faults; a test has given back all that it has rented."""
    shared_world.faults()
    yield shared_world
    shared_world.faults()
    eventually(lambda: not shared_world.instances(), within=30, what="no machine is left that costs money")
    eventually(lambda: not shared_world.groups(), within=30, what="no security group of a cluster is left")


@pytest.fixture
async def skypilot(cloud: World) -> AsyncIterator[SkyPilotClient]:
    """The operator's client of the SkyPilot server."""
    async with SkyPilotClient(cloud.skypilot, user_id=cloud.user_id) as client:
        yield client


@pytest.fixture(scope="session")
def cluster(shared_world: World) -> LocalCluster:
    """A test cluster that reaches the machines and has the images; left running: its owner may want to look.

    From now on SkyPilot launches there, too.
    """
    chosen = select(os.environ.get("DSD_TEST_CLUSTER", DEFAULT_NAME))
    if not isinstance(chosen, LocalCluster):
        pytest.skip(
            "needs a cluster that can be joined to the simulated cloud: the local one (DSD_TEST_PROVIDER=local)"
        )
    chosen.up()
    build_images()
    join(shared_world, chosen.layout)
    for image in ("proxy", "engine-stub"):
        chosen.load_image(image)
    shared_world.kubernetes = (chosen.kubeconfig, chosen.bin_dir)
    shared_world.kill_skypilot()
    shared_world.start_skypilot()
    return chosen


@pytest.fixture(scope="session")
def kubectl(cluster: LocalCluster) -> Iterator[Kubectl]:
    """The administrator, with the checked-out CRD and no namespace of an earlier run."""
    admin = Kubectl(cluster.kubeconfig, cluster.bin_dir, "")
    there = admin.get("crd", CRD) is not None
    admin("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / f"crds/{CRD}.yaml"))
    admin("wait", "--for=condition=Established", f"crd/{CRD}", "--timeout=30s")
    _remove_namespaces(admin)
    yield admin
    _remove_namespaces(admin)
    admin("delete", "clusterrole,clusterrolebinding", "-l", f"app.kubernetes.io/instance={RELEASE}")
    if not there:
        admin("delete", "crd", CRD, "--wait=false")


@pytest.fixture(scope="session")
def operator_kubeconfig(cluster: LocalCluster, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kubeconfig of the operator's own identity, with the chart's rights and no others."""
    for name in (SYSTEM, TENANT, MIXED):
        kubectl("create", "namespace", name)
    kubectl("label", "namespace", TENANT, "pod-security.kubernetes.io/enforce=restricted")
    path = tmp_path_factory.mktemp("identity") / "operator.kubeconfig"
    return operator_identity(cluster, kubectl, RELEASE, SYSTEM, (TENANT, MIXED), path)


@pytest.fixture(scope="module")
def tenant(
    request: pytest.FixtureRequest,
    shared_world: World,
    kubectl: Kubectl,
    operator_kubeconfig: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Tenant]:
    """A user with an operator, in the module's ``NAMESPACE`` or in :data:`TENANT`.

    Deployments are deleted before it ends, or nobody would give their machines back.
    """
    cloud, namespace = shared_world, getattr(request.module, "NAMESPACE", TENANT)
    log = tmp_path_factory.mktemp("tenant") / "operator.log"
    mine = kubectl.within(namespace)
    for name, value in (("engine-key", API_KEY), ("hugging-face", HF_TOKEN)):
        head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}
        mine.apply({**head, "stringData": {"token": value}})
    flags = (f"--skypilot-user-id={cloud.user_id}", f"--proxy-image={reference_of('proxy')}")
    operator = OperatorProcess(operator_kubeconfig, namespace, cloud.skypilot, log, flags)
    operator.start()
    try:
        yield Tenant(mine, cloud, operator)
        cloud.faults()
        mine("delete", "dsd", "--all", "--timeout=240s", timeout=270)
    finally:
        operator.end()


def _remove_namespaces(kubectl: Kubectl) -> None:
    """Remove what a run that was killed left; the finalizers first, because no operator takes them off any more."""
    for name in (TENANT, MIXED, SYSTEM):
        if kubectl.get("namespace", name) is None:
            continue
        within = kubectl.within(name)
        for body in within.get("dsd"):
            patch = '{"metadata": {"finalizers": null}}'
            within("patch", "dsd", body["metadata"]["name"], "--type=merge", "--patch", patch)
        # Kubernetes looks again after half of the longest grace period of its pods: that of proxies is an hour.
        within("delete", "deployments,pods", "--all", "--grace-period=0", "--force")
        kubectl("delete", "namespace", name, "--timeout=90s", timeout=120)
