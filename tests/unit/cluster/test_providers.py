import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.cluster import images, kind, providers
from tests.cluster.__main__ import parser
from tests.cluster.api import ClusterError
from tests.cluster.local import cgroups
from tests.cluster.local.cluster import LocalCluster


@pytest.mark.parametrize(
    ("provider", "kubeconfig", "docker", "expected"),
    [
        ("local", "/some/file", True, "local"),
        (None, "/some/file", True, "external"),
        (None, None, True, "kind"),
        (None, None, False, "local"),
    ],
)
def test_the_named_provider_wins_then_the_users_cluster_then_what_works(
    monkeypatch: pytest.MonkeyPatch, provider: str | None, kubeconfig: str | None, docker: bool, expected: str
) -> None:
    monkeypatch.setattr(providers, "has_docker", lambda: docker)
    assert providers.choose(provider, kubeconfig) == expected


def test_unknown_provider_is_refused() -> None:
    with pytest.raises(ClusterError, match="minikube"):
        providers.choose("minikube", None)


def test_external_needs_a_kubeconfig_that_exists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DSD_TEST_KUBECONFIG", raising=False)
    with pytest.raises(ClusterError, match="DSD_TEST_KUBECONFIG"):
        providers.select(provider="external")
    with pytest.raises(ClusterError, match="no such kubeconfig"):
        providers.select(kubeconfig=str(tmp_path / "missing"))


@pytest.mark.parametrize("folder", ["/tmp/cache", "/run/cache", "/var/lib/cache"])
def test_a_cache_that_the_node_would_not_see_is_refused_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", folder)
    monkeypatch.setattr("tests.cluster.build.build", lambda _: pytest.fail("it was built"))
    with pytest.raises(ClusterError, match="let XDG_CACHE_HOME name another folder"):
        _ = LocalCluster("dsd-nowhere").bin_dir


def test_kind_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSD_TEST_KIND_IMAGE", "registry.example/node:v1")
    config = Path("/c/dsd-test.kubeconfig")
    assert kind.create_command("dsd-test", config) == [
        "kind",
        "create",
        "cluster",
        "--name",
        "dsd-test",
        "--image",
        "registry.example/node:v1",
        "--kubeconfig",
        "/c/dsd-test.kubeconfig",
        "--wait",
        "180s",
    ]
    assert kind.delete_command("dsd-test", config) == [
        "kind",
        "delete",
        "cluster",
        "--name",
        "dsd-test",
        "--kubeconfig",
        "/c/dsd-test.kubeconfig",
    ]
    assert kind.load_command("dsd-test", "localhost/a:dev") == [
        "kind",
        "load",
        "docker-image",
        "localhost/a:dev",
        "--name",
        "dsd-test",
    ]


def test_unknown_image_is_refused() -> None:
    with pytest.raises(ClusterError, match="engine-cpu"):
        images.reference_of("engine-gpu")


def test_archive_of_one_program_is_complete(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"#!/bin/true\n")
    image = images.single_program_archive(program, "localhost/pause:1", tmp_path / "pause.tar")
    with tarfile.open(tmp_path / "pause.tar") as archive:
        files = {entry.name: (archive.extractfile(entry) or io.BytesIO()).read() for entry in archive}
    (manifest,) = json.loads(files["manifest.json"])
    config = json.loads(files[manifest["Config"]])
    layer = files[manifest["Layers"][0]]
    assert manifest["RepoTags"] == [image.reference]
    assert hashlib.sha256(files["config.json"]).hexdigest() == image.digest
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(layer).hexdigest()]
    with tarfile.open(fileobj=io.BytesIO(layer)) as content:
        assert [(entry.name, entry.mode) for entry in content] == [("pause", 0o755)]


def test_trees_of_control_groups_old_and_new() -> None:
    old = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/pids cgroup rw 0 0\ncgroup /mnt/x cgroup rw 0 0\n"
    assert cgroups.trees(old) == [Path("/sys/fs/cgroup/pids")]
    assert cgroups.trees("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n") == [Path("/sys/fs/cgroup")]


@pytest.mark.parametrize(
    "words", ["up --no-audit", "down --purge", "status", "build", "load-image operator", "kubeconfig"]
)
def test_every_command_takes_a_name(words: str) -> None:
    options = parser().parse_args([*words.split(), "--name", "dsd-other"])
    assert options.name == "dsd-other"
