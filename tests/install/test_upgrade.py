"""From the previous chart and back, with an engine that serves, and an uninstall that is refused while it does."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cluster.images import previous, reference_of
from tests.install.conftest import CRD, Tenant, measured, until
from tests.install.release import Release
from tests.system.kubectl import CommandError, Kubectl
from tests.system.traffic import Traffic, expect_no_failures
from tests.unit.docs.blocks import shown

CRD_FILE = f"files/{CRD}.yaml"
COLUMN = "Endpoint"


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The previous chart, with a CRD that certainly differs from today's."""
    chart = tmp_path_factory.mktemp("previous") / "deepseek-operator"
    shutil.copytree(previous() / "charts" / "deepseek-operator", chart)
    file = chart / CRD_FILE
    text = file.read_text()
    assert f"name: {COLUMN}\n" in text
    file.write_text(text.replace(f"name: {COLUMN}\n", "name: Was\n"))
    return chart


def columns(kubectl: Kubectl) -> list[str]:
    """Return the columns of ``kubectl get dsd`` as the API server knows them."""
    (version,) = kubectl.get("crd", CRD)["spec"]["versions"]
    return [column["name"] for column in version["additionalPrinterColumns"]]


def accepts_a_change(tenant: Tenant, amount: str) -> None:
    """Change something that concerns no running replica; the operator must take note of it, and of nothing else."""
    change = {"spec": {"resources": {"maxHourlyCost": amount}}}
    tenant.kubectl("patch", "dsd", "tiny", "--type=merge", f"-p={json.dumps(change)}")

    def noted() -> bool:
        body = tenant.get() or {}
        status = body.get("status") or {}
        current = status.get("observedGeneration") == body["metadata"]["generation"]
        return bool(current) and tenant.condition()["status"] == "True"

    until(noted, 120, f"the operator has noted a change to {amount}")


def test_an_upgrade_and_a_rollback_restart_no_engine_and_lose_no_request(
    release: Release, tenant: Tenant, kubectl: Kubectl, older: Path
) -> None:
    with measured("previous chart, install to available"):
        release.upgrade(older, operator="operator-previous")
    assert "Was" in columns(kubectl)
    tenant.apply()
    with measured("apply to Ready"):
        tenant.wait_ready()
    engines = tenant.engines()
    assert list(engines.values()) == [0]

    traffic = Traffic(tenant.kubectl, reference_of("engine-stub"), "tiny", 8000, "deepseek-ai/DeepSeek-R1")
    with measured("upgrade"):
        release.upgrade(uninstallGuard__enabled=True)
    assert "Was" not in columns(kubectl)
    assert COLUMN in columns(kubectl)
    accepts_a_change(tenant, "1.5")
    assert tenant.engines() == engines

    with measured("rollback"):
        release.run("rollback", release.name, "1", "--wait", "--timeout=4m")
    images = [one["image"] for pod in release.pods() for one in pod["spec"]["containers"]]
    assert reference_of("operator-previous") in images
    accepts_a_change(tenant, "2.5")
    assert tenant.engines() == engines

    release.upgrade(uninstallGuard__enabled=True)
    accepts_a_change(tenant, "3.5")
    assert tenant.engines() == engines
    expect_no_failures(traffic)


def test_skypilot_gets_a_deployment_of_its_own_and_comes_back_as_the_page_says(
    release: Release, tenant: Tenant
) -> None:
    held = tenant.engines()
    assert held, "goes on from the test before"
    upgrade = shown("helm upgrade deepseek-operator", having="skypilot.mode=deployment")
    release.typed(shown("kubectl scale deployment deepseek-operator"))
    until(lambda: not release.pods(), 90, "the operator's pod is gone")
    with measured("to a Deployment of its own"):
        release.typed(upgrade)
    assert release.pods("deepseek-operator-skypilot")
    accepts_a_change(tenant, "4.5")
    with measured("and back"):
        release.typed(upgrade.replace("mode=deployment", "mode=sidecar"))
    accepts_a_change(tenant, "5.5")
    assert not release.pods("deepseek-operator-skypilot")
    assert tenant.engines() == held


def test_an_uninstall_is_refused_while_a_deployment_holds_nodes_and_passes_afterwards(
    release: Release, tenant: Tenant
) -> None:
    release.test()
    held = tenant.engines()
    assert held, "goes on from the test before"
    with pytest.raises(CommandError, match=r"uninstall-guard|pre-delete"):
        release.run("uninstall", release.name, "--timeout=180s")
    log = release.kubectl("logs", f"job/{release.name}-uninstall-guard")
    assert f"{tenant.kubectl.namespace}/tiny: 1 replica on 1 node" in log
    assert tenant.engines() == held
    assert release.pods(), "the operator still runs"

    assert "STATUS: uninstalling" in release.run("status", release.name)
    _, _, undo = log.partition("To go on with the release as it is: ")
    release.typed(undo.splitlines()[0])
    assert "STATUS: deployed" in release.run("status", release.name)
    assert tenant.engines() == held

    tenant.delete()
    with measured("uninstall"):
        release.run("uninstall", release.name, "--wait", "--timeout=180s")
    release.gone()
    assert release.kubectl.get("crd", CRD) is not None, "crds.keep"
    volume = f"{release.name}-skypilot"
    assert release.kubectl.get("pvc", volume) is not None, "skypilot.persistence.keep"
    release.kubectl("delete", "pvc", volume)  # what comes next has another size
    release.typed(shown("kubectl delete crd"))
    assert release.kubectl.get("crd", CRD) is None
