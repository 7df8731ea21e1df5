"""Bad input: refused without an API server as well, with field, value, and what would do."""

import json
import re
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.cli import plan
from tests.unit.api.refused import REFUSED

app = typer.Typer()
app.command("other")(lambda: None)
plan.register(app)


def refusal(spec: dict[str, Any], name: str = "bad") -> str:
    """What ``plan`` says of an object that it refuses."""
    body = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": {"name": name}, "spec": spec}
    result = CliRunner().invoke(app, ["plan", "-f", "-"], input=json.dumps(body))
    assert result.exit_code == 2, result.output
    return result.stderr


@pytest.mark.parametrize(("spec", "said"), REFUSED)
def test_plan_refuses_what_the_api_server_refuses(spec: dict[str, Any], said: str) -> None:
    del said  # the API server's words
    assert re.match(r"Error: bad: spec(\.\w+(\[\d+\])?)+: ", refusal(spec))


@pytest.mark.parametrize("name", ["a" * 51, "1model", "with.dot", "Upper", "r1\n"])
def test_plan_refuses_names_that_no_service_can_have(name: str) -> None:
    assert f"metadata.name: {name}: must " in refusal({"model": {"name": "r1-8b"}}, name)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"model": "r1-8b"}, "spec.model: r1-8b: must be a mapping of fields"),
        ({}, "spec.model: must be given"),
        ({"model": {"name": ""}}, 'spec.model.name: "": must not be empty'),
        ({"modell": {"name": "r1"}}, "spec.model: must be given"),
        ({"resources": {"accelerators": "L4:1"}}, "spec.resources.accelerators: L4:1: must be a list"),
        (
            {"resources": {"gpus": 1}},
            "resources.gpus: 1: there is no such field; there are accelerators, capacity",
        ),
        ({"resources": {"capacity": {"base": 1}}}, "capacity.base: 1: there is no such field; there are onDemandBase"),
        ({"engine": {"env": [{"nam": "A", "value": "b"}]}}, "spec.engine.env[0].name: must be given"),
        ({"engine": {"env": [{"name": "A", "valu": "b"}]}}, "spec.engine.env[0].valu: b: there is no such field"),
        ({"replicas": "2"}, "spec.replicas: 2: must be a whole number, without quotes"),
        ({"replicas": -1}, "spec.replicas: -1: must be at least 0"),
        ({"suspend": "yes"}, "spec.suspend: yes: must be true or false, without quotes"),
        ({"resources": {"maxHourlyCost": 0.5}}, "spec.resources.maxHourlyCost: 0.5: must be text; put it in quotes"),
        ({"resources": {"capacityType": "spot"}}, "spot: must be OnDemand, Spot or SpotThenOnDemand"),
        ({"endpoint": {"port": 80000}}, "spec.endpoint.port: 80000: must be at most 65,535"),
        ({"resources": None}, "spec.resources: null: must be a mapping of fields"),
    ],
)
def test_a_sentence_names_field_value_and_what_would_do(spec: dict[str, Any], said: str) -> None:
    whole = spec if "model" in spec or not spec or "modell" in spec else {"model": {"name": "r1-8b"}, **spec}
    assert said in refusal(whole)


def test_each_wrong_field_has_a_sentence_of_its_own() -> None:
    said = refusal({"model": {"name": "r1-8b"}, "replica": 2, "resources": {"acelerators": ["L4:1"]}})
    fields = [line.split(": ")[2] for line in said.splitlines()]
    assert fields == ["spec.resources.acelerators", "spec.replica"]
    assert all(line.startswith("Error: bad: spec.") for line in said.splitlines())
