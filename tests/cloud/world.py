"""One world for a whole run: a simulated EC2 with real machines, and a real SkyPilot server that rents there.

Everything runs in process, mount and network namespaces of its own, below one first process: when that ends, by
whatever signal, the kernel ends machines, servers and links with it. There is no way out. One link leads to this
machine, and one route on this machine leads to the cloud's public addresses. They are part of the range of the test
clusters (RFC 2544), and of a slot that this machine does not route: documentation ranges look free, and are not; there
are machines that reach their package registry at one.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

from deepseek_operator.facts.base import Failure
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.errors import SkyPilotUnavailableError
from tests.cloud import home
from tests.cloud.parts import ensure_programs, image_store, machine_tree, simulator_python, skypilot_python
from tests.cloud.simulator.machine import BRIDGE
from tests.cluster.cache import cache_dir
from tests.cluster.local.layout import Layout, choose_slot
from tests.cluster.local.network import connect, disconnect, is_routed
from tests.cluster.local.process import Identity
from tests.cluster.shell import locked, run, say
from tests.cluster.versions import ROOT
from tests.system.wait import eventually

__all__ = ["STATE", "World", "world"]

NAME: Final = "dsd-aws"
STATE: Final = Path("/var/lib") / NAME
"""Everything that a run writes; removed at its end and before the next one."""
_TEST_NETWORKS: Final = "198.18.0.0/15"
"""Where those who talk to machines from outside are: this machine and the node of a test cluster."""
_PRIVATE: Final = "172.16.0.1/12"
_METADATA: Final = "169.254.169.254/32"
_EC2_PORT: Final = 5566
_SKYPILOT_PORT: Final = 46580
_INIT: Final = 'trap : CHLD; trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'


@dataclass
class World:
    """A running world.

    Attributes
    ----------
    tree
        Root tree of the machines; there need not be one where none boots.
    user_id
        SkyPilot's user id that tests launch under.
    kubernetes
        Kubeconfig of the cluster in which SkyPilot launches, too, and the folder with kubectl.
    """

    pid: int
    layout: Layout
    tree: Path
    user_id: str = "d5ee9aa5"
    kubernetes: tuple[Path, Path] | None = None
    _servers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _homes: int = 0

    @property
    def skypilot(self) -> str:
        """URL of the SkyPilot server."""
        return f"http://{self.layout.node_ip}:{_SKYPILOT_PORT}"

    @property
    def ec2(self) -> str:
        """URL of the simulated provider, for clients on this machine."""
        return f"http://{self.layout.node_ip}:{_EC2_PORT}"

    @property
    def public(self) -> IPv4Network:
        """Addresses of machines; the first one is the provider's."""
        return next(self.layout.pods.subnets(new_prefix=24))

    @property
    def home(self) -> Path:
        """Home folder of the SkyPilot server."""
        return STATE / f"home-{self._homes}"

    def control(self, what: str, body: Any = None) -> Any:
        """Ask the simulation itself something; see tests/cloud/simulator/__main__.py."""
        data = json.dumps({} if body is None else body).encode()
        request = urllib.request.Request(f"{self.ec2}/_sim/{what}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def faults(self, *faults: dict[str, Any]) -> None:
        """Set these faults instead of all others."""
        self.control("faults", list(faults))

    def instances(self) -> list[dict[str, Any]]:
        """Return the machines that cost money."""
        return [one for one in self.control("instances") if one["state"] in ("pending", "running", "stopped")]

    def groups(self) -> list[str]:
        """Return the names of security groups that were made for one cluster.

        SkyPilot keeps one more for each region, which has no ports open to the world and costs nothing.
        """
        return [group["name"] for group in self.control("groups") if not group["name"].startswith("sky-sg-root-")]

    def start_skypilot(self, *, fresh_home: bool = False) -> None:
        """Start the server and wait until it answers.

        Parameters
        ----------
        fresh_home
            Begin with an empty database, as after the loss of a volume.
        """
        if fresh_home or not self.home.exists():
            self._homes += 1
            home.seed(self.home, f"http://{self.public[1]}:{_EC2_PORT}")
        python = skypilot_python()
        programs = [str(python.parent)]
        config = self.home / ".kube/config"
        remembered = config.exists()
        if self.kubernetes is not None:
            kubeconfig, bin_dir = self.kubernetes
            programs.append(str(bin_dir))
            config.parent.mkdir(exist_ok=True)
            shutil.copy(kubeconfig, config)
        environment = {
            "HOME": str(self.home),
            "PATH": f"{':'.join(programs)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            # The first launch builds a wheel of SkyPilot, with what its environment has.
            "PIP_NO_BUILD_ISOLATION": "0",
            "AWS_EC2_METADATA_DISABLED": "true",
            "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
            # One HTTP server: of several, one that is slow to start on a busy machine is killed, again and again.
            "SKYPILOT_POD_CPU_CORE_LIMIT": "1",
            # By which SkyPilot decides how many processes it starts: two for launches, ten for all else. With 12 GB
            # these would be thirty, of 5 s of CPU each.
            "SKYPILOT_POD_MEMORY_GB_LIMIT": "6",
        }
        command = [str(python), "-m", "sky.server.server", "--deploy", "--host=0.0.0.0", f"--port={_SKYPILOT_PORT}"]
        self._start("skypilot", command, environment, cwd=self.home)
        self._answers("skypilot", f"{self.skypilot}/api/health")
        if self.kubernetes is not None and not remembered:
            # As long as one cloud is known, SkyPilot looks for no others by itself. Found once, it is remembered: a
            # server that comes back is not asked, because on a busy machine questions without an answer pile up.
            assert asyncio.run(self._access("kubernetes")) is None

    async def _access(self, cloud: str) -> Failure | None:
        async with SkyPilotClient(self.skypilot, user_id=self.user_id) as client:
            while True:
                with suppress(SkyPilotUnavailableError):
                    return await client.cloud_access(cloud)

    def kill_skypilot(self) -> None:
        """Kill the server and all its workers, as a node's crash would.

        Workers write their title over their environment, so they are told by what they are not: of the provider, or of
        the world itself. Each of these has a session of its own.
        """
        spared = {os.getsid(self.pid), os.getsid(self._servers["ec2"].pid)}
        for pid in self._inside():
            with suppress(ProcessLookupError):
                if os.getsid(pid) not in spared:
                    os.kill(pid, signal.SIGKILL)
        self._servers.pop("skypilot").wait(30)

    def start_ec2(self) -> None:
        """Start the provider and wait until it answers."""
        command = [str(simulator_python()), "-m", "tests.cloud.simulator", f"--tree={self.tree}"]
        command.append(f"--images={image_store()}")
        command += [f"--work={STATE / 'ec2'}", f"--port={_EC2_PORT}", f"--public={self.public}"]
        command += ["--regions", *home.REGIONS, "--outside", _TEST_NETWORKS]
        (STATE / "ec2").mkdir()
        environment = {"PATH": os.environ["PATH"], "HOME": str(STATE / "ec2"), "PYTHONPATH": str(ROOT)}
        self._start("ec2", command, environment, cwd=STATE)
        self._answers("ec2", f"{self.ec2}/moto-api/data.json")

    def log(self, server: str) -> Path:
        """Return where ``ec2`` or ``skypilot`` logs to."""
        return STATE / f"{server}.log"

    def _start(self, name: str, command: list[str], environment: dict[str, str], *, cwd: Path) -> None:
        enter = ["nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", f"--wd={cwd}", *command]
        with self.log(name).open("ab") as log:
            self._servers[name] = subprocess.Popen(
                enter, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _answers(self, name: str, url: str) -> None:
        def look() -> bool:
            ended = self._servers[name].poll()
            assert ended is None, f"{name} ended with {ended}: {self.log(name).read_text()[-2000:]}"
            try:
                with urllib.request.urlopen(url, timeout=3) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        eventually(look, within=90, what=f"{name} answers; see {self.log(name)}", every=0.2)

    def _inside(self) -> list[int]:
        """Return all processes of the world's own network namespace; those of machines are in others."""
        net = os.readlink(f"/proc/{self.pid}/ns/net")
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.pid:
                try:
                    if os.readlink(entry / "ns/net") == net:
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found


@contextmanager
def world(*, machines: bool = True) -> Iterator[World]:
    """A world of its own, and nothing of it afterwards.

    Parameters
    ----------
    machines
        Whether machines may boot. Without, EC2 says that they run and nothing is there, which is enough for all that
        comes before SSH; the root tree, which takes minutes to make, is not needed then.
    """
    if os.geteuid() != 0:
        raise PermissionError("the simulated cloud makes network namespaces: run it as root")
    ensure_programs()
    simulator_python(), skypilot_python()
    tree = machine_tree() if machines else STATE / "no-tree"
    with locked(cache_dir() / "locks" / f"{NAME}.lock"):
        _remove_leftovers()
        STATE.mkdir()
        pid = _first_process()
        try:
            made = World(pid, Layout(NAME, choose_slot(NAME, is_routed)), tree)
            _connect(made)
            say("starting the simulated cloud")
            made.start_ec2()
            say("starting the SkyPilot server")
            made.start_skypilot()
            say("the world is ready")
            yield made
        finally:
            _remove_leftovers()


def _first_process() -> int:
    """Start the process that everything lives below, and return its id."""
    flags = ["--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--propagation=private", "--mount-proc"]
    with (STATE / "init.log").open("ab") as log:
        outer = subprocess.Popen(
            ["unshare", *flags, "bash", "-c", _INIT, NAME],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    identity = Identity.of(outer.pid)
    assert identity is not None, (STATE / "init.log").read_text()
    identity.save(STATE / "outer.json")

    def child() -> int | None:
        text = _read(Path(f"/proc/{outer.pid}/task/{outer.pid}/children")).decode().split()
        return int(text[0]) if text and NAME.encode() in _read(Path(f"/proc/{text[0]}/cmdline")) else None

    return eventually(child, within=10, what="the world's first process runs", every=0.02) or 0


def _connect(made: World) -> None:
    """Join the world's network to this machine, and its machines to each other."""
    connect(made.layout, made.pid)
    public = f"{made.public[1]}/{made.public.prefixlen}"
    inside = ["nsenter", f"--target={made.pid}", "--net", "--", "ip"]
    run([*inside, "link", "add", BRIDGE, "type", "bridge"])
    for address in (public, _PRIVATE, _METADATA):
        run([*inside, "address", "add", address, "dev", BRIDGE])
    run([*inside, "link", "set", BRIDGE, "up"])


def _remove_leftovers() -> None:
    """End a world and remove all of it; one of a run that was killed, too."""
    outer = Identity.load(STATE / "outer.json")
    if outer is not None and outer.alive():
        _kill(outer.pid)
        eventually(lambda: not outer.alive(), within=30, what="the world has ended")
    disconnect(Layout(NAME, 0))
    deadline = time.monotonic() + 10
    while STATE.exists():
        # The kernel unmounts what machines had mounted a moment after their last process.
        shutil.rmtree(STATE, ignore_errors=time.monotonic() < deadline)
        time.sleep(0.1)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    with world() as shown:
        print(f"EC2: {shown.ec2}, SkyPilot: {shown.skypilot}; the end of input ends both", flush=True)
        sys.stdin.read()
