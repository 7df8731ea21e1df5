"""The health check of docs/operate/observe.md for Argo CD, run in HAProxy's Lua over statuses of the operator."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepseek_operator.api.reasons import Reason
from deepseek_operator.planning import Refused
from tests.unit.docs.blocks import blocks
from tests.unit.reconcile import builders as b

KEY = "resource.customizations.health.deepseek-operator.io_DeepSeekDeployment"
SERVED = b.deployment()


def lua(value: Any) -> str:
    """Return a value of JSON as Lua writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{json.dumps(key)}] = {lua(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join(map(lua, value)) + "}"
    return "nil" if value is None else json.dumps(value)


def health(
    status: dict[str, Any] | None, folder: Path, generation: int = SERVED.metadata.generation
) -> tuple[str, str]:
    """Return status and message that the script finds; skip the test where there is no HAProxy."""
    program = shutil.which("haproxy")
    if program is None:
        pytest.skip("HAProxy, whose Lua is used, is not installed: make proxy installs it")
    (script,) = (
        yaml.safe_load(one.text)["data"][KEY] for one in blocks() if one.language == "yaml" and KEY in one.text
    )
    obj = lua({"metadata": {"name": "r1", "generation": generation}, "status": status})
    file, config = folder / "health.lua", folder / "haproxy.cfg"
    file.write_text(
        f"local function judge(obj)\n{script}end\nlocal found = judge({obj})\n"
        'io.stdout:write(found.status, "\\n", found.message, "\\n")\n',
        encoding="utf-8",
    )
    config.write_text(f"global\n  lua-load {file}\n", encoding="utf-8")
    done = subprocess.run([program, "-c", "-f", config], capture_output=True, text=True, timeout=60, check=False)
    found = done.stdout.splitlines()
    assert len(found) > 1, done.stderr
    return found[0], found[1]


def status_of(world: Any, plan: Any = None) -> dict[str, Any]:
    """Return what the operator writes, as Argo CD reads it."""
    body: dict[str, Any] = json.loads(b.step(world, plan)[1].model_dump_json(by_alias=True, exclude_none=True))
    return body


CASES = {
    "nobody has seen it": (None, "Progressing", "no operator has seen this change yet"),
    "it is being launched": (lambda: status_of(b.world(SERVED)), "Progressing", ""),
    "it serves": (lambda: status_of(b.serving(SERVED, b.name(SERVED))), "Healthy", "the model answers"),
    "it cannot be served": (
        lambda: status_of(b.world(SERVED), Refused(Reason.DOES_NOT_FIT, "needs 654 GiB")),
        "Degraded",
        "needs 654 GiB",
    ),
    "it is suspended": (lambda: status_of(b.world(b.deployment(suspend=True))), "Suspended", "spec.suspend is true"),
    "it is scaled to zero": (lambda: status_of(b.world(b.deployment(replicas=0))), "Suspended", "spec.replicas is 0"),
}


@pytest.mark.parametrize("case", CASES)
def test_argo_cd_is_told_how_a_deployment_is(case: str, tmp_path: Path) -> None:
    status, wanted, words = CASES[case]
    found, said = health(status() if callable(status) else status, tmp_path)
    assert found == wanted
    assert words in said


def test_a_change_that_nobody_has_seen_is_no_success(tmp_path: Path) -> None:
    status = status_of(b.serving(SERVED, b.name(SERVED)))
    assert health(status, tmp_path, generation=SERVED.metadata.generation + 1) == (
        "Progressing",
        "no operator has seen this change yet",
    )
