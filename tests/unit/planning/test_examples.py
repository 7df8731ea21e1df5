"""Every example is planned as it stands, and none is refused."""

from pathlib import Path

import pytest
import yaml

from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.catalog import load_catalog
from deepseek_operator.launch import build_task
from tests.unit.planning.builders import IDENTITY, planned

FOLDER = Path(__file__).parents[3] / "examples"
DEPLOYMENTS = [path for path in sorted(FOLDER.glob("*.yaml")) if path.name != "catalog.yaml"]


@pytest.mark.parametrize("path", DEPLOYMENTS, ids=lambda path: path.stem)
def test_an_example_is_planned_and_launchable(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if document["kind"] != "DeepSeekDeployment":
            continue
        spec = DeepSeekDeploymentSpec.model_validate(document["spec"])
        assert build_task(planned(spec), IDENTITY).task["run"]


def test_the_example_of_a_catalog_is_a_catalog() -> None:
    catalog = load_catalog([FOLDER / "catalog.yaml"])
    assert catalog.find("support")
    gpu = catalog.find_gpu("A100-80GB")
    assert gpu
    assert 10 in gpu.counts
