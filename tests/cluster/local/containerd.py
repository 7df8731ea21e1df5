"""Getting images into the node's containerd without copying them.

The usual way (write the image into a tar archive, store its layers, unpack them) writes every byte three times.
Here the files of each layer are hard links to those in the image builder's store: ten times faster and no disk space.
Sharing them is safe because overlayfs never writes to a lower layer. It needs both stores on one file system, which the
cache folder is.
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from tests.cluster.api import ClusterError
from tests.cluster.images import Image
from tests.cluster.local.layout import Layout
from tests.cluster.shell import run, succeeds
from tests.cluster.storage import StoredImage

_KEEP = "containerd.io/gc.root"
_UNFINISHED = "link-"
_SNAPSHOT = "containerd.io/gc.ref.snapshot.overlayfs"


def ctr(layout: Layout, *arguments: str) -> str:
    """Run containerd's own client on the images that the kubelet sees."""
    return run(_command(layout, *arguments))


def answers(layout: Layout) -> bool:
    """Say whether containerd takes requests."""
    return succeeds(_command(layout, "version"))


def has_image(layout: Layout, image: Image) -> bool:
    """Say whether an image is there in just this build.

    The kubelet's interface names every image a second time by the digest of its configuration: both names must stand
    for the same content.
    """
    digests = {}
    for line in ctr(layout, "images", "list").splitlines()[1:]:
        name, _, digest, *_ = line.split()
        digests[name] = digest
    return image.reference in digests and digests[image.reference] == digests.get(f"sha256:{image.digest}")


def link_image(layout: Layout, image: StoredImage) -> None:
    """Make containerd know an image; only what it did not know is added.

    The image's name comes last, so that an interrupted run leaves no image that lacks layers. Until then a label, which
    ``ctr`` gives to what it makes, keeps containerd's garbage collector from the layers.
    """
    for line in ctr(layout, "snapshots", "list").splitlines()[1:]:
        name = line.split()[0]
        if name.startswith(_UNFINISHED):
            ctr(layout, "snapshots", "remove", name)
    snapshots = chain([digest for digest, _ in image.layers])
    for position, (_, folder) in enumerate(image.layers):
        parent = snapshots[position - 1] if position else None
        _link_layer(layout, snapshots[position], parent, folder)
    archive = layout.run / "image.tar"
    write_layout_archive(archive, image)
    ctr(layout, "images", "import", "--no-unpack", str(archive))
    archive.unlink()
    config = f"sha256:{hashlib.sha256(image.config).hexdigest()}"
    ctr(layout, "content", "label", config, f"{_SNAPSHOT}={snapshots[-1]}")
    for snapshot in snapshots:
        ctr(layout, "snapshots", "label", snapshot, f"{_KEEP}=")


def chain(digests: list[str]) -> list[str]:
    """Return the name of each layer's snapshot: a digest over it and all layers below (OCI image specification)."""
    names: list[str] = []
    for digest in digests:
        both = f"{names[-1]} {digest}" if names else ""
        names.append(f"sha256:{hashlib.sha256(both.encode()).hexdigest()}" if names else digest)
    return names


def write_layout_archive(archive: Path, image: StoredImage) -> None:
    """Write an OCI image layout that has the image's manifest and configuration, and none of its layers."""
    manifest: dict[str, Any] = json.loads(image.manifest)
    entry = {
        "mediaType": manifest["mediaType"],
        "digest": f"sha256:{hashlib.sha256(image.manifest).hexdigest()}",
        "size": len(image.manifest),
        "annotations": {"io.containerd.image.name": image.reference},
    }
    files = {
        "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
        **{f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}": blob for blob in (image.manifest, image.config)},
    }
    with tarfile.open(archive, "w") as tar:
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))


def _link_layer(layout: Layout, snapshot: str, parent: str | None, folder: Path) -> None:
    """Make a committed snapshot whose files are hard links."""
    if succeeds(_command(layout, "snapshots", "info", snapshot)):
        ctr(layout, "snapshots", "label", snapshot, f"{_KEEP}=true")
        return
    unfinished = f"{_UNFINISHED}{snapshot}"
    ctr(layout, "snapshots", "prepare", unfinished, *([parent] if parent else []))
    target = writable_folder(ctr(layout, "snapshots", "mounts", "/mnt", unfinished))
    run(["cp", "--archive", "--link", f"{folder}/.", str(target)])
    ctr(layout, "snapshots", "commit", snapshot, unfinished)


def writable_folder(mount: str) -> Path:
    """Read the folder that takes a snapshot's own files out of the mount command that ``ctr`` prints.

    Raises
    ------
    ClusterError
        It is the command of another snapshotter than overlayfs.
    """
    words = mount.split()
    if words[:3] == ["mount", "-t", "bind"]:
        return Path(words[3])
    for option in words[-1].split(","):
        if option.startswith("upperdir="):
            return Path(option.removeprefix("upperdir="))
    raise ClusterError(f"no folder of overlayfs: {mount}")


def _command(layout: Layout, *arguments: str) -> list[str]:
    return ["ctr", "--address", str(layout.containerd_socket), "--namespace", "k8s.io", *arguments]
