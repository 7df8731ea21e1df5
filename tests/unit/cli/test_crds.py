"""``deepseek-operator crds`` and ``run``, where what they need is not there."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from deepseek_operator.cli.main import app


def test_the_definition_is_written_to_a_file(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["crds", "-o", str(tmp_path / "crd.yaml")]).exit_code == 0
    assert yaml.safe_load((tmp_path / "crd.yaml").read_text())["kind"] == "CustomResourceDefinition"


def test_a_file_that_cannot_be_written_is_a_sentence() -> None:
    result = CliRunner().invoke(app, ["crds", "-o", "/nope/crd.yaml"])
    assert result.exit_code == 2
    assert "/nope/crd.yaml cannot be written: No such file or directory" in " ".join(result.output.split())


def test_without_a_kubeconfig_the_operator_says_what_it_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nope/config")
    result = CliRunner().invoke(app, ["run"])
    assert result.exit_code == 2
    assert "no kubeconfig at /nope/config" in " ".join(result.output.split())
