"""What the API server refuses by itself, naming the field, and what it accepts."""

from pathlib import Path
from typing import Any

import pytest
from lightkube import ApiError, Client

from deepseek_operator.api import v1alpha1 as api
from tests.integration.conftest import ROOT, SHARED, Kubectl, create_dry
from tests.integration.stage import SPEC
from tests.system.resources import DeploymentResource
from tests.unit.api.refused import REFUSED

EXAMPLES = [path for path in sorted((ROOT / "examples").rglob("*.yaml")) if f"kind: {api.KIND}\n" in path.read_text()]


@pytest.mark.parametrize(("spec", "said"), REFUSED)
def test_a_bad_object_is_refused_and_the_field_is_named(
    namespaces: None, kubectl: Kubectl, spec: dict[str, Any], said: str
) -> None:
    body = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": {"name": "bad"}, "spec": spec}
    answer = _refusal(kubectl, body)
    assert said in answer


def test_a_name_that_is_no_service_name_is_refused(namespaces: None, kubectl: Kubectl) -> None:
    for name in ("a" * 64, "1model", "with.dot"):
        body = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": {"name": name}, "spec": SPEC}
        assert "name" in _refusal(kubectl, body)


def _refusal(kubectl: Kubectl, body: dict[str, Any]) -> str:
    answer = create_dry(kubectl, body)
    assert "error" in answer.lower() or "invalid" in answer.lower(), answer
    return answer


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_example_is_accepted(namespaces: None, kubectl: Kubectl, path: Path) -> None:
    kubectl("create", "--dry-run=server", "--validate=strict", f"--namespace={SHARED}", "-f", str(path))


def test_defaults_are_filled_in(namespaces: None, client: Client) -> None:
    body = {
        "apiVersion": api.API_VERSION,
        "kind": api.KIND,
        "metadata": {"name": "short", "namespace": SHARED},
        "spec": {"model": {"name": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"}},
    }
    try:
        stored = dict(client.create(DeploymentResource.from_dict(body), dry_run=True))
    except ApiError as error:
        pytest.fail(f"the smallest deployment is refused: {error}")
    assert stored["spec"]["replicas"] == 1
