"""Files of the forge and of pre-commit are ones that their readers accept, and agree with the rest of the project."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.versions import ROOT, read_versions

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yaml"))
FORMS = [path for path in sorted((GITHUB / "ISSUE_TEMPLATE").iterdir()) if path.name != "config.yml"]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.github-issue-forms", FORMS),
        ("vendor.github-issue-config", [GITHUB / "ISSUE_TEMPLATE" / "config.yml"]),
        ("vendor.renovate", [GITHUB / "renovate.json"]),
    ],
)
def test_a_file_of_the_forge_has_its_form(schema: str, files: list[Path]) -> None:
    assert files
    program = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run([program, "--builtin-schema", schema, *files], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_gets_nothing_that_is_for_development_only() -> None:
    lines = [line for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines() if "uv sync" in line]
    assert len(lines) == 2
    assert all("--no-default-groups --all-extras" in line for line in lines)


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: str(path.name))
def test_a_workflow_has_few_rights_an_end_and_no_secret_of_its_own(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    assert "secrets." not in text
    assert [name for name, job in jobs(path).items() if "timeout-minutes" not in job] == []
    for job in jobs(path).values():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False
            assert "${{" not in step.get("run", ""), "an expression in a script is code that others may write"
            assert "@" in step.get("uses", "@"), "an action without a version"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: str(path.name))
def test_targets_of_make_in_a_workflow_are_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    called = re.findall(r"run: make ([a-z -]+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert called
    assert {target for words in called for target in words.split()} <= targets


def test_ci_runs_what_a_person_runs() -> None:
    steps = jobs(GITHUB / "workflows" / "ci.yaml")["everything"]["steps"]
    assert any(step.get("run") == ".ci/run" for step in steps)
    pinned = read_versions()
    names = re.findall(r"\^(\w+)=/", str(steps))
    assert names == ["GO_VERSION"]
    assert set(names) <= pinned.keys()


def test_hooks_run_the_locked_tools_and_nothing_else() -> None:
    assert [repo["repo"] for repo in HOOKS] == ["local"]
    for hook in HOOKS[0]["hooks"]:
        assert hook["language"] == "system"
        folder, _, tool = hook["entry"].split()[0].rpartition("/")
        assert folder == ".venv/bin"
        assert Path(sys.executable).with_name(tool).exists(), f"uv.lock has no {tool}"


def test_versions_that_renovate_is_to_find_are_there() -> None:
    text = (GITHUB / "renovate.json").read_text(encoding="utf-8")
    (names,) = re.findall(r"\(\?<depName>([A-Z|]+)\)_VERSION", text)
    assert {f"{name}_VERSION" for name in names.split("|")} <= read_versions().keys()


def test_the_python_of_the_workflows_is_the_oldest_supported_one() -> None:
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    for path in WORKFLOWS:
        for job in jobs(path).values():
            for step in job["steps"]:
                if step.get("uses", "").startswith("actions/setup-python"):
                    assert step["with"]["python-version"] == oldest


def test_every_image_of_the_chart_is_published_by_a_release() -> None:
    matrix = jobs(GITHUB / "workflows" / "release.yaml")["images"]["strategy"]["matrix"]["target"]
    chart = yaml.safe_load((ROOT / "charts" / "deepseek-operator" / "Chart.yaml").read_text(encoding="utf-8"))
    listed = [image["name"] for image in yaml.safe_load(chart["annotations"]["artifacthub.io/images"])]
    values = (ROOT / "charts" / "deepseek-operator" / "values.yaml").read_text(encoding="utf-8")
    named = re.findall(r"repository: ghcr\.io/deepseek-operator/(\S+)", values)
    assert sorted(matrix) == sorted(listed) == sorted(set(named))


def test_every_dependency_earns_its_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["project"]["optional-dependencies"] | project["dependency-groups"]
    wanted = [*project["project"]["dependencies"], *(name for group in groups.values() for name in group)]
    page = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    told = {word for row in re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE) for word in re.findall(r"[\w-]+", row)}
    assert {re.split(r"[<>=]", name)[0] for name in wanted} - told == set()
