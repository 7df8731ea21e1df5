"""The chart as Helm renders it. Helm is the one of the test cluster, or one on PATH; nothing is built here."""

import functools
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.cache import cache_dir

__all__ = ["CHART", "COMBINATIONS", "ROOT", "helm", "objects", "refusal", "render"]

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "deepseek-operator"
COMBINATIONS = sorted((CHART / "ci").glob("*-values.yaml"))
RELEASE = ("deepseek-operator", str(CHART), "--namespace=deepseek-system")


@functools.cache
def _program() -> str | None:
    built = sorted(cache_dir().glob("bin/helm-*/helm"), key=lambda path: path.stat().st_mtime)
    return str(built[-1]) if built else shutil.which("helm")


def helm(*args: str) -> subprocess.CompletedProcess[str]:
    """Run ``helm ARGS``; skip the test where there is no helm."""
    program = _program()
    if program is None:
        pytest.skip("helm is not on PATH and not built yet: make cluster-up builds it")
    return subprocess.run([program, *args], capture_output=True, text=True, timeout=60, check=False)


@functools.cache
def render(*flags: str) -> str:
    """Return what ``helm template`` prints for the release deepseek-operator in deepseek-system."""
    done = helm("template", *RELEASE, *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(*flags: str) -> str:
    """Return why Helm refuses the values."""
    done = helm("template", *RELEASE, *flags)
    assert done.returncode != 0, f"helm accepts {' '.join(flags)}"
    return done.stderr


def objects(rendered: str, kinds: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the rendered objects, of some kinds or all."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the CRD alone takes a second without the C library
    found = [document for document in yaml.load_all(rendered, Loader=loader) if document]
    return [one for one in found if not kinds or one["kind"] in kinds]
