"""The link between the test cluster and the cloud: what is the internet between a real pair.

Services lead to the public addresses of machines, so the node must reach them. The link goes from namespace to
namespace: this machine forwards nothing.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from tests.cloud import sniff
from tests.cloud.world import World
from tests.cluster.local.layout import Layout
from tests.cluster.local.process import Identity
from tests.cluster.shell import run, succeeds

__all__ = ["INTERNET", "captured", "join"]

INTERNET: Final = "cloud0"
"""The node's end of the link."""
_CLOUD_END: Final = "cluster0"


def join(world: World, cluster: Layout) -> None:
    """Connect a running cluster with a world; the link goes with whichever ends first."""
    node = _node(cluster)
    # The /30 below the world's own link.
    first = int(world.layout.host_ip) - 4
    ends = {INTERNET: (node, IPv4Address(first)), _CLOUD_END: (world.pid, IPv4Address(first + 1))}
    # Left by a world that was killed a moment ago.
    succeeds([*_inside(node), "link", "delete", INTERNET])
    run(["ip", "link", "add", INTERNET, "netns", str(node), "type", "veth", "peer", "name", _CLOUD_END, "netns",
         str(world.pid)])  # fmt: skip
    for name, (pid, address) in ends.items():
        run([*_inside(pid), "address", "add", f"{address}/30", "dev", name])
        run([*_inside(pid), "link", "set", name, "up"])
    run([*_inside(node), "route", "add", str(world.public), "via", str(ends[_CLOUD_END][1])])
    run([*_inside(world.pid), "route", "add", str(cluster.network), "via", str(ends[INTERNET][1])])


@contextmanager
def captured(cluster: Layout, folder: Path) -> Iterator[dict[str, bytes]]:
    """Collect what passes each link of the cluster's node meanwhile: there afterwards, by the link's name.

    Links to pods carry what stays in the cluster; :data:`INTERNET` carries what leaves it.
    """
    frames: dict[str, bytes] = {}
    command = ["nsenter", f"--target={_node(cluster)}", "--net", sys.executable, sniff.__file__, str(folder)]
    sniffer = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert sniffer.stdout is not None
        assert sniffer.stdout.readline() == b"listening\n"
        yield frames
    finally:
        sniffer.terminate()
        sniffer.wait(30)
    frames.update({file.name: file.read_bytes() for file in folder.iterdir()})


def _node(cluster: Layout) -> int:
    node = Identity.load(cluster.run / "init.json")
    assert node is not None, f"{cluster.name} does not run"
    return node.pid


def _inside(pid: int) -> list[str]:
    return ["nsenter", f"--net=/proc/{pid}/ns/net", "ip"]
