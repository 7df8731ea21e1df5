"""Choosing a provider."""

import os
from pathlib import Path

from tests.cluster.api import Cluster, ClusterError
from tests.cluster.external import ExternalCluster
from tests.cluster.images import has_docker
from tests.cluster.kind import KindCluster
from tests.cluster.local.cluster import LocalCluster

DEFAULT_NAME = os.environ.get("DSD_TEST_CLUSTER", "dsd-test")
PROVIDERS = ("external", "kind", "local")


def select(
    name: str = DEFAULT_NAME, *, provider: str | None = None, kubeconfig: str | None = None, audit: bool = True
) -> Cluster:
    """Return the cluster that tests shall use; it may have to be brought up.

    Parameters
    ----------
    name
        Tells clusters on one machine apart.
    provider
        ``external``, ``kind`` or ``local``. Without it: the kubeconfig that the user names, else kind where a Docker
        engine answers, else local. ``DSD_TEST_PROVIDER`` says the same.
    kubeconfig
        The user's own cluster, never made or removed here. ``DSD_TEST_KUBECONFIG`` says the same.
    audit
        Whether the API server of a local cluster writes an audit log.

    Raises
    ------
    ClusterError
        The choice cannot be met.
    """
    named = kubeconfig or os.environ.get("DSD_TEST_KUBECONFIG")
    chosen = choose(provider or os.environ.get("DSD_TEST_PROVIDER"), named)
    if chosen == "external":
        if not named:
            raise ClusterError("the external provider needs --kubeconfig or DSD_TEST_KUBECONFIG")
        return ExternalCluster(name, Path(named))
    return KindCluster(name) if chosen == "kind" else LocalCluster(name, audit=audit)


def choose(provider: str | None, kubeconfig: str | None) -> str:
    """Return the provider that was asked for, or the first one that can work."""
    if provider and provider not in PROVIDERS:
        raise ClusterError(f"{provider!r} is no provider: choose from {', '.join(PROVIDERS)}")
    if provider:
        return provider
    if kubeconfig:
        return "external"
    return "kind" if has_docker() else "local"
