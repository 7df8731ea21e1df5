"""The provider for machines with a Docker engine: kind.

Written from kind's documentation. The commands are unit-tested, but the whole was never run where this was written,
for want of an engine.
"""

import os
import shutil
from pathlib import Path

from tests.cluster import build
from tests.cluster.api import ClusterError, Health
from tests.cluster.cache import cache_dir
from tests.cluster.images import Docker
from tests.cluster.shell import kubectl, run, say, succeeds
from tests.cluster.versions import read_versions


def node_image() -> str:
    """Return the node's image: the pinned Kubernetes, unless ``DSD_TEST_KIND_IMAGE`` names another."""
    return os.environ.get("DSD_TEST_KIND_IMAGE") or f"kindest/node:v{read_versions()['KUBERNETES_VERSION']}"


def create_command(name: str, kubeconfig: Path) -> list[str]:
    """Return the command that makes a cluster and waits for its control plane."""
    flags = ["--name", name, "--image", node_image(), "--kubeconfig", str(kubeconfig), "--wait", "180s"]
    return ["kind", "create", "cluster", *flags]


def delete_command(name: str, kubeconfig: Path) -> list[str]:
    """Return the command that removes a cluster; kind exits with zero if there is none."""
    return ["kind", "delete", "cluster", "--name", name, "--kubeconfig", str(kubeconfig)]


def load_command(name: str, reference: str) -> list[str]:
    """Return the command that copies an image from the engine to the nodes."""
    return ["kind", "load", "docker-image", reference, "--name", name]


class KindCluster:
    """A cluster in containers of the Docker engine."""

    def __init__(self, name: str) -> None:
        if not shutil.which("kind"):
            raise ClusterError("kind is not installed: https://kind.sigs.k8s.io, or choose --provider local (as root)")
        self._name = name

    @property
    def name(self) -> str:
        """See :class:`~tests.cluster.api.Cluster`."""
        return self._name

    @property
    def kubeconfig(self) -> Path:
        """See :class:`~tests.cluster.api.Cluster`."""
        return cache_dir() / "kind" / f"{self._name}.kubeconfig"

    @property
    def bin_dir(self) -> Path:
        """See :class:`~tests.cluster.api.Cluster`."""
        return build.build(build.CLIENTS)

    def up(self) -> None:
        """See :class:`~tests.cluster.api.Cluster`."""
        if self.health().healthy:
            say(f"{self._name} is up")
            return
        self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        run(delete_command(self._name, self.kubeconfig))
        say(f"creating {self._name} with kind")
        run(create_command(self._name, self.kubeconfig))
        say(f"{self._name} is up: export KUBECONFIG={self.kubeconfig}")

    def down(self, *, purge: bool = False) -> None:
        """See :class:`~tests.cluster.api.Cluster`. kind keeps no images, so that `purge` adds nothing."""
        run(delete_command(self._name, self.kubeconfig))
        self.kubeconfig.unlink(missing_ok=True)

    def health(self) -> Health:
        """See :class:`~tests.cluster.api.Cluster`."""
        if self._name not in run(["kind", "get", "clusters"]).split() or not self.kubeconfig.exists():
            return Health(healthy=False, details=(f"{self._name}: not running",))
        command = kubectl(self.bin_dir, self.kubeconfig)
        ready = succeeds([*command, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=5s"])
        return Health(healthy=ready, details=(f"nodes: {'ok' if ready else 'NOT OK'}",))

    def load_image(self, image: str) -> str:
        """See :class:`~tests.cluster.api.Cluster`."""
        built = Docker().build(image)
        run(load_command(self._name, built.reference))
        return built.reference
