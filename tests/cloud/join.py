"""The link between the test cluster and the cloud: what is the internet between a real pair.

Services lead to the public addresses of machines, so the node must reach them. The link goes from namespace to
namespace: this machine forwards nothing.
"""

from ipaddress import IPv4Address
from typing import Final

from tests.cloud.world import World
from tests.cluster.local.layout import Layout
from tests.cluster.local.process import Identity
from tests.cluster.shell import run, succeeds

__all__ = ["join"]

_NODE_END: Final = "cloud0"
_CLOUD_END: Final = "cluster0"


def join(world: World, cluster: Layout) -> None:
    """Connect a running cluster with a world; the link goes with whichever ends first."""
    node = Identity.load(cluster.run / "init.json")
    assert node is not None, f"{cluster.name} does not run"
    # The /30 below the world's own link.
    first = int(world.layout.host_ip) - 4
    ends = {_NODE_END: (node.pid, IPv4Address(first)), _CLOUD_END: (world.pid, IPv4Address(first + 1))}
    # Left by a world that was killed a moment ago.
    succeeds([*_inside(node.pid), "link", "delete", _NODE_END])
    run(["ip", "link", "add", _NODE_END, "netns", str(node.pid), "type", "veth", "peer", "name", _CLOUD_END, "netns",
         str(world.pid)])  # fmt: skip
    for name, (pid, address) in ends.items():
        run([*_inside(pid), "address", "add", f"{address}/30", "dev", name])
        run([*_inside(pid), "link", "set", name, "up"])
    run([*_inside(node.pid), "route", "add", str(world.public), "via", str(ends[_CLOUD_END][1])])
    run([*_inside(world.pid), "route", "add", str(cluster.network), "via", str(ends[_NODE_END][1])])


def _inside(pid: int) -> list[str]:
    return ["nsenter", f"--net=/proc/{pid}/ns/net", "ip"]
