from pathlib import Path

import pytest

from hack.release_notes import NotReadyError, disagreements, notes

CHANGELOG = """# Changelog

## Unreleased

### Added

- Later.

## 0.2.0 - 2026-12-01

### Fixed

- A thing.

## 0.1.0 - 2026-11-01

- First.
"""


def test_notes_are_the_section_of_the_version() -> None:
    assert notes("0.2.0", CHANGELOG) == "### Fixed\n\n- A thing.\n"
    assert notes("0.1.0", CHANGELOG) == "- First.\n"


@pytest.mark.parametrize("version", ["0.3.0", "Unreleased", "0.2", "0.20.0"])
def test_a_version_without_a_section_is_not_released(version: str) -> None:
    with pytest.raises(NotReadyError, match=f"{version} - YYYY-MM-DD"):
        notes(version, CHANGELOG)


def test_a_section_without_entries_is_not_ready() -> None:
    with pytest.raises(NotReadyError):
        notes("0.2.0", "## 0.2.0 - 2026-12-01\n\n## 0.1.0 - 2026-11-01\n- x\n")


def test_every_place_that_has_another_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "charts/deepseek-operator").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "0.2.0"\n')
    (tmp_path / "docs/start").mkdir(parents=True)
    (tmp_path / "docs/start/cluster.md").write_text("docker push REGISTRY/$target:0.1.0\nRay 2.9.3, 127.0.0.1:46580\n")
    images = "  - image: ghcr.io/deepseek-operator/operator:0.1.0\n  - image: ghcr.io/deepseek-operator/proxy:0.2.0\n"
    (tmp_path / "charts/deepseek-operator/Chart.yaml").write_text(f'version: 0.2.0\nappVersion: "0.1.0"\n{images}')
    assert disagreements("0.2.0", tmp_path) == [
        "Chart.yaml appVersion has 0.1.0, not 0.2.0",
        "Chart.yaml image operator has 0.1.0, not 0.2.0",
        "docs/start/cluster.md has 0.1.0, not 0.2.0",
    ]


def test_all_places_of_this_checkout_agree() -> None:
    import deepseek_operator

    assert disagreements(deepseek_operator.__version__) == []
