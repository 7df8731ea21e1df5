"""From measurements to catalog rows, and that plans made with these agree with what was measured."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from deepseek_operator.catalog import Catalog, load_catalog
from deepseek_operator.catalog.checks import check_catalog
from deepseek_operator.cli import calibrate
from deepseek_operator.planning import PlanInputError
from deepseek_operator.planning.calibration import Measurement, catalog_rows, compare
from tests.unit.planning.builders import CATALOG, plan_for

DAY = date(2026, 11, 27)
L4 = {"model": "r1-8b", "accelerators": "L4:1"}


def measured(**figures: Any) -> Measurement:
    return Measurement.model_validate({**L4, **figures})


def calibrated(tmp_path: Path, *measurements: Measurement, catalog: Catalog = CATALOG) -> Catalog:
    file = tmp_path / "calibrated.yaml"
    file.write_text(yaml.safe_dump(catalog_rows(compare(measurements, catalog), "a test", DAY)))
    return load_catalog([file])


def test_a_plan_that_was_too_optimistic_has_the_measured_room_afterwards(tmp_path: Path) -> None:
    before = plan_for("r1-8b", resources={"accelerators": ["L4:1"]}).memory
    assert before
    catalog = calibrated(tmp_path, measured(kvCacheTokens=20_000))
    after = plan_for("r1-8b", catalog, resources={"accelerators": ["L4:1"]}).memory
    assert after
    assert before.tokens > 24_000
    assert 0.99 * 20_000 <= after.tokens <= 20_000


def test_a_plan_that_was_on_the_safe_side_stays_there(tmp_path: Path) -> None:
    catalog = calibrated(tmp_path, measured(kvCacheTokens=33_008))
    gpu = catalog.find_gpu("L4")
    assert gpu
    assert gpu.overhead_gib == 0


@pytest.mark.parametrize(
    ("figures", "field"),
    [
        ({"decodeTokensPerSecond": 14.0}, "decode_tokens_per_second"),
        ({"concurrency": 8, "decodeTokensPerSecondAtConcurrency": 90.0}, "decode_tokens_per_second_at_concurrency"),
        ({"prefillTokensPerSecond": 4200.0}, "prefill_tokens_per_second"),
    ],
)
def test_the_speed_of_the_same_plan_is_the_measured_one_afterwards(
    tmp_path: Path, figures: dict[str, Any], field: str
) -> None:
    catalog = calibrated(tmp_path, measured(**figures))
    wanted = {"concurrency": figures.get("concurrency")}
    found = plan_for("r1-8b", catalog, resources={"accelerators": ["L4:1"]}, objective=wanted).performance
    value = next(value for key, value in figures.items() if key != "concurrency")
    assert getattr(found, field) == pytest.approx(value, rel=0.01)


@given(st.lists(st.floats(5, 60), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_several_measurements_come_to_their_geometric_mean(speeds: list[float]) -> None:
    comparisons = compare([measured(decodeTokensPerSecond=speed) for speed in speeds], CATALOG)
    (row,) = catalog_rows(comparisons, "a test", DAY)["gpus"]
    ratios = [one.measured / one.planned for one in comparisons]
    assert min(ratios) - 0.001 <= row["efficiency"]["decode"] <= max(ratios) + 0.001


def test_rows_load_pass_the_check_and_say_where_they_come_from(tmp_path: Path) -> None:
    catalog = calibrated(tmp_path, measured(kvCacheTokens=20_000, decodeTokensPerSecond=14.0))
    assert not [one for one in check_catalog(catalog, today=DAY, known=CATALOG) if one.wrong]
    gpu = catalog.find_gpu("L4")
    assert gpu
    assert gpu.sources["efficiency"] == gpu.sources["overheadGib"] == "calibrated"
    assert gpu.memory_gib == 22.03


def test_calibrating_again_with_the_calibrated_catalog_changes_nothing(tmp_path: Path) -> None:
    measurement = measured(kvCacheTokens=20_000, decodeTokensPerSecond=14.0)
    once = calibrated(tmp_path, measurement)
    (row,) = catalog_rows(compare([measurement], once), "a test", DAY)["gpus"]
    gpu = once.find_gpu("L4")
    assert gpu
    assert row["efficiency"]["decode"] == pytest.approx(gpu.efficiency.decode, rel=0.005)
    assert row["overheadGib"] == pytest.approx(gpu.overhead_gib, abs=0.015)


def test_a_row_names_only_what_was_measured() -> None:
    (row,) = catalog_rows(compare([measured(kvCacheTokens=20_000)], CATALOG), "a test", DAY)["gpus"]
    assert "efficiency" not in row
    assert row["sources"] == {"overheadGib": "calibrated"}


def test_a_later_measurement_takes_back_what_an_earlier_one_needed_too_much(tmp_path: Path) -> None:
    once = calibrated(tmp_path, measured(kvCacheTokens=20_000))
    again = calibrated(tmp_path, measured(kvCacheTokens=22_000, decodeTokensPerSecond=14.0), catalog=once)
    after = plan_for("r1-8b", again, resources={"accelerators": ["L4:1"]}).memory
    assert after
    assert 0.99 * 22_000 <= after.tokens <= 22_000


def test_where_the_catalog_plans_no_speed_only_memory_is_compared() -> None:
    gpu = CATALOG.gpus["L4"].model_copy(update={"memory_bandwidth": None})
    catalog = replace(CATALOG, gpus={"L4": gpu})
    (found,) = compare([measured(kvCacheTokens=20_000, decodeTokensPerSecond=14.0)], catalog)
    assert found.what == "kvCacheTokens"


@pytest.mark.parametrize(
    ("model", "words"),
    [("r1", "ran r1, but: DeepSeek-R1 needs 641 GiB"), ("acme/own", "acme/own is not in the catalog")],
)
def test_what_the_planner_says_cannot_run_is_refused_with_its_reason(model: str, words: str) -> None:
    impossible = Measurement.model_validate({"model": model, "accelerators": "L4:1", "kvCacheTokens": 1000})
    with pytest.raises(PlanInputError, match=words):
        compare([impossible], CATALOG)


app = typer.Typer(pretty_exceptions_enable=False)
calibrate.register(app)


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        (
            yaml.safe_dump({"measurements": [{**L4, "kvCacheTokens": 20000, "decodeTokensPerSecond": 14}]}),
            0,
            "# r1-8b on L4:1: kvCacheTokens planned 24,752, measured 20,000 (+24%)",
        ),
        ("measurements: [{model: r1-8b}]", 2, "measurements[0].accelerators: must be given"),
        (yaml.safe_dump({"measurements": [L4]}), 2, "nothing was measured"),
        ("[]", 2, "must be a mapping with a list of measurements"),
        ("measurements: [{model: r1, accelerators: 'L4:1', kvCacheTokens: 5}]", 2, "needs 641 GiB"),
    ],
)
def test_the_command_prints_a_catalog_below_the_errors_of_the_plans(
    tmp_path: Path, text: str, status: int, words: str
) -> None:
    file = tmp_path / "measurements.yaml"
    file.write_text(text)
    # A second command, so that typer keeps the first one's name.
    app.command("nothing")(lambda: None)
    result = CliRunner().invoke(app, ["calibrate", "-f", str(file)])
    assert result.exit_code == status, result.output
    assert words in result.output
    if status == 0:
        own = tmp_path / "catalog.yaml"
        own.write_text(result.stdout)
        gpu = load_catalog([own]).find_gpu("L4")
        assert gpu
        assert gpu.overhead_gib > 0.5
