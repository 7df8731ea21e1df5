"""Specs that the API server refuses, each with words of its answer: asked of a real one by ``tests/integration``.

``deepseek-operator plan`` has no API server and must refuse them as well, by ``tests/unit/cli``.
"""

import copy
from typing import Any

import pytest

__all__ = ["REFUSED"]

SPEC: dict[str, Any] = {
    "model": {"name": "tiny", "path": "/models/tiny"},
    "resources": {"accelerators": [], "cpus": "1+"},
}


def _with(path: str, value: Any) -> dict[str, Any]:
    spec = copy.deepcopy(SPEC)
    *parents, last = path.split(".")
    place = spec
    for key in parents:
        place = place.setdefault(key, {})
    place[last] = value
    return spec


REFUSED = [
    pytest.param(_with("modle", {"name": "x"}), 'unknown field "spec.modle"', id="unknown field"),
    pytest.param(_with("engine.agrs", []), 'unknown field "spec.engine.agrs"', id="unknown nested field"),
    pytest.param({"replicas": 1}, "spec.model: Required", id="no model"),
    pytest.param(_with("model.name", ""), "spec.model.name", id="empty model name"),
    pytest.param(_with("model.name", "a b"), "spec.model.name", id="model name with a space"),
    pytest.param(_with("model.path", "models/x"), "spec.model.path", id="relative path"),
    pytest.param(
        _with("model.huggingFaceTokenSecretRef", {"name": "hf"}),
        "huggingFaceTokenSecretRef must not be set together with path",
        id="path and token",
    ),
    pytest.param(_with("replicas", -1), "spec.replicas", id="negative replicas"),
    pytest.param(_with("replicas", 101), "spec.replicas", id="too many replicas"),
    pytest.param(_with("resources.nodes", 0), "spec.resources.nodes", id="zero nodes"),
    pytest.param(
        _with("resources.accelerators", ["L4:x"]), "spec.resources.accelerators[0]", id="count that is no number"
    ),
    pytest.param(_with("resources.accelerators", ["L4:0"]), "NAME or NAME:COUNT", id="no GPUs of a kind"),
    pytest.param(
        {"model": {"name": "x"}, "resources": {"accelerators": []}}, "cpus must be set", id="neither GPUs nor CPUs"
    ),
    pytest.param(_with("resources.cpus", "many"), "spec.resources.cpus", id="cpus that are no number"),
    pytest.param(_with("resources.infra", ["AWS us"]), "spec.resources.infra[0]", id="infra that is no place"),
    pytest.param(_with("resources.maxHourlyCost", "-4"), "spec.resources.maxHourlyCost", id="negative price"),
    pytest.param(_with("resources.capacityType", "Cheap"), "spec.resources.capacityType", id="unknown capacity"),
    pytest.param(
        _with("resources.capacity", {"onDemandBase": 1}), "spec.resources", id="a base where all are on demand"
    ),
    pytest.param(_with("approval", "Yes"), "spec.approval", id="unknown approval"),
    pytest.param(_with("endpoint.port", 0), "spec.endpoint.port", id="port 0"),
    pytest.param(_with("endpoint.port", 65536), "spec.endpoint.port", id="port above all ports"),
    pytest.param(_with("endpoint.type", "Ingress"), "spec.endpoint.type", id="unknown Service type"),
    pytest.param(_with("engine.name", "vllm"), "spec.engine.name", id="engine in lower case"),
    pytest.param(_with("engine.maxModelLen", 0), "spec.engine.maxModelLen", id="no context"),
    pytest.param(
        _with("engine.env", [{"name": "A", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
        "exactly one of value and valueFrom",
        id="value and reference",
    ),
    pytest.param(
        _with("engine.env", [{"name": "DEEPSEEK_OPERATOR_IN_CLUSTER", "value": "1"}]),
        "the operator's own",
        id="variable of the operator",
    ),
    pytest.param(_with("resources.maxHourlyCost", "0"), "above 0", id="no price at all"),
    pytest.param(_with("resources.maxHourlyCost", "0.00"), "above 0", id="no price at all, with cents"),
    pytest.param(_with("resources.cpus", "0+"), "above 0", id="no cpus"),
    pytest.param(_with("model.path", "/models/../etc"), "must not contain ..", id="path that leads elsewhere"),
    pytest.param(
        _with("updateStrategy", {"maxSurge": 0, "maxUnavailable": "0%"}),
        "must not both be 0",
        id="neither surge nor unavailability",
    ),
    pytest.param(_with("updateStrategy", {"maxSurge": 0}), "must not both be 0", id="no surge, by default nothing"),
    pytest.param(
        _with("objective", {"minTokensPerSecondPerRequest": 0}),
        "spec.objective.minTokensPerSecondPerRequest",
        id="no tokens a second",
    ),
    pytest.param(_with("objective.ranking", "Cheapest"), "spec.objective.ranking", id="unknown ranking"),
    pytest.param(_with("resources.interconnect", "fast"), "spec.resources.interconnect", id="unknown network"),
    pytest.param(_with("updateStrategy.maxSurge", "150%"), "spec.updateStrategy.maxSurge", id="surge above 100 %"),
]
"""What was written, and what the API server says."""
