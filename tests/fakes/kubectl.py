"""kubectl on the PATH of a test, over objects that the test puts.

It is a real executable, run as kubectl is: with flags, an exit status and two streams. ``exec`` runs the command for
real, in a home directory per pod; ``port-forward`` leads to a server of the test.
"""

import json
import os
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import kubectl_program

__all__ = ["FakeKubectl"]

CONTAINERS = ["ray-node", "operator", "skypilot"]


@dataclass
class FakeKubectl:
    """The fake, and what it answers.

    Attributes
    ----------
    forbidden
        ``("list", "pods")``: verbs (get, list, list-all) and kinds that end in Forbidden.
    denied
        What ``auth can-i`` says no to: ``"create pods/exec"``.
    missing
        Kinds that the API server does not know.
    away
        What every call ends with while set.
    """

    directory: Path
    objects: list[dict[str, Any]] = field(default_factory=list)
    forbidden: list[tuple[str, str]] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    away: str = ""

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put it on the PATH."""
        monkeypatch.setenv("PATH", f"{self.write()}:{os.environ['PATH']}")
        monkeypatch.delenv("KUBECTL", raising=False)

    def write(self) -> Path:
        """Write the executable; return its directory."""
        bin_dir = self.directory / "bin"
        bin_dir.mkdir(parents=True, exist_ok=True)
        program = bin_dir / "kubectl"
        # Without site packages: kubectl starts in 70 ms, and so must this.
        python = f"{sys.executable} -S {kubectl_program.__file__}"
        home = shlex.quote(str(self.directory))
        program.write_text(f'#!/bin/sh\nFAKE_KUBECTL={home} exec {python} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        self.save()
        return bin_dir

    def put(self, *objects: dict[str, Any]) -> None:
        """Add objects, or put them in place of those of the same kind and name."""
        for body in objects:
            self.objects = [known for known in self.objects if _key(known) != _key(body)]
            self.objects.append(body)
        self.save()

    def save(self) -> None:
        """Let the executable know what was changed."""
        state = {
            "objects": self.objects,
            "forbidden": [list(pair) for pair in self.forbidden],
            "denied": self.denied,
            "missing": self.missing,
            "raw": self.raw,
            "ports": self.ports,
            "away": self.away,
            "containers": CONTAINERS,
        }
        # A plugin that watches reads while a test writes.
        fresh = self.directory / "state.json.new"
        fresh.write_text(json.dumps(state), encoding="utf-8")
        fresh.replace(self.directory / "state.json")

    def home(self, pod: str) -> Path:
        """Return the home directory of a pod, in which ``exec`` runs."""
        home = self.directory / "pods" / pod
        home.mkdir(parents=True, exist_ok=True)
        return home

    def annotations(self, name: str) -> dict[str, str]:
        """Return the annotations of an object as they are now."""
        state = json.loads((self.directory / "state.json").read_text(encoding="utf-8"))
        (found,) = (body for body in state["objects"] if body["metadata"]["name"] == name)
        return dict(found["metadata"].get("annotations") or {})

    @property
    def calls(self) -> list[list[str]]:
        """The command lines that it was called with."""
        file = self.directory / "calls.jsonl"
        lines: Iterable[str] = file.read_text(encoding="utf-8").splitlines() if file.exists() else ()
        return [json.loads(line) for line in lines]


def _key(body: dict[str, Any]) -> tuple[str, str, str]:
    return body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"]
