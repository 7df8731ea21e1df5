"""The local provider: a real one-node cluster in namespaces of its own."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.cluster import build, images, packages
from tests.cluster.api import ClusterError, Health
from tests.cluster.cache import cache_dir
from tests.cluster.local import cgroups, containerd, network, nodeinit, services
from tests.cluster.local.layout import NODE, Layout, check_name, choose_slot
from tests.cluster.local.manifests import initial_objects
from tests.cluster.local.pki import write_pki
from tests.cluster.local.process import Identity, command_line, only_child, program_of
from tests.cluster.shell import kubectl, locked, run, say, succeeds

_READY_WITHIN = 120.0
_WATCHES = 1024


class LocalCluster:
    """A one-node cluster whose every process lives in one process namespace, one control group and one network.

    Parameters
    ----------
    name
        See :class:`Layout`.
    audit
        Whether the API server writes ``audit.log``.
    """

    def __init__(self, name: str, *, audit: bool = True) -> None:
        check_name(name)
        self._name = name
        self._audit = audit

    @property
    def name(self) -> str:
        """See :class:`~tests.cluster.api.Cluster`."""
        return self._name

    @property
    def layout(self) -> Layout:
        """Names and addresses; the slot is the one that `up` chose, or will most likely choose."""
        try:
            slot = int(json.loads((Path("/var/lib") / self._name / "cluster.json").read_text())["slot"])
        except (FileNotFoundError, ValueError, KeyError):
            slot = choose_slot(self._name, lambda _: False)
        return Layout(self._name, slot)

    @property
    def kubeconfig(self) -> Path:
        """See :class:`~tests.cluster.api.Cluster`."""
        return self.layout.kubeconfig

    @property
    def bin_dir(self) -> Path:
        """See :class:`~tests.cluster.api.Cluster`."""
        _check_cache(self.layout)
        return build.build(build.LOCAL)

    def up(self) -> None:
        """See :class:`~tests.cluster.api.Cluster`."""
        if os.geteuid() != 0:
            raise ClusterError("the local cluster needs root, for namespaces and control groups")
        with locked(self.layout.lock):
            if self.health().healthy:
                say(f"{self._name} is up")
                return
            packages.ensure(packages.NODE_PACKAGES)
            bin_dir = self.bin_dir
            self._remove()
            self._start(bin_dir)
        say(f"{self._name} is up: export KUBECONFIG={self.kubeconfig}")

    def _start(self, bin_dir: Path) -> None:
        layout = Layout(self._name, choose_slot(self._name, network.is_routed))
        for folder in (layout.images, layout.state, layout.run):
            folder.mkdir(parents=True, exist_ok=True)
        (layout.state / "cluster.json").write_text(json.dumps({"slot": layout.slot}))
        (layout.state / "log").mkdir()
        write_pki(layout)
        services.write_configuration(layout, audit=self._audit)
        _raise_inotify_limit()
        say(f"starting {self._name} on {layout.network}")
        init = self._start_init(layout, bin_dir)
        network.connect(layout, init)
        (layout.run / "network-ready").touch()
        self._load_pause(layout, bin_dir)
        self._wait(layout, bin_dir, init)

    def _start_init(self, layout: Layout, bin_dir: Path) -> int:
        """Start process 1 of new namespaces; return its number on this machine."""
        plan = {
            "hostname": NODE,
            "network_ready": str(layout.run / "network-ready"),
            "log_dir": str(layout.state / "log"),
            "volumes": str(services.VOLUMES),
            "mounts": _private_folders(layout),
            "services": services.services(layout, bin_dir, audit=self._audit),
        }
        plan_file = layout.state / "plan.json"
        plan_file.write_text(json.dumps(plan, indent=1))
        join = "; ".join(f"echo $$ > {file}" for file in cgroups.create(layout.name))
        unshare = "exec unshare --mount --propagation private --net --uts --ipc --pid --fork --kill-child --mount-proc"
        script = f'set -e; {join}; {unshare} -- "$@"'
        command = ["sh", "-c", script, "sh", sys.executable, "-I", nodeinit.__file__, str(plan_file)]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        with (layout.state / "log" / "init.log").open("ab") as log:
            outer = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and outer.poll() is None:
            pid = only_child(outer.pid)
            identity = Identity.of(pid) if pid else None
            # Between fork and exec the child still counts as unshare itself, with its namespaces not yet complete.
            if identity and b"nodeinit" in Path(f"/proc/{identity.pid}/cmdline").read_bytes():
                identity.save(layout.run / "init.json")
                return identity.pid
            time.sleep(0.02)
        raise ClusterError(f"process 1 did not start; see {layout.state}/log/init.log")

    def _load_pause(self, layout: Layout, bin_dir: Path) -> None:
        deadline = time.monotonic() + 30
        while not containerd.answers(layout):
            if time.monotonic() > deadline:
                raise ClusterError(f"containerd does not answer; see {layout.state}/log/containerd.log")
            time.sleep(0.2)
        archive = layout.run / "pause.tar"
        image = images.single_program_archive(bin_dir / "pause", services.PAUSE_IMAGE, archive)
        if not containerd.has_image(layout, image):
            containerd.ctr(layout, "images", "import", str(archive))

    def _wait(self, layout: Layout, bin_dir: Path, init: int) -> None:
        command = kubectl(bin_dir, layout.kubeconfig)
        deadline = time.monotonic() + _READY_WITHIN
        say("waiting for the API server")
        while not succeeds([*command, "get", "--raw=/readyz"]):
            self._check_deadline(layout, init, deadline)
        while not succeeds([*command, "get", "serviceaccount", "default", "--namespace=kube-system"]):
            self._check_deadline(layout, init, deadline)
        run([*command, "apply", "--filename=-"], stdin=initial_objects(layout))
        say("waiting for the node")
        while not self.health().healthy:
            self._check_deadline(layout, init, deadline)

    def _check_deadline(self, layout: Layout, init: int, deadline: float) -> None:
        if Identity.of(init) is None:
            raise ClusterError(f"process 1 of {self._name} died; see {layout.state}/log/init.log")
        if time.monotonic() > deadline:
            details = "\n".join(self.health().details)
            raise ClusterError(f"not ready after {_READY_WITHIN:.0f} s; logs are in {layout.state}/log\n{details}")
        time.sleep(0.3)

    def down(self, *, purge: bool = False) -> None:
        """See :class:`~tests.cluster.api.Cluster`."""
        with locked(self.layout.lock):
            self._remove()
            if purge:
                shutil.rmtree(self.layout.images, ignore_errors=True)
        say(f"{self._name} is gone")

    def _remove(self) -> None:
        """Remove all traces, from whatever state an earlier run was left in."""
        layout = self.layout
        init = Identity.load(layout.run / "init.json")
        if init:
            init.kill()
        cgroups.kill(layout.name)
        network.disconnect(layout)
        cgroups.remove(layout.name)
        for folder in (layout.run, layout.state):
            if folder.exists():
                shutil.rmtree(folder)

    def health(self) -> Health:
        """See :class:`~tests.cluster.api.Cluster`."""
        layout = self.layout
        init = Identity.load(layout.run / "init.json")
        if not init or not init.alive():
            return Health(healthy=False, details=(f"{self._name}: not running",))
        command = kubectl(self.bin_dir, layout.kubeconfig)
        checks = {
            "link to the host": network.is_connected(layout),
            "API server": succeeds([*command, "get", "--raw=/readyz"]),
            "node": succeeds([*command, "wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=1s"]),
            "DNS": _answers(f"http://{layout.node_ip}:8181/ready"),
            "images": containerd.answers(layout),
        }
        details = [f"{what}: {'ok' if fine else 'NOT OK'}" for what, fine in checks.items()]
        return Health(healthy=all(checks.values()), details=tuple(details))

    def kill_service(self, service: str) -> None:
        """Kill one of the node's services as a crash would; process 1 starts it again after a second.

        Parameters
        ----------
        service
            ``etcd``, ``kube-apiserver``, ``kube-controller-manager``, ``kube-scheduler``, ``kubelet``, ``kube-proxy``,
            ``containerd`` or ``coredns``.

        Raises
        ------
        ClusterError
            No such service runs.
        """
        found = [pid for pid in cgroups.members(self._name) if program_of(pid) == service]
        for identity in filter(None, map(Identity.of, found)):
            identity.kill()
        if not found:
            raise ClusterError(f"{self._name} runs no {service}")

    def kill_processes(self, words: str) -> int:
        """Kill every process of a container whose command line holds ``words``; return how many there were.

        From outside, so that process 1 of a container can be killed as well, as the kernel does when memory runs out.
        """
        found = [pid for pid in cgroups.members(self._name) if words in command_line(pid)]
        for identity in filter(None, map(Identity.of, found)):
            identity.kill()
        return len(found)

    def load_image(self, image: str) -> str:
        """See :class:`~tests.cluster.api.Cluster`."""
        builder = images.Buildah()
        built = builder.build(image)
        layout = self.layout
        with locked(cache_dir() / "locks" / f"{self._name}-images.lock"):
            if containerd.has_image(layout, built):
                say(f"{built.reference} is loaded already")
                return built.reference
            say(f"loading {built.reference}")
            containerd.link_image(layout, builder.stored(built))
        say(f"loaded {built.reference}")
        return built.reference


def _private_folders(layout: Layout) -> list[dict[str, str]]:
    """Return which folders of this machine the node has its own of, as :func:`nodeinit.take_over` reads them."""
    return [
        {"folder": "/var/lib", "own": str(layout.state), "stand_in": str(layout.state / "var-lib")},
        {"folder": "/run", "own": str(layout.run), "stand_in": str(layout.run / "run")},
        {"folder": "/var/log", "own": "", "stand_in": str(layout.state / "var-log")},
        {"folder": "/tmp", "own": "", "stand_in": str(layout.state / "tmp")},
    ]


def _check_cache(layout: Layout) -> None:
    """Refuse a cache that the node would not see, before minutes are spent on filling it."""
    for mount in _private_folders(layout):
        if cache_dir().is_relative_to(mount["folder"]):
            words = (
                f"{cache_dir()}: the cache must not lie below {mount['folder']}, of which the test cluster has its own"
            )
            raise ClusterError(f"{words}; let XDG_CACHE_HOME name another folder")


def _raise_inotify_limit() -> None:
    """Each kubelet and each Python watcher takes instances; Debian's 128 for root are soon gone."""
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    if int(limit.read_text()) < _WATCHES:
        limit.write_text(str(_WATCHES))


def _answers(url: str) -> bool:
    """Say whether a URL answers with success, without asking a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
