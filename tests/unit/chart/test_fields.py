"""Every field of every rendered object exists in Kubernetes' API and has the type that it has there.

The API server would say the same, but only to somebody who has one. The types are those of the official client.
"""

import re
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio import client

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
FOREIGN = {"PodMonitor", "PrometheusRule", "ServiceMonitor"}
"""Kinds of the Prometheus Operator, whose types are not at hand."""
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
        if one["kind"] not in FOREIGN:
            assert problems(one, MODELS[one["kind"]], one["kind"]) == [], one["metadata"]["name"]


def test_a_field_that_does_not_exist_is_found() -> None:
    pod = {"spec": {"containers": [{"name": "a", "imagePullPolicies": "Always", "tty": "yes"}]}}
    assert problems(pod, "V1Pod", "Pod") == [
        "Pod.spec.containers[0].imagePullPolicies is no field of V1Container",
        "Pod.spec.containers[0].tty is no bool: 'yes'",
    ]
