from typing import Any

import pytest

from deepseek_operator.api.status import Verdict
from deepseek_operator.planning import Plan
from tests.unit.planning.builders import plan_for


def cpu_plan(model: str = "r1-8b", engine: dict[str, Any] | None = None, **parts: Any) -> Plan:
    own = parts.pop("model_fields", {})
    resources = {"accelerators": [], "cpus": "4", "infra": ["kubernetes"], **parts}
    return plan_for(model, engine=engine or {}, resources=resources, model_fields=own)


def test_an_empty_list_of_accelerators_is_vllm_on_cpu() -> None:
    plan = cpu_plan(memory="64")
    assert plan.verdict is Verdict.FITS
    assert (plan.engine.value, plan.accelerators) == ("VLLM", ())
    assert plan.image.startswith("vllm/vllm-openai-cpu:v")
    assert plan.serve[0].cpu


def test_memory_that_does_not_hold_the_weights_is_refused_with_what_would() -> None:
    plan = cpu_plan(memory="16")
    assert plan.verdict is Verdict.DOES_NOT_FIT
    assert "needs 15.0 GiB for weights and 3.0 GiB for the engine per node" in plan.reason
    assert "Smallest that fits: memory: 21." in plan.reason
    assert not plan.serve
    assert cpu_plan(memory="21").verdict is Verdict.FITS


def test_what_is_left_is_the_kv_cache_and_the_context_follows() -> None:
    plan = cpu_plan(memory="32")
    assert plan.environment["VLLM_CPU_KVCACHE_SPACE"] == "11"
    assert plan.max_model_len == 11 * 2**30 // 131072 // 256 * 256


def test_a_context_that_fits_is_served_as_the_user_wants_it() -> None:
    plan = cpu_plan(memory="24", engine={"maxModelLen": 4096})
    assert plan.verdict is Verdict.FITS
    assert plan.max_model_len == 4096


def test_a_context_that_does_not_fit_is_refused() -> None:
    plan = cpu_plan(memory="24", engine={"maxModelLen": 131072})
    assert plan.verdict is Verdict.DOES_NOT_FIT
    assert "the longest that does is" in plan.reason


def test_several_nodes_are_ranks_of_tensor_parallelism_because_pipelines_fail_on_cpu() -> None:
    plan = cpu_plan(memory="24", nodes=2)
    assert (plan.tensor_parallel_size, plan.pipeline_parallel_size) == (2, 1)


def test_the_users_arguments_win() -> None:
    plan = cpu_plan(memory="64", engine={"args": ["--tensor-parallel-size", "2", "--max-num-seqs", "4"]})
    assert plan.tensor_parallel_size == 2
    assert plan.serve[0].max_num_seqs == 4


def test_a_directory_is_served_unseen_with_the_parsers_of_the_named_model() -> None:
    plan = cpu_plan("deepseek-ai/DeepSeek-R1", memory="4", nodes=2, model_fields={"path": "/models/tiny"})
    assert plan.verdict is Verdict.UNKNOWN
    assert plan.launchable
    assert plan.serve[0].model == "/models/tiny"
    assert plan.serve[0].reasoning_parser == "deepseek_r1"
    assert plan.serve[0].max_model_len is None
    assert plan.environment["VLLM_CPU_KVCACHE_SPACE"] == "1"


def test_without_memory_or_a_model_that_the_catalog_knows_the_verdict_is_open() -> None:
    assert cpu_plan().verdict is Verdict.UNKNOWN
    unknown = cpu_plan("someone/something", memory="32")
    assert unknown.verdict is Verdict.UNKNOWN
    assert "the size of someone/something is not known" in unknown.reason


def test_a_larger_model_is_given_more_time_to_start() -> None:
    assert cpu_plan("r1-8b", memory="64").startup_seconds > cpu_plan("r1-1.5b", memory="64").startup_seconds


def test_the_users_environment_wins() -> None:
    env = [{"name": "VLLM_CPU_KVCACHE_SPACE", "value": "2"}]
    assert cpu_plan(memory="64", engine={"env": env}).environment["VLLM_CPU_KVCACHE_SPACE"] == "2"


@pytest.mark.parametrize("infra", [["kubernetes"], ["aws"]])
def test_cost_is_nothing_on_kubernetes_and_unknown_elsewhere(infra: list[str]) -> None:
    plan = cpu_plan(memory="64", infra=infra)
    assert (plan.hourly_cost == 0) is (infra == ["kubernetes"])


def test_each_machine_may_cost_its_part_of_the_limit() -> None:
    plan = cpu_plan(memory="24", infra=["aws"], nodes=2, maxHourlyCost="4")
    assert plan.max_instance_hourly_cost == 2


def test_the_kv_cache_of_a_cpu_engine_holds_a_planned_number_of_tokens() -> None:
    assert cpu_plan(memory="32").kv_cache_tokens(None) == 11 * 2**30 // 131072
    users = [{"name": "VLLM_CPU_KVCACHE_SPACE", "value": "2"}]
    assert cpu_plan(memory="32", engine={"env": users}).kv_cache_tokens(None) == 2 * 2**30 // 131072
    unreadable = [{"name": "VLLM_CPU_KVCACHE_SPACE", "value": "2.5"}]
    assert cpu_plan(memory="32", engine={"env": unreadable}).kv_cache_tokens(None) is None
    assert cpu_plan("someone/something", memory="32").kv_cache_tokens(None) is None
    assert cpu_plan(memory="32", model_fields={"path": "/models/x"}).kv_cache_tokens(None) is None
