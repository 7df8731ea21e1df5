"""Getting images into the node's containerd."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.cluster.api import ClusterError
from tests.cluster.images import Image
from tests.cluster.local.layout import Layout
from tests.cluster.shell import run, succeeds

_CLOSING_SECONDS = 5.0


def ctr(layout: Layout, *arguments: str) -> str:
    """Run containerd's own client on the images that the kubelet sees."""
    return run(["ctr", "--address", layout.containerd_socket, "--namespace", "k8s.io", *arguments])


def answers(layout: Layout) -> bool:
    """Say whether containerd takes requests."""
    return succeeds(["ctr", "--address", layout.containerd_socket, "version"])


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


def import_image(layout: Layout, image: Image, export: Callable[[Path], list[str]]) -> None:
    """Stream an image into containerd.

    Parameters
    ----------
    layout
        Whose containerd.
    image
        What is imported.
    export
        Makes the command that writes the image into a named pipe. It shall not compress: both ends are on this
        machine, and compressing takes longer than all the rest.
    """
    with tempfile.TemporaryDirectory() as scratch:
        pipe = Path(scratch, "image")
        os.mkfifo(pipe)
        client = ["ctr", "--address", str(layout.containerd_socket), "--namespace", "k8s.io"]
        writer, reader = _start(export(pipe)), _start([*client, "images", "import", str(pipe)])
        try:
            while writer.poll() is None or reader.poll() is None:
                # Either end alone would wait for the other for ever.
                if writer.returncode or reader.returncode is not None:
                    break
                time.sleep(0.05)
            _finish(image, reader, writer)
        finally:
            for process in (writer, reader):
                process.kill()
                process.communicate()


def _start(argv: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _finish(image: Image, *processes: "subprocess.Popen[str]") -> None:
    for process in processes:
        try:
            said, _ = process.communicate(timeout=_CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        if process.returncode:
            raise ClusterError(f"{image.reference} could not be loaded:\n{said}")
