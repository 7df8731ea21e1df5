"""The page of every field of a DeepSeekDeployment, made from the CustomResourceDefinition."""

import json
from collections.abc import Iterator
from typing import Any

from deepseek_operator.api.crd import custom_resource_definition

__all__ = ["INTRODUCTION", "page", "schema_at"]

INTRODUCTION = """# API reference

Every field of a `DeepSeekDeployment`, `deepseek-operator.io/v1alpha1`, short name `dsd`. `kubectl explain dsd.spec`
prints the same. Only `spec.model.name` is required; what is left out is planned or has the default shown here. A
field that says "Unset" in its text has no default, because leaving it out means something of its own.
"""
_TYPES = {"integer": "integer", "number": "number", "boolean": "true or false", "string": "string"}


def page() -> str:
    """Return the page as Markdown."""
    version = custom_resource_definition()["spec"]["versions"][0]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    parts = [INTRODUCTION]
    for top in ("spec", "status"):
        for path, node in _objects(properties[top], top):
            parts.append(_section(path, node))
    parts.append(_columns(version["additionalPrinterColumns"]))
    return "\n".join(parts)


def schema_at(path: str) -> dict[str, Any] | None:
    """Return the schema of a field written as in a jsonpath (``status.instances[0].name``), None if there is none."""
    root = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    node: dict[str, Any] | None = root
    for word in path.replace("[", ".[").split("."):
        if node is None or not word:
            continue
        if node.get("x-kubernetes-preserve-unknown-fields") or node is root["properties"]["metadata"]:
            return node
        node = node.get("items") if word.startswith("[") else node.get("properties", {}).get(word)
    return node


def _objects(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object that has fields, parents before children."""
    yield path, node
    for name, child in node["properties"].items():
        inner, at = (child["items"], f"{path}.{name}[]") if child.get("type") == "array" else (child, f"{path}.{name}")
        if "properties" in inner:
            yield from _objects({"description": child.get("description", ""), **inner}, at)


def _section(path: str, node: dict[str, Any]) -> str:
    lines = [f"{'##' if '.' not in path else '###'} {path}", "", node.get("description", ""), ""]
    lines += ["| field | type | default | meaning |", "|---|---|---|---|"]
    required = set(node.get("required", ()))
    for name, child in node["properties"].items():
        default = "**required**" if name in required else _default(child)
        lines.append(f"| `{name}` | {_type(child, f'{path}.{name}')} | {default} | {_meaning(child)} |")
    if rules := node.get("x-kubernetes-validations"):
        lines += ["", "The API server checks:", "", *(f"- {_cell(rule['message'])}" for rule in rules)]
    return "\n".join([*lines, ""])


def _type(node: dict[str, Any], path: str) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if node.get("type") == "array":
        return f"list of {_type(node['items'], f'{path}[]')}"
    if "properties" in node:
        return f"[object](#{_anchor(path)})"
    if isinstance(of := node.get("additionalProperties"), dict):
        return f"map of {_type(of, path)}"
    if node.get("type") == "object":
        return "object, as Kubernetes has it"
    if node.get("format") == "date-time":
        return "time"
    return _TYPES[node["type"]]


def _default(node: dict[str, Any]) -> str:
    return f"`{json.dumps(node['default'])}`" if "default" in node else "-"


def _meaning(node: dict[str, Any]) -> str:
    words = [_cell(node.get("description", ""))]
    if "enum" in node:
        words.append(f"One of {', '.join(f'`{value}`' for value in node['enum'])}.")
    words += [f"{_cell(rule['message']).capitalize()}." for rule in _own_rules(node)]
    limits = [_limits(node), _limits(node.get("items", {}), " each")]
    limits += [f"in the form `{_cell(of['pattern'])}`" for of in (node, node.get("items", {})) if "pattern" in of]
    if any(limits):
        words.append(f"<small>{'; '.join(limit for limit in limits if limit)}</small>")
    return " ".join(words)


def _own_rules(node: dict[str, Any]) -> list[dict[str, str]]:
    """Return the rules of a value; those of an object stand in its own section."""
    found: list[dict[str, str]] = [] if "properties" in node else list(node.get("x-kubernetes-validations", ()))
    return found + list(node.get("items", {}).get("x-kubernetes-validations", ()) if "items" in node else ())


def _limits(node: dict[str, Any], of: str = "") -> str:
    low, high = node.get("minimum"), node.get("maximum")
    above = "above" if node.get("exclusiveMinimum") else "from"
    words = [f"{above} {low:,}"] if low is not None else []
    words += [f"to {high:,}"] if high is not None else []
    words += [f"at most {node['maxItems']} entries"] if "maxItems" in node else []
    words += [f"at most {node['maxLength']} characters{of}"] if "maxLength" in node and "enum" not in node else []
    return " ".join(words[:2]) + (f", {words[2]}" if len(words) > 2 else "")


def _anchor(path: str) -> str:
    return path.replace(".", "").replace("[", "").replace("]", "").lower()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _columns(columns: list[dict[str, Any]]) -> str:
    lines = ["## Columns of kubectl get", "", "| column | field | shown |", "|---|---|---|"]
    for column in columns:
        wide = "with `-o wide`" if column.get("priority") else "always"
        lines.append(f"| {column['name']} | `{column['jsonPath']}` | {wide} |")
    return "\n".join([*lines, ""])
