"""GPUs that are advertised and not there, for the scheduler and for SkyPilot, which believe the node."""

import json

from tests.cluster.api import Cluster
from tests.cluster.shell import kubectl, run

_RESOURCE = "nvidia.com/gpu"
_LABEL = "nvidia.com/gpu.product"


def advertise(cluster: Cluster, *, count: int, product: str, node: str | None = None) -> None:
    """Make a node say that it has GPUs.

    Parameters
    ----------
    cluster
        A cluster that is up.
    count
        How many.
    product
        As NVIDIA's feature discovery would label them: ``NVIDIA-L4``, ``NVIDIA-H200``.
    node
        Which node; the first one if not given.
    """
    _patch(cluster, node, label=product, amount=str(count))


def withdraw(cluster: Cluster, *, node: str | None = None) -> None:
    """Undo :func:`advertise`; does nothing on a plain node."""
    _patch(cluster, node, label=None, amount=None)


def _patch(cluster: Cluster, node: str | None, *, label: str | None, amount: str | None) -> None:
    command = kubectl(cluster.bin_dir, cluster.kubeconfig)
    name = node or run([*command, "get", "nodes", "--output=jsonpath={.items[0].metadata.name}"])
    # In a merge patch, null removes the key.
    metadata = {"metadata": {"labels": {_LABEL: label}}}
    status = {"status": {kind: {_RESOURCE: amount} for kind in ("capacity", "allocatable")}}
    run([*command, "patch", "node", name, "--type=merge", f"--patch={json.dumps(metadata)}"])
    run([*command, "patch", "node", name, "--type=merge", "--subresource=status", f"--patch={json.dumps(status)}"])
