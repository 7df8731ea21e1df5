"""CPU seconds and memory of a process, as the kernel counts them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Usage", "load"]

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a process has used since it started."""

    cpu_s: float
    """User and system time, in seconds."""
    rss_mib: float
    """Resident memory now."""
    peak_mib: float
    """Most resident memory so far."""

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Read it; source: ``/proc/PID/stat`` fields 14 and 15, ``/proc/PID/status``."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        status = {words[0]: words[1] for words in lines if len(words) > 1}
        cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS
        return cls(cpu_s, int(status["VmRSS:"]) / 1024, int(status["VmHWM:"]) / 1024)


def load() -> float:
    """Return the machine's load average over the last minute."""
    return os.getloadavg()[0]
