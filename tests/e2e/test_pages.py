"""Commands of the documentation as a reader types them, in a shell, against the installed chart.

What else of the pages runs in other tests stands in ``tests/unit/docs/evidence.yaml``.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.images import reference_of
from tests.e2e.conftest import Tenant
from tests.system.stack import SYSTEM_NAMESPACE, Stack
from tests.system.wait import eventually
from tests.unit.docs.blocks import shown

MODEL = "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"
"""The model of the pages, which asks for it by this name; here it has the weights of a tiny one."""


class Shell:
    """A reader's shell, in a folder of its own."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._folder = folder
        kubectl = stack.kubectl
        own = {"KUBECONFIG": str(shutil.copy(kubectl.kubeconfig, folder / "kubeconfig")), "HOME": str(folder)}
        self._environment = kubectl.environment | own

    def run(self, command: str, *, timeout: float = 120) -> str:
        """Return what a command prints; it must end well."""
        words = ["bash", "-euo", "pipefail", "-c", command]
        done = subprocess.run(
            words, cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"
        return done.stdout

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Start a command that goes on until somebody ends it."""
        return subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=self._folder, env=self._environment)


@pytest.fixture
def shell(stack: Stack, tmp_path: Path) -> Shell:
    """A shell whose kubectl means the test cluster, and the namespace ``default``."""
    return Shell(stack, tmp_path)


@pytest.fixture
def team(tenant: Tenant, shell: Shell) -> str:
    """A namespace of its own, which kubectl means unless it is told another one."""
    shell.run(f"kubectl config set-context --current --namespace={tenant.namespace}")
    return tenant.namespace


def test_a_user_may_make_deployments_once_bound_to_the_role_of_the_page(team: str, shell: Shell) -> None:
    asks = shown("kubectl auth can-i").replace("team-a", team)
    with pytest.raises(AssertionError, match="no"):
        shell.run(asks)
    shell.run(shown("kubectl create rolebinding alice --clusterrole=edit").replace("team-a", team))
    assert shell.run(asks) == "yes\n"


def test_metrics_come_through_the_port_forward_of_the_page(stack: Stack, shell: Shell) -> None:
    forward = shell.start(shown(f"kubectl port-forward -n {SYSTEM_NAMESPACE}"))
    try:
        look = shown("curl -s http://127.0.0.1:8081/metrics")
        # An operator that is new says so after its second look at SkyPilot.
        line = "\ndeepseek_operator_skypilot_reachable 1.0\n"
        eventually(lambda: line in shell.run(f"{look} || true"), within=60, what="SkyPilot is reachable")
    finally:
        forward.terminate()
        forward.wait(timeout=10)


def test_an_administrator_sees_the_release_and_its_pod(stack: Stack, shell: Shell) -> None:
    assert "deployed" in shell.run(shown("helm history"))
    assert "2/2" in shell.run(shown(f"kubectl get pods -n {SYSTEM_NAMESPACE}"))
    log = shell.run(shown(f"kubectl logs -n {SYSTEM_NAMESPACE} deploy/deepseek-operator -c operator --since"))
    assert all(isinstance(json.loads(line), dict) for line in log.splitlines())


@pytest.fixture
def made_by_the_page(stack: Stack) -> Iterator[None]:
    """Removes what a page lets an administrator make outside any namespace."""
    yield
    for kind in ("clusterrole", "clusterrolebinding"):
        stack.kubectl("delete", kind, "skypilot-nodes", "--ignore-not-found")


@pytest.mark.usefixtures("made_by_the_page")
def test_a_skypilot_without_rights_of_its_own_gets_to_see_nodes_as_the_page_says(stack: Stack, shell: Shell) -> None:
    account = "system:serviceaccount:deepseek-system:somebody"
    asks = f"kubectl auth can-i list nodes --as={account}"
    assert shell.run(f"{asks} || true") == "no\n"
    shell.run(shown("kubectl create clusterrole skypilot-nodes"))
    shell.run(shown("kubectl create clusterrolebinding skypilot-nodes").replace("ACCOUNT", "somebody"))
    assert shell.run(asks) == "yes\n"


def test_a_node_gets_the_label_by_which_skypilot_knows_its_gpus(stack: Stack, shell: Shell) -> None:
    node = stack.kubectl.get("nodes")[0]["metadata"]["name"]
    shell.run(shown("kubectl label node NODE").replace("NODE", node))
    try:
        assert stack.kubectl.get("node", node)["metadata"]["labels"]["skypilot.co/accelerator"] == "L4"
    finally:
        shell.run(f"kubectl label node {node} skypilot.co/accelerator-")
    assert shell.run(shown("kubectl get nodes -o jsonpath")) == "", "no node here has GPUs"


def test_a_deployment_is_asked_and_logged_about_as_the_pages_say(tenant: Tenant, team: str, shell: Shell) -> None:
    tenant.apply("r1", model={"name": MODEL, "path": "/models/tiny-qwen2"})
    tenant.wait_ready("r1")
    assert shell.run(shown("kubectl deepseek endpoint r1")) == f"http://r1.{team}.svc:8000/v1\n"

    image = reference_of("skypilot")  # has curl, too
    ask = shown("kubectl run ask").replace("--image=curlimages/curl --", f"--image={image} --command --")
    answer, _ = json.JSONDecoder().raw_decode(shell.run(ask))  # behind it kubectl speaks of the pod
    assert answer["usage"]["completion_tokens"] > 0

    logs = shown(f"kubectl logs -n {SYSTEM_NAMESPACE} deploy/deepseek-operator -c operator | jq")
    if shutil.which("jq") is None:
        logs, _, _ = logs.partition(" | ")
    assert f'"object":"{team}/r1"' in shell.run(logs.replace("default/", f"{team}/")).replace('": "', '":"')


def test_a_change_is_taken_back_with_git_and_the_old_replica_is_kept(
    tenant: Tenant, team: str, shell: Shell, tmp_path: Path
) -> None:
    created = tenant.apply("r1", model={"name": MODEL, "path": "/models/tiny-qwen2"})
    tenant.wait_ready("r1")
    (engine,) = tenant.kubectl.get("pods", labels="deepseek-operator.io/name=r1")
    body = {"apiVersion": created["apiVersion"], "kind": created["kind"], "metadata": {"name": "r1"}}
    shell.run("git init --quiet . && git config user.name R && git config user.email r@example.com")
    for length in (created["spec"]["engine"]["maxModelLen"], 777):
        spec = created["spec"] | {"engine": created["spec"]["engine"] | {"maxModelLen": length}}
        (tmp_path / "r1.yaml").write_text(json.dumps(body | {"spec": spec}))
        shell.run("git add r1.yaml && git commit --quiet -m Change && kubectl apply -f r1.yaml")
    eventually(lambda: tenant.condition("r1", "Reconciling").get("status") == "True", within=60, what="it is changed")

    shell.run(shown("git checkout HEAD~1"))
    shell.run("kubectl apply -f r1.yaml")
    shell.run(shown("kubectl wait --for=condition=Reconciling=False dsd/r1"), timeout=300)
    assert tenant.get("r1")["spec"] == created["spec"]
    (kept,) = tenant.kubectl.get("pods", labels="deepseek-operator.io/name=r1")
    assert kept["metadata"]["uid"] == engine["metadata"]["uid"]
