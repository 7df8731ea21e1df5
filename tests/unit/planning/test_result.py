"""What a plan says of itself: its KV cache, whose prices it has, and nothing of what it will not launch."""

from typing import Any

import pytest

from tests.unit.planning.builders import plan_for


@pytest.mark.parametrize("got", ["L4:1", "A100-80GB:1"])
def test_the_kv_cache_is_that_of_the_gpus_that_a_replica_got(got: str) -> None:
    alone = plan_for("r1-8b", resources={"accelerators": [got]})
    assert f" {alone.kv_cache_tokens(None):,} tokens" in alone.reason
    both = plan_for("r1-8b", resources={"accelerators": ["L4:1", "A100-80GB:1"]})
    assert both.kv_cache_tokens(got) == alone.kv_cache_tokens(None)


@pytest.mark.parametrize("got", ["H100:1", None])
def test_the_kv_cache_of_gpus_that_are_not_planned_is_not_known(got: str | None) -> None:
    assert plan_for("r1-8b", resources={"accelerators": ["L4:1", "A100-80GB:1"]}).kv_cache_tokens(got) is None


def test_the_kv_cache_of_an_unknown_model_is_not_known() -> None:
    assert plan_for("acme/own", resources={"accelerators": ["L4:1"]}).kv_cache_tokens("L4:1") is None


def test_what_does_not_fit_serves_nothing_and_has_no_speed() -> None:
    plan = plan_for("r1-70b", resources={"accelerators": ["L4:8"], "nodes": 1}, engine={"maxModelLen": 131072})
    assert not plan.launchable
    assert (plan.serve, plan.environment, plan.candidates, plan.max_model_len) == ({}, {}, (), None)
    too_small = [candidate for candidate in plan_for("r1-70b").alternatives if not candidate.fits]
    assert too_small
    assert all(candidate.performance is None for candidate in too_small)


def test_a_price_says_whose_it_is_and_ones_own_machines_have_none() -> None:
    rented, own = (plan_for("r1-8b", resources={"infra": [infra]}).to_status() for infra in ("gcp", "kubernetes"))
    assert rented.price_origin == "operator's catalog, undated"
    assert {other.price_origin for other in rented.alternatives if other.hourly_cost} >= {"operator's catalog, undated"}
    assert own.price_origin is None
    assert {other.price_origin for other in own.alternatives} == {None}


def test_a_spot_machine_without_a_price_has_no_origin_of_one() -> None:
    status = plan_for("r1-8b", resources={"infra": ["aws"], "capacityType": "Spot"}).to_status()
    unpriced = [other for other in status.alternatives if other.hourly_cost is None]
    assert unpriced
    assert {other.price_origin for other in unpriced} == {None}


def test_a_gpu_that_no_engine_runs_on_is_refused_whatever_the_model() -> None:
    plan = plan_for("acme/own", engine={"name": "SGLang"}, resources={"accelerators": ["T4:1"]})
    assert not plan.launchable
    assert plan.reason == "SGLang needs compute capability 8.0; T4 has 7.5."


def test_each_number_of_gpus_gets_the_batch_that_it_needs() -> None:
    engine = {"name": "VLLM", "maxModelLen": 4096, "args": ["--gpu-memory-utilization", "0.98"]}
    plan = plan_for("r1-70b", engine=engine, resources={"accelerators": ["H200:1", "H200:8"], "nodes": 1})
    assert {count: options.max_num_seqs for count, options in plan.serve.items()} == {1: 64, 8: None}


def test_weights_from_a_directory_get_less_time_and_large_ones_more() -> None:
    def seconds(model: str, gpus: str, **own: str) -> int:
        return plan_for(model, model_fields=own, resources={"accelerators": [gpus]}).startup_seconds

    assert seconds("r1-8b", "H200:8") < 2000 < seconds("r1", "H200:8", path="/m") < seconds("r1", "H200:8") - 1200
    assert seconds("acme/own", "L4:1", path="/m") == seconds("acme/own", "L4:1") >= 600


@pytest.mark.parametrize(
    ("infra", "endpoint", "asked"),
    [
        ("kubernetes", {}, False),
        ("kubernetes", {"apiKeySecretRef": {"name": "key"}}, True),
        ("aws", {}, True),
        ("aws", {"apiKeySecretRef": {"name": "key"}}, True),
    ],
)
def test_an_engine_asks_for_a_key_where_it_is_rented_or_the_user_gave_one(
    infra: str, endpoint: dict[str, Any], asked: bool
) -> None:
    plan = plan_for("r1-8b", resources={"infra": [infra], "accelerators": ["L4:1"]}, endpoint=endpoint)
    assert (plan.needs_api_key, plan.serve[1].api_key) == (asked, asked)


def test_a_context_that_is_shorter_than_the_first_gpu_allows_says_why() -> None:
    alone = plan_for("r1-8b", resources={"accelerators": ["L40:1"]})
    both = plan_for("r1-8b", resources={"accelerators": ["L40:1", "A10G:1"]})
    assert both.accelerators[0] == "L40:1"
    assert f" Context {both.max_model_len:,}, so that it holds on each of the accelerators. " in both.reason
    assert "so that it holds" not in alone.reason
