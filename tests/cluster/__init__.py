"""A Kubernetes cluster for tests: the user's own, one made by kind, or one built from source on this machine.

Tests use :func:`select` and the :class:`~tests.cluster.api.Cluster` it returns; people use ``python -m tests.cluster``.
See ``docs/test-cluster.md``.
"""

from tests.cluster.api import Cluster, ClusterError, Health
from tests.cluster.providers import select

__all__ = ["Cluster", "ClusterError", "Health", "select"]
