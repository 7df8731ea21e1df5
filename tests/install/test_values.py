"""Every combination of values in ``ci/`` as a real API server sees it: nothing is stored."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.install.release import CHART, SYSTEM, Release
from tests.system.kubectl import Kubectl

COMBINATIONS = sorted((CHART / "ci").glob("*-values.yaml"))
FOREIGN = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
"""Kinds of the Prometheus Operator, which this cluster does not know. They are left out."""
NAMESPACES = ("serving", "batch")


@pytest.fixture(scope="module", autouse=True)
def watched(kubectl: Kubectl) -> Iterator[None]:
    """The namespaces that the combinations name; a dry run needs them to exist."""
    missing = [name for name in NAMESPACES if kubectl.get("namespace", name) is None]
    for name in missing:
        kubectl("create", "namespace", name)
    yield
    for name in missing:
        kubectl("delete", "namespace", name, "--wait=false")


def pods(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pods that Deployments, Jobs and hooks would make, under an account that exists."""
    made = []
    for one in found:
        spec = one["spec"] if one["kind"] == "Pod" else one.get("spec", {}).get("template", {}).get("spec")
        if spec is not None and one["kind"] in ("Pod", "Deployment", "Job"):
            spec = {key: value for key, value in spec.items() if key != "serviceAccountName"}
            metadata = {"name": f"{one['kind'].lower()}-{one['metadata']['name']}", "namespace": SYSTEM}
            made.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    return made


@pytest.mark.parametrize("values", COMBINATIONS, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_the_api_server_accepts_every_object_and_admits_every_pod(release: Release, values: Path) -> None:
    rendered = release.run("template", release.name, str(CHART), f"--values={values}")
    found = [one for one in yaml.safe_load_all(rendered) if one and one["kind"] not in FOREIGN]
    made = pods(found)
    assert made
    wanted = [one for one in found if one["kind"] != "Pod"] + made
    flags = ("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
    said = release.kubectl.within("")("apply", *flags, "-f", "-", stdin=yaml.safe_dump_all(wanted))
    assert said.count("(server dry run)") == len(wanted)


def test_the_namespace_refuses_a_pod_that_is_less_strict(release: Release) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "lax", "namespace": SYSTEM},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    with pytest.raises(Exception, match='violates PodSecurity "restricted:latest"'):
        release.kubectl("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))
