"""What the simulated cloud is made of and the cache keeps: the machines' root tree, and two Python environments.

SkyPilot and moto have environments of their own: their dependencies exclude the operator's.
"""

import sys
from pathlib import Path
from typing import Final

from deepseek_operator.engines.vllm import VLLM
from tests.cluster import packages
from tests.cluster.cache import build_once, cache_dir, key_of
from tests.cluster.images import Buildah, debian_root
from tests.cluster.shell import run, say
from tests.cluster.versions import ROOT, read_versions

__all__ = ["build_images", "ensure_programs", "image_store", "machine_tree", "simulator_python", "skypilot_python"]

_MACHINE: Final = Path(__file__).with_name("machine")
_ENGINE: Final = ROOT / "images/engine-stub/vllm"
"""The program that stands for the engine, in pods as well."""
_UV: Final = Path(sys.executable).with_name("uv")
_PROGRAMS: Final = {
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "mount": "mount",
    "nc": "netcat-openbsd",
    "nft": "nftables",
    "nsenter": "util-linux",
    "rsync": "rsync",
    "socat": "socat",
    "ssh": "openssh-client",
    "unshare": "util-linux",
}


def ensure_programs() -> None:
    """Install the Debian packages that are missing on this machine."""
    packages.ensure(_PROGRAMS)


def skypilot_python() -> Path:
    """Return the interpreter of the SkyPilot server, which needs setuptools and wheel to build a wheel of itself."""
    version = read_versions()["SKYPILOT_VERSION"]
    return _environment("skypilot", "pip", "setuptools", "wheel", f"skypilot[aws,kubernetes]=={version}")


def simulator_python() -> Path:
    """Return the interpreter of the simulated cloud."""
    return _environment("moto", f"moto=={read_versions()['MOTO_VERSION']}", "flask", "flask-cors", "PyYAML")


def machine_tree() -> Path:
    """Return the root tree that all machines share, read-only; a gigabyte and two minutes when it is made."""
    versions = read_versions()
    needed = ("DEBIAN_SUITE", "SKYPILOT_VERSION", "RAY_VERSION", "PYDANTIC_CORE_VERSION", "UV_VERSION")
    words = [*(versions[name] for name in needed), VLLM.version]
    files = [_ENGINE, *(path for path in _MACHINE.iterdir() if path.is_file())]
    target = cache_dir() / "cloud" / f"tree-{key_of(words, files)}"

    def build(folder: Path) -> None:
        base = debian_root()
        say("making the machines' root tree (once; two minutes)")
        run(["cp", "--archive", str(base), str(folder / "root")])
        # A mount namespace of its own: what an interrupted build has mounted goes away with it.
        build_script = ["bash", _MACHINE / "build.sh", folder / "root", _UV, _ENGINE, VLLM.version]
        run(["unshare", "--mount", "--propagation=private", *map(str, build_script)], env=versions)

    return build_once(target, build) / "root"


def image_store() -> Path:
    """Return the store with the images that machines run in containers: those of pods, once they are built."""
    store = Buildah().store
    store.mkdir(parents=True, exist_ok=True)
    return store


def build_images() -> None:
    """Build the images that machines run in containers."""
    for target in ("engine-stub", "engine-cpu"):
        Buildah().build(target)


def _environment(name: str, *requirements: str) -> Path:
    target = cache_dir() / "cloud" / f"{name}-{key_of([*requirements, sys.version])}"

    def build(folder: Path) -> None:
        say(f"installing {requirements[-1] if name == 'skypilot' else requirements[0]} (once)")
        run([str(_UV), "venv", "--quiet", "--relocatable", "--python", sys.executable, str(folder / "env")])
        python = str(folder / "env/bin/python")
        run([str(_UV), "pip", "install", "--quiet", "--link-mode=copy", "--python", python, *requirements])

    return build_once(target, build) / "env/bin/python"
