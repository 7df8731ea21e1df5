"""A machine of the simulated cloud: namespaces of its own, an overlay over the shared root tree, sshd, a firewall."""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

import yaml

__all__ = ["BRIDGE", "Ground", "Machine"]

BRIDGE = "br0"
_INIT = Path(__file__).with_name("machine_init.sh")
_USER = "ubuntu"
_UID = 1000
_ENTERED_S = 10.0


@dataclass(frozen=True)
class Ground:
    """What all machines stand on.

    Attributes
    ----------
    tree
        Their root tree, never written to.
    images
        Store of the images that they may run, never written to.
    work
        Folder for what each machine writes.
    public
        Their public addresses; the first one is the provider's, through which they reach whoever is outside.
    outside
        Networks there.
    """

    tree: Path
    images: Path
    work: Path
    public: IPv4Network
    outside: tuple[str, ...]


@dataclass
class Machine:
    """One machine. Its files survive a stop, its namespaces do not."""

    ground: Ground
    id: str
    private: str
    public: str
    user_data: str
    deaf: bool = False
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def folder(self) -> Path:
        """Everything that the machine writes."""
        return self.ground.work / "machines" / self.id

    @property
    def _link_name(self) -> str:
        return f"v{self.id[-10:]}"

    @property
    def alive(self) -> bool:
        """Whether its first process runs."""
        return self._process is not None and self._process.poll() is None

    def boot(self) -> None:
        """Start it: first process, network link. Ports are closed until :meth:`firewall` opens them."""
        if not self.folder.exists():
            for name in ("upper", "work", "mount", "containers"):
                (self.folder / name).mkdir(parents=True)
            self._cloud_init()
        name = "ip-" + self.private.replace(".", "-")
        self._put("/etc/hostname", f"{name}\n")
        self._put("/etc/hosts", f"127.0.0.1 localhost\n{self.private} {name}\n")
        environment = {
            "PATH": os.environ["PATH"],
            "TREE": str(self.ground.tree),
            "IMAGES": str(self.ground.images),
            "FOLDER": str(self.folder),
            "NAME": name,
            "PRIVATE": self.private,
            "PUBLIC": f"{self.public}/{self.ground.public.prefixlen}",
            "GATEWAY": str(self.ground.public[1]),
            "OUTSIDE": " ".join(self.ground.outside),
            "SSHD": "" if self.deaf else "1",
        }
        flags = [
            "--net",
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--fork",
            "--kill-child=SIGKILL",
            "--propagation=private",
        ]
        with (self.folder / "console.log").open("ab") as console:
            self._process = subprocess.Popen(
                ["unshare", *flags, "bash", str(_INIT)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._link(self._process.pid)

    def firewall(self, opened: list[tuple[str, int, int]]) -> None:
        """Drop what no security group opens.

        Parameters
        ----------
        opened
            Source network, first and last TCP port.
        """
        if not self.alive or self._process is None:
            return
        rules = [
            "iif lo accept",
            "ct state established,related accept",
            "ip protocol icmp accept",
            "ip saddr 172.16.0.0/12 accept",  # other machines of the account: the rule "from this group" of every group
            *dict.fromkeys(f"ip saddr {source} tcp dport {first}-{last} accept" for source, first, last in opened),
        ]
        chain = "\n".join(["type filter hook input priority 0; policy drop;", *rules])
        table = f"flush ruleset\ntable inet groups {{\nchain incoming {{\n{chain}\n}}\n}}\n"
        nft = ["nsenter", f"--net=/proc/{self._process.pid}/ns/net", "nft", "-f", "-"]
        subprocess.run(nft, input=table, text=True, check=True)

    def halt(self) -> None:
        """End it as a power cut would, without a word to anybody who is connected.

        Processes, mounts, namespaces and the link go with its first process.
        """
        if self._process is not None:
            # First, or its kernel would say goodbye for the processes that are killed. It may have gone by itself.
            subprocess.run(["ip", "link", "set", self._link_name, "down"], check=False)
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """End it and remove what it has written."""
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _link(self, pid: int) -> None:
        ours, deadline = os.readlink("/proc/self/ns/net"), time.monotonic() + _ENTERED_S
        while os.readlink(f"/proc/{pid}/ns/net") == ours:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.id} has not entered its namespaces after {_ENTERED_S:g} s")
            time.sleep(0.01)
        _ip("link", "add", self._link_name, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        _ip("link", "set", self._link_name, "master", BRIDGE, "up")

    def _cloud_init(self) -> None:
        """Do what cloud-init does with SkyPilot's user data: the user's keys, and files. No key pair is ever made."""
        data = yaml.safe_load(self.user_data) or {}
        for user in data.get("users", []):
            if user["name"] != _USER:
                raise ValueError(f"the machines' tree has a user {_USER}, not {user['name']!r}")
            keys = "".join(f"{key}\n" for key in user["ssh_authorized_keys"])
            path = self._put(f"/home/{_USER}/.ssh/authorized_keys", keys, mode=0o600, uid=_UID)
            path.parent.chmod(0o700)
            os.chown(path.parent, _UID, _UID)
        for file in data.get("write_files", []):
            self._put(file["path"], file["content"])

    def _put(self, path: str, text: str, *, mode: int = 0o644, uid: int = 0) -> Path:
        """Write a file over the tree's, in folders with the tree's owners and modes."""
        upper = self.folder / "upper"
        target = upper / path.lstrip("/")
        for folder in reversed([parent for parent in target.parents if parent.is_relative_to(upper)]):
            if folder.exists():
                continue
            folder.mkdir()
            below = self.ground.tree / folder.relative_to(upper)
            if below.is_dir():
                stat = below.stat()
                folder.chmod(stat.st_mode & 0o7777)
                os.chown(folder, stat.st_uid, stat.st_gid)
        target.write_text(text)
        target.chmod(mode)
        os.chown(target, uid, uid)
        return target


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
