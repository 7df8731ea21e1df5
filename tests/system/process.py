"""``deepseek-operator run`` as a process of this machine."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.system.wait import eventually

__all__ = ["OperatorProcess"]


@dataclass
class OperatorProcess:
    """``deepseek-operator run`` for one namespace.

    Attributes
    ----------
    flags
        More flags of the command.
    """

    kubeconfig: Path
    namespace: str
    skypilot: str
    log: Path
    flags: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is healthy."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            health = f"127.0.0.1:{free.getsockname()[1]}"
        program = Path(sys.executable).with_name("deepseek-operator")
        flags = [f"--namespace={self.namespace}", f"--skypilot-endpoint={self.skypilot}", f"--health-address={health}"]
        environment = {"KUBECONFIG": str(self.kubeconfig), "PATH": os.environ["PATH"]}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [program, "run", *flags, "--metrics-port=0", *self.flags], env=environment, stdout=log, stderr=log
            )
        what = f"operator healthy; see {self.log}"
        eventually(lambda: self._healthy(f"http://{health}/healthz"), within=45, what=what, every=0.1)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """Kill it as a node's crash would."""
        self.end(signal.SIGKILL)

    def end(self, signal_: int = signal.SIGTERM) -> None:
        """Send a signal and wait for the end; nothing happens to one that has ended."""
        if self.process is not None:
            self.process.send_signal(signal_)
            self.wait()

    def wait(self) -> None:
        """Wait until it has ended by itself."""
        assert self.process is not None
        self.process.wait(30)
        self.process = None

    def _healthy(self, url: str) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the operator ended with {self.process.returncode}; see {self.log}"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
