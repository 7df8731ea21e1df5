"""Where everything of one cluster lies and which addresses it has. All of it follows from the name."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from tests.cluster.api import ClusterError
from tests.cluster.cache import cache_dir

# 198.18.0.0/15 is set aside for tests of networks (RFC 2544): no office, VPN or cloud hands it out.
_RANGE = IPv4Network("198.18.0.0/15")
_SLOTS = tuple(_RANGE.subnets(new_prefix=21))
# The prefix keeps `down` from ever removing a folder of /var/lib that belongs to something else.
_NAME = re.compile(r"dsd-[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")

NODE = "node1"


@dataclass(frozen=True)
class Layout:
    """Names, folders and addresses of one cluster.

    Attributes
    ----------
    name
        ``dsd-`` and more; also the name of the control group and of the folders.
    slot
        Which /21 of the test range: 1022 pod addresses, 510 service addresses and the link to the host.
    """

    name: str
    slot: int

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def network(self) -> IPv4Network:
        """All addresses of the cluster: one route on the host covers them."""
        return _SLOTS[self.slot]

    @property
    def pods(self) -> IPv4Network:
        """Addresses of pods."""
        return next(self.network.subnets(new_prefix=22))

    @property
    def services(self) -> IPv4Network:
        """Addresses of Services."""
        return tuple(self.network.subnets(new_prefix=23))[2]

    @property
    def host_ip(self) -> IPv4Address:
        """This machine, as pods and the node see it."""
        return self._link[1]

    @property
    def node_ip(self) -> IPv4Address:
        """The node."""
        return self._link[2]

    @property
    def _link(self) -> IPv4Network:
        return IPv4Network((int(self.network.broadcast_address) - 3, 30))

    @property
    def api_ip(self) -> IPv4Address:
        """Service address of the API server."""
        return self.services[1]

    @property
    def dns_ip(self) -> IPv4Address:
        """Service address of the cluster's DNS."""
        return self.services[10]

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://{self.node_ip}:6443"

    @property
    def veth(self) -> str:
        """Name of the host's end of the link; the kernel allows 15 characters."""
        return f"dsd{hashlib.sha256(self.name.encode()).hexdigest()[:10]}"

    @property
    def state(self) -> Path:
        """Certificates, configuration, logs, etcd's data."""
        return Path("/var/lib") / self.name

    @property
    def run(self) -> Path:
        """Sockets and who is running."""
        return Path("/run") / self.name

    @property
    def lock(self) -> Path:
        """Lock that up and down hold; outside of what down removes."""
        return cache_dir() / "locks" / f"{self.name}.lock"

    @property
    def images(self) -> Path:
        """containerd's images: in the cache, because filling it again takes a minute."""
        return cache_dir() / "containerd" / self.name

    @property
    def containerd_socket(self) -> Path:
        """Where containerd listens; seen under the same path from inside and outside."""
        return self.run / "containerd.sock"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """Requests that the API server answered, one JSON object a line."""
        return self.state / "log" / "audit.log"


def check_name(name: str) -> None:
    """Refuse a name that could not be a folder, a control group and a cluster."""
    if not _NAME.fullmatch(name):
        raise ClusterError(f"{name!r} is no name for a test cluster: use dsd- and up to 32 of a-z, 0-9 and -")


def choose_slot(name: str, taken: Callable[[IPv4Network], bool]) -> int:
    """Return the slot that a name hashes to, or the next one after it that is not taken.

    Parameters
    ----------
    name
        Name of the cluster.
    taken
        Says whether a network overlaps something that this machine already routes.

    Raises
    ------
    ClusterError
        All slots are taken.
    """
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % len(_SLOTS)
    for step in range(len(_SLOTS)):
        slot = (first + step) % len(_SLOTS)
        if not taken(_SLOTS[slot]):
            return slot
    raise ClusterError(f"no free network left in {_RANGE}")
