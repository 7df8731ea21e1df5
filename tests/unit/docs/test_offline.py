"""Commands of the documentation that ask a cluster only at the end are run up to there, by real helm and kubectl."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepseek_operator.api.v1alpha1 import API_VERSION, KIND
from tests.cluster.cache import cache_dir
from tests.unit.chart.chart import CHART, helm, objects
from tests.unit.docs.blocks import Command, blocks, commands

COMMANDS = commands()
OURS = "charts/deepseek-operator"
INSTALLS = [command for command in COMMANDS if re.match(rf"helm (install|upgrade) \S+ {OURS}", command.text)]
CREATES = [
    command
    for command in COMMANDS
    if re.match(r"kubectl create (namespace|secret|rolebinding|clusterrolebinding) ", command.text)
]
CHANGES = [command for command in COMMANDS if re.match(r"kubectl (annotate|patch) dsd ", command.text)]
MADE = {"namespace": "Namespace", "rolebinding": "RoleBinding", "clusterrolebinding": "ClusterRoleBinding"}


def kubectl(words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``kubectl WORDS`` in a shell, without any cluster; skip the test where there is no kubectl."""
    built = sorted(cache_dir().glob("bin/all-*/kubectl"), key=lambda path: path.stat().st_mtime)
    program = str(built[-1]) if built else shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is not on PATH and not built yet: make cluster-up builds it")
    surroundings = {**os.environ, "KUBECONFIG": "/dev/null", "HOME": str(folder)}
    return subprocess.run(
        ["bash", "-euc", re.sub(r"^kubectl", program, words)],
        cwd=folder,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def values_of(page: str, folder: Path) -> Path:
    """Return a file with the values that a page shows under the name ``values.yaml``."""
    shown = [block.text for block in blocks() if block.page == page and block.text.startswith("# values.yaml\n")]
    assert shown, f"{page} shows no values.yaml"
    file = folder / "values.yaml"
    file.write_text(shown[0], encoding="utf-8")
    return file


@pytest.mark.parametrize("command", INSTALLS, ids=str)
def test_an_installation_that_a_page_shows_is_rendered(command: Command, tmp_path: Path) -> None:
    words = command.words
    flags = []
    for at, word in enumerate(words):
        if word == "--set":
            flags.append(f"--set={words[at + 1]}")
        elif word in ("-f", "--values"):
            flags.append(f"--values={values_of(command.block.page, tmp_path)}")
    done = helm("template", words[2], str(CHART), "--namespace=deepseek-system", *flags)
    assert done.returncode == 0, done.stderr
    assert objects(done.stdout, ("Deployment",))


def test_values_of_every_page_are_rendered(tmp_path: Path) -> None:
    shown = [block for block in blocks() if block.text.startswith("# values.yaml\n")]
    assert len(shown) > 5
    for block in shown:
        file = tmp_path / "values.yaml"
        file.write_text(block.text, encoding="utf-8")
        done = helm("template", "deepseek-operator", str(CHART), f"--values={file}")
        assert done.returncode == 0, f"{block}: {done.stderr}"


@pytest.mark.parametrize("command", CREATES, ids=str)
def test_what_a_page_creates_is_made_by_kubectl(command: Command, tmp_path: Path) -> None:
    for name in ("token", ".aws/credentials", "key-of-a-service-account.json"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("secret")
    done = kubectl(f"{command.text} --dry-run=client -o yaml", tmp_path)
    assert done.returncode == 0, done.stderr
    made = yaml.safe_load(done.stdout)
    kind = command.words[2]
    assert made["kind"] == MADE.get(kind, "Secret")
    if kind == "secret":
        assert made["data"]
        assert all(made["data"].values())


@pytest.mark.parametrize("command", CHANGES, ids=str)
def test_what_a_page_changes_is_changed_by_kubectl(command: Command, tmp_path: Path) -> None:
    name = command.words[3]
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name, "finalizers": ["a"]}, "spec": {}}
    file = tmp_path / "object.yaml"
    file.write_text(yaml.safe_dump(body), encoding="utf-8")
    done = kubectl(command.text.replace(f"dsd {name}", f"-f {file}", 1) + " --local -o yaml", tmp_path)
    assert done.returncode == 0, done.stderr
    changed = yaml.safe_load(done.stdout)
    for path, value in wanted(command).items():
        node = changed
        for part in path:
            node = node.get(part, {})
        assert node == (value if value is not None else {})


def wanted(command: Command) -> dict[tuple[str, ...], Any]:
    """Return what a command changes, by its place in the object; None: it is taken away."""
    if command.words[1] == "annotate":
        pairs = (word.partition("=") for word in command.words[4:] if not word.startswith("-"))
        return {("metadata", "annotations", key): value for key, _, value in pairs}

    def leaves(value: Any, at: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
        if not isinstance(value, dict):
            return {at: value}
        return {path: leaf for key, inner in value.items() for path, leaf in leaves(inner, (*at, key)).items()}

    return leaves(yaml.safe_load(command.words[command.words.index("-p") + 1]))
