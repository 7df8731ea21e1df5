"""What is read in engines' own answers at /metrics: one of vLLM under load, one that SGLang's collectors wrote."""

from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deepseek_operator.api.spec import EngineName
from deepseek_operator.engines import ENGINES, SGLANG, VLLM
from deepseek_operator.engines.base import Engine
from deepseek_operator.engines.metrics import Figures, read_figures

REPORTED = Path(__file__).parent / "reported"
BODIES = {
    EngineName.VLLM: (REPORTED / "vllm-0.32.0.txt").read_bytes(),
    EngineName.SGLANG: (REPORTED / "sglang-0.5.23.txt").read_bytes(),
}


def test_an_answer_of_vllm_is_read() -> None:
    found = read_figures(VLLM.metrics, BODIES[EngineName.VLLM])
    assert replace(found, kv_cache_usage=None) == Figures(1_048_576, 370.0, 16, 8, None)
    assert found.kv_cache_usage == pytest.approx(0.00195, abs=1e-5)


def test_an_answer_of_sglang_is_read() -> None:
    assert read_figures(SGLANG.metrics, BODIES[EngineName.SGLANG]) == Figures(482_320, 7_557_572.0, 7, 3, 0.28)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda engine: engine.name)
def test_it_finds_what_a_full_parser_finds(engine: Engine) -> None:
    body = BODIES[engine.name]
    samples: dict[str, float] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            samples[sample.name] = samples.get(sample.name, 0.0) + sample.value
    found, names = read_figures(engine.metrics, body), engine.metrics
    assert found.generation_tokens == samples[names.generation_tokens]
    assert (found.running, found.waiting) == (samples[names.running], samples[names.waiting])
    assert found.kv_cache_usage == samples[names.kv_cache_usage]


@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda engine: engine.name)
def test_every_series_that_is_named_is_in_the_answer(engine: Engine) -> None:
    names = engine.metrics
    for name in (names.prompt_tokens, names.time_to_first_token, names.inter_token_latency, names.request_latency):
        assert f"\n# TYPE {name} ".encode() in BODIES[engine.name]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", Figures()),
        (b"<html>not found</html>", Figures()),
        (b"vllm:num_requests_running 3", Figures(running=3)),
        (b"vllm:num_requests_running 3\r\n", Figures(running=3)),
        (b'vllm:num_requests_running{engine="0"} 3\nvllm:num_requests_running{engine="1"} 4\n', Figures(running=7)),
        (b"vllm:num_requests_running NaN\n", Figures()),
        (b"vllm:num_requests_running +Inf\n", Figures()),
        (b"vllm:num_requests_running -1\n", Figures()),
        (b"vllm:num_requests_running a lot\n", Figures()),
        (b"# HELP vllm:num_requests_running Requests\n", Figures()),
        (b"x_vllm:num_requests_running 3\nvllm:num_requests_running_max 9\n", Figures()),
        (
            b'vllm:kv_cache_usage_perc{engine="0"} 0.1\nvllm:kv_cache_usage_perc{engine="1"} 0.9\n',
            Figures(None, None, None, None, 0.9),
        ),
        (b'vllm:cache_config_info{block_size="16",num_gpu_blocks="1000"} 1.0\n', Figures(16_000)),
        (
            b'vllm:cache_config_info{block_size="16",kv_cache_size_tokens="8000",num_gpu_blocks="1000"} 1\n',
            Figures(8000),
        ),
        (b'vllm:cache_config_info{block_size="16",kv_cache_size_tokens="None",num_gpu_blocks="10"} 1\n', Figures(160)),
        (b'vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1.0\n', Figures()),
        (
            b'vllm:cache_config_info{block_size="16",num_gpu_blocks="9"} 1\n'
            b'vllm:cache_config_info{block_size="16",num_gpu_blocks="8"} 1\n',
            Figures(128),
        ),
        (
            b'vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1\n'
            b'vllm:cache_config_info{block_size="16",num_gpu_blocks="8"} 1\n',
            Figures(128),
        ),
        (b"vllm:generation_tokens_total 1.7e+06\n", Figures(None, 1_700_000.0)),
    ],
)
def test_what_cannot_be_read_is_unknown(body: bytes, expected: Figures) -> None:
    assert read_figures(VLLM.metrics, body) == expected
