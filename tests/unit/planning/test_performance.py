"""What the speed of a plan depends on besides its machine, and what is said where it is not known."""

from typing import Any

import pytest

from deepseek_operator.catalog import Catalog
from deepseek_operator.planning.performance import Performance
from tests.unit.planning.builders import CATALOG, plan_for

TWO_NODES = {"accelerators": ["H100:8"], "nodes": 2, "interconnect": "Fast"}


def performance(model: str, used: Catalog = CATALOG, **parts: Any) -> Performance:
    found = plan_for(model, used, **parts).performance
    assert found
    return found


def with_network(gbs: float | None) -> Catalog:
    gpus = {**CATALOG.gpus, "H100": CATALOG.gpus["H100"].model_copy(update={"network_bandwidth": gbs})}
    return Catalog(CATALOG.models, gpus, CATALOG.prices)


def test_the_network_of_a_gpu_counts_where_the_user_calls_it_fast() -> None:
    slow, quick = (performance("r1", with_network(gbs), resources=TWO_NODES) for gbs in (10, 100))
    assert quick.decode_tokens_per_second > slow.decode_tokens_per_second
    assert quick.error_percent == 15


def test_a_network_of_which_nothing_is_known_but_that_it_is_fast_is_faster_than_ethernet() -> None:
    unknown = performance("r1", with_network(None), resources=TWO_NODES)
    slow = performance("r1", with_network(1), resources=TWO_NODES)
    assert unknown.error_percent == 15
    assert unknown.decode_tokens_per_second > slow.decode_tokens_per_second


# engine, arguments, context, GPUs, requests that run at once
AT_ONCE = [
    ("VLLM", "--max-num-seqs 4", None, "H100:1", 4),
    ("SGLang", "--max-running-requests 4", None, "H100:1", 4),
    ("SGLang", "", 512, "H100:1", 256),
    ("SGLang", "", None, "L40S:1", 69),  # 173,854 tokens, 2,500 for each
]


@pytest.mark.parametrize(("engine", "args", "context", "gpus", "requests"), AT_ONCE)
def test_no_more_requests_run_at_once_than_the_engine_lets(
    engine: str, args: str, context: int | None, gpus: str, requests: int
) -> None:
    fields = {"name": engine, "args": args.split(), "maxModelLen": context}
    assert performance("r1-8b", engine=fields, resources={"accelerators": [gpus]}).concurrency == requests


def test_no_more_requests_run_at_once_than_in_the_batch_that_was_made_smaller() -> None:
    resources = {"accelerators": ["L4:8"], "nodes": 1}
    found = performance("r1-70b", engine={"name": "VLLM", "maxModelLen": 512}, resources=resources)
    assert (found.concurrency, found.limited_by_engine) == (64, True)


def test_weights_that_are_quantised_already_are_like_those_that_were_measured() -> None:
    engine = {"name": "VLLM", "args": ["--quantization", "fp8"]}
    assert performance("r1", engine=engine, resources={"accelerators": ["H200:8"]}).error_percent == 15


def test_ones_own_machines_have_no_price_of_tokens_at_any_load() -> None:
    found = performance("r1-8b", resources={"infra": ["kubernetes"], "accelerators": ["L4:1"]})
    assert found.dollars_per_million_tokens is None
    assert found.dollars_per_million_tokens_at_half_load is None
    unknown = performance("r1-8b", resources={"infra": ["gcp"], "accelerators": ["A10G:1"]})
    assert unknown.dollars_per_million_tokens_at_half_load is None
