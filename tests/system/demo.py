"""``make demo``: from nothing to tokens on one machine, with what each step took and what to type next."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.api import ClusterError
from tests.cluster.providers import DEFAULT_NAME, select
from tests.cluster.shell import meanwhile
from tests.system.kubectl import CommandError, Kubectl
from tests.system.stack import RELEASE, SYSTEM_NAMESPACE, Stack, install, wait_ready

__all__ = ["chat", "main"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "cpu.yaml"
NAMESPACE = "demo"
AHEAD = ("engine-cpu", "proxy", "operator")
"""Images that need no program of the cluster."""
QUESTION = "Who are you?"


def chat(
    stack: Stack, namespace: str, url: str, model: str, *, question: str = QUESTION, tokens: int = 24
) -> dict[str, Any]:
    """Return the answer to a chat completion asked by a pod of the cluster, through the Service's DNS name."""
    body = {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": tokens}
    kubectl = stack.kubectl.within(namespace)
    ensure_client(stack, kubectl)
    answer = kubectl(
        "exec", "client", "--", "curl", "-sS", "-m", "120", f"{url}/chat/completions",
        "-H", "Content-Type: application/json", "-d", json.dumps(body),
        timeout=150,
    )  # fmt: skip
    parsed: dict[str, Any] = json.loads(answer)
    return parsed


def ensure_client(stack: Stack, kubectl: Kubectl) -> None:
    """Run a pod from which the endpoint can be asked, as an application of the cluster would."""
    if kubectl.get("pod", "client") is None:
        image = stack.engine_image
        container = {
            "name": "client",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "infinity"],
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }
        spec = {"containers": [container], "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False}
        kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": spec})
    kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=60s")


class Report:
    """What each step took, shown as it goes and once more at the end."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self.steps: list[tuple[str, float]] = []

    def say(self, text: str) -> None:
        """Print a line with the seconds since the start."""
        print(f"[{time.monotonic() - self._began:6.1f} s] {text}", flush=True)

    def done(self, step: str) -> None:
        """Note that a step has ended."""
        now = time.monotonic()
        self.steps.append((step, now - self._last))
        self._last = now

    def table(self) -> str:
        """Return the steps and their seconds."""
        total = sum(seconds for _, seconds in self.steps)
        return "\n".join(f"  {step:<38}{seconds:8.1f} s" for step, seconds in [*self.steps, ("together", total)])


def run(name: str) -> None:
    """Run the demo on the test cluster ``name``."""
    report = Report()
    report.say("cluster: building what is missing, then starting it (the first time takes some minutes)")
    cluster = select(name)
    # Images wait for the network and Go's compiler for cores. Whatever goes wrong there is told when one is loaded.
    with meanwhile([sys.executable, "-m", "tests.cluster", "build-images", *AHEAD]):
        cluster.up()
    report.done("cluster")
    stack = install(cluster, report.say)
    report.done("images and helm install")

    kubectl = stack.kubectl.within(NAMESPACE)
    if kubectl.within("default").get("namespace", NAMESPACE) is None:
        kubectl("create", "namespace", NAMESPACE)
    example = yaml.safe_load(EXAMPLE.read_text())
    example["spec"]["engine"]["image"] = stack.engine_image
    example["spec"]["suspend"] = False  # whoever played with an earlier one may have suspended it
    report.say(f"kubectl apply -f {EXAMPLE.relative_to(Path.cwd())}")
    kubectl.apply(example)
    name_ = example["metadata"]["name"]
    body = wait_ready(kubectl, name_, within=900, changed=lambda reason, text: report.say(f"  {reason}: {text}"))
    report.done("apply to Ready")

    url = body["status"]["endpoint"]["internalURL"]
    answer = chat(stack, NAMESPACE, url, example["spec"]["model"]["name"])
    report.done("a chat completion")
    message = answer["choices"][0]["message"]
    text = message.get("reasoning") or message.get("content") or ""
    print(f"\nAsked {QUESTION!r} at {url}, answered (random weights, so nonsense):\n  {text!r}")
    print(f"  usage: {answer['usage']}\n")
    print(kubectl("get", "dsd", name_))
    print(f"What it took:\n{report.table()}\n")
    print(_next_steps(stack))


def _next_steps(stack: Stack) -> str:
    kubectl = stack.kubectl
    return f"""What to type next:
  export KUBECONFIG={kubectl.kubeconfig} PATH={kubectl.bin_dir}:{Path(sys.executable).parent}:$PATH
  kubectl get dsd --all-namespaces -o wide
  kubectl deepseek status --all-namespaces
  kubectl deepseek chat tiny -n {NAMESPACE} -m "Who are you?"
  kubectl describe dsd tiny -n {NAMESPACE}
  kubectl explain dsd.spec.resources
  kubectl logs -n {SYSTEM_NAMESPACE} deploy/{RELEASE} -f
  kubectl delete dsd tiny -n {NAMESPACE}        # gives everything back
  make clean-cluster                      # takes the cluster down
"""


def main() -> int:
    """Run the demo; what a person can fix is one line without a traceback."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--name", default=DEFAULT_NAME, help="name of the test cluster (default: %(default)s)")
    options = parser.parse_args()
    try:
        run(options.name)
    except (ClusterError, CommandError, TimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
