import json
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from deepseek_operator.api.status import PlanStatus
from deepseek_operator.cli import catalog, plan

app = typer.Typer(pretty_exceptions_enable=False)
plan.register(app)
catalog.register(app)

OBJECT = """
apiVersion: deepseek-operator.io/v1alpha1
kind: DeepSeekDeployment
metadata: {name: chat}
spec:
  model: {name: r1-8b}
"""


def run(*args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(args), input=stdin)


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (("--model", "r1-8b"), 0),
        (("--model", "r1-70b", "--accelerators", "L4:8"), 0),  # tight
        (("--model", "acme/unknown", "--accelerators", "L4:1"), 0),
        (("--model", "r1", "--accelerators", "L4:8", "--nodes", "1"), 3),
        (("--model", "acme/unknown"), 2),
        (("--model", "r1-8b", "--accelerators", "L5:1"), 2),
        (("--model", "r1-8b", "--max-model-len", "999999"), 2),
        (("--model", "r1-8b", "--max-hourly-cost", "0.1"), 2),
        (("--model", "r1-8b", "--nodes", "0"), 2),
        (("--model", "r1-8b", "--engine", "TGI"), 2),
        (("--model", "bad name"), 2),
        ((), 2),
        (("--model", "r1-8b", "-f", "x.yaml"), 2),
        (("-f", "/no/such/file.yaml"), 2),
        (("--model", "r1-8b", "--catalog", "/no/such/file.yaml"), 2),
    ],
)
def test_exit_status_tells_fits_from_does_not_fit_from_bad_input(args: tuple[str, ...], status: int) -> None:
    result = run("plan", *args)
    assert result.exit_code == status, result.output
    if status == 2:
        assert "Error" in result.stderr
        assert "Traceback" not in result.stderr


def test_json_has_the_field_names_of_status_plan() -> None:
    printed = json.loads(run("plan", "--model", "r1", "-o", "json").stdout)
    names = {field.serialization_alias or field.alias for field in PlanStatus.model_fields.values()}
    assert set(printed) == names
    assert printed["tensorParallelSize"] == 8
    assert PlanStatus.model_validate(printed).engine == "VLLM"


def test_yaml_says_the_same_as_json() -> None:
    args = ("plan", "--model", "r1", "--accelerators", "H100:8")
    assert yaml.safe_load(run(*args, "-o", "yaml").stdout) == json.loads(run(*args, "-o", "json").stdout)


def test_task_is_the_skypilot_yaml_it_would_launch() -> None:
    task = yaml.safe_load(run("plan", "--model", "r1", "--accelerators", "H100:8", "-o", "task").stdout)
    assert task["num_nodes"] == 2
    assert task["resources"]["accelerators"] == "H100:8"
    assert "sglang.launch_server --model-path deepseek-ai/DeepSeek-R1" in task["run"]


def test_table_shows_candidates_the_choice_and_why_the_others_were_not_chosen() -> None:
    lines = run("plan", "--model", "r1").stdout.splitlines()
    assert lines[0] == "deepseek-ai/DeepSeek-R1 with VLLM (1 node): Fits"
    header = next(line for line in lines if "CLOUD" in line)
    for heading in ("INSTANCE", "ACCELERATORS", "NODES", "PARALLELISM", "CONTEXT", "COST ($/h)", "VERDICT", "CHOSEN"):
        assert heading in header
    assert any("H200:8" in line and "✔" in line for line in lines)
    assert any("H100:8" in line and "DoesNotFit" in line and "✔" not in line for line in lines)
    why = lines[lines.index("Why not:") + 1 :]
    assert "  H100:8: DeepSeek-R1 needs 641 GiB for weights in FP8; 8×H100 offer 583 GiB usable" in why
    assert any("$/h more than H200:8" in line for line in why)


def test_a_file_is_planned_and_flags_go_over_it(tmp_path: Path) -> None:
    file = tmp_path / "chat.yaml"
    file.write_text(f"kind: Secret\n---{OBJECT}")
    printed = json.loads(run("plan", "-f", str(file), "--accelerators", "A10G:1", "-o", "json").stdout)
    assert printed["accelerators"] == ["A10G:1"]
    assert run("plan", "-f", str(file)).stdout.startswith("chat: deepseek-ai/DeepSeek-R1-Distill-Llama-8B")


def test_standard_input_and_several_objects_are_read() -> None:
    both = OBJECT + "---" + OBJECT.replace("r1-8b", "r1-7b")
    assert len(json.loads(run("plan", "-f", "-", "-o", "json", stdin=both).stdout)) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "is not YAML"),
        ("kind: Pod", "holds no DeepSeekDeployment"),
        ("kind: DeepSeekDeployment", "without spec"),
        ("kind: DeepSeekDeployment\nspec: {model: {}}", "spec.model.name"),
        ("kind: DeepSeekDeployment\nmetadata: {name: x}\nspec: {model: {nam: r1}}", "x: spec.model.name"),
        ("kind: DeepSeekDeployment\nspec: {model: {name: 2026-13-45}}", "is not YAML: month must be in 1..12"),
        ("kind: DeepSeekDeployment\nspec: {2026-01-01: 1}", "spec: nothing that JSON could hold"),
        ("kind: DeepSeekDeployment\nspec: &it {model: *it}", "spec: nothing that JSON could hold"),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence(text: str, words: str) -> None:
    result = run("plan", "-f", "-", stdin=text)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_section_that_is_no_mapping_is_refused_under_an_option_that_goes_over_it() -> None:
    text = "kind: DeepSeekDeployment\nspec: {model: {name: r1-8b}, engine: VLLM}"
    assert "spec.engine: VLLM: must be a mapping" in run("plan", "-f", "-", "--engine", "SGLang", stdin=text).stderr


def test_models_lists_every_model_with_its_aliases() -> None:
    out = run("models").stdout
    assert "deepseek-ai/DeepSeek-R1-Distill-Llama-8B" in out
    assert "r1-8b" in out
    assert len(json.loads(run("models", "-o", "json").stdout)) >= 32


def test_gpus_lists_memory_counts_and_prices() -> None:
    line = next(line for line in run("gpus").stdout.splitlines() if line.startswith(" H200 "))
    assert "139.8" in line
    assert "H200:1 nebius" in line
    assert yaml.safe_load(run("gpus", "-o", "yaml").stdout)[0]["name"] == "T4"


def test_a_users_catalog_is_used(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("models:\n  - {base: deepseek-ai/DeepSeek-R1, id: acme/tuned, aliases: [tuned]}\n")
    assert run("plan", "--model", "tuned", "--catalog", str(own)).exit_code == 0
    assert "acme/tuned" in run("models", "--catalog", str(own)).stdout


def test_a_plan_with_an_old_price_says_so_beside_the_plan(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    row = "{cloud: aws, instanceType: old.1, accelerators: 'L4:1', onDemand: 0.1, asOf: 2020-01-01, source: own}"
    own.write_text(f"sources: {{own: x}}\nprices:\n  - {row}\n")
    result = run("plan", "--model", "r1-8b", "--catalog", str(own), "-o", "json")
    assert json.loads(result.stdout)["hourlyCost"] == "0.10"
    assert "Warning: the price of old.1 on aws is of 2020-01-01" in result.stderr


def test_the_table_has_a_row_for_each_cloud_and_capacity_type_with_its_price_per_token() -> None:
    args = ("--model", "r1", "--infra", "aws", "--infra", "nebius", "--capacity-type", "SpotThenOnDemand")
    lines = run("plan", *args, "--accelerators", "H200:8").stdout.splitlines()
    header = next(line for line in lines if "CLOUD" in line)
    assert all(heading in header for heading in ("tok/s (1)", "tok/s (n)", "TTFT (s)", "$/Mtok"))
    rows = [line.split() for line in lines if "H200:8" in line and "✔" in line]
    assert [(row[0], row[1]) for row in rows] == [
        ("aws", "p5en.48xlarge[Spot]"),
        ("nebius", "gpu-h200-sxm_8gpu-128vcpu-1600gb"),
        ("aws", "p5en.48xlarge"),
    ]
    prices = [float(row[-3]) for row in rows]
    assert prices == sorted(prices)
    assert prices[-1] / prices[0] == pytest.approx(63.296 / 6.84, rel=0.05)
    expected = next(line for line in lines if line.startswith("Expected of H200:8: "))
    assert "$ per million output tokens at full load" in expected
    assert expected.endswith("Most measured cases like this one were within 15 % of such a plan.")


def test_a_plan_says_where_no_figures_of_anybody_stand_behind_its_speed() -> None:
    lines = run("plan", "--model", "r1-8b", "--infra", "aws", "--accelerators", "L4:1").stdout.splitlines()
    expected = next(line for line in lines if line.startswith("Expected of L4:1: "))
    assert expected.endswith("No measured case is like this one: its speed may be off by half or more.")


def test_ones_own_cluster_has_a_row_beside_the_clouds() -> None:
    lines = run("plan", "--model", "r1", "--infra", "kubernetes", "--infra", "nebius").stdout.splitlines()
    rows = [line.split() for line in lines if "H200:8" in line and "✔" in line]
    assert [row[0] for row in rows] == ["kubernetes", "nebius"]


@pytest.mark.parametrize(
    ("place", "hint"),
    [("awz", "did you mean aws"), ("kubernets/prod", "did you mean kubernetes"), ("moon", "knows aws")],
)
def test_a_cloud_that_does_not_exist_is_bad_input_and_the_nearest_is_named(place: str, hint: str) -> None:
    result = run("plan", "--model", "r1", "--infra", place)
    assert result.exit_code == 2
    assert f"spec.resources.infra: {place}: no cloud of this name" in result.stderr
    assert hint in result.stderr


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("aws/us-est-1", "no region of this name is known; did you mean us-"),
        ("gcp/us-central-1/a", "did you mean us-central1"),
        ("aws/us-east-1a", "did you mean us-east-1"),
        ("aws/moon-base-9", "is it new?"),
    ],
)
def test_a_region_that_is_not_known_is_asked_about_and_not_refused(place: str, words: str) -> None:
    result = run("plan", "--model", "r1-8b", "--accelerators", "L4:1", "--infra", place)
    assert result.exit_code == 0
    assert f"Warning: spec.resources.infra: {place}: " in result.stderr
    assert words in result.stderr


@pytest.mark.parametrize(
    "place", ["aws/eu-west-3", "gcp/europe-west4/europe-west4-a", "nebius/eu-west1", "kubernetes/x"]
)
def test_regions_that_are_known_or_whose_names_nobody_wrote_down_are_not_asked_about(place: str) -> None:
    result = run("plan", "--model", "r1-8b", "--accelerators", "H100:8", "--infra", place)
    assert "no region" not in result.stderr


def test_what_nothing_reaches_is_bad_input_with_the_figures() -> None:
    result = run("plan", "--model", "r1-8b", "--accelerators", "L4:1", "--min-tokens-per-second", "50")
    assert result.exit_code == 2
    assert "at best 16.4 tokens/s per request, on 1×L4:1" in result.stderr
