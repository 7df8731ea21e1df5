"""Every command of the documentation is one that there is, and what needs no cluster is run.

How each is checked and which test runs it stands in ``evidence.yaml``, from which a page of the site is made.
"""

import argparse
import importlib.util
import re
import shlex
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from deepseek_operator.api.reasons import ConditionType
from deepseek_operator.api.v1alpha1 import ANNOTATION_ABANDON, ANNOTATION_APPROVED_PLAN, DeepSeekDeployment
from deepseek_operator.cli.main import app
from deepseek_operator.plugin.main import make_parser
from hack.site.api_reference import schema_at
from hack.site.cli_reference import commands as cli_commands
from hack.site.cli_reference import help_of
from hack.site.verified_page import evidence
from tests.unit.docs.blocks import ROOT, Command, commands

COMMANDS = commands()
RUN = ("plan", "models", "gpus", "catalog", "version")
"""Commands of ``deepseek-operator`` that need no cluster."""
VALUES: dict[str, Any] = yaml.safe_load((ROOT / "charts/deepseek-operator/values.yaml").read_text(encoding="utf-8"))
FREE_FORM = {"catalog", "podAnnotations", "nodeSelector"}


def beginning(*words: str) -> list[Command]:
    return [command for command in COMMANDS if command.text.startswith(words)]


def named(found: list[Command]) -> pytest.MarkDecorator:
    assert found, "no such command is left in the documentation"
    return pytest.mark.parametrize("command", found, ids=str)


def offline() -> list[Command]:
    return [command for command in beginning("deepseek-operator ") if command.words[1] in RUN]


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_how_far_a_command_is_checked_is_said(command: Command) -> None:
    assert [row for row in evidence() if command.text.startswith(row["begins"])], "add it to evidence.yaml"


def test_what_evidence_names_is_there() -> None:
    for row in evidence():
        assert any(command.text.startswith(row["begins"]) for command in COMMANDS), f"nothing begins {row['begins']}"
        for test in row.get("run", ()):
            file, _, name = test.partition("::")
            assert (ROOT / file).exists(), test
            assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), test


@named(offline())
def test_what_needs_no_cluster_does_what_the_page_says(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    words = [_file(word, command, tmp_path) for word in command.words[1:]]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == command.status, done.output
    printed = " ".join(done.output.split())
    assert [line for line in command.output if " ".join(line.split()) not in printed] == []


def _file(word: str, command: Command, folder: Path) -> str:
    """Return a word of a command; a file that its page shows is written first."""
    if (text := _shown(command).get(word)) is None:
        return word
    path = folder / word
    path.write_text(text, encoding="utf-8")
    return str(path)


@lru_cache
def _shown_on(page: str) -> dict[str, str]:
    from tests.unit.docs.blocks import blocks

    texts = [block.text for block in blocks() if block.page == page and block.language == "yaml"]
    by_name = {match[1]: text for text in texts if (match := re.match(r"# (\S+\.yaml)", text))}
    for text in texts:
        document = next(iter(yaml.safe_load_all(text)), None)
        if isinstance(document, dict) and document.get("kind") == "DeepSeekDeployment":
            by_name.setdefault(f"{document['metadata']['name']}.yaml", text)
    return by_name


def _shown(command: Command) -> dict[str, str]:
    return _shown_on(command.block.page)


@named([c for c in beginning("deepseek-operator ") if c.words[1] not in RUN])
def test_options_of_a_command_that_needs_more_are_there(command: Command) -> None:
    check_options(command.words[1:])


@named([c for c in beginning("kubectl exec") if "deepseek-operator audit" in c.text])
def test_options_of_what_is_run_in_the_operators_pod_are_there(command: Command) -> None:
    inner = command.words[command.words.index("--") + 1 :]
    assert inner[0] == "deepseek-operator"
    check_options(inner[1:])


def check_options(words: list[str]) -> None:
    known = next(
        found for found in sorted(cli_commands(), key=len, reverse=True) if tuple(words[: len(found)]) == found
    )
    text = help_of(*known)
    assert [word for word in words if word.startswith("-") and f"{word.partition('=')[0]} " not in text] == []


@named(beginning("kubectl deepseek "))
def test_commands_and_options_of_the_plugin_are_there(command: Command) -> None:
    words = command.words[2:]
    if "--help" in words:
        return
    parsed = make_parser(words).parse_args(words)
    assert isinstance(parsed, argparse.Namespace)


@named(beginning("kubectl apply"))
def test_a_file_that_is_applied_is_in_the_repository_or_on_a_page(command: Command) -> None:
    words = command.words
    name = words[words.index("-f") + 1]
    shown = {file for page in {c.block.page for c in COMMANDS} for file in _shown_on(page)}
    assert name in shown or (ROOT / name).is_file()


@named([c for c in COMMANDS if "jsonpath=" in c.text and " dsd" in c.text])
def test_fields_of_a_jsonpath_are_there(command: Command) -> None:
    paths = re.findall(r"\{\.(status|spec|metadata)([^}\s]*)\}", command.text)
    assert paths
    assert [top + rest for top, rest in paths if schema_at(top + rest) is None] == []


@named(beginning("kubectl explain"))
def test_what_is_explained_is_there(command: Command) -> None:
    assert schema_at(command.words[2].removeprefix("dsd.")) is not None


@named(beginning("kubectl wait"))
def test_conditions_that_are_waited_for_are_there(command: Command) -> None:
    (condition,) = re.findall(r"--for=condition=(\w+)", command.text)
    assert condition in set(ConditionType)


@named(beginning("kubectl patch dsd"))
def test_a_patch_makes_a_valid_object(command: Command) -> None:
    patch = yaml.safe_load(command.words[command.words.index("-p") + 1])
    spec = {"model": {"name": "deepseek-ai/DeepSeek-R1"}} | patch.get("spec", {})
    body = {"metadata": {"name": "r1", "namespace": "default", "uid": "u"}, "spec": spec}
    assert DeepSeekDeployment.parse(body).key == ("default", "r1")


@named(beginning("kubectl annotate dsd"))
def test_annotations_are_those_that_the_operator_reads(command: Command) -> None:
    named = {word.partition("=")[0] for word in command.words if "deepseek-operator.io/" in word}
    assert len(named) == 1
    assert named <= {ANNOTATION_ABANDON, ANNOTATION_APPROVED_PLAN}


@named([c for c in beginning("helm ") if "charts/deepseek-operator" in c.text])
def test_values_that_are_set_are_there(command: Command) -> None:
    assert list(unknown_values(command.words)) == []


def unknown_values(words: list[str]) -> Iterator[str]:
    for at, word in enumerate(words):
        if word != "--set":
            continue
        key = words[at + 1].partition("=")[0]
        node: Any = VALUES
        for part in key.split("."):
            if node is None or part not in node:
                yield key
                break
            node = node[part]


@named(beginning("make "))
def test_targets_of_make_are_there(command: Command) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [word for word in command.words[1:] if "=" not in word and word not in targets] == []


@named([c for c in COMMANDS if "docker build" in c.text or c.text.startswith("for target in")])
def test_targets_of_docker_are_stages_of_the_dockerfile(command: Command) -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    looped = re.findall(r"^for target in ([^;]+);", command.text)
    named = [*looped[0].split()] if looped else re.findall(r"--target ([a-z-]+)", command.text)
    assert [one for one in named if one not in stages] == []
    assert named or "--target $target" in command.text


@named(beginning("python -m "))
def test_modules_that_are_run_are_there(command: Command) -> None:
    assert importlib.util.find_spec(command.words[2]) is not None


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_can_be_read_by_a_shell(command: Command) -> None:
    assert shlex.split(command.text.replace("'\\''", ""))
