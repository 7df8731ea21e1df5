"""A release of the chart, driven by Helm as an administrator does."""

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.images import reference_of
from tests.system.kubectl import Kubectl
from tests.system.rights import granted
from tests.system.wait import eventually

__all__ = ["CHART", "SYSTEM", "Release", "names"]

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "deepseek-operator"
SYSTEM = "dsd-inst-system"
SMALL: dict[str, Any] = {
    # What a machine of two cores has room for.
    "skypilot.memoryLimitGB": 6,
    "skypilot.resources.limits.memory": "6Gi",
    "skypilot.resources.requests.cpu": "100m",
    "skypilot.resources.requests.memory": "1Gi",
    "skypilot.persistence.size": "1Gi",
}


@dataclass(frozen=True)
class Release:
    """One release in the namespace of this suite.

    Attributes
    ----------
    kubectl
        In the namespace of the release.
    helm
        Program: Helm 4, or Helm 3.
    name
        Name of the release, which has the chart's name in it, and of its operator.
    """

    kubectl: Kubectl
    helm: str = "helm"
    name: str = "deepseek-operator"

    def run(self, *args: str, timeout: float = 400) -> str:
        """Run ``helm ARGS`` in the namespace of the release; return what it printed on both outputs."""
        return self.kubectl.program(self.helm, *args, timeout=timeout)

    def typed(self, command: str, *, timeout: float = 400) -> str:
        """Run a command of the documentation in a shell, for this namespace; return what it printed."""
        surroundings = self.kubectl.environment
        words = ["bash", "-euc", command.replace("deepseek-system", self.kubectl.namespace)]
        done = subprocess.run(
            words, cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"
        return done.stdout

    def upgrade(self, chart: Path = CHART, *, operator: str = "operator", **values: Any) -> None:
        """Install or upgrade the release and wait until it is ready.

        Parameters
        ----------
        operator
            Image of the operator: ``operator`` or ``operator-previous``.
        values
            Values of the chart; two underscores stand for a dot.
        """
        self.run(
            "upgrade", "--install", self.name, str(chart), "--wait", "--timeout=4m", *self.flags(operator, **values)
        )

    def flags(self, operator: str = "operator", **values: Any) -> list[str]:
        """Return the values as flags of Helm."""
        images: dict[str, Any] = {}
        for component, image in (("operator", operator), ("skypilot", "skypilot")):
            repository, _, tag = reference_of(image).rpartition(":")
            images |= {f"{component}.image.repository": repository, f"{component}.image.tag": tag}
        plain = {key.replace("__", "."): value for key, value in values.items()}
        return [f"--set-json={key}={json.dumps(value)}" for key, value in {**images, **SMALL, **plain}.items()]

    def test(self) -> None:
        """Run ``helm test``."""
        said = self.run("test", self.name, "--timeout=180s")
        assert re.search(r"Phase:\s+Succeeded", said), said

    def objects(self) -> list[dict[str, Any]]:
        """Return the objects of the release, as Helm remembers them."""
        text = self.run("get", "manifest", self.name)
        return [one for one in yaml.safe_load_all(text) if one]

    def rights(self, account: str) -> set[Any]:
        """Return the rights that the release gives to an account."""
        return granted(self.objects(), account)

    def pods(self, part: str = "deepseek-operator") -> list[dict[str, Any]]:
        """Return the pods of the operator, or of ``deepseek-operator-skypilot``, that are not being deleted."""
        labels = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/name={part}"
        found = self.kubectl.get("pods", labels=labels)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def leader(self) -> str:
        """Return the name of the pod that acts."""

        def look() -> str:
            lease = self.kubectl.get("lease", self.name) or {}
            holder = str((lease.get("spec") or {}).get("holderIdentity") or "")
            return holder if holder in [pod["metadata"]["name"] for pod in self.pods()] else ""

        return eventually(look, within=40, what="a pod holds the Lease")

    def gone(self) -> None:
        """Wait until no pod of the release is left."""
        labels = f"app.kubernetes.io/instance={self.name}"
        eventually(lambda: not self.kubectl.get("pods", labels=labels), within=90, what="the pods are gone")


def names(pods: Sequence[dict[str, Any]]) -> list[str]:
    """Return the names of objects."""
    return sorted(pod["metadata"]["name"] for pod in pods)
