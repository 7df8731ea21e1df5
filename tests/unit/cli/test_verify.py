"""``verify`` with a stand-in for the engine: a real program that is started, asked over HTTP, and ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from deepseek_operator.cli import engine_process
from deepseek_operator.cli.decoding import Answer, DecodingError, tokens_per_second
from deepseek_operator.cli.main import app
from deepseek_operator.planning.calibration import Measurement

PROGRAM = Path(__file__).parents[2] / "fakes" / "engine_program.py"
GPU = ("--model", "r1-8b", "--accelerators", "L4:1", "--max-model-len", "4096")
SHORT = ("--prompt-tokens", "20", "--answer-tokens", "150", "--concurrency", "4")  # 0.6 s: a busy machine may be late
DEADLINE_S = 120.0

Machine = Callable[..., dict[str, str]]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Put a stand-in on PATH and nothing else; return the environment."""

    def make(mode: str = "", program: str = "vllm") -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir()
        if program:
            executable = folder / program
            executable.write_text(f'#!/bin/sh\nexec {sys.executable} {PROGRAM} "$@"\n')
            executable.chmod(0o755)
        environment = {"PATH": str(folder), "STAND_IN": mode, "STAND_IN_PIDS": str(tmp_path / "pids")}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return environment

    monkeypatch.setattr(engine_process, "LOOK_S", 0.02)
    return make


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["verify", *words])


def processes(tmp_path: Path) -> list[int]:
    return [int(pid) for pid in (tmp_path / "pids").read_text().split()]


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def assert_ended(tmp_path: Path) -> None:
    """The engine and its worker are gone, within a deadline: the worker is not our child."""
    deadline = time.monotonic() + DEADLINE_S
    while any(map(running, processes(tmp_path))):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_plan_stands_beside_what_was_measured_and_a_row_for_calibrate_below(
    machine: Machine, tmp_path: Path
) -> None:
    machine()
    log = tmp_path / "log"
    result = run(*GPU, *SHORT, "--log", str(log))
    assert result.exit_code == 0, result.output
    comparison = [line for line in result.stdout.splitlines() if line.startswith("#")]
    assert comparison[0] == "# deepseek-ai/DeepSeek-R1-Distill-Llama-8B with VLLM on L4:1, made-up weights"
    assert any("KV cache tokens" in line and "27,000" in line for line in comparison)
    (row,) = yaml.safe_load(result.stdout)["measurements"]
    measured = Measurement.model_validate(row)
    assert (measured.accelerators, measured.kv_cache_tokens, measured.concurrency) == ("L4:1", 27_000, 4)
    assert 0 < (measured.decode_tokens_per_second or 0) <= 250  # the stand-in waits 4 ms before each token
    arguments = log.read_text().splitlines()[0]
    assert "--load-format dummy" in arguments
    assert "--host 127.0.0.1" in arguments
    assert_ended(tmp_path)


def test_the_row_is_one_that_calibrate_takes(machine: Machine, tmp_path: Path) -> None:
    machine()
    file = tmp_path / "measurements.yaml"
    file.write_text(run(*GPU, *SHORT).stdout)
    result = CliRunner().invoke(app, ["calibrate", "-f", str(file)])
    assert result.exit_code == 0, result.output
    assert "# r1-8b on L4:1: kvCacheTokens planned" in result.stdout
    assert "name: L4" in result.stdout


def test_a_cpu_engine_is_compared_and_has_no_row(machine: Machine, tmp_path: Path) -> None:
    machine()
    result = run("--model", "r1-8b", "--cpu", "--memory", "24", "--path", "/models/tiny", *SHORT)
    assert result.exit_code == 0, result.output
    assert "on CPUs" in result.stdout
    assert yaml.safe_load(result.stdout) is None
    assert_ended(tmp_path)


@pytest.mark.parametrize(
    ("mode", "words", "said"),
    [
        ("refuse", (), "the engine ended with status 1; it wrote last:"),
        ("refuse", (), "No available memory for the cache blocks."),
        ("slow", ("--timeout", "1"), "no answer at /health within 1 s"),
        ("dies", (), "RuntimeError: CUDA error: an illegal memory access was encountered"),
    ],
)
def test_an_engine_that_does_not_serve_is_an_error_with_its_last_words(
    machine: Machine, mode: str, words: tuple[str, ...], said: str
) -> None:
    machine(mode)
    result = run(*GPU, *SHORT, *words)
    assert result.exit_code == 1
    assert said in result.output


def test_an_engine_that_will_not_end_is_killed(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("stubborn")
    monkeypatch.setattr(engine_process, "STOP_S", 0.1)
    assert run(*GPU, *SHORT).exit_code == 0
    assert_ended(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_the_engine(machine: Machine, tmp_path: Path, number: signal.Signals) -> None:
    environment = machine("slow")
    command = [sys.executable, "-c", "from deepseek_operator.cli.main import app; app()", "verify", *GPU, *SHORT]
    # Tests that a shell runs in the background have inherited that SIGINT is ignored.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    variables = {**os.environ, **environment}
    process = subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    deadline = time.monotonic() + DEADLINE_S
    while not (tmp_path / "pids").exists() or len((tmp_path / "pids").read_text().split()) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert "interrupted; the engine has been ended" in said
    assert_ended(tmp_path)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Take SIGINT as a terminal's: tests that a shell runs in the background have inherited that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_the_engine_is_started_ends_it_as_well(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    machine("slow")

    def start(*words: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(*words, **options)
        deadline = time.monotonic() + DEADLINE_S
        while not (tmp_path / "pids").exists() or len(processes(tmp_path)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        signal.raise_signal(number)
        return process

    monkeypatch.setattr(engine_process, "subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": start}))
    result = run(*GPU, *SHORT)
    assert (result.exit_code, "interrupted; the engine has been ended" in result.output) == (130, True)
    assert_ended(tmp_path)


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("VLLM", "VLLM is not installed here: `vllm` on PATH"),
        ("SGLang", "SGLang is not installed here: `python3` on PATH"),
    ],
)
def test_a_machine_without_the_engine_is_told_what_to_do(machine: Machine, engine: str, said: str) -> None:
    machine(program="")
    result = run("--model", "r1-8b", "--accelerators", "H100:1", "--max-model-len", "4096", *SHORT, "--engine", engine)
    assert result.exit_code == 1
    assert said in result.output
    assert "Run this in" in result.output


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--model", "r1-8b"), 2, "exactly one of --accelerators and --cpu"),
        (("--model", "r1-8b", "--cpu", "--accelerators", "L4:1"), 2, "exactly one of --accelerators and --cpu"),
        (("--model", "r1-8b", "--accelerators", "Nonesuch:1"), 2, "Nonesuch"),
        (("--model", "r1-9b", "--accelerators", "L4:1"), 2, "--model r1-9b: is not in the catalog"),
        (("--model", "r1", "--accelerators", "L4:1"), 3, "L4"),
        ((*GPU, "--prompt-tokens", "4000"), 2, "are 4500 together; the planned context is 4096"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_started(
    machine: Machine, words: tuple[str, ...], status: int, said: str
) -> None:
    machine("refuse")
    result = run(*words)
    assert (result.exit_code, said in result.output) == (status, True), result.output


def test_output_counts_only_while_all_requests_are_being_answered() -> None:
    first = Answer([0.0, 1.0, 2.0, 3.0, 4.0], 5)
    second = Answer([1.0, 2.0, 3.0, 4.0, 5.0], 5)
    assert tokens_per_second([first, second]) == 2.0
    merged = Answer([1.0, 3.0, 5.0], 6)  # two tokens a piece
    assert tokens_per_second([merged]) == 1.0
    with pytest.raises(DecodingError, match="--answer-tokens"):
        tokens_per_second([Answer([0.0, 1.0], 2), Answer([2.0, 3.0], 2)])
