"""Which engine serves a model: what it needs of an engine, and what a user's image and arguments say."""

from typing import Any

import pytest

from deepseek_operator.api.spec import EngineName
from deepseek_operator.catalog import Catalog, EngineSupport
from deepseek_operator.planning import Plan, PlanInputError
from tests.unit.planning.builders import CATALOG, plan_for

DIGEST = f"@sha256:{'0' * 64}"


def plan(model: str, **engine: Any) -> Plan:
    return plan_for(model, engine=engine, resources={"accelerators": ["H200:8"], "infra": ["aws"]})


@pytest.mark.parametrize(
    "image",
    ["vllm/vllm-openai:v0.6.6.post1", f"vllm/vllm-openai:v0.6.6{DIGEST}", "me:5000/vllm:0.11", "vllm:0.11.9-cu129"],
)
def test_an_image_whose_tag_is_an_older_release_is_refused(image: str) -> None:
    with pytest.raises(PlanInputError, match=r"DeepSeek-R1 needs VLLM 0\.12\.0 or newer"):
        plan("r1", name="VLLM", image=image)


@pytest.mark.parametrize(
    "image",
    [
        *("vllm/vllm-openai:v0.12.0", "vllm/vllm-openai:v0.12.1-cu129", "me/vllm:1.0"),
        *("vllm", "me:5000/vllm", f"me/vllm{DIGEST}", "me/vllm:nightly", "me/vllm:0", "me/vllm:0.9.x"),
    ],
)
def test_an_image_of_a_release_that_is_new_enough_or_not_known_is_taken(image: str) -> None:
    assert plan("r1", name="VLLM", image=image).image == image


@pytest.mark.parametrize("model", ["r1-8b", "acme/own"])
def test_a_model_of_which_no_lowest_release_is_known_takes_any(model: str) -> None:
    assert plan(model, name="VLLM", image="vllm/vllm-openai:v0.6.6").launchable


def test_packages_are_refused_where_a_model_needs_an_image_of_its_own() -> None:
    with pytest.raises(PlanInputError, match=r"and DeepSeek-V4\.1-Flash needs the image vllm/vllm-openai:deepseekv41-"):
        plan("v4.1-flash", name="VLLM", runtime="Packages")
    assert plan("v4.1-flash", runtime="Packages").engine == "SGLang"
    assert plan("v4.1-flash", name="VLLM").image == "vllm/vllm-openai:deepseekv41-flash-0909"
    assert plan("acme/own", runtime="Packages").launchable


@pytest.mark.parametrize(
    ("engine", "argument"),
    [
        ({"name": "VLLM"}, "--quantization=FP8"),  # vLLM lowers it
        ({"name": "VLLM"}, "--quantization=None"),
        ({"name": "VLLM"}, "-q=fp8"),
        ({"name": "SGLang"}, "--kv-cache-dtype=fp8_e4m3"),
        ({"name": "VLLM", "image": "me/vllm-with-plugins:1"}, "--quantization=bitsandbytes"),
    ],
)
def test_values_that_the_engine_takes_or_that_only_the_users_image_can_know_are_passed_on(
    engine: dict[str, Any], argument: str
) -> None:
    plan = plan_for("r1-8b", engine={**engine, "args": [argument]}, resources={"accelerators": ["H100:1"], "nodes": 1})
    assert all(argument in options.user.words for options in plan.serve.values())


def test_the_engine_that_knows_a_value_is_taken() -> None:
    parts = {"args": ["--quantization", "bitsandbytes"]}
    plan = plan_for("r1-8b", engine=parts, resources={"accelerators": ["H100:1"], "nodes": 1})
    assert plan.engine == "SGLang"


def catalog_with(**changes: Any) -> Catalog:
    """Return the catalog with another row of r1-8b."""
    models = {
        name: model.model_copy(update=changes) if "r1-8b" in model.aliases else model
        for name, model in CATALOG.models.items()
    }
    return Catalog(models, CATALOG.gpus, CATALOG.prices)


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("preferred", [EngineName.VLLM, EngineName.SGLANG])
def test_the_engine_that_a_models_recipe_wants_is_taken(nodes: int, preferred: EngineName) -> None:
    resources = {"accelerators": ["H100:8"], "nodes": nodes}
    assert plan_for("r1-8b", catalog_with(preferred_engine=preferred), resources=resources).engine is preferred


def test_a_lowest_release_may_be_a_single_number() -> None:
    engines = {EngineName.VLLM: EngineSupport(min_version="1")}
    with pytest.raises(PlanInputError, match="needs VLLM 1 or newer"):
        plan_for("r1-8b", catalog_with(engines=engines), engine={"image": "vllm/vllm-openai:v0.33.0"})


@pytest.mark.parametrize("flag", ["--hf-overrides", "--rope-scaling"])
def test_a_context_that_the_users_arguments_stretch_may_be_over_the_models_limit(flag: str) -> None:
    assert plan("r1-8b", name="VLLM", args=[flag, "{}"], maxModelLen=200_000).max_model_len == 200_000


def test_a_context_of_an_unknown_model_is_the_users() -> None:
    found = plan("acme/own", maxModelLen=200_000)
    assert found.max_model_len == found.serve[8].max_model_len == 200_000


def test_a_token_may_come_from_any_secret() -> None:
    token = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "theirs", "key": "token"}}}
    found = plan("r1-8b", env=[token, {"name": "A", "value": "x"}])
    assert found.launchable
    assert found.environment["A"] == "x"
    assert "HF_TOKEN" not in found.environment
