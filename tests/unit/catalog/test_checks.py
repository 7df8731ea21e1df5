"""``deepseek-operator catalog check``: nothing is wrong in the shipped catalog, and a user's gets the same tests."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from deepseek_operator.catalog import load_catalog
from deepseek_operator.catalog.checks import Finding, check_catalog
from deepseek_operator.cli import catalog as commands

TODAY = date(2026, 11, 27)
LLAMA = "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"
PRICE = {"cloud": "aws", "instanceType": "x.1", "accelerators": "L4:1", "onDemand": 1, "asOf": "2026-11-01"}
GPU = {
    "name": "X100",
    "memoryGib": 96,
    "computeCapability": "9.0",
    "fp8": "Native",
    "counts": [1, 8],
    "sources": dict.fromkeys(("memoryGib", "computeCapability", "counts"), "own"),
}


def findings(tmp_path: Path, **sections: list[dict[str, Any]]) -> list[Finding]:
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump({"sources": {"own": "measured"}, **sections}))
    return check_catalog(load_catalog([file]), today=TODAY, known=load_catalog())


def model(**changes: Any) -> dict[str, Any]:
    return {"base": LLAMA, "id": "acme/own", "aliases": [], **changes}


def test_nothing_is_wrong_in_the_shipped_catalog_and_every_gpu_has_a_speed() -> None:
    found = check_catalog(load_catalog(), today=TODAY)
    assert [finding for finding in found if finding.wrong] == []
    assert not [finding for finding in found if "Bandwidth" in finding.field]


def test_prices_over_90_days_old_are_warned_of_and_others_are_not() -> None:
    old = {
        finding.row
        for finding in check_catalog(load_catalog(), today=date(2027, 3, 1))
        if "days old" in finding.message
    }
    assert "aws/p5.48xlarge" in old
    now = [f.row for f in check_catalog(load_catalog(), today=TODAY) if "days old" in f.message]
    assert sorted(now) == [  # nothing newer was found
        "aws/g6e.48xlarge",
        "aws/g7e.48xlarge",
        "aws/p5.4xlarge",
        "aws/p5en.48xlarge",
        "aws/p6-b200.48xlarge",
        "aws/p6-b300.48xlarge",
        "gcp/a3-megagpu-8g",
    ]


def test_every_gpu_has_a_price_or_says_why_none() -> None:
    catalog = load_catalog()
    priced = {price.accelerators.rpartition(":")[0] for price in catalog.prices}
    assert {gpu.name for gpu in catalog.gpus.values() if gpu.not_rented} == {"GB200", "GB300"}
    assert not [gpu.name for gpu in catalog.gpus.values() if not gpu.not_rented and gpu.name not in priced]
    assert not [f for f in check_catalog(catalog, today=TODAY) if f.field == "prices"]


def test_a_gpu_that_a_user_adds_without_a_price_is_told_of(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("gpus: [{base: L4, name: L4X, sources: {memoryGib: memory}}]")
    found = check_catalog(load_catalog([file]), today=TODAY, known=load_catalog())
    assert [(f.row, f.field) for f in found] == [("L4X", "prices")]


# section, row, field, words, whether it is wrong
CASES: list[tuple[str, dict[str, Any], str, str, bool]] = [
    ("models", model(parameters=8_200_000_000), "parameters", "the shape has 8030261248", True),
    ("models", model(kvBytesPerToken=131_000), "kvBytesPerToken", "the shape has 131072", True),
    (
        "models",
        model(recommended=["2 x Z9:8"], sources={"recommended": "memory"}),
        "recommended",
        "2 x Z9:8: no GPU of that name",
        True,
    ),
    ("models", model(weights={"gib": 17.0}), "weights.gib", "8030261248 parameters are 15.0", True),
    (
        "models",
        {"base": "deepseek-ai/DeepSeek-R1", "id": "acme/own", "aliases": [], "kvBytesPerToken": 70_000},
        "kvBytesPerToken",
        "the shape has 70272",
        True,
    ),
    (
        "models",
        {"base": "deepseek-ai/DeepSeek-R1", "id": "acme/own", "aliases": [], "activeParameters": None},
        "activeParameters",
        "as if every expert were always used",
        False,
    ),
    ("gpus", GPU, "memoryBandwidth, bf16Tflops", "nothing of its speed", False),
    ("gpus", GPU, "prices", "no machine with it has a price", False),
    ("prices", {**PRICE, "asOf": "2026-08-01"}, "asOf", "118 days old, over 90", False),
    ("prices", {**PRICE, "asOf": None}, "asOf", "nobody knows how old", False),
    ("prices", {**PRICE, "asOf": "2027-01-01"}, "asOf", "lies in the future", False),
    ("prices", {**PRICE, "accelerators": "L5:1"}, "accelerators", "no GPU of that name", True),
    ("prices", {**PRICE, "accelerators": "L4:3"}, "accelerators", "L4 is sold as 1, 2, 4, 8", False),
]


@pytest.mark.parametrize(("section", "row", "field", "words", "wrong"), CASES)
def test_a_users_row_gets_the_tests_of_the_shipped_ones(
    tmp_path: Path, section: str, row: dict[str, Any], field: str, words: str, wrong: bool
) -> None:
    extra = {"source": "own"} if section == "prices" else {}
    (found,) = [one for one in findings(tmp_path, **{section: [{**row, **extra}]}) if one.field == field]
    assert words in found.message
    assert found.wrong is wrong
    assert str(found).startswith("error: " if wrong else "warning: ")


def test_only_the_users_own_rows_are_looked_at(tmp_path: Path) -> None:
    assert findings(tmp_path, models=[model()], prices=[{**PRICE, "source": "own"}]) == []


app = typer.Typer(pretty_exceptions_enable=False)
commands.register(app)


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("models: []", 0, "0 errors, 0 warnings"),
        (yaml.safe_dump({"models": [model(kvBytesPerToken=1)]}), 1, "kvBytesPerToken: 1: the shape has 131072"),
        ("gpu: []", 2, "is not models, gpus, machines, prices or sources"),
    ],
)
def test_the_commands_exit_status_tells_wrong_from_unreadable(
    tmp_path: Path, text: str, status: int, words: str
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    result = CliRunner().invoke(app, ["catalog", "check", str(file)])
    assert result.exit_code == status, result.output
    assert words in result.output


def test_the_command_checks_the_shipped_catalog_where_no_file_is_named() -> None:
    result = CliRunner().invoke(app, ["catalog", "check"])
    assert result.exit_code == 0, result.output
    assert "0 errors" in result.stdout
