"""Which GPUs are chosen, in which order, and what the user's own settings change."""

from decimal import Decimal
from typing import Any

import pytest

from deepseek_operator.api.spec import EngineName
from deepseek_operator.api.status import Verdict
from deepseek_operator.catalog import PriceInfo
from deepseek_operator.catalog.schema import parse_accelerator
from deepseek_operator.planning import PlanInputError
from tests.unit.planning.builders import CATALOG, plan_for


def test_five_lines_of_yaml_are_enough() -> None:
    plan = plan_for("deepseek-ai/DeepSeek-R1-Distill-Llama-8B")
    assert plan.verdict is Verdict.FITS
    assert plan.accelerators[0] == "L4:1"
    assert plan.engine is EngineName.VLLM
    assert plan.hourly_cost == Decimal("0.70")


def test_chosen_gpus_are_in_order_of_price_for_the_whole_replica() -> None:
    costs = [candidate.hourly_cost for candidate in plan_for("r1-14b", resources={"infra": ["aws"]}).candidates]
    assert None not in costs
    assert costs == sorted(costs, key=lambda cost: cost or Decimal(0))


def test_only_prices_of_the_named_clouds_count() -> None:
    plan = plan_for("r1-8b", resources={"infra": ["aws/us-east-1"]})
    assert plan.price
    assert plan.price.cloud == "aws"
    assert plan.hourly_cost == Decimal("0.8048")


def test_gpus_have_the_names_of_the_catalog_however_they_are_written() -> None:
    """SkyPilot's rows have them so, and a replica costs what the GPUs of its row cost."""
    plan = plan_for("r1-8b", resources={"accelerators": ["a10g:1", "l4", "L4:1"], "infra": ["aws"]})
    assert plan.accelerators == ("L4:1", "A10G:1")


def test_a_replica_on_ones_own_kubernetes_costs_nothing() -> None:
    plan = plan_for("r1", resources={"infra": ["kubernetes"], "maxHourlyCost": "1"})
    assert plan.hourly_cost == 0
    assert plan.accelerators[0] == "H200:8"


@pytest.mark.parametrize(
    ("accelerators", "infra", "words"),
    [
        ("GB200:4", [], "No price of GB200:4 is known: no cloud of SkyPilot's catalog rents it."),
        ("H200:8", ["gcp"], "No price of H200:8 on gcp is known."),
        ("B200:2", ["aws"], "No price of B200:2 on aws is known."),
        ("A100:8", [], "Cheapest known: p4d.24xlarge on aws, price of 2026-11-09."),
        ("L4:8", [], "Cheapest known: g6.48xlarge on aws, undated price."),
    ],
)
def test_a_plan_says_what_is_known_of_its_price(accelerators: str, infra: list[str], words: str) -> None:
    plan = plan_for("r1-70b", resources={"accelerators": [accelerators], "infra": infra})
    assert plan.reason.endswith(words)


def test_a_plan_on_ones_own_cluster_says_nothing_of_prices() -> None:
    plan = plan_for("r1-70b", resources={"accelerators": ["GB200:4"], "infra": ["kubernetes"]})
    assert "price" not in plan.reason


def test_spot_prices_rank_spot_plans() -> None:
    plan = plan_for("r1", resources={"infra": ["aws"], "capacityType": "Spot"})
    assert plan.hourly_cost == Decimal("6.84")


def test_a_spot_price_is_not_given_the_day_of_the_on_demand_price() -> None:
    spot = plan_for("r1", resources={"infra": ["aws"], "capacityType": "Spot"})
    assert "Cheapest known: p5en.48xlarge on aws, undated price." in spot.reason
    on_demand = plan_for("r1", resources={"infra": ["aws"]})
    assert "Cheapest known: p5en.48xlarge on aws, price of 2026-08-01." in on_demand.reason


def test_a_spot_machine_without_a_price_ranks_by_what_it_costs_on_demand() -> None:
    spot: dict[str, Any] = {"infra": ["aws"], "capacityType": "Spot"}
    plan = plan_for("r1-8b", resources=spot)
    assert plan.accelerators[0] == "L4:1"
    assert plan.hourly_cost is None
    assert plan.reason.endswith("No spot price of L4:1 on aws is known; on demand it would be 0.80 $/h.")
    reasons = {str(c.accelerator): c.reason for c in plan.alternatives}
    assert reasons["A100:8"] == "at least 5.24 $/h more than L4:1"
    assert reasons["RTXPRO6000:1"] == "its price is not known: at most 3.36 $/h"
    assert plan_for("r1-8b", resources={**spot, "maxHourlyCost": "0.9"}).accelerators == ("L4:1",)


def test_gpus_are_worth_their_share_of_the_smallest_machine_with_a_price() -> None:
    assert CATALOG.worth(parse_accelerator("H200:2")) == Decimal(36) / 4
    assert CATALOG.worth(parse_accelerator("h200:1")) == Decimal("4.5")
    assert CATALOG.worth(parse_accelerator("GB200:4")) is None


def test_clouds_without_spot_machines_give_no_price_to_one() -> None:
    plan = plan_for("r1-8b", resources={"infra": ["lambda", "aws"], "capacityType": "Spot"})
    assert "GH200:1" not in plan.accelerators


def test_a_fallback_to_on_demand_counts_as_on_demand() -> None:
    plan = plan_for("r1", resources={"infra": ["aws"], "capacityType": "SpotThenOnDemand"})
    assert plan.hourly_cost == Decimal("63.296")


def test_the_price_of_several_nodes_is_counted() -> None:
    plan = plan_for("r1", resources={"accelerators": ["H100:8"], "infra": ["lambda"]})
    assert (plan.nodes, plan.hourly_cost) == (2, Decimal("63.84"))


def test_nodes_are_planned_when_the_user_leaves_them_out() -> None:
    assert plan_for("r1", resources={"accelerators": ["H100:8"]}).nodes == 2
    assert plan_for("r1", resources={"accelerators": ["H200:8"]}).nodes == 1


def test_the_fewest_nodes_win_and_gpus_that_need_more_are_said_why_not() -> None:
    plan = plan_for("r1", resources={"accelerators": ["H100:8", "H200:8"]})
    assert plan.nodes == 1
    assert plan.accelerators == ("H200:8",)
    (other,) = plan.alternatives
    assert str(other.accelerator) == "H100:8"
    assert "8×H100 offer 583 GiB usable" in other.reason


def test_the_context_holds_on_each_of_the_users_gpus() -> None:
    plan = plan_for("r1-8b", resources={"accelerators": ["A100-80GB:1", "L4:1"]})
    alone = plan_for("r1-8b", resources={"accelerators": ["L4:1"]})
    assert plan.max_model_len == alone.max_model_len
    assert all(options.max_model_len == plan.max_model_len for options in plan.serve.values())


def test_chosen_machines_hold_a_context_that_reasoning_can_use() -> None:
    for model in CATALOG.models.values():
        plan = plan_for(model.id)
        assert plan.launchable, model.id
        assert plan.max_model_len
        assert plan.max_model_len >= min(8192, model.context_length), model.id


def test_what_can_run_a_format_comes_before_what_must_emulate_it() -> None:
    plan = plan_for("r1", resources={"infra": ["aws"]})
    emulated = [candidate.emulated for candidate in plan.candidates]
    assert not emulated[0]
    assert plan.accelerators[0] == "H200:8"


def test_a_price_limit_drops_what_is_above_it() -> None:
    plan = plan_for("r1-8b", resources={"maxHourlyCost": "3"}, replicas=2)
    assert all(c.hourly_cost is not None and c.hourly_cost <= Decimal("1.5") for c in plan.candidates)
    assert plan.max_instance_hourly_cost == Decimal("1.5")


def test_the_live_catalogs_prices_change_the_choice() -> None:
    live = PriceInfo(
        cloud="gcp", instance_type="x", accelerators="A10G:1", on_demand=Decimal("0.1"), as_of=None, source="live"
    )
    assert plan_for("r1-8b", CATALOG.with_prices([*CATALOG.prices, live])).accelerators[0] == "A10G:1"


@pytest.mark.parametrize(
    ("engine", "nodes", "image", "expected"),
    [
        ("Auto", 1, None, "VLLM"),
        ("Auto", 2, None, "SGLang"),
        ("VLLM", 2, None, "VLLM"),
        ("SGLang", 1, None, "SGLang"),
        ("Auto", 1, "lmsysorg/sglang:v0.5.23", "SGLang"),
        ("Auto", 1, "me/own:1", "VLLM"),
        ("Auto", 1, "me/sglang-and-vllm:1", "VLLM"),
        ("Auto", 2, "vllm/vllm-openai:v0.33.0", "VLLM"),
    ],
)
def test_auto_is_vllm_on_one_node_and_sglang_on_several_unless_the_image_says_otherwise(
    engine: str, nodes: int, image: str | None, expected: str
) -> None:
    plan = plan_for(
        "r1", engine={"name": engine, "image": image}, resources={"accelerators": ["H200:8"], "nodes": nodes}
    )
    assert plan.engine.value == expected


def test_auto_takes_the_engine_that_the_users_arguments_belong_to() -> None:
    plan = plan_for("r1-8b", engine={"args": ["--mem-fraction-static", "0.8"]}, resources={"accelerators": ["L4:1"]})
    assert plan.engine is EngineName.SGLANG


def test_auto_takes_the_only_engine_that_can() -> None:
    plan = plan_for("meituan/DeepSeek-R1-Block-INT8", resources={"accelerators": ["H200:8"]})
    assert plan.engine is EngineName.SGLANG


@pytest.mark.parametrize(
    ("args", "field", "more"),
    [
        (["--gpu-memory-utilization", "0.95"], "kv_cache", True),
        (["--gpu-memory-utilization", "0.85"], "kv_cache", False),
        (["--quantization", "fp8"], "kv_cache", True),
        (["--kv-cache-dtype", "fp8"], "tokens", True),
        (["--max-num-seqs", "16"], "kv_cache", True),
        (["--enforce-eager"], "kv_cache", True),
        (["--no-enforce-eager"], "kv_cache", False),
    ],
)
def test_the_users_vllm_arguments_change_the_arithmetic(args: list[str], field: str, more: bool) -> None:
    resources = {"accelerators": ["L4:1"]}
    plain = plan_for("r1-8b", engine={"name": "VLLM"}, resources=resources).memory
    changed = plan_for("r1-8b", engine={"name": "VLLM", "args": args}, resources=resources).memory
    assert (getattr(changed, field) > getattr(plain, field)) is more


@pytest.mark.parametrize(("fraction", "more"), [("0.92", True), ("0.7", False)])
def test_sglangs_static_fraction_changes_the_arithmetic(fraction: str, more: bool) -> None:
    resources = {"accelerators": ["L40S:1"]}
    plain = plan_for("r1-8b", engine={"name": "SGLang"}, resources=resources).memory
    args = ["--mem-fraction-static", fraction]
    changed = plan_for("r1-8b", engine={"name": "SGLang", "args": args}, resources=resources).memory
    assert plain
    assert changed
    assert (changed.kv_cache > plain.kv_cache) is more


def test_online_fp8_makes_a_model_fit_that_did_not() -> None:
    resources = {"accelerators": ["L4:1"], "nodes": 1}
    assert not plan_for("r1-14b", resources=resources).launchable
    quantised = plan_for("r1-14b", engine={"name": "VLLM", "args": ["--quantization", "fp8"]}, resources=resources)
    assert quantised.launchable


def test_a_users_tensor_parallel_size_is_planned_with() -> None:
    engine = {"name": "VLLM", "args": ["--tensor-parallel-size", "2"]}
    plan = plan_for("r1-7b", engine=engine, resources={"accelerators": ["L4:8"]})
    assert (plan.tensor_parallel_size, plan.data_parallel_size) == (2, 1)
    assert plan.overrides == ()


def test_a_replaced_flag_is_listed() -> None:
    engine = {"name": "VLLM", "args": ["--reasoning-parser", "qwen3"]}
    plan = plan_for("r1-8b", engine=engine, resources={"accelerators": ["L4:1"]})
    assert plan.to_status().overrides == ("--reasoning-parser deepseek_r1",)


def test_70b_on_one_h200_is_tight_when_the_user_raises_utilization() -> None:
    resources = {"accelerators": ["H200:1"], "nodes": 1}
    assert plan_for("r1-70b", resources=resources).verdict is Verdict.DOES_NOT_FIT
    engine = {"name": "VLLM", "maxModelLen": 4096, "args": ["--gpu-memory-utilization", "0.98"]}
    plan = plan_for("r1-70b", engine=engine, resources=resources)
    assert plan.verdict is Verdict.TIGHT
    assert (plan.serve[1].max_num_seqs, plan.serve[1].max_num_batched_tokens) == (64, 2048)


def test_an_unknown_model_is_served_on_the_users_word() -> None:
    plan = plan_for("acme/own", resources={"accelerators": ["H100:4"], "nodes": 2}, engine={"name": "VLLM"})
    assert plan.verdict is Verdict.UNKNOWN
    assert plan.launchable
    assert (plan.tensor_parallel_size, plan.pipeline_parallel_size) == (4, 2)
    assert plan.max_model_len is None


def test_the_name_as_the_user_wrote_it_comes_first() -> None:
    plan = plan_for("DeepSeek-R1-685B", model_fields={"servedNames": ["chat"]}, resources={"accelerators": ["H200:8"]})
    assert plan.served_names == ("DeepSeek-R1-685B", "chat", "deepseek-ai/DeepSeek-R1")
    assert next(iter(plan.serve.values())).model == "deepseek-ai/DeepSeek-R1"


def test_a_directory_is_served_under_the_users_name_with_the_models_parsers() -> None:
    plan = plan_for("v3.1", model_fields={"path": "/m"}, resources={"accelerators": ["H200:8"]})
    options = plan.serve[8]
    assert (options.model, options.served_names) == ("/m", ("v3.1",))
    assert (options.reasoning_parser, options.tool_parser) == ("deepseek_v3", "deepseek_v31")


def test_no_machine_is_rented_that_costs_over_three_times_the_cheapest() -> None:
    for model in ("r1-8b", "r1-70b", "r1"):
        plan = plan_for(model, resources={"infra": ["aws", "lambda", "nebius", "gcp"]})
        assert plan.hourly_cost
        assert all(c.hourly_cost and c.hourly_cost <= 3 * plan.hourly_cost for c in plan.candidates)


def test_ones_own_cluster_is_searched_for_every_gpu_that_fits() -> None:
    plan = plan_for("r1-8b", resources={"infra": ["kubernetes"]})
    assert {"L4:1", "A10G:1", "A10:1", "RTX4090:1", "H100:1"} <= set(plan.accelerators)


def test_what_no_cloud_rents_is_not_planned_there() -> None:
    assert "GB200:4" in plan_for("v4-flash", resources={"infra": ["kubernetes"]}).accelerators
    rented = plan_for("v4-flash", resources={"infra": ["gcp"]})
    assert not [c for c in (*rented.candidates, *rented.alternatives) if c.gpu.not_rented]
    words = "GB200:4: no cloud of SkyPilot's catalog rents it; use another one, or infra"
    with pytest.raises(PlanInputError, match=words):
        plan_for("v4-flash", resources={"infra": ["gcp"], "accelerators": ["GB200:4"]})


def test_what_a_cloud_has_come_to_rent_is_planned_there() -> None:
    price = PriceInfo(
        cloud="gcp",
        instance_type="a4x-highgpu-4g",
        accelerators="GB200:4",
        on_demand=Decimal(30),
        as_of=None,
        source="x",
    )
    catalog = CATALOG.with_prices([price])
    assert plan_for("v4-flash", catalog, resources={"infra": ["gcp"]}).accelerators == ("GB200:4",)
