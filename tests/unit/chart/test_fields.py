"""Every field of every rendered object exists in Kubernetes' API and has the type that it has there.

The API server would say the same, but only to somebody who has one. The types are those of the official client, and for
objects of the Prometheus Operator models made from its CustomResourceDefinitions.
"""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio import client
from pydantic import ValidationError

from tests.unit.chart.chart import COMBINATIONS, objects, render

MODELS = {
    "ClusterRole": "V1ClusterRole",
    "ClusterRoleBinding": "V1ClusterRoleBinding",
    "ConfigMap": "V1ConfigMap",
    "CustomResourceDefinition": "V1CustomResourceDefinition",
    "Deployment": "V1Deployment",
    "Job": "V1Job",
    "NetworkPolicy": "V1NetworkPolicy",
    "PersistentVolumeClaim": "V1PersistentVolumeClaim",
    "Pod": "V1Pod",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
    "Role": "V1Role",
    "RoleBinding": "V1RoleBinding",
    "Service": "V1Service",
    "ServiceAccount": "V1ServiceAccount",
}
PROMETHEUS_OPERATOR = "monitoring.coreos.com/v1"
PLAIN: dict[str, type | tuple[type, ...]] = {
    "str": str, "int": int, "bool": bool, "float": (int, float), "object": object, "datetime": str
}  # fmt: skip


def problems(value: Any, type_: str, at: str) -> list[str]:
    """Return what in a value is not of a type, named as the client names types."""
    if found := re.fullmatch(r"(?:list|List)\[(.*)\]", type_):
        if not isinstance(value, list):
            return [f"{at} is no list"]
        return [one for index, item in enumerate(value) for one in problems(item, found[1], f"{at}[{index}]")]
    if found := re.fullmatch(r"(?:dict|Dict)[(\[]str, ?(.*)[)\]]", type_):
        if not isinstance(value, dict):
            return [f"{at} is no mapping"]
        return [one for key, item in value.items() for one in problems(item, found[1], f"{at}.{key}")]
    if type_ in PLAIN:
        right = isinstance(value, PLAIN[type_]) and not (type_ == "int" and isinstance(value, bool))
        return [] if right or type_ == "IntOrString" else [f"{at} is no {type_}: {value!r}"]
    model = getattr(client, type_, None)
    if model is None or not isinstance(value, dict):
        return [] if type_ == "IntOrString" and isinstance(value, int | str) else [f"{at} is no {type_}: {value!r}"]
    names = {json: python for python, json in model.attribute_map.items()}
    unknown = [f"{at}.{key} is no field of {type_}" for key in value if key not in names]
    return unknown + [
        one
        for key, item in value.items()
        if key in names
        for one in problems(item, model.openapi_types[names[key]], f"{at}.{key}")
    ]


@pytest.mark.parametrize("values", COMBINATIONS, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_every_field_exists_and_has_its_type(values: Path) -> None:
    found = objects(render(f"--values={values}"))
    for one in found:
        if one["apiVersion"] != PROMETHEUS_OPERATOR:
            assert problems(one, MODELS[one["kind"]], one["kind"]) == [], one["metadata"]["name"]


def foreign_problems(one: dict[str, Any]) -> list[str]:
    """Return what in an object of the Prometheus Operator its CustomResourceDefinition does not allow."""
    model = getattr(importlib.import_module("cloudcoil.models.prometheus_operator.v1"), one["kind"])
    try:
        read = model.model_validate(one)
    except ValidationError as error:
        return [f"{one['kind']}.{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}" for wrong in error.errors()]
    # The models drop what they do not know, as the API server does.
    return dropped(one, read.model_dump(mode="json", by_alias=True, exclude_unset=True), one["kind"])


def dropped(value: Any, kept: Any, at: str) -> list[str]:
    """Return the fields of a value that are not in what was kept of it."""
    if isinstance(value, dict) and isinstance(kept, dict):
        lost = [f"{at}.{key} is unknown" for key in value if key not in kept]
        return lost + [one for key in value if key in kept for one in dropped(value[key], kept[key], f"{at}.{key}")]
    if isinstance(value, list) and isinstance(kept, list) and len(value) == len(kept):
        return [one for i, pair in enumerate(zip(value, kept, strict=True)) for one in dropped(*pair, f"{at}.{i}")]
    return [] if value == kept else [f"{at} became {kept!r}"]


def test_objects_of_the_prometheus_operator_are_as_its_definitions_want_them() -> None:
    rendered = [one for values in COMBINATIONS for one in objects(render(f"--values={values}"))]
    found = [one for one in rendered if one["apiVersion"] == PROMETHEUS_OPERATOR]
    assert {one["kind"] for one in found} == {"PodMonitor", "PrometheusRule", "ServiceMonitor"}
    assert [problem for one in found for problem in foreign_problems(one)] == []


@pytest.mark.parametrize(
    ("kind", "spec", "problem"),
    [
        ("ServiceMonitor", {"endpoints": [{"honourLabels": True}]}, "endpoints.0.honourLabels is unknown"),
        ("ServiceMonitor", {"endpoints": [{"interval": "soon"}]}, "endpoints.0.interval: String should match"),
        ("PodMonitor", {"podMetricsEndpoints": [{"honorLabels": []}]}, "honorLabels: Input should be a valid boolean"),
        ("PrometheusRule", {"groups": [{"name": "a", "rules": [{"alert": "A"}]}]}, "rules.0.expr: Field required"),
    ],
)
def test_what_a_definition_of_the_prometheus_operator_does_not_allow_is_found(
    kind: str, spec: dict[str, Any], problem: str
) -> None:
    body = {"apiVersion": PROMETHEUS_OPERATOR, "kind": kind, "metadata": {"name": "a"}, "spec": spec}
    if kind != "PrometheusRule":
        spec["selector"] = {}
    (found,) = foreign_problems(body)
    assert problem in found


def test_a_field_that_does_not_exist_is_found() -> None:
    pod = {"spec": {"containers": [{"name": "a", "imagePullPolicies": "Always", "tty": "yes"}]}}
    assert problems(pod, "V1Pod", "Pod") == [
        "Pod.spec.containers[0].imagePullPolicies is no field of V1Container",
        "Pod.spec.containers[0].tty is no bool: 'yes'",
    ]
