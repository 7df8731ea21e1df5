"""A user of the operator, in a namespace of their own, whose replicas are rented from the simulated cloud."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.cloud.home import ACCESS_KEY, SECRET_KEY
from tests.cloud.parts import skypilot_python
from tests.cloud.world import World
from tests.system.kubectl import Kubectl
from tests.system.process import OperatorProcess
from tests.system.wait import eventually

__all__ = ["API_KEY", "Tenant"]

API_KEY: Final = "canary-of-the-engine-key"
"""Value that must be nowhere but in the Secret, in SkyPilot's own memory of a request, and on the machines."""
READY_S: Final = 1500.0
"""Half a minute where nothing else runs; the deadline is for machines that are busy with other things."""
GONE_S: Final = 300.0


@dataclass(frozen=True)
class Tenant:
    """Short words for what tests do and ask."""

    kubectl: Kubectl
    cloud: World
    operator: OperatorProcess

    def apply(self, name: str = "rented", **spec: Any) -> dict[str, Any]:
        """Apply a deployment that rents one machine with an L4 and starts the engine from packages."""
        resources = {"infra": ["aws"], "accelerators": ["L4:1"], **spec.pop("resources", {})}
        body = {
            "apiVersion": "deepseek-operator.io/v1alpha1",
            "kind": "DeepSeekDeployment",
            "metadata": {"name": name, "namespace": self.kubectl.namespace},
            "spec": {
                "model": {"name": "r1-8b"},
                "engine": {"name": "VLLM", "runtime": "Packages"},
                "resources": resources,
                "endpoint": {"apiKeySecretRef": {"name": "engine-key", "key": "token"}},
                **spec,
            },
        }
        self.kubectl.apply(body)
        return dict(self.get(name))

    def get(self, name: str = "rented") -> Any:
        """Return the object, or None."""
        return self.kubectl.get("dsd", name)

    def condition(self, name: str = "rented") -> dict[str, Any]:
        """Return the condition Ready, or an empty one."""
        status = (self.get(name) or {}).get("status") or {}
        return next((one for one in status.get("conditions") or [] if one["type"] == "Ready"), {})

    def instance(self, name: str = "rented") -> dict[str, Any]:
        """Return what the status says of the only replica."""
        status = (self.get(name) or {}).get("status") or {}
        (one,) = status.get("instances") or [{}]
        return dict(one)

    def until_ready(self, name: str = "rented") -> dict[str, Any]:
        """Wait until the deployment is ready; return the object."""
        eventually(
            lambda: self.condition(name).get("status") == "True",
            within=READY_S,
            what=f"{name} is ready; see {self.cloud.log('skypilot')} and {self.operator.log}",
        )
        return dict(self.get(name))

    def until_reason(self, reason: str, name: str = "rented", *, within: float = READY_S) -> str:
        """Wait until Ready has this Reason; return its message."""
        eventually(lambda: self.condition(name).get("reason") == reason, within=within, what=f"{name} is {reason}")
        return str(self.condition(name).get("message", ""))

    def delete(self, name: str = "rented") -> None:
        """Delete the deployment and wait until it is gone."""
        self.kubectl("delete", "dsd", name, f"--timeout={GONE_S:g}s", timeout=GONE_S + 30)

    def expect_nothing_rented(self) -> None:
        """Expect that EC2 has no machine and no security group of ours, and SkyPilot no cluster."""
        assert self.cloud.instances() == []
        assert self.cloud.groups() == []

    def audit(self, *flags: str) -> tuple[int, str]:
        """Run ``deepseek-operator audit --aws`` as an administrator of both; return exit status and output."""
        program = Path(sys.executable).with_name("deepseek-operator")
        environment = {
            "KUBECONFIG": str(self.kubectl.kubeconfig),
            "PATH": f"{skypilot_python().parent}:{os.environ['PATH']}",
            "AWS_ENDPOINT_URL": self.cloud.ec2,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        command: list[str | Path] = [
            program,
            "audit",
            "--aws",
            "--output=json",
            f"--namespace={self.kubectl.namespace}",
            *flags,
        ]
        command += [f"--skypilot-endpoint={self.cloud.skypilot}", f"--skypilot-user-id={self.cloud.user_id}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode in (0, 4), done.stderr
        return done.returncode, done.stdout

    def chat(self, address: str, key: str | None = API_KEY) -> tuple[int, Any]:
        """Ask the engine at an address; return status and answer."""
        body = {"model": "r1-8b", "messages": [{"role": "user", "content": "Who are you?"}]}
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        request = urllib.request.Request(f"http://{address}/v1/chat/completions", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, None
