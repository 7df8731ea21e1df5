import re
from pathlib import Path

import pytest

from tests.cluster.build import GOMOD, products
from tests.cluster.versions import ROOT, read_versions

PINS = [
    ("KUBERNETES_VERSION", "kubernetes", "k8s.io/kubernetes"),
    ("ETCD_VERSION", "etcd", "go.etcd.io/etcd/server/v3"),
    ("ETCD_VERSION", "etcd", "go.etcd.io/etcd/etcdctl/v3"),
    ("COREDNS_VERSION", "coredns", "github.com/coredns/coredns"),
    ("HELM_VERSION", "helm", "helm.sh/helm/v4"),
    ("HELM3_VERSION", "helm3", "helm.sh/helm/v3"),
    ("KUBE_NETWORK_POLICIES_VERSION", "netpol", "sigs.k8s.io/kube-network-policies"),
]


@pytest.mark.parametrize(("key", "module", "path"), PINS)
def test_go_module_has_the_pinned_version(key: str, module: str, path: str) -> None:
    text = (GOMOD / module / "go.mod").read_text()
    assert re.search(rf"^\s*(require )?{re.escape(path)} v{re.escape(read_versions()[key])}\b", text, re.MULTILINE)


def test_staging_modules_are_of_the_same_kubernetes() -> None:
    text = (GOMOD / "kubernetes" / "go.mod").read_text()
    staging = re.findall(r"^\s*(k8s\.io/\S+) => \1 (v\S+)$", text, re.MULTILINE)
    expected = "v0." + read_versions()["KUBERNETES_VERSION"].partition(".")[2]
    assert len(staging) > 30
    assert {version for _, version in staging} == {expected}


def test_every_argument_of_the_dockerfile_is_pinned_or_has_a_default() -> None:
    arguments = re.findall(r"^ARG (\w+)(=?)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    required = {name for name, default in arguments if not default}
    assert required <= read_versions().keys() | {name for name, default in arguments if default}


def test_a_line_that_is_no_pair_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "versions.env"
    file.write_text("# fine\n\nA_VERSION=1\nB_VERSION\n")
    with pytest.raises(ValueError, match="B_VERSION"):
        read_versions(file)


def test_kubernetes_is_stamped_with_its_version() -> None:
    flags = products()["kubernetes"].ldflags()
    assert f"version.gitVersion=v{read_versions()['KUBERNETES_VERSION']}" in flags


def test_product_key_follows_the_compiler() -> None:
    product = products()["pause"]
    assert product.key("go1.26.0") == product.key("go1.26.0") != product.key("go1.26.1")
