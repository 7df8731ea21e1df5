"""``kubectl deepseek audit``: ``deepseek-operator audit``, asked in the pod of each operator.

Only there are the SkyPilot server, its user id and the rights to look at everything. What is printed is what that
command prints; nothing is deleted from here.
"""

import argparse
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from deepseek_operator.plugin import operators
from deepseek_operator.plugin.kubectl import Kubectl, KubectlError
from deepseek_operator.plugin.options import Command, Options, kubectl_of, output_option
from deepseek_operator.plugin.screen import print_json, say

__all__ = ["COMMAND"]

_AUDIT: Final = ("deepseek-operator", "audit")
_AUDIT_S: Final = 120.0
"""Seconds that an audit may take: SkyPilot answers from its database, Kubernetes lists pods of all namespaces."""
_NOTHING, _UNKNOWN, _FOUND = 0, 2, 4
"""Exit statuses of ``deepseek-operator audit``; this command has the same."""


@dataclass(frozen=True)
class _Answer:
    """What the audit in one pod printed.

    Attributes
    ----------
    operator
        Namespace and name of the operator.
    status
        One of the exit statuses.
    """

    operator: str
    status: int
    out: str
    err: str


def _ask(kubectl: Kubectl, operator: dict[str, Any], output: str) -> _Answer:
    metadata = operator["metadata"]
    who, inside = f"{metadata['namespace']}/{metadata['name']}", kubectl.within(metadata["namespace"])
    try:
        pod = operators.running(operators.pods_of(inside, operator))
    except KubectlError as error:
        return _Answer(who, _UNKNOWN, "", error.message)
    if pod is None:
        return _Answer(who, _UNKNOWN, "", "no pod of it runs; kubectl deepseek doctor says why")
    process = inside.spawn("exec", pod, "--container", "operator", "--", *_AUDIT, "-o", output)
    try:
        out, err = process.communicate(timeout=_AUDIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return _Answer(who, _UNKNOWN, "", f"no answer within {_AUDIT_S:g} s")
    lines = [line for line in err.splitlines() if not line.startswith("command terminated with exit code")]
    known = process.returncode in (_NOTHING, _FOUND)
    return _Answer(who, process.returncode if known else _UNKNOWN, out, "\n".join(lines).strip())


def _document(answer: _Answer) -> list[dict[str, Any]]:
    """Return what was found, each with the operator that found it.

    Raises
    ------
    ValueError
        It is not the document of an audit.
    """
    found = json.loads(answer.out)
    if not isinstance(found, dict) or not isinstance(found.get("orphans"), list):
        raise ValueError("no orphans in it")
    return [{"operator": answer.operator, **orphan} for orphan in found["orphans"]]


def _print_json(answers: Iterable[_Answer]) -> int:
    orphans: list[dict[str, Any]] = []
    errors: list[dict[str, str]] = []
    for answer in answers:
        try:
            if answer.status == _UNKNOWN:
                raise ValueError(answer.err)
            orphans += _document(answer)
        except ValueError as error:
            errors.append({"operator": answer.operator, "message": str(error) or "it ended without a word"})
    print_json({"orphans": orphans, "errors": errors})
    return _UNKNOWN if errors else _FOUND if orphans else _NOTHING


def _print_text(answers: list[_Answer]) -> int:
    for answer in answers:
        if len(answers) > 1:
            print(f"{answer.operator}:")
        if answer.status == _UNKNOWN:
            say(f"{answer.operator} cannot be asked: {answer.err or 'it ended without a word'}")
        else:
            print(answer.out.rstrip())
    found = [answer.operator for answer in answers if answer.status == _FOUND]
    for who in found:
        namespace, _, name = who.partition("/")
        say(
            "to tear that down, if it is yours: kubectl exec "
            f"-n {namespace} deploy/{name} -c operator -- {' '.join(_AUDIT)} --delete --yes"
        )
    if any(answer.status == _UNKNOWN for answer in answers):
        return _UNKNOWN
    return _FOUND if found else _NOTHING


def _run(options: Options) -> int:
    kubectl = kubectl_of(options)
    found, why = operators.read(operators.look_for(kubectl, options.operator_namespace))
    found = [one for one in found if not operators.is_skypilot(one)]
    if not found:
        say(f"Error: no operator to ask: {why or 'no Deployment of it was found'}; see kubectl deepseek doctor")
        return _UNKNOWN
    form = "json" if options.output == "json" else "table"
    answers = [_ask(kubectl, operator, form) for operator in found]
    return _print_json(answers) if options.output == "json" else _print_text(answers)


def _arguments(parser: argparse.ArgumentParser) -> None:
    operators.namespace_option(parser)
    output_option(parser)


COMMAND: Final = Command(
    name="audit",
    description="""
Lists clusters, pods and Services that exist under an installation's name although no deployment owns them: they cost
money and nobody will give them back. It runs deepseek-operator audit in the pod of each operator, for which the user
needs the right to create pods/exec there.

Nothing is deleted; the command that does is printed. Machines on AWS whose record SkyPilot has lost are found by
deepseek-operator audit --aws, which needs the aws program and rights on the account.
""",
    examples=(
        ("kubectl deepseek audit", "look"),
        ("kubectl deepseek audit -o json | jq -r '.orphans[].name'", "for programs"),
    ),
    arguments=_arguments,
    run=_run,
    exits=("0  nothing found", "2  it could not be found out, or the command line is wrong", "4  something found"),
)
