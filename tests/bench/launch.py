"""apply to Ready through the operator, against the same task launched by hand over REST and probed.

Both run in turn on the same cluster and the same SkyPilot server, so that the machine's mood hits both; the median of
several runs and their ratio are printed. ``python -m tests.bench.launch --help``.
"""

import argparse
import json
import statistics
import time
import uuid
from typing import Any

import yaml

from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.catalog import load_catalog
from deepseek_operator.launch import Identity, build_task
from deepseek_operator.planning import Planned, plan
from tests.cluster.providers import DEFAULT_NAME, select
from tests.system.demo import EXAMPLE, ensure_client
from tests.system.kubectl import CommandError, Kubectl
from tests.system.stack import Stack, install, wait_ready
from tests.system.wait import eventually

NAMESPACE = "dsd-bench"


def by_operator(kubectl: Kubectl, body: dict[str, Any]) -> float:
    """Return the seconds from apply to Ready; the object is deleted afterwards."""
    name = body["metadata"]["name"]
    began = time.monotonic()
    kubectl.apply(body)
    wait_ready(kubectl, name, within=900, changed=lambda *_: None)
    seconds = time.monotonic() - began
    kubectl("delete", "dsd", name, "--timeout=120s", timeout=150)
    return seconds


def by_hand(stack: Stack, kubectl: Kubectl, body: dict[str, Any]) -> float:
    """Return the seconds from POST /launch to the first answer of the engine."""
    name = f"hand-{uuid.uuid4().hex[:6]}"
    request = _launch_body(body, name)
    began = time.monotonic()
    stack.skypilot_post("/launch", request)
    ip = eventually(lambda: _head_ip(kubectl, name), within=900, what="the head pod has an address", every=1)
    eventually(lambda: _answers(kubectl, str(ip)), within=900, what="the engine answers", every=2)
    seconds = time.monotonic() - began
    stack.skypilot_post("/down", {"cluster_name": name, "env_vars": request["env_vars"]})
    eventually(lambda: _head_ip(kubectl, name) is None or None, within=120, what="the pods are gone")
    return seconds


def _launch_body(body: dict[str, Any], name: str) -> dict[str, Any]:
    metadata = {**body["metadata"], "namespace": NAMESPACE, "uid": str(uuid.uuid4())}
    parsed = DeepSeekDeployment.parse({**body, "metadata": metadata})
    resources = parsed.spec.resources.model_copy(update={"infra": ("kubernetes",)})
    spec = parsed.spec.model_copy(update={"resources": resources})
    context = Identity(name, NAMESPACE, "hand", parsed.metadata.uid, "0000", "hand")
    task = build_task(Planned.of(spec, plan(spec, load_catalog())), context)
    return {
        "task": yaml.safe_dump(task.task),
        "cluster_name": name,
        "override_skypilot_config": task.override_skypilot_config,
        "env_vars": {"SKYPILOT_USER_ID": "abcd1234", "SKYPILOT_USER": "bench"},
    }


def _head_ip(kubectl: Kubectl, name: str) -> str | None:
    pods = kubectl.get("pods", labels=f"skypilot-cluster-name={name}-abcd1234,skypilot-head-node=1")
    return next((pod["status"]["podIP"] for pod in pods if pod["status"].get("podIP")), None)


def _answers(kubectl: Kubectl, ip: str) -> bool:
    try:
        kubectl("exec", "client", "--", "curl", "-sf", "-m", "5", f"http://{ip}:8000/health")
    except CommandError:
        return False
    return True


def main() -> None:
    """Measure, and print every run, the medians and their ratio."""
    parser = argparse.ArgumentParser(prog="make bench-launch", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs of each kind (default: %(default)s)")
    options = parser.parse_args()
    cluster = select(DEFAULT_NAME)
    cluster.up()
    stack = install(cluster, print)
    kubectl = stack.kubectl.within(NAMESPACE)
    if stack.kubectl.get("namespace", NAMESPACE) is None:
        kubectl("create", "namespace", NAMESPACE)
    kubectl.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "hand"}})
    ensure_client(stack, kubectl)
    body = yaml.safe_load(EXAMPLE.read_text())
    body["spec"]["engine"]["image"] = stack.engine_image
    times: dict[str, list[float]] = {"operator": [], "by hand": []}
    for run in range(options.runs):
        body["metadata"]["name"] = f"bench-{run}"
        times["operator"].append(by_operator(kubectl, body))
        times["by hand"].append(by_hand(stack, kubectl, body))
        print(json.dumps({kind: round(values[-1], 1) for kind, values in times.items()}), flush=True)
    stack.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    medians = {kind: statistics.median(values) for kind, values in times.items()}
    print(f"median of {options.runs}: operator {medians['operator']:.1f} s, by hand {medians['by hand']:.1f} s")
    print(f"ratio: {medians['operator'] / medians['by hand']:.2f}")


if __name__ == "__main__":
    main()
