"""One control group per cluster, below which everything of it runs: what is in it is ours, and nothing else is.

Both layouts of control groups are handled: the old one with a tree per controller, and the unified one.
"""

import os
import time
from pathlib import Path

from tests.cluster.api import ClusterError
from tests.cluster.local.process import Identity

_ROOT = Path("/sys/fs/cgroup")
_HOST_PROCESSES = "system"


def trees(mounts: str | None = None) -> list[Path]:
    """Return where each tree of control groups is mounted, from the text of ``/proc/self/mounts``."""
    text = mounts if mounts is not None else Path("/proc/self/mounts").read_text()
    found = []
    for line in text.splitlines():
        _, target, kind, *_ = line.split()
        if kind in {"cgroup", "cgroup2"} and Path(target).is_relative_to(_ROOT):
            found.append(Path(target))
    return found


def create(name: str) -> list[Path]:
    """Make the group in every tree and return the files that take in a process's number."""
    files = []
    for tree in trees():
        group = tree / name / _HOST_PROCESSES
        if tree == _ROOT:
            _enable_controllers(tree)
        (tree / name).mkdir(exist_ok=True)
        if tree == _ROOT:
            _enable_controllers(tree / name)
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # An old-style cpuset is born empty, and takes in no process before it has processors and memory.
            if (tree / setting).is_file() and tree != _ROOT:
                for folder in (tree / name, group):
                    (folder / setting).write_text((tree / setting).read_text())
        files.append(group / "cgroup.procs")
    return files


def _enable_controllers(group: Path) -> None:
    wanted = (group / "cgroup.controllers").read_text().split()
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in wanted))


def exists(name: str) -> bool:
    """Say whether any part of the group is there."""
    return any((tree / name).is_dir() for tree in trees())


def members(name: str) -> set[int]:
    """Return the numbers of all processes in the group and below it."""
    found: set[int] = set()
    for tree in trees():
        for folder, _, _ in os.walk(tree / name):
            try:
                found.update(int(pid) for pid in (Path(folder) / "cgroup.procs").read_text().split())
            except (FileNotFoundError, OSError):
                continue  # the folder went away while we walked
    return found - {0}


def kill(name: str, *, timeout: float = 30) -> None:
    """End every process of the group, including those that appear meanwhile.

    Raises
    ------
    ClusterError
        Some are still there after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while living := {pid for pid in members(name) if Identity.of(pid)}:
        if time.monotonic() > deadline:
            raise ClusterError(f"processes of {name} do not die: {sorted(living)}")
        for pid in living:
            identity = Identity.of(pid)
            if identity:
                identity.kill()
        time.sleep(0.05)


def remove(name: str, *, timeout: float = 10) -> None:
    """Remove the group from every tree; it must hold no process any more."""
    deadline = time.monotonic() + timeout
    for tree in trees():
        folders = [Path(folder) for folder, _, _ in os.walk(tree / name, topdown=False)]
        for folder in folders:
            while folder.is_dir():
                try:
                    folder.rmdir()
                except OSError as error:
                    # The kernel keeps a group busy for a moment after its last process is gone.
                    if time.monotonic() > deadline:
                        raise ClusterError(f"{folder} cannot be removed: {error}") from error
                    time.sleep(0.05)
