"""Binaries of the cluster, built from pinned Go modules.

Each product has an own module under ``gomod/``, because Kubernetes, etcd and Helm do not agree on the versions of what
they share. An own module is also the only way to build Kubernetes from the module proxy: its ``go.mod`` has relative
``replace`` lines, which Go obeys in the main module alone.
"""

import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.api import ClusterError
from tests.cluster.cache import build_once, cache_dir, key_of
from tests.cluster.progress import Compiling, Downloads
from tests.cluster.shell import meanwhile, run, say
from tests.cluster.versions import read_versions

GOMOD = Path(__file__).parent / "gomod"
ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
"""Of every call of Go: two that differ would not share its cache."""


@dataclass(frozen=True)
class Product:
    """One Go module and the programs it yields.

    Attributes
    ----------
    name
        What :func:`build` is asked for.
    module
        Folder under ``gomod/``.
    package
        What ``go build`` is given: ``tool`` stands for the module's tool lines, ``.`` for the module itself.
    binaries
        Name of each program as Go writes it, and the name it gets here.
    stamps
        Variables set by the linker. Unstamped Kubernetes reports v0.0.0, which a chart's ``kubeVersion`` refuses.
    """

    name: str
    module: str
    package: str
    binaries: dict[str, str]
    stamps: dict[str, str]

    def ldflags(self) -> str:
        """Return the linker's flags: no symbol tables, and the stamps."""
        return " ".join(["-s", "-w", *(f"-X {variable}={value}" for variable, value in self.stamps.items())])

    def key(self, go_version: str) -> str:
        """Return the cache key: sources, checksums, flags and compiler."""
        files = [file for file in (GOMOD / self.module).iterdir() if file.suffix in {".go", ".mod", ".sum"}]
        return key_of([self.name, self.package, self.ldflags(), go_version, *sorted(self.binaries.values())], files)


def products() -> dict[str, Product]:
    """Return all products by name, in the order in which they are wanted."""
    versions = read_versions()
    kubernetes = versions["KUBERNETES_VERSION"]
    major, minor, _ = kubernetes.split(".")
    component = "k8s.io/component-base/version"
    stamps = {
        f"{component}.gitVersion": f"v{kubernetes}",
        f"{component}.gitMajor": major,
        f"{component}.gitMinor": minor,
        f"{component}.gitTreeState": "clean",
    }
    programs = ["kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"]
    helm = {"helm.sh/helm/v4/internal/version.version": f"v{versions['HELM_VERSION']}"}
    helm3 = {"helm.sh/helm/v3/internal/version.version": f"v{versions['HELM3_VERSION']}"}
    every = [
        Product("pause", "pause", ".", {"pause": "pause"}, {}),
        Product("kubernetes", "kubernetes", "tool", {program: program for program in programs}, stamps),
        # For clusters made by others, which need nothing else of Kubernetes.
        Product("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl", {"kubectl": "kubectl"}, stamps),
        Product("etcd", "etcd", "tool", {"server": "etcd", "etcdctl": "etcdctl"}, {}),
        Product("coredns", "coredns", ".", {"coredns": "coredns"}, {}),
        Product("helm", "helm", "tool", {"helm": "helm"}, helm),
        Product("helm3", "helm3", "tool", {"helm": "helm3"}, helm3),
        Product("network-policies", "netpol", ".", {"netpol": "network-policies"}, {}),
    ]
    return {product.name: product for product in every}


LOCAL = ("pause", "kubernetes", "etcd", "coredns", "helm")
CLIENTS = ("kubectl", "helm")
HELM3 = ("helm3",)
NETWORK_POLICIES = ("network-policies",)


def build(names: Sequence[str]) -> Path:
    """Build what is missing and return one folder that holds all the programs of `names`.

    Raises
    ------
    ClusterError
        Go is missing or a build failed.
    """
    if not shutil.which("go"):
        needed = read_versions()["GO_VERSION"]
        raise ClusterError(f"Go is needed to build the test cluster: install Go {needed} or later and put it on PATH")
    go_version = run(["go", "env", "GOVERSION"], cwd=GOMOD / "kubernetes").strip()
    chosen = [
        (product, cache_dir() / "bin" / f"{product.name}-{product.key(go_version)}")
        for name, product in products().items()
        if name in names
    ]
    later = [product for product, folder in chosen if not folder.is_dir()][1:]
    with meanwhile(_fetch(later)) if later else nullcontext():
        built = [
            build_once(folder, _builder(product, f"{number} of {len(chosen)}"))
            for number, (product, folder) in enumerate(chosen, 1)
        ]
    together = cache_dir() / "bin" / f"all-{key_of(folder.name for folder in built)}"

    def link(folder: Path) -> None:
        for source in built:
            for program in source.iterdir():
                (folder / program.name).symlink_to(program)

    return build_once(together, link)


def _fetch(later: Sequence[Product]) -> list[str]:
    """Return a command that fetches the modules of products whose turn comes later: Go compiles and then waits again.

    It says nothing: what it cannot fetch, the build cannot either, and tells.
    """
    lists = [f"cd {shlex.quote(str(GOMOD / one.module))} && go list -deps {shlex.quote(one.package)}" for one in later]
    script = "; ".join(f"({words}) >/dev/null 2>&1" for words in lists)
    return ["env", *(f"{name}={value}" for name, value in ENVIRONMENT.items()), "sh", "-c", script]


def _builder(product: Product, place: str) -> Callable[[Path], None]:
    def compile_into(folder: Path) -> None:
        say(f"building {product.name} ({place}; once, minutes on a small machine)")
        flags = ["-trimpath", "-buildvcs=false", "-ldflags", product.ldflags()]
        module = GOMOD / product.module
        progress = Compiling(product.name, _to_compile(product, flags))
        output = ["-o", f"{folder}{os.sep}"]
        run(["go", "build", "-v", *flags, *output, product.package], env=ENVIRONMENT, cwd=module, watcher=progress)
        for written, wanted in product.binaries.items():
            (folder / written).rename(folder / wanted)
        say(f"built {product.name}")

    return compile_into


def _to_compile(product: Product, flags: Sequence[str]) -> int | None:
    """Return how many packages Go's cache lacks, after the modules that they are in were fetched.

    It is for the counter alone: where it cannot be had, the build goes on and says itself what is wrong.
    """
    stale = ["go", "list", *flags, "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", product.package]
    try:
        listed = run(stale, env=ENVIRONMENT, cwd=GOMOD / product.module, watcher=Downloads(product.name))
    except ClusterError:
        return None
    return len(listed.split())
