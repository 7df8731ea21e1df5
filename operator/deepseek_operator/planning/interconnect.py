"""What is known of the network between the machines of a replica.

It decides the layout: two all-reduces per layer over Ethernet cost more than the layer itself (docs/planning.md), so
tensor parallelism spans nodes only where the network is known to be fast.
"""

from dataclasses import dataclass

from deepseek_operator.api.spec import Interconnect
from deepseek_operator.catalog import Accelerator, Catalog
from deepseek_operator.planning.request import Request

__all__ = ["ETHERNET", "Network", "network_between"]


@dataclass(frozen=True)
class Network:
    """The network between machines with the same GPUs."""

    fast: bool
    why: str
    """Who says so: a field of the spec, or machine types of the catalog."""
    gbs: float | None = None
    """GB/s of one machine, where the catalog knows it."""


ETHERNET = Network(False, "not known to be fast")


def network_between(request: Request, catalog: Catalog, accelerator: Accelerator) -> Network:
    """Return the network between machines with these GPUs.

    It is fast if the user says so, or if every machine type that the named clouds sell with these GPUs has a fast one
    in the catalog. Nodes of Kubernetes are fast only on the user's word.
    """
    if request.spec.resources.interconnect is Interconnect.FAST:
        return Network(True, "resources.interconnect: Fast")
    if request.kubernetes or not request.clouds:
        return ETHERNET
    prices = catalog.prices_of(accelerator, request.clouds)
    if {price.cloud for price in prices} != set(request.clouds):
        return ETHERNET
    machines = [catalog.machine(price.cloud, price.instance_type) for price in prices]
    known = [machine for machine in machines if machine is not None]
    if len(known) < len(machines):
        return ETHERNET
    names = dict.fromkeys(f"{machine.interconnect} of {machine.instance_type}" for machine in known)
    return Network(True, " and ".join(names), min(machine.gbs for machine in known))
