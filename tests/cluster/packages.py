"""Debian packages that the local cluster takes its programs from."""

import shutil
from pathlib import Path

from tests.cluster.api import ClusterError
from tests.cluster.cache import build_once, cache_dir
from tests.cluster.shell import locked, run, say, succeeds

# Program or file -> the package that has it.
NODE_PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "sysctl": "procps",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
}
IMAGE_PACKAGES = {"buildah": "buildah", "debootstrap": "debootstrap"}


def is_installed(program: str) -> bool:
    """Say whether a program is on PATH or a file is there."""
    return Path(program).exists() if program.startswith("/") else shutil.which(program) is not None


def ensure(packages: dict[str, str]) -> None:
    """Install the packages whose programs are missing.

    Raises
    ------
    ClusterError
        Something is missing on a machine that is not Debian-like, or apt-get failed.
    """
    if not _missing(packages):
        return
    if not shutil.which("apt-get"):
        raise ClusterError(f"install these (Debian's names): {' '.join(_missing(packages))}")
    # apt-get does not wait for another one.
    with locked(cache_dir() / "locks" / "apt.lock"):
        if not (missing := _missing(packages)):
            return
        say(f"installing {' '.join(missing)}")
        install = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
        # An unreachable third-party source fails the update although Debian's lists arrived: only the install counts.
        succeeds(["apt-get", "update"], timeout=300)
        run(install, env={"DEBIAN_FRONTEND": "noninteractive"})


def _missing(packages: dict[str, str]) -> list[str]:
    return sorted({package for program, package in packages.items() if not is_installed(program)})


def unpacked(package: str) -> Path:
    """Return a folder with the files of a Debian package, fetched once and not installed: no daemon of it starts.

    Raises
    ------
    ClusterError
        The machine is not Debian-like, or apt-get failed.
    """
    if not shutil.which("apt-get"):
        raise ClusterError(f"put the programs of Debian's package {package} on PATH")

    def fetch(folder: Path) -> None:
        say(f"fetching Debian's package {package}")
        if not succeeds(["apt-cache", "show", package]):
            succeeds(["apt-get", "update"], timeout=300)
        run(["apt-get", "download", "--quiet", "-o", "APT::Sandbox::User=root", package], cwd=folder)
        (archive,) = folder.glob("*.deb")
        run(["dpkg-deb", "--extract", archive, folder])
        archive.unlink()

    return build_once(cache_dir() / "debian" / package, fetch)


def prometheus(program: str) -> Path:
    """Return ``prometheus`` or ``promtool``: the one on PATH, or that of Debian's package."""
    found = shutil.which(program)
    return Path(found) if found else unpacked("prometheus") / "usr" / "bin" / program
