"""``kubectl deepseek approve``: lets the plan be launched that it has shown, and no other.

The hash that is written is the one that was shown with the plan. Whatever happens to the deployment between the
question and the answer has another hash, and waits.
"""

import argparse
import sys
from collections.abc import Mapping
from typing import Any, Final

from deepseek_operator.api.names import ANNOTATION_APPROVED_PLAN
from deepseek_operator.facts.text import counted
from deepseek_operator.plugin.kubectl import DEPLOYMENTS
from deepseek_operator.plugin.objects import condition
from deepseek_operator.plugin.options import NAME, Command, Options, kubectl_of, output_option
from deepseek_operator.plugin.screen import print_json, say

__all__ = ["COMMAND", "describe_plan"]


def describe_plan(body: Mapping[str, Any]) -> dict[str, str]:
    """Return what there is to approve, a word and what it is; only what the status and the spec say."""
    spec, plan = body["spec"], body["status"]["plan"]
    resources = spec.get("resources") or {}
    replicas, surge = _counts(str(plan["hash"]))
    gpus = " or ".join(plan.get("accelerators") or ()) or "CPUs only"
    nodes = int(plan.get("nodes") or 1)
    machines = f"{nodes} nodes with {gpus}" if nodes > 1 else f"1 node with {gpus}"
    count = f"{counted(replicas, 'replica')} of {machines}"
    shown = {
        "model": f"{spec['model']['name']} with {plan.get('engine', '?')}",
        "machines": f"{count}, {replicas + surge} during an update" if surge else count,
        "places": ", then ".join(resources.get("infra") or ()) or "the operator's default",
        "paid as": str(resources.get("capacityType") or "OnDemand"),
        "price": _price(plan, resources.get("maxHourlyCost")),
        "plan": str(plan["hash"]),
    }
    if base := (resources.get("capacity") or {}).get("onDemandBase"):
        shown["paid as"] += f", {base} of them OnDemand"
    return shown


def _counts(text: str) -> tuple[int, int]:
    """Return the numbers of replicas, and of more during an update, in a hash; 0 where it has another form."""
    replicas, _, surge = text.partition("-")[2].partition("+")
    return (int(replicas) if replicas.isdigit() else 0), (int(surge) if surge.isdigit() else 0)


def _price(plan: Mapping[str, Any], cap: Any) -> str:
    limit = f"at most {cap} $/h (maxHourlyCost)" if cap is not None else "without maxHourlyCost"
    each, total = plan.get("hourlyCost"), plan.get("totalHourlyCost")
    if each is None:
        return f"not known; {limit}"
    if each == "0.00":
        return "0.00 $/h, on nodes of the cluster"
    together = f", {total} $/h together" if total is not None else ""
    return f"{each} $/h each{together} at catalog prices; {limit}"


def _why_not(body: Mapping[str, Any]) -> str:
    """Return why there is nothing to approve; empty if there is a plan."""
    status, name = body.get("status") or {}, body["metadata"]["name"]
    if body["spec"].get("approval") != "Required":  # its status shows no hash
        return f"{name} is launched without approval, because its spec.approval is not Required"
    if body["metadata"].get("deletionTimestamp"):
        return f"{name} is being deleted"
    if status.get("observedGeneration") != body["metadata"].get("generation"):
        return f"the operator has not planned the newest change of {name} yet; try again in a moment"
    planned = condition(body, "Planned")
    if planned.get("status") != "True":
        return f"{name} has no plan: {planned.get('reason', 'no operator has looked at it')}: {planned.get('message')}"
    if not (status.get("plan") or {}).get("hash"):
        return f"the status of {name} has no hash of its plan: its operator is older than this plugin"
    return ""


def _asked(options: Options) -> bool:
    """Return whether the user says yes."""
    if options.yes:
        return True
    if not sys.stdin.isatty():
        say("Error: nobody can be asked, because standard input is no terminal; look at the plan and add --yes")
        return False
    print("Approve it? [y/N] ", end="", file=sys.stderr, flush=True)
    said = sys.stdin.readline().strip().lower() in ("y", "yes")
    if not said:
        say("not approved")
    return said


def _run(options: Options) -> int:
    kubectl = kubectl_of(options)
    body = kubectl.deployment(options.name)
    if why := _why_not(body):
        say(f"Error: {why}")
        return 1
    shown = describe_plan(body)
    wanted, metadata = shown["plan"], body["metadata"]
    if options.output == "text":
        print("\n".join(f"{word:<9} {words}" for word, words in shown.items()), flush=True)
    already = (metadata.get("annotations") or {}).get(ANNOTATION_APPROVED_PLAN) == wanted
    if not already:
        if not _asked(options):
            return 1
        # Of the object that was shown: another one of its name has another UID, which is no part of the hash.
        if kubectl.deployment(options.name)["metadata"].get("uid") != metadata.get("uid"):
            say(f"Error: {options.name} has been deleted and created again meanwhile; look at the new one first")
            return 1
        note = f"{ANNOTATION_APPROVED_PLAN}={wanted}"
        kubectl.start("annotate", DEPLOYMENTS, options.name, "--overwrite", note).text()
    if options.output == "json":
        print_json({"name": options.name, "hash": wanted, "approvedBefore": already, "plan": shown})
    else:
        print("was approved already" if already else "approved")
    return 0


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar=NAME, help="the deployment")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    output_option(parser)


COMMAND: Final = Command(
    name="approve",
    description="""
Shows the plan and the price of a deployment whose spec.approval is Required, asks, and approves that plan: the
annotation deepseek-operator.io/approved-plan gets the hash that was shown. A plan that changes meanwhile has another
hash, and waits for an approval of its own.

The user needs the right to change the deployment.
""",
    examples=(
        ("kubectl deepseek approve r1", "look at plan and price, and answer"),
        ("kubectl deepseek approve r1 --yes", "in a script, after somebody has looked"),
    ),
    arguments=_arguments,
    run=_run,
    exits=("0  approved", "1  not approved, no plan, not found, or kubectl failed", "2  the command line is wrong"),
)
