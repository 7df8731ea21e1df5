"""What the accounts of a release may do. That each right is used and none is missing, suites on a cluster show:
``tests/integration/test_rights.py`` for the operator, ``tests/install/test_modes.py`` for SkyPilot.

``pytest tests/unit/chart --regenerate-expected`` writes the tables of docs/security.md again.
"""

from pathlib import Path

import pytest

from tests.system.rights import INDIRECT, Right, granted, may, table
from tests.unit.chart.chart import COMBINATIONS, ROOT, objects, render

OPERATOR, SKYPILOT = "deepseek-operator", "deepseek-operator-skypilot"
SECURITY = ROOT / "docs" / "security.md"
DSD, SLICES = "deepseek-operator.io", "discovery.k8s.io"
USE = {
    OPERATOR: {
        ("", "namespaces"): "whether one is being deleted; only where all namespaces are watched",
        ("", "pods"): "what runs; `delete` for what SkyPilot has forgotten",
        (
            "",
            "secrets",
        ): "whether a Secret of a spec and its key exist; value and `create` for rented machines",
        ("", "configmaps"): "configuration of the proxy in front of rented machines; not tested on a cluster",
        ("apps", "deployments"): "the proxy in front of rented machines; not tested on a cluster",
        ("policy", "poddisruptionbudgets"): "the same",
        ("", "serviceaccounts"): "the account of the engines, which has no rights",
        ("", "services"): "the Service of a deployment; `delete` for what SkyPilot has forgotten",
        ("coordination.k8s.io", "leases"): "one operator acts; other releases over the same namespaces are seen",
        (DSD, "deepseekdeployments"): "the objects; `patch` for the finalizer",
        (DSD, "deepseekdeployments/status"): "the status",
        (SLICES, "endpointslices"): "which engines a Service leads to; `create` for a server-side apply that makes one",
        ("events.k8s.io", "events"): "what happened",
    },
    SKYPILOT: {
        ("", "events"): "why a pod finds no node",
        ("", "nodes"): "which CPUs, memory and GPUs there are",
        ("", "pods"): "the nodes of a replica",
        ("", "pods/exec"): "setting the nodes up and starting the engine; kubectl tries `get` first",
        ("", "services"): "the Services of a SkyPilot cluster",
        ("node.k8s.io", "runtimeclasses"): "whether there is one for NVIDIA",
    },
}


def rights(account: str, *flags: str) -> set[Right]:
    return granted(objects(render(*flags)), account)


def test_the_tables_of_the_documentation_are_those_of_the_chart(request: pytest.FixtureRequest) -> None:
    text = SECURITY.read_text(encoding="utf-8")
    for account in (OPERATOR, SKYPILOT):
        given = rights(account, "--set=skypilot.mode=deployment")
        use = {one: USE[account].get((one.group, one.resource)) or INDIRECT[one] for one in given}
        head, begin, rest = text.partition(f"<!-- rights of {account} -->\n\n")
        _, end, tail = rest.partition("\n\n<!-- end -->")
        assert begin
        assert end
        text = head + begin + "\n".join(table(given, use)) + end + tail
    if request.config.getoption("--regenerate-expected", default=False):
        SECURITY.write_text(text, encoding="utf-8")
    assert SECURITY.read_text(encoding="utf-8") == text, "pytest tests/unit/chart --regenerate-expected"


@pytest.mark.parametrize("values", COMBINATIONS, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_nobody_may_list_secrets_or_do_everything(values: Path) -> None:
    found = objects(render(f"--values={values}"))
    accounts = {one["metadata"]["name"] for one in found if one["kind"] == "ServiceAccount"}
    assert accounts
    for account in accounts:
        given = granted(found, account)
        assert given
        assert {one.verb for one in given if one.resource == "secrets"} <= {"get", "create"}
        assert not [one for one in given if "*" in (one.verb, one.resource, one.group)]
        assert not [one for one in given if one.verb in ("escalate", "bind", "impersonate")]
        assert not [one for one in given if one.group == "rbac.authorization.k8s.io"]


def test_beside_the_operator_skypilot_has_the_operators_account_and_no_other_rights_than_of_its_own() -> None:
    apart = "--set=skypilot.mode=deployment"
    assert rights(OPERATOR) == rights(OPERATOR, apart) | rights(SKYPILOT, apart)


def test_of_a_server_that_runs_elsewhere_no_rights_are_left() -> None:
    external = ("--set=skypilot.mode=external", "--set=skypilot.external.endpoint=https://a")
    assert rights(OPERATOR, *external) == rights(OPERATOR, "--set=skypilot.mode=deployment")
    assert rights(SKYPILOT, *external) == set()


def test_the_operator_alone_enters_no_pod_and_starts_none_but_by_a_deployment() -> None:
    given = rights(OPERATOR, "--set=skypilot.mode=deployment")
    for verb, resource in (
        ("create", "pods"),
        ("patch", "pods"),
        ("list", "secrets"),
        ("create", "pods/exec"),
        ("get", "pods/log"),
    ):
        assert not may(given, verb, resource)


@pytest.mark.parametrize("mode", ["sidecar", "deployment"])
def test_without_cluster_roles_nothing_reaches_beyond_the_named_namespaces(mode: str) -> None:
    flags = (f"--set=skypilot.mode={mode}", "--set=rbac.clusterRoles=false", "--set=watchNamespaces={a,b}")
    found = objects(render(*flags))
    assert not [one for one in found if one["kind"] in ("ClusterRole", "ClusterRoleBinding")]
    places = {one["metadata"]["namespace"] for one in found if one["kind"] in ("Role", "RoleBinding")}
    assert places == {"a", "b", "deepseek-system"}
    account = OPERATOR if mode == "sidecar" else SKYPILOT
    everywhere = rights(account, f"--set=skypilot.mode={mode}", "--set=watchNamespaces={a,b}")
    reading = {Right("", "nodes", "list"), Right("node.k8s.io", "runtimeclasses", "list")}
    assert everywhere - granted(found, account) == reading
