"""kubectl and helm as a person types them, with their output as values."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

__all__ = ["CommandError", "Kubectl"]


class CommandError(Exception):
    """A command ended with an error; the message is what it wrote."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl and helm of one cluster. Without a namespace, that of each object counts."""

    kubeconfig: Path
    bin_dir: Path
    namespace: str = "default"

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a shell in which kubectl, its plugin and helm are found, and mean this cluster."""
        places = (self.bin_dir, Path(sys.executable).parent, os.environ["PATH"])
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": ":".join(map(str, places))}

    def within(self, namespace: str) -> "Kubectl":
        """Return the same for another namespace."""
        return Kubectl(self.kubeconfig, self.bin_dir, namespace)

    def __call__(self, *args: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Run ``kubectl ARGS`` and return what it printed."""
        return self._run("kubectl", *args, stdin=stdin, timeout=timeout)

    def helm(self, *args: str, timeout: float = 600) -> str:
        """Run ``helm ARGS`` and return what it printed."""
        return self._run("helm", *args, stdin=None, timeout=timeout)

    def program(self, name: str, *args: str, timeout: float = 120) -> str:
        """Run another program of ``bin_dir`` that knows ``--namespace`` and KUBECONFIG."""
        return self._run(name, *args, stdin=None, timeout=timeout)

    def apply(self, *objects: dict[str, Any]) -> str:
        """Apply objects as ``kubectl apply -f -``."""
        return self("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def get(self, kind: str, name: str | None = None, *, labels: str | None = None) -> Any:
        """Return an object or None, or the list of all that have the labels."""
        args = ["get", kind, "-o", "json", "--ignore-not-found"]
        args += [name] if name is not None else []
        args += ["-l", labels] if labels is not None else []
        text = self(*args)
        if name is not None:
            return json.loads(text) if text.strip() else None
        return json.loads(text)["items"] if text.strip() else []

    def _run(self, program: str, *args: str, stdin: str | None, timeout: float) -> str:
        within = [f"--namespace={self.namespace}"] if self.namespace else []
        command = [str(self.bin_dir / program), *within, *args]
        done = subprocess.run(
            command, input=stdin, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode != 0:
            raise CommandError(f"{program} {' '.join(args[:4])}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout
