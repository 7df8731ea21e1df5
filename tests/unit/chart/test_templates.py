"""Each combination of values in ``ci/`` is linted and rendered, and the result is a file in ``expected/``.

``pytest tests/unit/chart --regenerate-expected`` writes the files again; read the difference first.
"""

from pathlib import Path

import pytest
import yaml

from tests.unit.chart.chart import CHART, COMBINATIONS, helm, objects, render

EXPECTED = Path(__file__).parent / "expected"
IDS = [path.name.removesuffix("-values.yaml") for path in COMBINATIONS]


@pytest.mark.parametrize("values", COMBINATIONS, ids=IDS)
def test_lint_finds_nothing_to_say(values: Path) -> None:
    done = helm("lint", "--strict", str(CHART), f"--values={values}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("values", COMBINATIONS, ids=IDS)
def test_objects_are_the_expected_ones(values: Path, request: pytest.FixtureRequest) -> None:
    found = [one for one in objects(render(f"--values={values}")) if one["kind"] != "CustomResourceDefinition"]
    text = yaml.safe_dump_all(found, sort_keys=False, width=120)
    path = EXPECTED / f"{values.name.removesuffix('-values.yaml')}.yaml"
    if request.config.getoption("--regenerate-expected", default=False):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), "pytest tests/unit/chart --regenerate-expected"


@pytest.mark.parametrize("values", COMBINATIONS, ids=IDS)
def test_every_object_has_the_recommended_labels_and_a_name_of_its_own(values: Path) -> None:
    found = objects(render(f"--values={values}"))
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in found]
    assert len(names) == len(set(names))
    for one in found:
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "deepseek-operator", one["metadata"]["name"]
        assert labels["app.kubernetes.io/instance"] == "deepseek-operator", one["metadata"]["name"]


@pytest.mark.parametrize("values", COMBINATIONS, ids=IDS)
def test_every_pod_meets_the_restricted_profile(values: Path) -> None:
    found = objects(render(f"--values={values}"), ("Deployment", "Job", "Pod"))
    assert found
    for one in found:
        spec = one["spec"] if one["kind"] == "Pod" else one["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_crd_is_rendered_and_kept_unless_one_says_otherwise() -> None:
    (crd,) = objects(render(), ("CustomResourceDefinition",))
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert objects(render("--set=crds.enabled=false"), ("CustomResourceDefinition",)) == []
    (crd,) = objects(render("--set=crds.keep=false"), ("CustomResourceDefinition",))
    assert "annotations" not in crd["metadata"]


def test_an_image_is_named_by_its_digest_where_one_is_given() -> None:
    digest = "sha256:" + "ab" * 32
    rendered = render(f"--set=operator.image.digest={digest}", "--set=operator.image.tag=1.0")
    (deployment,) = objects(rendered, ("Deployment",))
    images = [container["image"] for container in deployment["spec"]["template"]["spec"]["containers"]]
    assert images == [f"ghcr.io/deepseek-operator/operator@{digest}", "ghcr.io/deepseek-operator/skypilot:0.1.0"]
