"""What TAB offers, as kubectl asks for it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepseek_operator.plugin.complete import candidates
from deepseek_operator.plugin.main import SUMMARIES
from tests.fakes.kubectl import FakeKubectl
from tests.unit.plugin.builders import deployment, instance


@pytest.fixture(autouse=True)
def _cluster(kubectl: FakeKubectl) -> None:
    kubectl.put(
        deployment(instance(0)),
        deployment(instance(0), name="other", namespace="prod", uid="u2"),
        *({"kind": "Namespace", "metadata": {"name": name}} for name in ("default", "prod")),
    )


def values(*words: str) -> list[str]:
    return [value for value, _ in candidates(words)[0]]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("",), list(SUMMARIES)),
        (("e",), ["endpoint", "events"]),
        (("-n", "prod", "e"), ["endpoint", "events"]),
        (("status", ""), ["r1"]),
        (("logs", "r"), ["r1"]),
        (("logs", "x"), []),
        (("logs", "-n", "prod", ""), ["other"]),
        (("-n", "prod", "logs", "--tail", "3", ""), ["other"]),
        (("logs", "r1", ""), []),
        (("doctor", ""), []),
        (("status", "-n", ""), ["default", "prod"]),
        (("status", "--namespace", "p"), ["prod"]),
        (("--context", ""), ["test"]),
        (("status", "-o", ""), ["text", "json"]),
        (("plan", "--engine", "S"), ["SGLang"]),
        (("logs", "--tail", ""), []),
        (("logs", "r1", "--fo"), ["--follow"]),
        (("logs", "r1", "-f", "--re"), ["--replica", "--request-timeout"]),
        (("--ver",), ["--version"]),
    ],
)
def test_candidates_are_those_that_fit(words: tuple[str, ...], found: list[str]) -> None:
    assert values(*words) == found


def test_each_option_is_offered_once_with_its_meaning() -> None:
    found, _ = candidates(("chat", "r1", "--"))
    flags = [flag for flag, _ in found]
    assert len(flags) == len(set(flags)) > 10
    assert all(flag.startswith("--") for flag in flags)
    assert dict(found)["--system"] == "tell the model how to behave"


@pytest.mark.parametrize(("words", "directive"), [(("plan", "-f", ""), ":0"), (("status", ""), ":4")])
def test_files_are_left_to_the_shell(words: tuple[str, ...], directive: str) -> None:
    assert candidates(words)[1] == directive


def test_an_api_server_that_is_away_offers_nothing(kubectl: FakeKubectl) -> None:
    kubectl.away = "Unable to connect to the server"
    kubectl.save()
    assert values("status", "") == []
    assert values("status", "--context", "") == []


def test_the_executable_speaks_as_cobra_does(kubectl: FakeKubectl) -> None:
    program = Path(sys.executable).parent / "kubectl_complete-deepseek"
    environment: dict[str, Any] = dict(os.environ)
    done = subprocess.run([program, "endpoint", ""], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "r1\tdeepseek-ai/DeepSeek-R1\n:4\n"
    assert done.stderr == ""
