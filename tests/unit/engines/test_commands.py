import dataclasses
from typing import Any

import pytest

from deepseek_operator.engines import ENGINES, SGLANG, VLLM, Engine, EngineName, Rank, ServeOptions, parse_arguments

OPTIONS = ServeOptions(model="org/model", served_names=("name", "other"), port=8000)


def command(engine: Engine, rank: Rank | None = None, **changes: object) -> list[str]:
    return list(engine.command(dataclasses.replace(OPTIONS, **changes), rank or Rank()))  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda engine: engine.name)
def test_each_engine_has_pinned_images_and_sane_times(engine: Engine) -> None:
    assert engine.image.endswith(f":v{engine.version}")
    assert "latest" not in engine.image
    assert engine.health_path.startswith("/")
    assert engine.startup_seconds(641, 2) > engine.startup_seconds(641, 1) > engine.startup_seconds(15, 1) >= 600
    assert engine.graceful_stop_seconds > 0


def test_default_ports_are_the_engines_own() -> None:
    assert (VLLM.port, SGLANG.port) == (8000, 30000)


def test_vllm_on_one_node_is_this_line() -> None:
    assert command(VLLM, max_model_len=4096, reasoning_parser="deepseek_r1", tool_parser="deepseek_v3") == [
        "vllm", "serve", "org/model",
        "--served-model-name", "name", "other",
        "--host", "0.0.0.0", "--port", "8000",
        "--tensor-parallel-size", "1",
        "--max-model-len", "4096",
        "--reasoning-parser", "deepseek_r1",
        "--enable-auto-tool-choice", "--tool-call-parser", "deepseek_v3",
    ]  # fmt: skip


def test_sglang_on_two_nodes_is_this_line() -> None:
    line = command(SGLANG, Rank("1", "10.0.0.1", is_head=False), nodes=2, tensor_parallel_size=16, max_model_len=163840)
    assert line == [
        "python3", "-m", "sglang.launch_server",
        "--model-path", "org/model", "--served-model-name", "name",
        "--host", "0.0.0.0", "--port", "8000", "--enable-metrics",
        "--tp-size", "16", "--context-length", "163840",
        "--nnodes", "2", "--node-rank", "1", "--dist-init-addr", "10.0.0.1:5000",
    ]  # fmt: skip


PARALLEL = {"tensor_parallel_size": 4, "pipeline_parallel_size": 2, "data_parallel_size": 3, "expert_parallel": True}


@pytest.mark.parametrize(
    ("engine", "changes", "flags"),
    [
        (
            VLLM,
            PARALLEL,
            "--tensor-parallel-size 4 --pipeline-parallel-size 2 --data-parallel-size 3 --enable-expert-parallel",
        ),
        (SGLANG, PARALLEL, "--tp-size 4 --pp-size 2 --dp-size 3 --ep-size 4"),
        (VLLM, {"gpu_memory_utilization": 0.9, "trust_remote_code": True}, "0.9 --trust-remote-code"),
        (SGLANG, {"max_num_seqs": 8, "trust_remote_code": True}, "8 --trust-remote-code"),
    ],
)
def test_each_setting_of_the_plan_has_its_flag(engine: Engine, changes: dict[str, Any], flags: str) -> None:
    assert flags in " ".join(command(engine, **changes))


@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda engine: engine.name)
def test_one_node_says_nothing_of_others(engine: Engine) -> None:
    assert not {"--nnodes", "--node-rank", "--dist-init-addr", "--master-addr"} & set(command(engine))


def test_the_users_value_replaces_that_of_the_models_flag() -> None:
    user = parse_arguments(("--block-size", "128"), VLLM.aliases)
    line = command(VLLM, model_args=("--block-size", "256", "--switch"), user=user)
    assert line[-3:] == ["--switch", "--block-size", "128"]
    assert "256" not in line


def test_only_vllms_followers_are_headless() -> None:
    head = command(VLLM, Rank("0", "h"), nodes=2)
    follower = command(VLLM, Rank("1", "h", is_head=False), nodes=2)
    assert "--headless" not in head
    assert follower == [*head[: head.index("--node-rank") + 1], "1", "--master-addr", "h", "--headless"]


def test_a_cpu_engine_runs_eagerly_and_binds_no_threads() -> None:
    assert "--enforce-eager" in command(VLLM, cpu=True)
    env = VLLM.environment(dataclasses.replace(OPTIONS, cpu=True), 600)
    assert env["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert "VLLM_CPU_OMP_THREADS_BIND" not in VLLM.environment(OPTIONS, 600)


def test_large_models_get_the_time_to_start_that_the_plan_gives_them() -> None:
    assert VLLM.environment(OPTIONS, 4321)["VLLM_ENGINE_READY_TIMEOUT_S"] == "4321"


def test_switching_tool_choice_off_leaves_the_parser_out() -> None:
    user = parse_arguments(("--no-enable-auto-tool-choice",), VLLM.aliases)
    line = command(VLLM, tool_parser="deepseek_v3", user=user)
    assert "--tool-call-parser" not in line
    assert line[-1] == "--no-enable-auto-tool-choice"


def test_without_a_parser_nothing_is_said_of_tools() -> None:
    assert not [word for word in command(VLLM) if "tool" in word]


def test_the_key_never_stands_on_a_command_line() -> None:
    assert "--api-key" not in command(VLLM, api_key=True)
    line = command(SGLANG, api_key=True)
    assert '--api-key="$SGLANG_API_KEY"' in line


def test_what_the_users_arguments_replace_is_listed() -> None:
    user = parse_arguments(("--tensor-parallel-size=4", "--trust-remote-code"), VLLM.aliases)
    assert VLLM.planned(dataclasses.replace(OPTIONS, user=user)) == ("--tensor-parallel-size 1",)


def test_every_engine_of_the_api_is_here() -> None:
    assert set(ENGINES) == set(EngineName) - {EngineName.AUTO}
