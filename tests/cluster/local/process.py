"""Telling one's own process from a stranger that got its number later."""

import json
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Identity:
    """A process that will not be mistaken for another.

    Attributes
    ----------
    pid
        Its number, which the kernel gives to another process after its end.
    started
        When it began, in clock ticks since boot: no two processes share both.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """Identify a running process; None if there is none or it is a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return parse_stat(pid, stat)

    @classmethod
    def load(cls, path: Path) -> "Identity | None":
        """Read what :meth:`save` wrote; None if it is missing or was cut short."""
        try:
            stored = json.loads(path.read_text())
            return cls(pid=int(stored["pid"]), started=int(stored["started"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def save(self, path: Path) -> None:
        """Write it to a file, whole or not at all."""
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(asdict(self)))
        unfinished.rename(path)

    def alive(self) -> bool:
        """Say whether this very process still runs."""
        return Identity.of(self.pid) == self

    def kill(self) -> None:
        """Send SIGKILL to this very process, and to no other that has its number by now."""
        try:
            # The descriptor pins the process: between the check and the signal its number cannot change hands.
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.alive():
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            os.close(descriptor)


def parse_stat(pid: int, stat: str) -> Identity | None:
    """Read ``/proc/<pid>/stat``; the program's name in it may hold spaces and parentheses."""
    fields = stat.rpartition(")")[2].split()
    state, started = fields[0], int(fields[19])
    return None if state in "ZX" else Identity(pid, started)


def only_child(pid: int) -> int | None:
    """Return the first child of a process, as numbered here."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(children[0]) if children else None


def program_of(pid: int) -> str | None:
    """Return the name of the file that a process runs; None if it is gone."""
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except (FileNotFoundError, ProcessLookupError):
        return None


def command_line(pid: int) -> str:
    """Return the command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
