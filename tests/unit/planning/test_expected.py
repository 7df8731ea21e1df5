"""Whole plans and tasks as files, for reading and for seeing every consequence of a change in a diff.

``pytest tests/unit/planning/test_expected.py --regenerate-expected`` writes them again; read the diff first.
"""

from pathlib import Path

import pytest
import yaml

from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.cli.plan_output import Literal
from deepseek_operator.cli.plan_output import dump as dump_yaml
from deepseek_operator.launch import build_task
from deepseek_operator.planning import Planned, plan
from tests.unit.planning.builders import CATALOG, IDENTITY

FOLDER = Path(__file__).parent / "expected"
CASES = sorted(FOLDER.glob("*.spec.yaml"))
EXAMPLES = Path(__file__).parents[3] / "examples"
GUIDE = ("r1-8b", "r1-70b", "r1-671b")
"""The three commands of SkyPilot's guide, as examples."""


def outcome(spec: DeepSeekDeploymentSpec) -> str:
    result = plan(spec, CATALOG)
    document: dict[str, object] = {"plan": result.to_status().model_dump(mode="json", by_alias=True, exclude_none=True)}
    if result.launchable:
        launch = build_task(Planned.of(spec, result), IDENTITY)
        scripts = ("setup", "run")
        document["task"] = {key: Literal(value) if key in scripts else value for key, value in launch.task.items()}
        document["overrideSkyPilotConfig"] = launch.override_skypilot_config
        document["secrets"] = [f"{s.variable} <- {s.secret.name}/{s.secret.key}" for s in launch.secrets]
    return dump_yaml(document)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name.removesuffix(".spec.yaml"))
def test_plan_and_task_are_the_expected_ones(path: Path, request: pytest.FixtureRequest) -> None:
    spec = DeepSeekDeploymentSpec.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    compare(outcome(spec), path.with_name(path.name.replace(".spec.yaml", ".yaml")), request)


@pytest.mark.parametrize("name", GUIDE)
def test_the_guides_commands_become_the_expected_tasks(name: str, request: pytest.FixtureRequest) -> None:
    example = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))
    actual = outcome(DeepSeekDeploymentSpec.model_validate(example["spec"]))
    compare(actual, FOLDER / f"guide-{name}.yaml", request)
    port = "--port 30000" if name == "r1-671b" else "--port 8000"
    assert port in actual


def compare(actual: str, expected: Path, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--regenerate-expected", default=False):
        expected.write_text(actual, encoding="utf-8")
    assert actual == expected.read_text(encoding="utf-8"), "see the head of this file for how to write it again"


def test_there_is_a_case_for_each_kind_of_plan() -> None:
    assert {path.name.removesuffix(".spec.yaml") for path in CASES} >= {
        "smallest",
        "r1-two-nodes",
        "tight-70b",
        "cpu-two-nodes",
        "does-not-fit",
        "spot-on-clouds",
        "everything",
    }
