"""The provider for a cluster that the user brings: it is used, and neither made nor removed."""

import os
from pathlib import Path

from tests.cluster import build
from tests.cluster.api import ClusterError, Health
from tests.cluster.images import builder
from tests.cluster.shell import kubectl, say, succeeds

_REGISTRY = "DSD_TEST_REGISTRY"


class ExternalCluster:
    """Someone else's cluster, reached through a kubeconfig.

    Parameters
    ----------
    name
        Only for messages.
    kubeconfig
        Path of an existing file.
    """

    def __init__(self, name: str, kubeconfig: Path) -> None:
        if not kubeconfig.is_file():
            raise ClusterError(f"{kubeconfig}: no such kubeconfig")
        self._name = name
        self._kubeconfig = kubeconfig.absolute()

    @property
    def name(self) -> str:
        """See :class:`~tests.cluster.api.Cluster`."""
        return self._name

    @property
    def kubeconfig(self) -> Path:
        """See :class:`~tests.cluster.api.Cluster`."""
        return self._kubeconfig

    @property
    def bin_dir(self) -> Path:
        """See :class:`~tests.cluster.api.Cluster`."""
        return build.build(build.CLIENTS)

    def up(self) -> None:
        """See :class:`~tests.cluster.api.Cluster`."""
        if not self.health().healthy:
            raise ClusterError(f"{self._kubeconfig}: the cluster does not answer; bring it up, it is yours")

    def down(self, *, purge: bool = False) -> None:
        """See :class:`~tests.cluster.api.Cluster`."""
        say(f"{self._kubeconfig} is yours and stays")

    def health(self) -> Health:
        """See :class:`~tests.cluster.api.Cluster`."""
        answers = succeeds([*kubectl(self.bin_dir, self._kubeconfig), "get", "--raw=/readyz"])
        return Health(healthy=answers, details=(f"API server: {'ok' if answers else 'NOT OK'}",))

    def load_image(self, image: str) -> str:
        """See :class:`~tests.cluster.api.Cluster`. The nodes fetch it from ``DSD_TEST_REGISTRY``."""
        registry = os.environ.get(_REGISTRY)
        if not registry:
            raise ClusterError(f"set {_REGISTRY} to a registry that you may push to and the nodes can pull from")
        tool = builder()
        built = tool.build(image)
        reference = f"{registry.rstrip('/')}/{image}:{built.digest[:12]}"
        say(f"pushing {reference}")
        tool.push(built, reference)
        return reference
