"""Every object and every value of the documentation is one that is accepted."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.api.v1alpha1 import API_VERSION, KIND, LABEL_NAME, DeepSeekDeployment
from deepseek_operator.kube.bodies import owned
from deepseek_operator.kube.proxy import proxy_objects
from deepseek_operator.launch.proxy import ProxySettings, ProxySpec
from tests.unit.docs.blocks import ROOT, Block, blocks
from tests.unit.reconcile import builders as b

DOCUMENTS = [
    pytest.param(block, document, id=f"{block}-{index}")
    for block in blocks()
    if block.language == "yaml"
    for index, document in enumerate(yaml.safe_load_all(block.text))
]
SCHEMA = json.loads((ROOT / "charts/deepseek-operator/values.schema.json").read_text(encoding="utf-8"))
_ADMISSION = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
"""An API server gets these in ``tests/integration/test_documented_policy.py``."""
OTHERS = {"HorizontalPodAutoscaler", "NetworkPolicy", "Ingress", "PodMonitor"} | _ADMISSION
"""Kinds of other APIs, which are read as YAML only."""
OTHER_FILES = {"measurements", "aws", "gcp", "data"}
"""First keys of files of other programs, or that other tests read."""


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the keys of ``over``, objects merged."""
    both = {key: merged(base[key], over[key]) for key in base.keys() & over.keys() if isinstance(over[key], dict)}
    return {**base, **over, **both}


@pytest.mark.parametrize(("block", "document"), DOCUMENTS)
def test_a_block_of_yaml_is_an_object_a_part_of_one_or_values(block: Block, document: Any) -> None:
    assert isinstance(document, dict)
    if document.get("kind") == KIND:
        assert document["apiVersion"] == API_VERSION
        body = merged({"metadata": {"namespace": "default", "uid": "u"}}, document)
        assert DeepSeekDeployment.parse(body).metadata.name
    elif "kind" in document:
        assert document["kind"] in OTHERS
        assert document["metadata"]["name"]
    elif set(document) == {"spec"}:
        DeepSeekDeploymentSpec.model_validate(merged({"model": {"name": "deepseek-ai/DeepSeek-R1"}}, document["spec"]))
    elif not OTHER_FILES & set(document):
        jsonschema.validate(document, SCHEMA)


def test_the_monitor_of_the_engines_scrapes_the_heads_and_nothing_that_has_no_metrics() -> None:
    found = (yaml.safe_load(block.text) for block in blocks() if "kind: PodMonitor" in block.text)
    (selector,) = (document["spec"]["selector"] for document in found)
    assert selector.keys() == {"matchLabels", "matchExpressions"}
    (exists,) = selector["matchExpressions"]
    assert exists == {"key": LABEL_NAME, "operator": "Exists"}
    proxy = proxy_objects(ProxySpec("r1", "u", "default", "/health", ProxySettings()), partial(owned, b.deployment()))
    (of_proxy,) = (body["spec"]["template"]["metadata"]["labels"] for _, body in proxy if body["kind"] == "Deployment")
    pods = {
        "head": {LABEL_NAME: "r1", "skypilot-head-node": "1"},
        "worker": {LABEL_NAME: "r1", "skypilot-head-node": "0"},
        "proxy": of_proxy,
    }
    wanted = selector["matchLabels"].items()
    assert [pod for pod, labels in pods.items() if exists["key"] in labels and wanted <= labels.items()] == ["head"]


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*.yaml")), ids=lambda path: str(path.name))
def test_an_example_is_valid(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if document.get("kind") == KIND:
            DeepSeekDeploymentSpec.model_validate(document["spec"])
        else:
            assert "models" in document


def test_a_wrong_field_would_be_seen() -> None:
    with pytest.raises(ValidationError):
        DeepSeekDeploymentSpec.model_validate({"model": {"name": "x"}, "replica": 2})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"skypilot": {"mod": "sidecar"}}, SCHEMA)
