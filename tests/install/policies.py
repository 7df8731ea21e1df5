"""NetworkPolicies, enforced on the node for as long as a test wants it.

Not part of the cluster: its network enforces none, and another program to build would cost everybody minutes.
"""

import subprocess
from pathlib import Path
from typing import Final, Self

from tests.cluster import build
from tests.cluster.api import ClusterError
from tests.cluster.local.layout import NODE, Layout
from tests.cluster.local.process import Identity
from tests.cluster.shell import run
from tests.system.wait import eventually

__all__ = ["EnforcedPolicies"]

QUEUE: Final = 100


class EnforcedPolicies:
    """Judges each new connection to or from a pod by the NetworkPolicies, while it is entered.

    Connections from the node itself, a kubelet's probes among them, pass: the API promises that. A connection that is
    not allowed gets no answer. If the program that judges dies, no connection is allowed.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start to enforce."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop to enforce."""
        self.stop()

    def start(self) -> None:
        """Enforce from now on; returns once each policy that exists is in force."""
        program = build.build(build.NETWORK_POLICIES) / "network-policies"
        init = Identity.load(self._layout.run / "init.json")
        if init is None:
            raise ClusterError(f"{self._layout.name} does not run")
        self._inside = ["nsenter", f"--net=/proc/{init.pid}/ns/net"]
        log = self._layout.state / "log" / "network-policies.log"
        flags = [f"--kubeconfig={self._layout.kubeconfig}", f"--node={NODE}", f"--queue={QUEUE}"]
        with log.open("ab") as output:
            self._process = subprocess.Popen([*self._inside, program, *flags], stdout=output, stderr=output)
        try:
            # It takes packets once it has seen all policies, pods and namespaces.
            eventually(
                lambda: _taken(init.pid), within=60, what=f"network-policies takes packets; see {log}", every=0.2
            )
            self._rule("-I")
        except BaseException:
            self._end()
            raise

    def stop(self) -> None:
        """Enforce no longer."""
        if self._process is not None:
            self._rule("-D")
            self._end()

    def _rule(self, change: str) -> None:
        new = ["-m", "conntrack", "--ctstate", "NEW"]
        queue = ["-j", "NFQUEUE", "--queue-num", str(QUEUE)]
        run([*self._inside, "iptables", "-w", "-t", "mangle", change, "FORWARD", *new, *queue])

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None


def _taken(pid: int) -> bool:
    """Say whether somebody takes packets from the queue in the network of a process."""
    lines = Path(f"/proc/{pid}/net/netfilter/nfnetlink_queue").read_text().splitlines()
    return any(line.split()[0] == str(QUEUE) for line in lines)
