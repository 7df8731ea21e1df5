"""The operator's own identity: the chart's ServiceAccount, with the chart's rights and no others.

The rights are those of ``skypilot.mode`` deployment, in which SkyPilot has an account of its own: beside the operator
it would share this one, and hide what only the operator needs.
"""

import base64
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import Cluster

__all__ = ["operator_identity", "operator_objects", "write_kubeconfig"]

CHART = Path(__file__).parents[2] / "charts" / "deepseek-operator"


def operator_objects(cluster: Cluster, release: str, system: str, watched: Sequence[str]) -> list[dict[str, Any]]:
    """Return the operator's account, its Roles and their bindings, as the chart renders them."""
    templates = ("rbac.yaml", "serviceaccount.yaml")
    values = ("skypilot.mode=deployment", f"watchNamespaces={{{','.join(watched)}}}")
    flags = [f"--namespace={system}", *(f"--set={value}" for value in values)]
    flags += [f"--show-only=templates/{name}" for name in templates]
    command = [str(cluster.bin_dir / "helm"), "template", release, str(CHART), *flags]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True)
    return [one for one in yaml.safe_load_all(rendered.stdout) if one]


def operator_identity(
    cluster: Cluster, kubectl: Callable[..., str], release: str, system: str, watched: Sequence[str], path: Path
) -> Path:
    """Create the account that a release has, and write a kubeconfig that uses it.

    Parameters
    ----------
    system
        Namespace of the release; it must exist.
    watched
        Namespaces in which the operator gets rights.
    path
        Where the kubeconfig is written.
    """
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(operator_objects(cluster, release, system, watched)))
    return write_kubeconfig(cluster, kubectl, f"{release}-deepseek-operator", system, path)


def write_kubeconfig(cluster: Cluster, kubectl: Callable[..., str], account: str, system: str, path: Path) -> Path:
    """Write a kubeconfig that uses an account of the namespace ``system``, for two hours."""
    token = kubectl("create", "token", account, f"--namespace={system}", "--duration=2h").strip()
    admin = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
    if "certificate-authority" in admin:
        authority = Path(admin.pop("certificate-authority")).read_bytes()
        admin["certificate-authority-data"] = base64.b64encode(authority).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": admin}],
        "users": [{"name": "operator", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "operator", "namespace": system}}],
        "current-context": "test",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return path
