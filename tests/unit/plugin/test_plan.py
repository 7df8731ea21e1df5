"""``plan`` is the command of ``deepseek-operator``."""

import io
import json

import pytest
from typer.testing import CliRunner

from deepseek_operator.cli.main import app
from tests.unit.plugin.conftest import Run

OBJECT = """
kind: DeepSeekDeployment
metadata: {name: r1-8b}
spec:
  model: {name: deepseek-ai/DeepSeek-R1-Distill-Llama-8B}
"""


@pytest.mark.parametrize(
    "words",
    [
        ("--model", "r1", "--accelerators", "H200:8", "--accelerators", "L4:1", "-o", "json"),
        ("--model", "r1-8b", "--arg=--enforce-eager", "--output", "task"),
        ("--model", "r1", "--accelerators", "L4:1"),
        ("--model", "nobody"),
        ("--model", "r1", "--nodes", "0"),
        ("--model", "r1", "--max-model-len", "4096", "--infra", "aws", "--capacity-type", "Spot"),
    ],
)
def test_it_prints_and_ends_as_the_command_of_the_operator_does(run: Run, words: tuple[str, ...]) -> None:
    expected = CliRunner().invoke(app, ["plan", *words])
    code, out, err = run("plan", *words)
    assert (code, out) == (expected.exit_code, expected.stdout)
    assert err.splitlines()[-1:] == expected.stderr.splitlines()[-1:]


def test_standard_input_is_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(OBJECT))
    assert json.loads(run("plan", "-f", "-", "-o", "json")[1])["verdict"] == "Fits"


def test_neither_file_nor_model_is_wrong(run: Run) -> None:
    assert run("plan") == (2, "", "Error: exactly one of --file and --model must be given\n")
