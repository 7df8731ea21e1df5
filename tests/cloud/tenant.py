"""A user of the operator, in a namespace of their own, whose replicas are rented from the simulated cloud."""

import base64
import os
import socket
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deepseek_operator.facts.names import authority_secret_name, server_name
from tests.cloud.home import ACCESS_KEY, SECRET_KEY
from tests.cloud.parts import skypilot_python
from tests.cloud.world import World
from tests.system.kubectl import Kubectl
from tests.system.process import OperatorProcess
from tests.system.wait import eventually

__all__ = ["API_KEY", "HF_TOKEN", "Tenant", "question"]

API_KEY: Final = "canary-of-the-engine-key"
HF_TOKEN: Final = "hf_canaryofthehuggingfacetoken"
"""Values that must be nowhere but in Secrets, in SkyPilot's own memory of a request, and on the machines."""
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
        """Apply a deployment that rents one machine with an L4 and starts the engine from packages.

        Parameters
        ----------
        spec
            Parts of the spec that are different; ``resources`` field by field.
        """
        resources = {"infra": ["aws"], "accelerators": ["L4:1"], **spec.pop("resources", {})}
        body = {
            "apiVersion": "deepseek-operator.io/v1alpha1",
            "kind": "DeepSeekDeployment",
            "metadata": {"name": name, "namespace": self.kubectl.namespace},
            "spec": {
                "model": {"name": "r1-8b"},
                "engine": {"name": "VLLM", "runtime": "Packages"},
                "resources": resources,
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

    def events(self, name: str = "rented") -> set[str]:
        """Return the Reasons of all Events of a deployment."""
        return {one["reason"] for one in self.kubectl.get("events") if one["involvedObject"]["name"] == name}

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

    def url(self, name: str = "rented") -> str:
        """Return the address of a deployment for clients in the cluster."""
        return str(self.get(name)["status"]["endpoint"]["internalURL"])

    def secret(self, name: str, key: str) -> str:
        """Return a value of a Secret."""
        return base64.b64decode(self.kubectl.get("secret", name)["data"][key]).decode()

    def ask_machine(
        self, name: str = "rented", *, key: str | None = None, scheme: str = "https", path: str = "/v1/models"
    ) -> int:
        """Ask the machine of a deployment itself, as anybody on the internet can; return the status.

        Raises
        ------
        OSError
            There was no answer, or its certificate is not one of the deployment's.
        """
        instance, uid = self.instance(name), self.get(name)["metadata"]["uid"]
        verified = ssl.create_default_context(cadata=self.secret(authority_secret_name(name), "tls.crt"))
        host, port = instance["address"].split(":")
        tls = verified if scheme == "https" else None
        with socket.create_connection((host, int(port)), 10) as plain:
            wire = tls.wrap_socket(plain, server_hostname=server_name(instance["name"], uid)) if tls else plain
            authorization = f"Authorization: Bearer {key}\r\n" if key else ""
            wire.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{authorization}Connection: close\r\n\r\n".encode())
            words = wire.recv(100).split()
        if len(words) < 2:
            raise ConnectionError("the connection was closed without an answer")
        return int(words[1])


def question(text: str, model: str = "r1-8b") -> dict[str, Any]:
    """Return the body of a chat completion; the stand-in engine answers with the question."""
    return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 16}
