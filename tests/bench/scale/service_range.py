"""More addresses for Services than the test cluster's own 510: a ServiceCIDR for as long as the benchmark runs."""

import contextlib
import subprocess
import uuid
from collections.abc import Iterator
from typing import Final

from tests.cluster.local import network
from tests.cluster.local.layout import Layout, choose_slot
from tests.system.kubectl import Kubectl

__all__ = ["service_range"]

LABEL: Final = "dsd-bench"


@contextlib.contextmanager
def service_range(layout: Layout, kubectl: Kubectl) -> Iterator[None]:
    """Add 2,046 addresses of the range for network tests, and let this machine reach them through the node."""
    addresses = str(Layout("dsd-bench-services", choose_slot("dsd-bench-services", network.is_routed)).network)
    subprocess.run(["ip", "route", "replace", addresses, "via", str(layout.node_ip)], check=True)
    # Another name each time: one that is deleted lingers until the last of its addresses has been given back.
    name = f"dsd-bench-{uuid.uuid4().hex[:6]}"
    body = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": name, "labels": {LABEL: ""}},
        "spec": {"cidrs": [addresses]},
    }
    try:
        kubectl.apply(body)
        kubectl("wait", "--for=condition=Ready", f"servicecidr/{name}", "--timeout=30s")
        yield
    finally:
        kubectl("delete", "servicecidr", "-l", LABEL, "--wait=false")
        subprocess.run(["ip", "route", "delete", addresses], check=True)
