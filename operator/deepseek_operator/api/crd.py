"""The CustomResourceDefinition, made from the pydantic models.

pydantic writes JSON Schema with ``$ref`` and ``anyOf: [X, null]``; Kubernetes wants a structural schema: references
resolved, no nulls, no titles, no ``additionalProperties: false`` (unknown fields are refused by ``kubectl`` in strict
mode and pruned by the server). An existing library (kube-custom-resource) was looked at: it makes optional fields
nullable and its models mutable, both of which this API does not want.
"""

from typing import Any

from pydantic import BaseModel

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.api.status import DeepSeekDeploymentStatus

__all__ = ["custom_resource_definition"]

_DROPPED = ("title", "additionalProperties", "discriminator")  # unless additionalProperties is a schema
_EXCLUSIVE = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}

_COLUMNS: list[dict[str, Any]] = [
    {"name": "Model", "type": "string", "jsonPath": ".spec.model.name"},
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Reason", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].reason'},
    {"name": "Desired", "type": "integer", "jsonPath": ".spec.replicas"},
    {"name": "Available", "type": "integer", "jsonPath": ".status.readyReplicas"},
    {"name": "Accelerators", "type": "string", "jsonPath": ".status.plan.accelerators[0]"},
    {"name": "$/h", "type": "string", "jsonPath": ".status.cost.hourly"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Endpoint", "type": "string", "jsonPath": ".status.endpoint.internalURL", "priority": 1},
    {"name": "Engine", "type": "string", "jsonPath": ".status.plan.engine", "priority": 1},
    {"name": "Nodes", "type": "integer", "jsonPath": ".status.plan.nodes", "priority": 1},
    {
        "name": "Message",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].message',
        "priority": 1,
    },
]


def custom_resource_definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition of DeepSeekDeployment as a plain object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{api.PLURAL}.{api.GROUP}"},
        "spec": {
            "group": api.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": api.KIND,
                "listKind": f"{api.KIND}List",
                "plural": api.PLURAL,
                "singular": api.SINGULAR,
                "shortNames": ["dsd"],
                "categories": ["deepseek"],
            },
            "versions": [
                {
                    "name": api.VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _root_schema()},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": _COLUMNS,
                }
            ],
        },
    }


def _root_schema() -> dict[str, Any]:
    spec = _structural(DeepSeekDeploymentSpec)
    status = _without_defaults(_structural(DeepSeekDeploymentStatus))
    return {
        "type": "object",
        "description": "A DeepSeek model, served by any number of replicas at one address.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of this API."},
            "kind": {"type": "string", "description": f"{api.KIND}."},
            "metadata": {"type": "object"},
            "spec": spec | {"description": "What is wanted."},
            "status": status | {"description": "What is."},
        },
        "x-kubernetes-validations": [
            {
                "rule": f"size(self.metadata.name) <= {api.NAME_MAX_LENGTH}",
                "message": f"metadata.name must have at most {api.NAME_MAX_LENGTH} characters",
            },
            {
                "rule": f"self.metadata.name.matches('{api.NAME_PATTERN}')",
                "message": "metadata.name must be a DNS label that starts with a letter: lower-case letters, digits "
                'and "-", because a Service of this name is made',
            },
        ],
    }


def _structural(model: type[BaseModel]) -> dict[str, Any]:
    raw = model.model_json_schema(by_alias=True)
    definitions = raw.pop("$defs", {})
    schema = _clean(raw, definitions)
    assert isinstance(schema, dict)
    return schema


def _without_defaults(node: Any) -> Any:
    """Return ``node`` without defaults: the server must not add to a status what the operator did not write."""
    if isinstance(node, list):
        return [_without_defaults(item) for item in node]
    if isinstance(node, dict):
        return {key: _without_defaults(value) for key, value in node.items() if key != "default"}
    return node


def _clean(node: Any, definitions: dict[str, Any], *, in_properties: bool = False) -> Any:
    """Return ``node`` as a structural schema; ``in_properties`` when its keys are names of fields, not keywords."""
    if isinstance(node, list):
        return [_clean(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if in_properties:
        return {name: _clean(schema, definitions) for name, schema in node.items()}
    node = _resolve(node, definitions)
    cleaned: dict[str, Any] = {}
    for key, value in node.items():
        if key in _DROPPED and not isinstance(value, dict):
            continue
        if key in ("default", "enum"):
            cleaned[key] = value
        elif key in _EXCLUSIVE and not isinstance(value, dict | bool):
            # Kubernetes speaks an older JSON Schema, in which the limit and its being excluded are two keywords.
            cleaned |= {_EXCLUSIVE[key]: value, key: True}
        else:
            cleaned[key] = _clean(value, definitions, in_properties=key == "properties")
    if cleaned.get("x-kubernetes-int-or-string") and str(cleaned.get("default", "")).isdigit():
        cleaned["default"] = int(cleaned["default"])  # as a user would write it, and as the CEL rule reads it
    if not isinstance(cleaned.get("default"), str | int):
        cleaned.pop("default", None)  # an empty list or object written into every stored object tells nobody anything
    return cleaned


def _resolve(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Inline a ``$ref`` and the ``anyOf`` that pydantic writes for ``X | None``; the field's own words win."""
    if "anyOf" in node:
        options = [option for option in node["anyOf"] if option.get("type") != "null"]
        assert len(options) == 1, f"only X | None is a structural schema, not {node['anyOf']}"
        node = options[0] | {key: value for key, value in node.items() if key != "anyOf"}
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        node = target | {key: value for key, value in node.items() if key != "$ref"}
        return _resolve(node, definitions)
    return node
