"""``kubectl deepseek doctor``: what keeps deployments from working here, and what to do about it."""

import argparse
import json
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any, Final

from deepseek_operator.api.names import API_VERSION, GROUP, PLURAL
from deepseek_operator.facts.text import counted
from deepseek_operator.plugin import findings, operators
from deepseek_operator.plugin.findings import RIGHTS, Finding
from deepseek_operator.plugin.kubectl import Kubectl, KubectlError, Reading
from deepseek_operator.plugin.lines import Line, Segment, columns
from deepseek_operator.plugin.options import Command, Options, kubectl_of, output_option
from deepseek_operator.plugin.screen import Screen, print_json

__all__ = ["COMMAND", "examine"]

LOG_IN: Final = "log in again: the credentials of this context have expired or are wrong"
REACH: Final = "check the context and the network: kubectl cluster-info"
_HEALTH: Final = ("curl", "-sf", "-m", "5", "http://127.0.0.1:46580/api/health")
_CURL_REFUSED: Final = 7
_STYLES: Final = {"ok": "good", "warning": "busy", "fault": "bad"}


def examine(kubectl: Kubectl, operator_namespace: str, plugin: str) -> Iterator[Finding]:
    """Yield what is found, from the cluster down to its catalogs.

    Parameters
    ----------
    plugin
        Version of the plugin.
    """
    version = kubectl.start("get", "--raw", "/version")
    rights = {right: kubectl.start("auth", "can-i", right.verb, right.resource) for right in RIGHTS}
    crd = kubectl.get("customresourcedefinitions.apiextensions.k8s.io", f"{PLURAL}.{GROUP}")
    nodes = kubectl.get("nodes")
    looking = operators.look_for(kubectl, operator_namespace)
    try:
        yield findings.about_kubernetes(version.json())
    except KubectlError as error:
        anonymous = "You must be logged in" in error.message
        yield Finding("Kubernetes", "fault", error.message, LOG_IN if anonymous else REACH)
        return
    found, why = operators.read(looking)
    same = any((one["metadata"].get("labels") or {}).get("app.kubernetes.io/version") == plugin for one in found)
    yield from _crd(kubectl, crd, same_version=same)
    yield from findings.about_rights({right: _answer(reading) for right, reading in rights.items()})
    if why:
        fix = "name its namespace with --operator-namespace, or ask an administrator to run doctor"
        yield Finding("operator", "warning", f"cannot be looked for: {why}", fix)
    elif not found:
        yield Finding("operator", "fault", "no Deployment of it was found", findings.INSTALL)
    with_skypilot = {one["metadata"]["namespace"] for one in found if operators.is_skypilot(one)}
    for one in found:
        namespace = one["metadata"]["namespace"]
        yield from _operator(kubectl.within(namespace), one, plugin, skypilot_apart=namespace in with_skypilot)
    if operating := [one for one in found if not operators.is_skypilot(one)]:
        yield from findings.about_namespace(kubectl.current_namespace(), [_served(one) for one in operating])
    try:
        from deepseek_operator.catalog import load_catalog

        yield from findings.about_gpus(nodes.items(), load_catalog().gpus)
    except KubectlError as error:
        fix = "ask an administrator to run doctor, or for the right to list nodes"
        yield Finding("GPUs", "warning", f"nodes cannot be seen: {error.message}", fix)


def _answer(reading: Reading) -> bool | None:
    """Return what ``auth can-i`` says; it ends with an error for no."""
    try:
        return bool(reading.text().strip() == "yes")
    except KubectlError as error:
        return False if error.message.splitlines()[-1].startswith("no") else None


def _crd(kubectl: Kubectl, reading: Reading, *, same_version: bool) -> Iterator[Finding]:
    from deepseek_operator.api.crd import custom_resource_definition

    known = custom_resource_definition()
    try:
        yield from findings.about_crd(reading.json(), known, same_version=same_version)
    except KubectlError as error:
        if error.reason == "NotFound":
            yield from findings.about_crd(None, known, same_version=same_version)
            return
        # Whoever may not read CRDs may still ask which versions of the API are served.
        try:
            group = kubectl.start("get", "--raw", f"/apis/{GROUP}").json()
        except KubectlError:
            yield from findings.about_crd(None, known, same_version=same_version)
            return
        served = [version["groupVersion"] for version in group["versions"]]
        level = "ok" if API_VERSION in served else "fault"
        yield Finding("CRD", level, f"serves {', '.join(served)}; its fields cannot be seen: {error.message}")


def _operator(kubectl: Kubectl, operator: Mapping[str, Any], plugin: str, *, skypilot_apart: bool) -> Iterator[Finding]:
    """Look at one Deployment of the chart: the operator's, or that of a SkyPilot server of its own."""
    try:
        pods = operators.pods_of(kubectl, operator)
    except KubectlError:
        pods = []
    yield from findings.about_operator(
        operator, pods, plugin, "SkyPilot" if operators.is_skypilot(operator) else "operator"
    )
    if "skypilot" in operators.containers(operator):
        yield from _skypilot(kubectl, operator, pods)
    elif not skypilot_apart:
        yield Finding(
            "SkyPilot", "ok", "runs elsewhere and was not asked; Reason SkyPilotUnavailable shows its absence"
        )
    yield from _catalogs(kubectl, operator)


def _skypilot(kubectl: Kubectl, operator: Mapping[str, Any], pods: list[dict[str, Any]]) -> Iterator[Finding]:
    name = operators.running(pods)
    if name is None:
        yield Finding(
            "SkyPilot", "warning", "cannot be asked: no pod with its container runs", "see the Deployment above"
        )
        return
    try:
        answer = kubectl.start("exec", name, "--container", "skypilot", "--", *_HEALTH).text()
        yield findings.about_skypilot(json.loads(answer))
    except ValueError:
        yield Finding("SkyPilot", "fault", "answers in an unknown form", "is something else on its port 46580?")
    except KubectlError as error:
        if error.reason == "Forbidden":
            yield Finding("SkyPilot", "warning", "cannot be asked without the right to create pods/exec there")
        else:
            fix = f"kubectl logs -n {operator['metadata']['namespace']} {name} -c skypilot"
            refused = error.message == f"command terminated with exit code {_CURL_REFUSED}"
            words = "its port refuses connections" if refused else error.message
            yield Finding("SkyPilot", "fault", f"its API server does not answer: {words}", fix)


def _container(operator: Mapping[str, Any]) -> Mapping[str, Any]:
    containers = operator["spec"]["template"]["spec"]["containers"]
    return next((one for one in containers if one["name"] == "operator"), containers[0])


def _served(operator: Mapping[str, Any]) -> frozenset[str]:
    """Return the namespaces that an operator serves; empty for all."""
    variables = {one["name"]: one.get("value") or "" for one in _container(operator).get("env") or ()}
    return frozenset(variables.get("DEEPSEEK_OPERATOR_NAMESPACES", "").split())


def _catalogs(kubectl: Kubectl, operator: Mapping[str, Any]) -> Iterator[Finding]:
    """Read the catalogs that the operator is told to read, as it does."""
    spec = operator["spec"]["template"]["spec"]
    container = _container(operator)
    paths = [word.partition("=")[2] for word in container.get("args") or () if word.startswith("--catalog=")]
    mounts = {mount["mountPath"].rstrip("/"): mount["name"] for mount in container.get("volumeMounts") or ()}
    maps = {volume["name"]: (volume.get("configMap") or {}).get("name") for volume in spec.get("volumes") or ()}
    for path in map(PurePosixPath, paths):
        name = maps.get(mounts.get(str(path.parent), ""))
        if name is None:
            yield Finding("catalog", "warning", f"{path} comes from no ConfigMap and was not read")
            continue
        where = f"ConfigMap {operator['metadata']['namespace']}/{name}, {path.name}"
        try:
            data = kubectl.get("configmaps", name).json().get("data") or {}
        except KubectlError as error:
            level = "warning" if error.reason == "Forbidden" else "fault"
            yield Finding("catalog", level, f"{where}: {error.message}", "helm upgrade makes it from the value catalog")
            continue
        yield _catalog(where, path.name, data.get(path.name))


def _catalog(where: str, name: str, text: str | None) -> Finding:
    from deepseek_operator.catalog import CatalogError, load_catalog

    if text is None:
        return Finding(
            "catalog", "fault", f"{where}: there is no such key", "helm upgrade makes it from the value catalog"
        )
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / name
        file.write_text(text, encoding="utf-8")
        try:
            load_catalog([file])
        except CatalogError as error:
            message = str(error).replace(str(file), name)
            return Finding("catalog", "fault", f"{where}: {message}", "correct the chart's value catalog, helm upgrade")
    return Finding("catalog", "ok", f"{where} can be read")


def _run(options: Options) -> int:
    import deepseek_operator

    found = list(examine(kubectl_of(options), options.operator_namespace, deepseek_operator.__version__))
    faults = sum(finding.level == "fault" for finding in found)
    warnings = sum(finding.level == "warning" for finding in found)
    if options.output == "json":
        print_json({"findings": [asdict(finding) for finding in found], "faults": faults, "warnings": warnings})
    else:
        screen = Screen()
        screen.show(_lines(found, screen.width))
        print(f"{counted(faults, 'fault')}, {counted(warnings, 'warning')}")
    return 1 if faults else 0


def _lines(found: list[Finding], width: int | None) -> list[Line]:
    rows = [
        (Segment(finding.level, _STYLES[finding.level]), Segment(finding.check, "head"), Segment(""))
        for finding in found
    ]
    _, *lines = columns(("", "", ""), rows)
    indent = max(len("".join(segment.text for segment in line)) for line in lines) + 2
    room = max(40, width - indent) if width is not None else None
    drawn: list[Line] = []
    for finding, line in zip(found, lines, strict=True):
        texts = [(finding.message, "")] + ([(f"fix: {finding.fix}", "faint")] if finding.fix else [])
        for number, (text, style) in enumerate(texts):
            pieces = textwrap.wrap(text, room, break_on_hyphens=False) if room is not None else [text]
            for index, piece in enumerate(pieces):
                first = number == index == 0
                before = line if first else ()
                used = sum(len(segment.text) for segment in before)
                drawn.append((*before, Segment(" " * (indent - used)), Segment(piece, style)))
    return drawn


def _arguments(parser: argparse.ArgumentParser) -> None:
    operators.namespace_option(parser)
    output_option(parser)


COMMAND: Final = Command(
    name="doctor",
    description="""
Looks for what keeps deployments from working: the version of Kubernetes, the CRD and whether it knows the fields of
this version, the rights of the user in the namespace, the operator's Deployment, its pods and the namespaces that it
serves, the SkyPilot API server, the catalogs that the operator reads, the GPUs of the nodes and the labels by which
SkyPilot tells them.

Each finding that is not ok says what to do. Nothing is changed. What the user may not see is a warning.
""",
    examples=(
        ("kubectl deepseek doctor", "look at everything that may be seen"),
        ("kubectl deepseek doctor -o json | jq '.findings[] | select(.level == \"fault\")'", "only faults"),
    ),
    arguments=_arguments,
    run=_run,
    exits=("0  no fault was found; there may be warnings", "1  a fault was found", "2  the command line is wrong"),
)
