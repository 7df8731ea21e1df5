"""Processes of pods, as the machine under the test cluster sees them. For clusters that run on this machine only."""

import os
import signal
from pathlib import Path

__all__ = ["kill_in_pod"]


def kill_in_pod(pod: str, *words: str) -> list[int]:
    """SIGKILL the processes of a pod whose command line has all of ``words``; return their ids.

    A process belongs to the pod if its environment says so: the kubelet sets HOSTNAME to the pod's name, which is
    unique on this machine.
    """
    killed = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        if f"HOSTNAME={pod}".encode() in environment and all(word in command for word in words):
            os.kill(int(process.name), signal.SIGKILL)
            killed.append(int(process.name))
    return killed
