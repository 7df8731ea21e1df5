"""Every command line the planner can make is accepted by the engines' real argument parsers; none uses a dead flag."""

from collections.abc import Iterator
from typing import Any

import pytest

from deepseek_operator.api.spec import DeepSeekDeploymentSpec, EngineName
from deepseek_operator.catalog import load_catalog
from deepseek_operator.engines import Rank, get_engine
from deepseek_operator.planning import plan
from tests.contract.conftest import ParseCommands, Verdicts

CATALOG = load_catalog()
LARGEST = ["B300:8", "H200:8"]
"""Either holds every model of the catalog, on one node and on two; not every kernel runs on a B300 (INT8)."""

OTHERS: dict[str, dict[str, Any]] = {
    "tight batches": {"model": {"name": "r1-70b"}, "resources": {"accelerators": ["L4:8"]}},
    "half precision": {"model": {"name": "r1-1.5b"}, "resources": {"accelerators": ["T4:1"]}},
    "copies of the model": {"model": {"name": "r1-7b"}, "resources": {"accelerators": ["L4:8"]}},
    "data-parallel attention": {"model": {"name": "v3.2"}, "resources": {"accelerators": ["H200:8"]}},
    "pipeline stages": {"model": {"name": "r1"}, "resources": {"accelerators": ["H100:12"], "nodes": 1}},
    "a CPU engine": {"model": {"name": "r1-8b"}, "resources": {"accelerators": [], "cpus": "8", "memory": "64"}},
    "CPU engines on two nodes": {
        "model": {"name": "r1", "path": "/m"},
        "resources": {"accelerators": [], "cpus": "1", "memory": "4", "nodes": 2},
    },
    "an unknown model": {"model": {"name": "a/b"}, "resources": {"accelerators": ["L4:2"]}},
    "a key on SGLang": {
        "model": {"name": "r1-8b"},
        "engine": {"name": "SGLang"},
        "endpoint": {"apiKeySecretRef": {"name": "k"}},
        "resources": {"accelerators": ["L4:2"]},
    },
    "the user's arguments": {
        "model": {"name": "r1-8b"},
        "engine": {
            "name": "VLLM",
            "args": ["--gpu-memory-utilization=0.9", "--kv-cache-dtype", "fp8", "-tp", "1"],
        },
        "resources": {"accelerators": ["L4:1"]},
    },
}


def commands_of(name: str, spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    spec["resources"].setdefault("infra", ["kubernetes"])
    result = plan(DeepSeekDeploymentSpec.model_validate(spec), CATALOG)
    assert result.launchable, f"{name}: {result.reason}"
    for count, options in result.serve.items():
        for rank in range(result.nodes):
            words = get_engine(result.engine).command(options, Rank(str(rank), "10.0.0.1", is_head=rank == 0))
            yield {"id": f"{name}, {count} GPUs, rank {rank}", "argv": [str(word) for word in words]}


def every_command() -> list[dict[str, Any]]:
    """All models with all their engines on one node and on two, and each feature that adds flags."""
    commands: list[dict[str, Any]] = []
    for model in CATALOG.models.values():
        for engine in model.engines:
            for nodes in (1, 2):
                resources = {"accelerators": LARGEST, "nodes": nodes}
                spec = {"model": {"name": model.id}, "engine": {"name": engine}, "resources": resources}
                commands += commands_of(f"{model.id} with {engine} on {nodes} nodes", spec)
    for name, spec in OTHERS.items():
        commands += commands_of(name, spec)
    return commands


TLS = ["--ssl-certfile", "c.pem", "--ssl-keyfile", "c.pem"]
"""What the run script adds on rented machines."""
COMMANDS = [
    *every_command(),
    {"id": "vLLM over TLS", "argv": ["vllm", "serve", "m", *TLS, "--middleware", "key_guard.KeyGuard"]},
    {"id": "SGLang over TLS", "argv": ["python3", "-m", "sglang.launch_server", "--model-path", "m", *TLS]},
]
SGLANG = ["python3", "-m", "sglang.launch_server", "--model-path", "m"]
WRONG = {
    "vLLM, no such flag": (["vllm", "serve", "m", "--no-such-flag"], "unrecognized"),
    "vLLM, abbreviated": (["vllm", "serve", "m", "--max-model", "1"], "unrecognized"),
    "vLLM, no such parser": (["vllm", "serve", "m", "--reasoning-parser", "nope"], "unknown reasoning parser"),
    "SGLang, removed": ([*SGLANG, "--enable-ep-moe"], "unrecognized"),
    "SGLang, abbreviated": ([*SGLANG, "--tp", "2"], "unrecognized"),
    "SGLang, no such parser": ([*SGLANG, "--reasoning-parser", "nope"], "invalid choice"),
}
DEPRECATED = {
    "SGLang, deprecated": [*SGLANG, "--enable-dp-attention"],
    "vLLM, deprecated": ["vllm", "serve", "m", "--log-config-file", "x"],
}

CHOICES = {name: sorted(get_engine(name).choices) for name in (EngineName.VLLM, EngineName.SGLANG)}


@pytest.fixture(scope="module")
def verdicts(parse_commands: ParseCommands) -> Verdicts:
    """All verdicts in one run of the interpreter: importing the engines takes most of the time."""
    wrong = [{"id": name, "argv": argv} for name, (argv, _) in WRONG.items()]
    deprecated = [{"id": name, "argv": argv} for name, argv in DEPRECATED.items()]
    start = {EngineName.VLLM: "vllm", EngineName.SGLANG: "python3"}
    asked = [{"id": name.value, "argv": [start[name]], "choices": flags} for name, flags in CHOICES.items()]
    return parse_commands([*COMMANDS, *wrong, *deprecated, *asked])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command["id"])
def test_the_engine_accepts_the_command_line(verdicts: Verdicts, command: dict[str, Any]) -> None:
    verdict = verdicts[command["id"]]
    assert verdict["error"] is None, " ".join(command["argv"])
    assert verdict["deprecated"] == []


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_line_is_refused(verdicts: Verdicts, name: str) -> None:
    assert WRONG[name][1] in verdicts[name]["error"]


@pytest.mark.parametrize("name", DEPRECATED)
def test_a_deprecated_flag_is_noticed(verdicts: Verdicts, name: str) -> None:
    assert verdicts[name]["deprecated"]


@pytest.mark.parametrize("name", CHOICES)
def test_no_value_that_the_engine_knows_is_refused(verdicts: Verdicts, name: EngineName) -> None:
    """And none is let through that it does not know, where the interpreter has the pinned release and no other."""
    engine, answer = get_engine(name), verdicts[name.value]
    for flag, known in answer["choices"].items():
        ours = {value for value in engine.choices[flag] if value != "None"}  # vLLM's word for leaving a flag out
        assert set(known) <= ours, flag
        if answer["version"].partition("+")[0] == engine.version:
            assert set(known) == ours, flag
