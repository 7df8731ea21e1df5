"""The project's images, built with docker or, where no engine runs, with buildah on a base made by debootstrap."""

import hashlib
import io
import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import build, packages
from tests.cluster.api import ClusterError
from tests.cluster.cache import build_once, cache_dir, key_of
from tests.cluster.progress import ImageSteps, Progress
from tests.cluster.shell import Watcher, locked, run, say, succeeds
from tests.cluster.storage import StoredImage, read_image
from tests.cluster.versions import ROOT, read_versions

TARGETS = ("operator", "proxy", "skypilot", "engine-stub", "engine-cpu", "postgresql", "operator-previous")
PREVIOUS = ROOT / "tests" / "install" / "previous" / "0.1.0-19640de.tar.xz"
"""An earlier state of the project, from which upgrades are tested; its folder's README says how it was packed."""
WITH_KUBECTL = frozenset({"skypilot"})
"""Targets that copy kubectl from its image."""
_EXTRA_CERTIFICATES = Path("/usr/local/share/ca-certificates")


@dataclass(frozen=True)
class Image:
    """A built image.

    Attributes
    ----------
    reference
        Its name for pods.
    digest
        SHA-256 of its configuration in hexadecimal digits, which changes with any of its content.
    """

    reference: str
    digest: str


def reference_of(target: str) -> str:
    """Return the name of a target's image.

    Raises
    ------
    ClusterError
        The Dockerfile has no such target.
    """
    if target not in TARGETS:
        raise ClusterError(f"{target!r} is no image of this project: choose from {', '.join(TARGETS)}")
    return f"localhost/deepseek-operator/{target}:dev"


def previous() -> Path:
    """Return the folder that holds the earlier state of the project."""

    def unpack(folder: Path) -> None:
        with tarfile.open(PREVIOUS) as archive:
            archive.extractall(folder, filter="data")

    return build_once(cache_dir() / "images" / f"previous-{key_of([], [PREVIOUS])}", unpack)


def source_of(image: str) -> tuple[Path, str]:
    """Return the folder with the Dockerfile of an image, and its target there."""
    target = image.removesuffix("-previous")
    return (ROOT if target == image else previous()), target


def build_arguments(root: Path = ROOT) -> list[str]:
    """Return all pinned versions as ``--build-arg`` flags."""
    pairs = read_versions(root / "versions.env").items()
    return [word for key, value in pairs for word in ("--build-arg", f"{key}={value}")]


def inputs_key(target: str) -> str:
    """Hash all that a target is made of; what it copies lies in its own folder, the operator's code apart."""
    if target.endswith("-previous"):
        return key_of([target], [PREVIOUS])
    files = [ROOT / "Dockerfile", ROOT / "Dockerfile.dockerignore", ROOT / "versions.env"]
    folders = [ROOT / "images" / target]
    if target == "operator":
        files += [ROOT / name for name in ("pyproject.toml", "uv.lock", "README.md", "LICENSE")]
        folders.append(ROOT / "operator")
    for folder in folders:
        files += [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return key_of([target], [file for file in files if file.is_file()], root=ROOT)


class Docker:
    """Builds with a Docker engine, whose daemon fetches the base images."""

    def build(self, target: str) -> Image:
        """Build a target of the Dockerfile; cheap when nothing changed."""
        reference = reference_of(target)
        root, stage = source_of(target)
        say(f"building {reference}")
        flags = ["--target", stage, "--tag", reference, *build_arguments(root)]
        command = ["docker", "build", "--progress=plain", *flags, str(root)]
        run(command, env={"DOCKER_BUILDKIT": "1"}, watcher=ImageSteps(f"image {target}"))
        identity = run(["docker", "image", "inspect", "--format", "{{.Id}}", reference]).strip()
        return Image(reference, identity.removeprefix("sha256:"))

    def push(self, image: Image, reference: str) -> None:
        """Push an image to a registry under another name."""
        run(["docker", "tag", image.reference, reference])
        run(["docker", "push", reference])


class Buildah:
    """Builds without an engine and without any image registry.

    Attributes
    ----------
    store
        Folder in which the images lie.
    """

    def __init__(self) -> None:
        self.store = cache_dir() / "buildah"

    def _command(self, *arguments: str) -> list[str]:
        # An own mount namespace: what buildah mounts goes away with it, also when it is killed.
        storage = ["--root", str(self.store), "--runroot", "/run/deepseek-operator-buildah", "--storage-driver=overlay"]
        return ["unshare", "--mount", "--propagation=private", "buildah", *storage, *arguments]

    def _run(self, *arguments: str, watcher: Watcher | None = None) -> str:
        environment = {"BUILDAH_ISOLATION": "chroot", "TMPDIR": "/var/tmp"}
        return run(self._command(*arguments), env=environment, watcher=watcher)

    def build(self, target: str) -> Image:
        """Build a target of the Dockerfile; cheap when nothing changed."""
        reference = reference_of(target)
        packages.ensure({**packages.IMAGE_PACKAGES, **packages.NODE_PACKAGES})
        with locked(cache_dir() / "locks" / "buildah.lock"):
            # Even when all layers are cached, buildah takes ten seconds to find that out.
            # In a file, not in a label: a new label does not make buildah commit a cached image again.
            inputs = inputs_key(target)
            record = cache_dir() / "images" / f"{target}.inputs"
            digest = self._digest(reference)
            if digest and record.is_file() and record.read_text() == f"{inputs} {digest}":
                return Image(reference, digest)
            root, stage = source_of(target)
            # The others can be built while Kubernetes is.
            kubectl = [f"--build-arg=KUBECTL_IMAGE={self._kubectl_image()}"] if stage in WITH_KUBECTL else []
            base = self._base_image()
            say(f"building {reference}")
            self._run(
                "bud",
                "--layers",
                "--pull=false",
                "--format=docker",
                "--network=host",
                f"--ignorefile={root / 'Dockerfile.dockerignore'}",
                *build_arguments(root),
                f"--build-arg=BASE_IMAGE={base}",
                *kubectl,
                f"--target={stage}",
                f"--tag={reference}",
                f"--file={root / 'Dockerfile'}",
                str(root),
                watcher=ImageSteps(f"image {target}"),
            )
            digest = self._digest(reference) or ""
            record.write_text(f"{inputs} {digest}")
            return Image(reference, digest)

    def stored(self, image: Image) -> StoredImage:
        """Return a built image as it lies in the store."""
        return read_image(self.store, image.reference)

    def push(self, image: Image, reference: str) -> None:
        """Push an image to a registry under another name."""
        self._run("push", image.reference, f"docker://{reference}")

    def _digest(self, reference: str) -> str | None:
        try:
            return hashlib.sha256(read_image(self.store, reference).config).hexdigest()
        except (ClusterError, FileNotFoundError):
            return None

    def _base_image(self) -> str:
        """Make Debian's minimal system from its packages, with this machine's extra certificates."""
        reference = f"docker.io/library/debian:{read_versions()['DEBIAN_SUITE']}-slim"
        if self._digest(reference):
            return reference
        root = debian_root()
        contents = [(str(root), "/")]
        if _EXTRA_CERTIFICATES.is_dir() and any(_EXTRA_CERTIFICATES.iterdir()):
            contents.append((str(_EXTRA_CERTIFICATES), str(_EXTRA_CERTIFICATES)))
        self._from_scratch(reference, contents)
        return reference

    def _kubectl_image(self) -> str:
        """Put the kubectl built here where the Dockerfile expects the published image's."""
        reference = f"localhost/deepseek-operator/kubectl:v{read_versions()['KUBERNETES_VERSION']}"
        if not self._digest(reference):
            kubectl = build.build(["kubernetes"]) / "kubectl"
            self._from_scratch(reference, [(str(kubectl.resolve()), "/bin/kubectl")])
        return reference

    def _from_scratch(self, reference: str, contents: list[tuple[str, str]]) -> None:
        container = self._run("from", "scratch").strip()
        try:
            for source, target in contents:
                self._run("add", "--quiet", container, source, target)
            self._run("commit", "--quiet", "--format=docker", container, reference)
        finally:
            self._run("rm", container)


def debian_root() -> Path:
    """Return the folder with Debian's minimal system, made from its packages once."""
    suite = read_versions()["DEBIAN_SUITE"]

    def bootstrap(folder: Path) -> None:
        say(f"making a base image with debootstrap ({suite})")
        bootstrapping = ["debootstrap", "--variant=minbase", suite, str(folder / "root")]
        run(bootstrapping, watcher=Progress("base image"))

    return build_once(cache_dir() / "images" / f"debian-{suite}", bootstrap) / "root"


def single_program_archive(program: Path, reference: str, archive: Path) -> Image:
    """Write an image that holds one static program and starts it, in the format of ``docker save``."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo(program.name)
        entry.size, entry.mode = program.stat().st_size, 0o755
        with program.open("rb") as executable:
            tar.addfile(entry, executable)
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]
    files = {
        "config.json": json.dumps(config).encode(),
        "layer.tar": layer.getvalue(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    with tarfile.open(archive, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return Image(reference, hashlib.sha256(files["config.json"]).hexdigest())


def has_docker() -> bool:
    """Say whether a Docker engine answers; the client alone is not enough."""
    return succeeds(["docker", "info"], timeout=10)


def builder() -> Docker | Buildah:
    """Return docker where an engine answers, else buildah."""
    return Docker() if has_docker() else Buildah()
