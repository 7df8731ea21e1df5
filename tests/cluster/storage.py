"""What lies in the image store of buildah: the layers of an image as folders.

The files are those of the containers/storage library, which buildah, podman and CRI-O share.
"""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.api import ClusterError


@dataclass(frozen=True)
class StoredImage:
    """An image in pieces.

    Attributes
    ----------
    reference
        Its name.
    manifest
        The manifest, byte for byte.
    config
        The configuration, byte for byte.
    layers
        From the lowest to the highest: SHA-256 of the layer's tar archive, as in the configuration, and the folder that
        holds its files the way overlayfs wants them.
    """

    reference: str
    manifest: bytes
    config: bytes
    layers: tuple[tuple[str, Path], ...]


def read_image(store: Path, reference: str) -> StoredImage:
    """Look an image up.

    Raises
    ------
    ClusterError
        The store does not hold it, or its layers are not those of its configuration.
    """
    images = _load(store / "overlay-images" / "images.json")
    found = [image for image in images if reference in image.get("names", [])]
    if not found:
        raise ClusterError(f"{store} holds no {reference}")
    folder = store / "overlay-images" / found[0]["id"]
    manifest = (folder / "manifest").read_bytes()
    config = (folder / _file_of(json.loads(manifest)["config"]["digest"])).read_bytes()
    by_id = {layer["id"]: layer for layer in _load(store / "overlay-layers" / "layers.json")}
    layers: list[tuple[str, Path]] = []
    identifier = found[0].get("layer")
    while identifier:
        layer = by_id[identifier]
        layers.insert(0, (layer["diff-digest"], store / "overlay" / identifier / "diff"))
        identifier = layer.get("parent")
    if [digest for digest, _ in layers] != json.loads(config)["rootfs"]["diff_ids"]:
        raise ClusterError(f"{store}: the layers of {reference} are not those of its configuration")
    return StoredImage(reference, manifest, config, tuple(layers))


def _load(path: Path) -> list[dict[str, Any]]:
    stored: list[dict[str, Any]] = json.loads(path.read_text())
    return stored


def _file_of(digest: str) -> str:
    """Return the file name that the store gives to a piece of data: names with special characters are encoded."""
    return "=" + base64.b64encode(digest.encode()).decode()
