from collections.abc import Callable
from pathlib import Path

import pytest

from deepseek_operator.plugin.main import main
from tests.fakes.kubectl import FakeKubectl

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    fake = FakeKubectl(tmp_path / "kubectl")
    fake.install(monkeypatch)
    return fake


@pytest.fixture
def run(kubectl: FakeKubectl, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the plugin; return exit status, standard output and standard error."""

    def call(*words: str) -> tuple[int, str, str]:
        try:
            code = main(words)
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capfd.readouterr()
        return code, out, err

    return call
