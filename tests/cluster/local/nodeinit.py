"""Process 1 of a cluster's namespaces: starts the node's services, starts them again when they die, reaps orphans.

Runs as a plain script with nothing but the standard library: ``nodeinit.py PLAN.json``. Its process namespace is what
makes removal certain: when process 1 ends, however it ends, the kernel ends every other process inside, each pod's
included, and the mount and network namespaces go with the last of them.
"""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_PAUSE = 0.2
_RESTART_AFTER = 1.0


@dataclass
class Service:
    """A service of the node.

    Attributes
    ----------
    name
        Also the name of its log file.
    argv
        Program and arguments.
    after
        A TCP port on loopback, or the path of a socket, which must take connections before the service starts; the
        order of a start is then a matter of seconds and not of crash loops.
    """

    name: str
    argv: list[str]
    after: int | str | None = None
    process: subprocess.Popen[bytes] | None = None
    not_before: float = 0.0


def take_over(folder: str, own: str, stand_in: str) -> None:
    """Put an own folder in the place of one of the machine's, with the cluster's folder still at its usual path.

    Programs write to fixed paths below /run, /var/lib, /var/log and /tmp. Here they write into the cluster's folder.
    """
    Path(stand_in).mkdir(parents=True, exist_ok=True)
    if own:
        (Path(stand_in) / Path(own).name).mkdir(exist_ok=True)
        subprocess.run(["mount", "--rbind", own, f"{stand_in}/{Path(own).name}"], check=True)
    subprocess.run(["mount", "--rbind", stand_in, folder], check=True)


def is_open(target: int | str | None) -> bool:
    """Say whether something takes connections there."""
    if target is None:
        return True
    kind = socket.AF_INET if isinstance(target, int) else socket.AF_UNIX
    with socket.socket(kind) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", target) if isinstance(target, int) else target) == 0


def start(service: Service, log_dir: Path) -> None:
    """Start a service with its output appended to its log."""
    with (log_dir / f"{service.name}.log").open("ab") as log:
        service.process = subprocess.Popen(service.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")


def reap(services: list[Service]) -> None:
    """Collect all dead children: services, and whatever was left to process 1 by its parent's death."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        for service in services:
            if service.process and service.process.pid == pid:
                code = os.waitstatus_to_exitcode(status)
                print(f"{time.strftime('%H:%M:%S')} {service.name} ended with {code}", flush=True)
                service.process.returncode = code
                service.process = None
                service.not_before = time.monotonic() + _RESTART_AFTER


def open_volumes(folder: Path) -> None:
    """Let every user write into new volumes: the controller-manager makes them for root alone."""
    for volume in folder.iterdir() if folder.is_dir() else ():
        if volume.stat().st_mode & 0o777 != 0o777:
            volume.chmod(0o777)


def main(plan_file: Path) -> None:
    """Run the plan until killed."""
    plan = json.loads(plan_file.read_text())
    services = [Service(**service) for service in plan["services"]]
    log_dir = Path(plan["log_dir"])
    socket.sethostname(plan["hostname"])
    while not Path(plan["network_ready"]).exists():
        time.sleep(0.01)
    for mount in plan["mounts"]:
        take_over(**mount)
    while True:
        reap(services)
        for service in services:
            if service.process is None and time.monotonic() >= service.not_before and is_open(service.after):
                print(f"{time.strftime('%H:%M:%S')} starting {service.name}", flush=True)
                start(service, log_dir)
        open_volumes(Path(plan["volumes"]))
        time.sleep(_PAUSE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
