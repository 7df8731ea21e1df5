"""Addresses of this machine that the cluster's namespace reaches, so that a Service can lead to a fake engine.

EndpointSlices refuse loopback addresses, and each fake pod needs an address of its own. The cluster's range has room
behind its Services: that part is made local here, and the node learns that it lies at the host's end of the link.
"""

import subprocess
from ipaddress import IPv4Network
from typing import Self

from tests.cluster.local.layout import Layout
from tests.cluster.local.process import Identity


def engine_addresses(layout: Layout, part: int) -> IPv4Network:
    """Return 62 addresses; each part is another 62."""
    return tuple(_all(layout).subnets(new_prefix=26))[part]


def _all(layout: Layout) -> IPv4Network:
    """Return the /24 between the addresses of Services and the link."""
    return next(tuple(layout.network.subnets(new_prefix=23))[3].subnets(new_prefix=24))


class Reachable:
    """Makes the addresses reachable for as long as it is entered.

    Parameters
    ----------
    network
        Other addresses than those that :func:`engine_addresses` hands out.
    """

    def __init__(self, layout: Layout, network: IPv4Network | None = None) -> None:
        self.layout, self._network = layout, str(network or _all(layout))
        identity = Identity.load(layout.run / "init.json")
        assert identity is not None, "the local cluster runs"
        self._node = ["nsenter", f"--net=/proc/{identity.pid}/ns/net", "ip", "route"]

    def __enter__(self) -> Self:
        _run(["ip", "route", "replace", "local", self._network, "dev", "lo"])
        _run([*self._node, "replace", self._network, "via", str(self.layout.host_ip)])
        return self

    def __exit__(self, *_: object) -> None:
        _run([*self._node, "delete", self._network])
        _run(["ip", "route", "delete", "local", self._network, "dev", "lo"])


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
