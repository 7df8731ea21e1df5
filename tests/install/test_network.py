"""The chart's NetworkPolicies on a network that enforces them: what must get through does, and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.cluster.api import Cluster
from tests.cluster.images import reference_of
from tests.cluster.local.cluster import LocalCluster
from tests.install.conftest import OTHER, TENANT, until
from tests.install.policies import EnforcedPolicies
from tests.install.release import SYSTEM, Release
from tests.system.kubectl import Kubectl

SKYPILOT = "deepseek-operator-skypilot"
MONITORING = OTHER
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)
    print("taken")
except TimeoutError:
    print("silence")
"""
HEALTH, METRICS, READINESS, SKYPILOTS = 8080, 8081, 8082, 46580


@dataclass(frozen=True)
class Client:
    """A pod that tries to connect."""

    kubectl: Kubectl

    def start(self) -> None:
        """Run it, in the image of the operator, which has Python."""
        container = {
            "name": "client",
            "image": reference_of("operator"),
            "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "infinity"],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        spec = {
            "containers": [container],
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        }
        self.kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": spec})
        self.kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=60s")

    def reaches(self, address: str, port: int) -> bool:
        """Say whether something takes the connection, or nothing answers for two seconds, as where a policy forbids it.

        Raises
        ------
        CommandError
            Neither: the connection was refused, or there is no way.
        """
        said = self.kubectl("exec", "client", "--", "python3", "-c", CONNECT, address, str(port))
        return {"taken": True, "silence": False}[said.strip()]

    def stop(self) -> None:
        """Remove it."""
        self.kubectl("delete", "pod", "client", "--ignore-not-found", "--wait=false")


@dataclass(frozen=True)
class Guarded:
    """A release with policies, and a client in each kind of namespace."""

    policies: EnforcedPolicies
    operator: str
    skypilot: str
    stranger: Client
    monitoring: Client
    neighbour: Client
    """In the namespace of the release."""

    def reached(self, address: str, port: int) -> list[bool]:
        """Say for each client whether it gets through."""
        return [one.reaches(address, port) for one in (self.stranger, self.monitoring, self.neighbour)]


@pytest.fixture(scope="module")
def guarded(cluster: Cluster, release: Release, kubectl: Kubectl) -> Iterator[Guarded]:
    """The release, installed where policies are in force already: the operator is Ready only if it reaches SkyPilot."""
    if not isinstance(cluster, LocalCluster):
        pytest.skip("needs the node's network: the local cluster (DSD_TEST_PROVIDER=local)")
    clients = [Client(kubectl.within(namespace)) for namespace in (TENANT, MONITORING, SYSTEM)]
    policies = EnforcedPolicies(cluster.layout)
    with policies:
        release.upgrade(
            watchNamespaces=[TENANT],
            skypilot__mode="deployment",
            skypilot__persistence__enabled=False,
            networkPolicy__enabled=True,
            networkPolicy__metricsFrom=[
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": MONITORING}}}
            ],
        )
        operator, skypilot = address(release, "deepseek-operator"), address(release, SKYPILOT)
        for client in clients:
            client.start()
        yield Guarded(policies, operator, skypilot, *clients)
    for client in clients:
        client.stop()
    release.run("uninstall", release.name, "--wait", "--timeout=180s")
    release.gone()


def address(release: Release, part: str) -> str:
    """Return the address of the one pod of a part of the release."""
    (pod,) = until(lambda: [one for one in release.pods(part) if one["status"].get("podIP")], 60, f"a pod of {part}")
    return str(pod["status"]["podIP"])


def test_helm_test_gets_through(guarded: Guarded, release: Release) -> None:
    release.test()


def test_everybody_may_ask_how_the_operator_is(guarded: Guarded) -> None:
    assert guarded.reached(guarded.operator, HEALTH) == [True, True, True]
    assert guarded.reached(guarded.operator, READINESS) == [True, True, True]


def test_only_the_named_namespace_may_scrape(guarded: Guarded) -> None:
    assert guarded.reached(guarded.operator, METRICS) == [False, True, False]


def test_nobody_but_the_operator_reaches_skypilot(guarded: Guarded) -> None:
    assert guarded.reached(guarded.skypilot, SKYPILOTS) == [False, False, False]


def test_it_is_the_policies_that_keep_them_out(guarded: Guarded) -> None:
    guarded.policies.stop()
    try:
        assert guarded.reached(guarded.operator, METRICS) == [True, True, True]
        assert guarded.reached(guarded.skypilot, SKYPILOTS) == [True, True, True]
    finally:
        guarded.policies.start()
