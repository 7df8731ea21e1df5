"""Rights of an account, as the chart grants them and as the API server saw them used.

A right that no test uses, and a call that is denied, are both faults: :func:`compare` returns them. docs/security.md
has the table, by :func:`table`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["INDIRECT", "RENTED", "Comparison", "Right", "compare", "granted", "may", "table", "used"]


@dataclass(frozen=True, order=True)
class Right:
    """One verb on one resource.

    Attributes
    ----------
    resource
        With its subresource: ``pods/exec``.
    """

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{'.' + self.group if self.group else ''}"


INDIRECT: Final = {
    Right("deepseek-operator.io", "deepseekdeployments/finalizers", "update"): (
        "asked by the admission plugin OwnerReferencesPermissionEnforcement when an object with `blockOwnerDeletion` "
        "is written; on in OpenShift and in the test cluster"
    ),
    Right("discovery.k8s.io", "endpointslices", "create"): (
        "asked by the API server when a server-side apply makes an object"
    ),
    Right("", "pods/exec", "create"): ("asked beside `get` when kubectl uses WebSockets, and alone when it does not"),
    Right("discovery.k8s.io", "endpointslices/restricted", "create"): (
        "asked by OpenShift when a slice with addresses of pods is written; not tested"
    ),
}
"""Rights that are no request of their own, and so are in no audit log."""
RENTED: Final = {
    Right(group, resource, verb)
    for group, resource, verbs in (
        ("", "secrets", ("create",)),
        ("", "configmaps", ("get", "create", "patch", "delete")),
        ("apps", "deployments", ("get", "create", "patch", "delete")),
        ("policy", "poddisruptionbudgets", ("get", "create", "patch", "delete")),
    )
    for verb in verbs
}
"""Rights for replicas on rented machines, which no test has in front of a real API server."""


def granted(objects: Iterable[Mapping[str, Any]], account: str) -> set[Right]:
    """Return every right that rendered Roles and ClusterRoles give to a ServiceAccount through their bindings."""
    every = list(objects)
    roles = {
        (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): one["rules"]
        for one in every
        if one["kind"] in ("Role", "ClusterRole")
    }
    found: set[Right] = set()
    for one in every:
        if one["kind"] not in ("RoleBinding", "ClusterRoleBinding"):
            continue
        if account not in [subject["name"] for subject in one["subjects"] if subject["kind"] == "ServiceAccount"]:
            continue
        kind = one["roleRef"]["kind"]
        namespace = one["metadata"]["namespace"] if kind == "Role" else ""
        for rule in roles[kind, namespace, one["roleRef"]["name"]]:
            found |= {
                Right(group, resource, verb)
                for group in rule["apiGroups"]
                for resource in rule["resources"]
                for verb in rule["verbs"]
            }
    return found


def used(entries: Iterable[Mapping[str, Any]], *, denied: bool = False) -> set[Right]:
    """Return the rights that the API server's audit log shows as used, or as asked for in vain."""
    found: set[Right] = set()
    for entry in entries:
        reference = entry.get("objectRef")
        if reference is None or (_denied(entry) != denied):
            continue
        resource = "/".join(filter(None, (reference["resource"], reference.get("subresource", ""))))
        found.add(Right(reference.get("apiGroup", ""), resource, entry["verb"]))
    return found


def _denied(entry: Mapping[str, Any]) -> bool:
    return (entry.get("annotations") or {}).get("authorization.k8s.io/decision") == "forbid"


@dataclass(frozen=True)
class Comparison:
    """What differs between rights and their use. Both are empty where all is well."""

    unused: list[Right] = field(default_factory=list)
    denied: list[Right] = field(default_factory=list)


def compare(
    given: set[Right], entries: Sequence[Mapping[str, Any]], untested: Iterable[Right] = (*INDIRECT, *RENTED)
) -> Comparison:
    """Hold the rights of an account against what the audit log has of it."""
    unused = given - used(entries) - set(untested)
    return Comparison(sorted(unused), sorted(used(entries, denied=True)))


def may(rights: set[Right], verb: str, resource: str) -> bool:
    """Say whether a verb on a resource is among the rights; ``*`` counts as all."""
    return any(one.resource in (resource, "*") and one.verb in (verb, "*") for one in rights)


def table(rights: Iterable[Right], use: Mapping[Right, str]) -> list[str]:
    """Return lines of Markdown: each resource with its verbs, and what for."""
    rows: dict[tuple[str, str], list[str]] = {}
    for one in sorted(rights):
        rows.setdefault((one.group, one.resource), []).append(one.verb)
    lines = ["| group | resource | verbs | what for |", "|---|---|---|---|"]
    for (group, resource), verbs in rows.items():
        why = dict.fromkeys(use[Right(group, resource, verb)] for verb in verbs)
        lines.append(f"| {group or 'core'} | `{resource}` | {', '.join(verbs)} | {'; '.join(why)} |")
    return lines
