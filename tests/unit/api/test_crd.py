"""The CRD: generated, committed, shipped, and within the rules of Kubernetes' API conventions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepseek_operator.api.crd import custom_resource_definition
from deepseek_operator.cli.crds import render

ROOT = Path(__file__).parents[3]
NAME = "deepseekdeployments.deepseek-operator.io.yaml"


@pytest.mark.parametrize("path", [f"crds/{NAME}", f"charts/deepseek-operator/files/{NAME}"])
def test_the_committed_crd_is_the_generated_one(path: str) -> None:
    assert (ROOT / path).read_text() == render(), f"run: make crds (writes {path})"


def schemas(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from schemas(child, f"{path}.{name}")
    if isinstance(items := node.get("items"), dict):
        yield from schemas(items, f"{path}[]")


ALL = dict(schemas(custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "dsd"))
FIELDS = {path: node for path, node in ALL.items() if not path.endswith("[]") and path not in ("dsd", "dsd.metadata")}


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_can_be_explained(path: str) -> None:
    assert FIELDS[path].get("description", "").endswith("."), path


@pytest.mark.parametrize("path", [p for p, n in ALL.items() if n.get("type") == "string" and p.startswith("dsd.spec")])
def test_every_string_of_the_spec_is_bounded(path: str) -> None:
    node = ALL[path]
    assert "maxLength" in node or "enum" in node or "pattern" in node, path


@pytest.mark.parametrize("path", [p for p, n in ALL.items() if n.get("type") == "array"])
def test_every_list_is_bounded(path: str) -> None:
    assert "maxItems" in ALL[path], path


@pytest.mark.parametrize("path", ALL)
def test_nothing_is_nullable_or_unstructured(path: str) -> None:
    node = ALL[path]
    assert not {"anyOf", "allOf", "$ref", "nullable", "title"} & set(node), path
    assert "type" in node or "x-kubernetes-int-or-string" in node, path


@pytest.mark.parametrize(
    "path", [path for path, node in ALL.items() if {"exclusiveMinimum", "exclusiveMaximum"} & set(node)]
)
def test_an_excluded_limit_is_written_as_kubernetes_reads_it(path: str) -> None:
    node = ALL[path]
    assert node.get("exclusiveMinimum", True) is True, path
    assert node.get("exclusiveMaximum", True) is True, path
    assert "exclusiveMinimum" not in node or "minimum" in node, path
    assert "exclusiveMaximum" not in node or "maximum" in node, path
