"""``skypilot.mode`` deployment with PostgreSQL and two operators, and ``external``, which Helm 3 installs beside it."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.images import reference_of
from tests.install.conftest import OTHER, TENANT, Tenant, measured, until
from tests.install.prometheus import Prometheus
from tests.install.release import CHART, SYSTEM, Release, names
from tests.system.audit import Audit
from tests.system.kubectl import Kubectl
from tests.system.rights import compare, granted

SKYPILOT = "deepseek-operator-skypilot"
REFUSED = {"list pods", "get namespaces", "list deployments.apps"}
"""What SkyPilot asks in vain and goes on without: pods of its own namespace at its start, namespaces when it adopts
pods, and Deployments, which it never makes here, when it tears down."""
PASSWORD = "only-for-this-test"
TOKEN = "a-token-of-this-test"
"""Not one of SkyPilot, which begin with sky_: a server without service accounts refuses those, and takes any other."""


def postgresql(kubectl: Kubectl) -> None:
    """Run a PostgreSQL and make the Secret with its URI."""
    labels = {"app": "postgresql"}
    container = {
        "name": "postgresql",
        "image": reference_of("postgresql"),
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "POSTGRES_PASSWORD", "value": PASSWORD}],
        "ports": [{"name": "sql", "containerPort": 5432}],
        "readinessProbe": {"tcpSocket": {"port": "sql"}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    spec = {
        "containers": [container],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 2,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    kubectl.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "postgresql-0", "labels": labels}, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "postgresql"},
            "spec": {"selector": labels, "ports": [{"port": 5432, "targetPort": "sql"}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "skypilot-database"},
            "stringData": {"uri": f"postgresql://postgres:{PASSWORD}@postgresql.{SYSTEM}.svc:5432/postgres"},
        },
    )
    kubectl("wait", "--for=condition=Ready", "pod/postgresql-0", "--timeout=60s")


def curl(release: Release, path: str, *flags: str) -> str:
    """Return the answer of the SkyPilot server, asked from inside its pod."""
    url = f"http://127.0.0.1:46580{path}"
    return release.kubectl("exec", f"deploy/{SKYPILOT}", "--", "curl", "-s", "-m", "30", *flags, url)


def clusters(release: Release) -> list[str]:
    """Return the names of the clusters that SkyPilot knows."""
    body = json.dumps({"all_users": True, "include_credentials": False, "include_handle": False})
    headers = curl(release, "/status", "-D-", "-o/dev/null", "-HContent-Type: application/json", "-d", body)
    (request,) = re.findall(r"(?im)^x-skypilot-request-id: *(\S+)", headers)
    answer = json.loads(curl(release, f"/api/get?request_id={request}"))
    return [row["name"] for row in json.loads(answer["return_value"])]


def launches(release: Release, tenant: Tenant) -> int:
    """Return how many launches SkyPilot remembers for the one replica of the tenant."""
    (instance,) = (tenant.get() or {})["status"]["instances"]
    found = json.loads(curl(release, f"/api/status?all_status=true&cluster_name={instance['name']}"))
    return sum(request["name"] == "sky.launch" for request in found)


@pytest.fixture(scope="module")
def apart(release: Release, prometheus: Prometheus) -> Iterator[Release]:
    """The first release with SkyPilot in a pod of its own; it watches one namespace."""
    postgresql(release.kubectl)
    with measured("mode deployment, install to available"):
        release.upgrade(
            watchNamespaces=[TENANT],
            skypilot__mode="deployment",
            operator__replicas=2,
            skypilot__database__uriSecret__name="skypilot-database",
            skypilot__persistence__enabled=False,
            metrics__service__enabled=True,
            networkPolicy__enabled=True,
        )
    yield release
    release.run("uninstall", release.name, "--wait", "--timeout=180s")
    release.gone()


def test_skypilots_state_is_in_postgresql(apart: Release) -> None:
    count = "select count(*) from pg_tables where schemaname = 'public' and tablename = 'clusters'"
    uri = f"postgresql://postgres:{PASSWORD}@127.0.0.1/postgres"
    assert apart.kubectl("exec", "postgresql-0", "--", "psql", uri, "-Atc", count).strip() == "1"


def test_with_its_leader_killed_in_mid_launch_a_deployment_is_launched_once(
    apart: Release, tenant: Tenant, audit_of: Callable[[str], Audit]
) -> None:
    operator, skypilot = audit_of("deepseek-operator"), audit_of(SKYPILOT)
    first = apart.leader()
    tenant.apply()
    until(tenant.engines, 240, "a pod is coming up")
    apart.kubectl("delete", "pod", first, "--grace-period=0", "--force")
    with measured("leader killed, another one leads"):
        until(lambda: apart.leader() != first, 40, "another pod leads")
    tenant.wait_ready()
    assert len(tenant.engines()) == 1
    assert launches(apart, tenant) == 1
    apart.test()

    # The pod of SkyPilot has nothing but an emptyDir: what it knows afterwards, it has from PostgreSQL.
    engines, known = tenant.engines(), clusters(apart)
    assert len(known) == 1
    (pod,) = names(apart.pods(SKYPILOT))
    with measured("SkyPilot's pod deleted, its successor ready"):
        apart.kubectl("delete", "pod", pod, "--grace-period=5")
        apart.kubectl("rollout", "status", f"deployment/{SKYPILOT}", "--timeout=240s", timeout=270)
    assert clusters(apart) == known
    until(lambda: tenant.condition()["status"] == "True", 120, "it is Ready")
    assert tenant.engines() == engines

    tenant.delete()
    # The successors launch as well, both: a rate needs a second launch of one process, and the first was cut in two.
    tenant.apply()
    tenant.wait_ready()
    tenant.delete()
    # A node that does not exist: SkyPilot reads the events of the pod to say why.
    tenant.apply(podTemplate={"nodeSelector": {"room": "none"}})
    until(lambda: tenant.condition().get("reason") == "Unschedulable", 300, "it says that no node fits")
    tenant.delete()

    assert [str(right) for right in compare(apart.rights("deepseek-operator"), operator.entries()).denied] == []
    found = compare(apart.rights(SKYPILOT), skypilot.entries())
    assert {str(right) for right in found.denied} <= REFUSED
    assert [str(right) for right in found.unused] == []


def test_helm_3_installs_an_operator_for_that_server_without_cluster_roles(
    apart: Release, helm3: Release, kubectl: Kubectl, audit_of: Callable[[str], Audit]
) -> None:
    other = Tenant(kubectl.within(OTHER))
    account = helm3.name
    operator = audit_of(account)
    # Whoever runs the server gives its account what it needs there.
    role, subject = f"--clusterrole={SKYPILOT}-namespaced", f"--serviceaccount={SYSTEM}:{SKYPILOT}"
    other.kubectl("create", "rolebinding", "skypilot", role, subject)
    helm3.kubectl("create", "secret", "generic", "skypilot-token", f"--from-literal=token={TOKEN}")
    values: dict[str, Any] = {
        "watchNamespaces": [OTHER],
        "rbac__clusterRoles": False,
        "crds__enabled": False,
        "skypilot__mode": "external",
        "skypilot__external__endpoint": f"http://{SKYPILOT}.{SYSTEM}.svc:46580",
        "skypilot__external__tokenSecret__name": "skypilot-token",
        "uninstallGuard__enabled": True,
    }
    assert "1 chart(s) linted, 0 chart(s) failed" in helm3.run("lint", "--strict", str(CHART), *helm3.flags(**values))
    with measured("Helm 3, mode external, install to available"):
        helm3.upgrade(**values)
    kinds = {one["kind"] for one in helm3.objects()}
    assert kinds.isdisjoint({"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"})
    other.apply()
    with measured("apply to Ready through the other release's SkyPilot"):
        other.wait_ready()
    engines = other.engines()
    helm3.upgrade(**values, operator__replicas=2, operator__logFormat="console")
    assert len(helm3.pods()) == 2
    assert other.engines() == engines
    helm3.test()
    # Before the end: an uninstall takes the rights away while the pod still lets go of its Lease.
    denied = compare(granted([], account), operator.entries()).denied
    assert [str(right) for right in denied] == ["list leases.coordination.k8s.io"], "asked in the whole cluster first"
    other.delete()
    helm3.run("uninstall", helm3.name, "--wait", "--timeout=180s")
    helm3.gone()
