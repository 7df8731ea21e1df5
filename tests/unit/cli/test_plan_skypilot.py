"""``deepseek-operator plan --skypilot``: the table of the guide, from a server's own catalog."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deepseek_operator.cli.main import app
from tests.fakes.skypilot import FakeSkyPilot

NAN = float("nan")
OFFERS = {
    "aws": [
        ["AWS", "g6.xlarge", "L4", 1.0, 4.0, 22.0, 16.0, 0.8048, 0.3, "us-east-1"],
        ["AWS", "g6.xlarge", "L4", 1.0, 4.0, 22.0, 16.0, 0.8853, 0.33, "us-west-2"],
    ],
    "gcp": [["GCP", "g2-standard-4", "L4", 1.0, 4.0, 24.0, 16.0, 0.7, NAN, "us-central1"]],
}
WITHOUT_GPUS = """
apiVersion: deepseek-operator.io/v1alpha1
kind: DeepSeekDeployment
metadata: {name: chat}
spec: {model: {name: r1-8b}, resources: {infra: [aws], accelerators: [], cpus: 32+, memory: 64+}}
"""


@pytest.fixture
def server() -> Iterator[FakeSkyPilot]:
    with FakeSkyPilot(clouds={"kubernetes", "aws"}, offers=OFFERS) as fake:
        yield fake


def run(*args: str) -> Result:
    return CliRunner().invoke(app, ["plan", "--model", "r1-8b", *args])


def test_the_table_has_the_columns_of_the_guide_and_a_line_for_every_other_place(server: FakeSkyPilot) -> None:
    words = ("--accelerators", "L4:1", "--infra", "aws/us-west-2", "--infra", "gcp", "--infra", "kubernetes")
    result = run(*words, "--capacity-type", "SpotThenOnDemand", "--skypilot", server.url)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    start = lines.index(f"Considered resources (1 node), by the catalog of {server.url}:")
    header = " CLOUD        INSTANCE          vCPUs   Mem(GB)   ACCELERATORS   REGION/ZONE   COST ($)   CHOSEN"
    assert lines[start + 2] == header
    rows = [line.split() for line in lines[start + 4 : start + 8]]
    assert rows == [
        ["aws", "g6.xlarge[Spot]", "4", "16", "L4:1", "us-west-2", "0.33", "\N{HEAVY CHECK MARK}"],
        ["aws", "g6.xlarge", "4", "16", "L4:1", "us-west-2", "0.89"],
        ["gcp", "g2-standard-4", "4", "16", "L4:1", "us-central1", "0.70"],
        ["kubernetes", "-", "-", "-", "L4:1", "-", "0.00"],
    ]
    refused = "  gcp L4:1 (spot), gcp L4:1: spec.resources.infra: gcp: the SkyPilot server has no working"
    assert any(line.startswith(refused) for line in lines)
    assert "Cheapest known: g6.xlarge on aws" in result.output


def test_json_has_the_places_besides_and_whose_prices_they_are(server: FakeSkyPilot) -> None:
    printed = json.loads(run("--accelerators", "L4:1", "--infra", "aws", "-o", "json", "--skypilot", server.url).output)
    assert printed["hourlyCost"] == "0.80"
    assert printed["priceOrigin"] == "SkyPilot's catalog"
    assert printed["places"] == [
        {
            "place": "aws",
            "instanceType": "g6.xlarge",
            "vcpus": 4.0,
            "memoryGB": 16.0,
            "accelerators": "L4:1",
            "region": "us-east-1",
            "spot": False,
            "hourlyCost": "0.80",
            "chosen": True,
            "reason": "",
        }
    ]


def test_without_a_place_the_clouds_are_those_that_the_server_can_use(server: FakeSkyPilot) -> None:
    result = run("--skypilot", server.url)
    assert result.exit_code == 0
    assert "aws     g6.xlarge" in result.output
    assert "gcp" not in result.output


def test_a_server_without_any_cloud_says_so(server: FakeSkyPilot) -> None:
    server.clouds = {"kubernetes"}
    assert "Chosen: none. No place is named in resources.infra" in run("--skypilot", server.url).output


def test_a_plan_without_gpus_is_not_called_one_that_fails_for_want_of_a_price(
    server: FakeSkyPilot, tmp_path: Path
) -> None:
    file = tmp_path / "chat.yaml"
    file.write_text(WITHOUT_GPUS)
    result = CliRunner().invoke(app, ["plan", "-f", str(file), "--skypilot", server.url])
    assert result.exit_code == 0, result.output
    assert "Chosen: not known." in result.output
    assert "  aws CPUs: not known: machines without GPUs are not asked for" in result.output
    server.clouds = {"kubernetes"}
    result = CliRunner().invoke(app, ["plan", "-f", str(file), "--skypilot", server.url])
    assert "Chosen: none. A launch would fail now." in result.output


def test_a_catalog_that_the_server_does_not_have_hides_no_other(server: FakeSkyPilot) -> None:
    server.clouds, server.offers = {"aws", "gcp"}, {"aws": OFFERS["aws"]}
    words = ("--accelerators", "L4:1", "--infra", "gcp", "--infra", "aws")
    result = run(*words, "--skypilot", server.url)
    assert result.exit_code == 0
    assert "gcp L4:1: not known: the server has no catalog of gcp (Failed to fetch the catalog gcp/vms.csv)" in (
        result.output
    )
    assert "\N{HEAVY CHECK MARK}" in result.output


def test_a_server_that_does_not_answer_is_an_error_in_a_sentence() -> None:
    result = run("--skypilot", "http://127.0.0.1:9")
    assert result.exit_code == 2
    assert "Error: --skypilot http://127.0.0.1:9: the SkyPilot API server at http://127.0.0.1:9 does not answer" in (
        result.stderr
    )


def test_what_is_no_address_is_an_error_in_a_sentence() -> None:
    result = run("--skypilot", "localhost:46580")
    assert result.exit_code == 2
    assert "--skypilot localhost:46580: must be the URL of a SkyPilot API server" in result.stderr


def test_a_token_that_cannot_be_read_is_an_error_in_a_sentence(server: FakeSkyPilot, tmp_path: Path) -> None:
    result = run("--skypilot", server.url, "--skypilot-token-file", str(tmp_path / "none"))
    assert result.exit_code == 2
    assert "No such file" in result.stderr


def test_nothing_is_launched(server: FakeSkyPilot) -> None:
    run("--accelerators", "L4:1", "--infra", "aws", "--skypilot", server.url)
    asked = {call.path for call in server.calls}
    assert "/list_accelerators" in asked
    assert asked <= {"/enabled_clouds", "/api/get", "/list_accelerators", "/check"}


def test_offline_the_operators_own_prices_are_shown_with_their_day() -> None:
    printed = json.loads(run("--accelerators", "L4:1", "--infra", "aws", "-o", "json").output)
    assert "places" not in printed
    assert printed["priceOrigin"] == "operator's catalog, undated"
    printed = json.loads(run("--accelerators", "A100:8", "--infra", "aws", "-o", "json").output)
    assert printed["priceOrigin"].startswith("operator's catalog, 20")
