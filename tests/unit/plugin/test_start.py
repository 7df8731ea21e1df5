"""What a command imports decides how fast it starts; tests/bench/plugin_start.py measures it."""

import json
import subprocess
import sys

import pytest

from tests.fakes.kubectl import FakeKubectl
from tests.unit.plugin.builders import deployment, instance

SLOW = (
    "aiohttp",
    "asyncio",
    "kopf",
    "kubernetes",
    "pydantic",
    "rich",
    "structlog",
    "typer",
    "yaml",
    "importlib.metadata",
)
SCRIPT = f"""
import json, sys
from deepseek_operator.plugin.main import main
try:
    main(sys.argv[1:])
finally:
    print(json.dumps([name for name in {SLOW!r} if name in sys.modules]), file=sys.stderr)
"""


@pytest.mark.parametrize("words", [("--help",), ("status", "--help"), ("status",), ("status", "-o", "json")])
def test_nothing_slow_is_imported(kubectl: FakeKubectl, words: tuple[str, ...]) -> None:
    kubectl.put(deployment(instance(0)))
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=True)
    assert done.stdout
    assert json.loads(done.stderr.splitlines()[-1]) == []


def test_the_version_is_that_of_the_package() -> None:
    script = "import sys; from deepseek_operator.plugin.main import main; main(['--version'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.count(".") == 2
