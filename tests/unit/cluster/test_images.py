import base64
import hashlib
import json
import re
import tarfile
from pathlib import Path

import pytest

from tests.cluster import images
from tests.cluster.api import ClusterError
from tests.cluster.local.containerd import chain, writable_folder, write_layout_archive
from tests.cluster.storage import StoredImage, read_image
from tests.cluster.versions import ROOT

LOW, HIGH = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def make_store(folder: Path, diff_ids: list[str]) -> bytes:
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    image = folder / "overlay-images" / "image1"
    image.mkdir(parents=True)
    (image / "manifest").write_text(json.dumps({"mediaType": "m", "config": {"digest": digest}}))
    (image / ("=" + base64.b64encode(digest.encode()).decode())).write_bytes(config)
    known = [{"id": "image1", "names": ["localhost/a:dev"], "layer": "top"}, {"id": "other", "layer": "x"}]
    (folder / "overlay-images" / "images.json").write_text(json.dumps(known))
    (folder / "overlay-layers").mkdir()
    layers = [{"id": "top", "parent": "base", "diff-digest": HIGH}, {"id": "base", "diff-digest": LOW}]
    (folder / "overlay-layers" / "layers.json").write_text(json.dumps(layers))
    return config


def test_layers_are_read_from_the_lowest_up(tmp_path: Path) -> None:
    config = make_store(tmp_path, [LOW, HIGH])
    image = read_image(tmp_path, "localhost/a:dev")
    overlay = tmp_path / "overlay"
    assert image.layers == ((LOW, overlay / "base" / "diff"), (HIGH, overlay / "top" / "diff"))
    assert image.config == config


def test_a_store_that_contradicts_itself_is_not_used(tmp_path: Path) -> None:
    make_store(tmp_path, [HIGH, LOW])
    with pytest.raises(ClusterError, match="not those of its configuration"):
        read_image(tmp_path, "localhost/a:dev")


def test_an_image_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    make_store(tmp_path, [LOW, HIGH])
    with pytest.raises(ClusterError, match="holds no localhost/b:dev"):
        read_image(tmp_path, "localhost/b:dev")


def test_snapshots_are_named_by_all_layers_below() -> None:
    both = f"sha256:{hashlib.sha256(f'{LOW} {HIGH}'.encode()).hexdigest()}"
    three = f"sha256:{hashlib.sha256(f'{both} {LOW}'.encode()).hexdigest()}"
    assert chain([LOW, HIGH, LOW]) == [LOW, both, three]


@pytest.mark.parametrize(
    ("mount", "folder"),
    [
        ("mount -t bind /s/4/fs /mnt -o rw,rbind\n", "/s/4/fs"),
        ("mount -t overlay overlay /mnt -o index=off,workdir=/s/6/work,upperdir=/s/6/fs,lowerdir=/s/5/fs\n", "/s/6/fs"),
    ],
)
def test_the_folder_of_a_snapshot_is_read_off_its_mount(mount: str, folder: str) -> None:
    assert writable_folder(mount) == Path(folder)


def test_another_snapshotter_is_refused() -> None:
    with pytest.raises(ClusterError, match="overlayfs"):
        writable_folder("mount -t btrfs /dev/x /mnt -o subvol=1")


def test_layout_archive_names_the_image_and_holds_both_documents(tmp_path: Path) -> None:
    image = StoredImage("localhost/a:dev", b'{"mediaType": "m"}', b"{}", ())
    write_layout_archive(tmp_path / "a.tar", image)
    with tarfile.open(tmp_path / "a.tar") as archive:
        index_file = archive.extractfile("index.json")
        assert index_file is not None
        (entry,) = json.loads(index_file.read())["manifests"]
        names = set(archive.getnames())
    assert entry["annotations"]["io.containerd.image.name"] == image.reference
    blobs = {f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}" for blob in (image.manifest, image.config)}
    assert names == {"oci-layout", "index.json", *blobs}
    assert "blobs/" + entry["digest"].replace(":", "/") in names


def test_inputs_of_an_image_are_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(images, "ROOT", tmp_path)
    for file in ("Dockerfile", "images/skypilot/entrypoint.sh", "operator/a.py", "images/engine-cpu/x.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("1")
    before = {target: images.inputs_key(target) for target in images.TARGETS}

    def changed(file: str) -> set[str]:
        (tmp_path / file).write_text("2")
        after = {target: images.inputs_key(target) for target in images.TARGETS}
        (tmp_path / file).write_text("1")
        return {target for target in images.TARGETS if before[target] != after[target]}

    assert changed("operator/a.py") == {"operator"}
    assert changed("images/skypilot/entrypoint.sh") == {"skypilot"}
    assert changed("images/engine-cpu/x.py") == {"engine-cpu"}
    assert changed("Dockerfile") == set(images.TARGETS) - {"operator-previous"}
    assert changed("operator/a.pyc") == set()


def test_only_the_targets_that_copy_kubectl_wait_for_it() -> None:
    stages = re.split(r"(?m)^FROM ", (ROOT / "Dockerfile").read_text())[1:]
    names = {stage.split()[2]: stage for stage in stages if stage.split()[1] == "AS"}
    copying = {name for name, stage in names.items() if "--from=kubectl" in stage}
    above = {stage.split()[0] for stage in stages}
    assert copying == images.WITH_KUBECTL
    assert not copying & above, "a stage on top of one that copies kubectl needs it, too"


def test_skypilot_has_the_name_of_a_user_that_no_image_has_heard_of() -> None:
    """It asks for one as it starts, and a cluster may run it as whatever user it likes."""
    (stage,) = re.findall(r"(?ms)^FROM python AS skypilot\n(.*?)^FROM ", (ROOT / "Dockerfile").read_text())
    assert re.search(r"^ENV [^#]*\bUSER=\w+", stage, re.MULTILINE)
