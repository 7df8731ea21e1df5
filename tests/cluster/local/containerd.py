"""Getting images into the node's containerd."""

import json
import subprocess
from pathlib import Path

from tests.cluster.api import ClusterError
from tests.cluster.local.layout import Layout
from tests.cluster.shell import run


def ctr(layout: Layout, *arguments: str) -> str:
    """Run containerd's own client on the images that the kubelet sees."""
    return run(["ctr", "--address", layout.containerd_socket, "--namespace", "k8s.io", *arguments])


def has_image(layout: Layout, reference: str, identity: str) -> bool:
    """Say whether an image is there in just this build.

    What was imported is kept in a file beside the images, because containerd knows an image by the digest of a
    manifest, which the builder only makes when it exports.
    """
    present = ctr(layout, "images", "list", "--quiet", f"name=={reference}").split()
    return reference in present and _imported(layout).get(reference) == identity


def import_image(layout: Layout, reference: str, identity: str, export: list[str]) -> None:
    """Stream an image into containerd.

    Parameters
    ----------
    layout
        Whose containerd.
    reference
        Name of the image.
    identity
        What tells one build of it from the next.
    export
        Command that writes the image to standard output as an archive, best uncompressed: both ends are on this
        machine, and compressing takes longer than all the rest.
    """
    target = ["ctr", "--address", str(layout.containerd_socket), "--namespace", "k8s.io", "images", "import", "-"]
    with subprocess.Popen(export, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as source:
        taken = subprocess.run(target, stdin=source.stdout, capture_output=True, text=True, check=False)
        if source.stdout:
            source.stdout.close()
        said = source.stderr.read().decode() if source.stderr else ""
    if source.returncode or taken.returncode:
        raise ClusterError(f"{reference} could not be loaded:\n{said}{taken.stderr}{taken.stdout}")
    _record(layout, reference, identity)


def _record_file(layout: Layout) -> Path:
    return layout.images / "imported.json"


def _imported(layout: Layout) -> dict[str, str]:
    try:
        stored = json.loads(_record_file(layout).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return {str(reference): str(identity) for reference, identity in stored.items()}


def _record(layout: Layout, reference: str, identity: str) -> None:
    unfinished = _record_file(layout).with_suffix(".unfinished")
    unfinished.write_text(json.dumps({**_imported(layout), reference: identity}, indent=1))
    unfinished.rename(_record_file(layout))
