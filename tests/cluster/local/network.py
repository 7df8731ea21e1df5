"""The link between the cluster's network namespace and this machine.

The namespace has no way out: no default route, no address translation. Pods reach each other, Services, the node and
the host's end of the link; everything else is "network unreachable" at once rather than after a time-out.
"""

import json
from ipaddress import IPv4Network

from tests.cluster.api import ClusterError
from tests.cluster.local.layout import Layout
from tests.cluster.shell import run


def is_routed(network: IPv4Network) -> bool:
    """Say whether this machine has a route into any part of a network, other than its default routes."""
    routes = json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"]) or "[]")
    destinations = [route["dst"] for route in routes if route["dst"] != "default"]
    return any(IPv4Network(destination).overlaps(network) for destination in destinations)


def connect(layout: Layout, pid: int) -> None:
    """Join the network namespace of a process to this machine.

    Parameters
    ----------
    layout
        Whose addresses and names are used.
    pid
        A process inside the namespace, as numbered on this machine.
    """
    disconnect(layout)
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip"]
    run(["ip", "link", "add", layout.veth, "type", "veth", "peer", "name", "eth0", "netns", str(pid)])
    run(["ip", "address", "add", f"{layout.host_ip}/30", "dev", layout.veth])
    run(["ip", "link", "set", layout.veth, "up"])
    run([*inside, "link", "set", "lo", "up"])
    run([*inside, "address", "add", f"{layout.node_ip}/30", "dev", "eth0"])
    run([*inside, "link", "set", "eth0", "up"])
    run(["nsenter", f"--net=/proc/{pid}/ns/net", "sysctl", "-qw", "net.ipv4.ip_forward=1"])
    run(["ip", "route", "add", str(layout.network), "via", str(layout.node_ip), "dev", layout.veth])


def is_connected(layout: Layout) -> bool:
    """Say whether the host's end of the link is there."""
    links = json.loads(run(["ip", "-json", "link", "show", "type", "veth"]) or "[]")
    return any(link.get("ifname") == layout.veth for link in links)


def disconnect(layout: Layout) -> None:
    """Remove the link, and with it its routes; does nothing without one."""
    if not is_connected(layout):
        return
    try:
        run(["ip", "link", "delete", layout.veth])
    except ClusterError:
        if is_connected(layout):  # else it went with the node's end of it, just now
            raise
