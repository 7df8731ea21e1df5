"""The admission policy of the installation page, applied as it stands there, in the namespace of this suite."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from deepseek_operator.api import v1alpha1 as api
from tests.integration.conftest import SHARED, Kubectl, create_dry
from tests.integration.stage import SPEC
from tests.system.wait import eventually
from tests.unit.docs.blocks import blocks

KIND = "ValidatingAdmissionPolicy"
SAID = "resources.maxHourlyCost must be set, to at most 40"


@pytest.fixture
def policy(namespaces: None, kubectl: Kubectl) -> Iterator[None]:
    """The policy, bound to the shared namespace, once the API server goes by it."""
    (block,) = (block for block in blocks() if block.language == "yaml" and f"kind: {KIND}" in block.text)
    objects = list(yaml.safe_load_all(block.text))
    assert [body["kind"] for body in objects] == [KIND, f"{KIND}Binding"]
    for body in objects:
        body["metadata"]["name"] = objects[1]["spec"]["policyName"] = "dsd-int-cost-cap"
    objects[1]["spec"]["matchResources"]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] = SHARED
    text = yaml.safe_dump_all(objects)
    kubectl("delete", "--ignore-not-found", "-f", "-", stdin=text)
    kubectl("create", "--validate=strict", "-f", "-", stdin=text)
    try:
        eventually(lambda: SAID in _create(kubectl, None), within=60, what="the policy counts")
        yield
    finally:
        kubectl("delete", "-f", "-", stdin=text)


def test_a_policy_of_the_cluster_demands_a_limit_of_the_price(policy: None, kubectl: Kubectl) -> None:
    answers = {price: _create(kubectl, price) for price in (None, 40, "12.50", 41, "40.01")}
    refused = {price: SAID in answer for price, answer in answers.items()}
    assert refused == {None: True, 40: False, "12.50": False, 41: True, "40.01": True}, answers
    assert "created" in answers[40]


def _create(kubectl: Kubectl, price: object) -> str:
    """Return what creating a deployment with that limit says; nothing is kept of it."""
    resources: dict[str, Any] = {} if price is None else {"maxHourlyCost": price}
    spec = {**SPEC, "resources": {**SPEC.get("resources", {}), **resources}}
    body = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": {"name": "priced"}, "spec": spec}
    return create_dry(kubectl, body)
