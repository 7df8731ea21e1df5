"""The official client without its synchronous half."""

import subprocess
import sys

import pytest


def run(code: str) -> str:
    """Return what ``code`` prints in a fresh interpreter that has imported the operator."""
    code = f"import sys, deepseek_operator.cli.main, deepseek_operator.kube.client\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_operator_does_not_load_what_only_the_synchronous_client_needs() -> None:
    heavy = "('requests', 'oauthlib', 'websocket')"
    assert run(f"print([name for name in {heavy} if name in sys.modules])") == "[]"


@pytest.mark.parametrize("statement", ["import kubernetes", "from kubernetes import client, config"])
def test_the_synchronous_client_can_be_imported_beside_it(statement: str) -> None:
    code = f"{statement}\nimport kubernetes\nprint(kubernetes.client.CoreV1Api.__name__, kubernetes.config.__name__)"
    assert run(code) == "CoreV1Api kubernetes.config"


def test_what_the_package_does_not_have_is_missing_as_ever() -> None:
    assert run("import kubernetes\nprint(hasattr(kubernetes, 'nothing'))") == "False"
