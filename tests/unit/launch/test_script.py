"""The run script against bash itself: words arrive as they were written, and an engine that ends fails the job."""

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_operator.engines import ENGINES, SGLANG, VLLM, Arguments, Engine, Rank, ServeOptions, Shell, get_engine
from deepseek_operator.launch.packages import setup_script, with_packages
from deepseek_operator.launch.script import quote, run_script

CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"])
WORDS = st.lists(st.text(CHARACTERS), max_size=5)
PRINTER = f"{sys.executable} -c 'import json, sys; print(json.dumps(sys.argv[1:]))'"


def bash(script: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **env}
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=environment, timeout=60, check=False
    )


@given(WORDS)
@settings(max_examples=60, deadline=None)
def test_bash_sees_every_word_exactly_as_it_was_written(words: list[str]) -> None:
    done = bash(f"{PRINTER} {quote(words)}")
    assert json.loads(done.stdout) == words


def test_only_words_of_the_project_itself_are_expanded() -> None:
    words = [Shell('"$RANK"'), "$RANK", "$(touch /tmp/never)", "`id`", "a;b", "x\ny"]
    done = bash(f"{PRINTER} {quote(words)}", RANK="7")
    assert json.loads(done.stdout) == ["7", *words[1:]]


def test_an_address_that_is_known_before_the_start_is_no_word_of_the_project() -> None:
    line = quote(SGLANG.command(options(nodes=2), Rank("1", "$(id)", is_head=False)))
    assert line.endswith("--dist-init-addr '$(id):5000'")


def fake_engine(tmp_path: Path, body: str) -> dict[str, str]:
    """Put a ``vllm`` and a ``python3`` first on PATH that write their arguments and do as told."""
    for name in ("vllm", "python3"):
        program = tmp_path / name
        program.write_text(
            f"#!{sys.executable}\nimport json, os, sys, time, signal\n"
            f"json.dump([sys.argv[1:], dict(os.environ)], open({str(tmp_path / 'seen')!r}, 'w'))\n{body}\n"
        )
        program.chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


def seen(tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    argv, env = json.loads((tmp_path / "seen").read_text())
    return argv, env


def options(**changes: object) -> ServeOptions:
    return ServeOptions(model="m", served_names=("m",), port=8000, **changes)  # type: ignore[arg-type]


@given(model=st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=30), words=WORDS)
@settings(max_examples=25, deadline=None)
def test_no_model_name_or_argument_can_inject_into_the_script(
    tmp_path_factory: pytest.TempPathFactory, model: str, words: list[str]
) -> None:
    tmp_path = tmp_path_factory.mktemp("engine")
    wanted = ServeOptions(model=model, served_names=(model,), port=1, user=Arguments(words=tuple(words)))
    done = bash(run_script(VLLM, {1: wanted}), **fake_engine(tmp_path, ""))
    argv, _ = seen(tmp_path)
    assert argv[:2] == ["serve", model]
    assert argv[len(argv) - len(words) :] == words
    assert done.returncode == 1


@pytest.mark.parametrize(("code", "expected"), [(0, 1), (1, 1), (7, 7), (137, 137)])
def test_an_engine_that_ends_fails_the_job_even_with_status_0(tmp_path: Path, code: int, expected: int) -> None:
    done = bash(run_script(VLLM, {1: options()}), **fake_engine(tmp_path, f"sys.exit({code})"))
    assert done.returncode == expected
    assert f"engine ended with status {code} on node 0" in done.stderr


def test_a_stop_reaches_the_engine_and_waits_for_it(tmp_path: Path) -> None:
    body = (
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), open(sys.path[0] + '/stopped', 'w').close(), "
        "os._exit(0)))\nopen(sys.path[0] + '/up', 'w').close()\ntime.sleep(60)"
    )
    env = {**os.environ, **fake_engine(tmp_path, body)}
    process = subprocess.Popen(["bash", "-c", run_script(VLLM, {1: options()})], env=env, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not (tmp_path / "up").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 1
    assert (tmp_path / "stopped").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_nodes_learn_rank_head_and_own_address(tmp_path: Path, rank: int) -> None:
    env = fake_engine(tmp_path, "")
    script = run_script(VLLM, {8: options(nodes=2, tensor_parallel_size=8, pipeline_parallel_size=2)})
    bash(script, **env, SKYPILOT_NODE_RANK=str(rank), SKYPILOT_NODE_IPS="10.0.0.1\n10.0.0.2")
    argv, environment = seen(tmp_path)
    assert argv[argv.index("--node-rank") + 1] == str(rank)
    assert argv[argv.index("--master-addr") + 1] == "10.0.0.1"
    assert ("--headless" in argv) is (rank == 1)
    assert environment["VLLM_HOST_IP"] == f"10.0.0.{rank + 1}"


def test_sglang_gets_its_key_from_the_environment_and_the_heads_address(tmp_path: Path) -> None:
    env = fake_engine(tmp_path, "")
    script = run_script(SGLANG, {8: options(nodes=2, tensor_parallel_size=16, api_key=True)})
    bash(script, **env, SKYPILOT_NODE_RANK="1", SKYPILOT_NODE_IPS="10.0.0.1\n10.0.0.2", SGLANG_API_KEY="a key; $HOME")
    argv, _ = seen(tmp_path)
    assert "--api-key=a key; $HOME" in argv
    assert argv[argv.index("--dist-init-addr") + 1] == "10.0.0.1:5000"
    assert "a key" not in script


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_line_break_at_the_end_of_a_secret_is_no_part_of_the_key(tmp_path: Path, ending: str) -> None:
    bash(
        run_script(VLLM, {1: options(api_key=True)}), **fake_engine(tmp_path, ""), VLLM_API_KEY=f"a key; $HOME{ending}"
    )
    _, environment = seen(tmp_path)
    assert environment["VLLM_API_KEY"] == "a key; $HOME"


def test_an_engine_with_an_empty_key_is_not_started(tmp_path: Path) -> None:
    done = bash(run_script(VLLM, {1: options(api_key=True)}), **fake_engine(tmp_path, ""), VLLM_API_KEY="\n")
    assert (done.returncode, (tmp_path / "seen").exists()) == (1, False)
    assert "the key that requests must bring is empty" in done.stderr


@pytest.mark.parametrize(("gpus", "tp"), [("1", "1"), ("4", "4")])
def test_each_number_of_gpus_gets_its_own_layout(tmp_path: Path, gpus: str, tp: str) -> None:
    serve = {1: options(), 4: options(tensor_parallel_size=4)}
    bash(run_script(VLLM, serve), **fake_engine(tmp_path, ""), SKYPILOT_NUM_GPUS_PER_NODE=gpus)
    argv, _ = seen(tmp_path)
    assert argv[argv.index("--tensor-parallel-size") + 1] == tp


def test_a_number_of_gpus_without_a_plan_fails_at_once(tmp_path: Path) -> None:
    serve = {1: options(), 4: options(tensor_parallel_size=4)}
    done = bash(run_script(VLLM, serve), **fake_engine(tmp_path, ""), SKYPILOT_NUM_GPUS_PER_NODE="2")
    assert done.returncode == 1
    assert "no plan for 2 GPUs" in done.stderr
    assert not (tmp_path / "seen").exists()


IDENTITY = base64.b64encode(b"key and certificate").decode()


def test_a_rented_machine_serves_over_tls_with_a_key_that_nobody_else_reads(tmp_path: Path) -> None:
    script = run_script(VLLM, {1: options()}, encrypted=True)
    bash(script, **fake_engine(tmp_path, ""), HOME=str(tmp_path), DEEPSEEK_OPERATOR_TLS=IDENTITY)
    argv, environment = seen(tmp_path)
    file = tmp_path / ".deepseek-operator-tls.pem"
    assert argv[-6:-2] == ["--ssl-certfile", str(file), "--ssl-keyfile", str(file)]
    assert file.read_bytes() == b"key and certificate"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "DEEPSEEK_OPERATOR_TLS" not in environment


def test_vllm_on_a_rented_machine_gets_a_guard_that_it_can_load(tmp_path: Path) -> None:
    script = run_script(VLLM, {1: options()}, encrypted=True)
    bash(script, **fake_engine(tmp_path, ""), HOME=str(tmp_path), DEEPSEEK_OPERATOR_TLS=IDENTITY, PYTHONPATH="/before")
    argv, environment = seen(tmp_path)
    assert argv[-2:] == ["--middleware", "key_guard.KeyGuard"]
    assert environment["PYTHONPATH"].endswith(":/before")
    load = "import key_guard, sys; assert key_guard.KeyGuard(None) and 'deepseek_operator' not in sys.modules"
    path = environment["PYTHONPATH"]
    done = subprocess.run(
        [sys.executable, "-S", "-c", load],
        env={"PYTHONPATH": path, "VLLM_API_KEY": "k"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_key_of_an_earlier_start_is_replaced_whoever_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / ".deepseek-operator-tls.pem"
    file.write_text("old")
    file.chmod(0o644)
    script = run_script(SGLANG, {1: options()}, encrypted=True)
    bash(script, **fake_engine(tmp_path, ""), HOME=str(tmp_path), DEEPSEEK_OPERATOR_TLS=IDENTITY)
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"key and certificate", 0o600)
    assert seen(tmp_path)[0][-2:] == ["--ssl-keyfile", str(file)]


@pytest.mark.parametrize("value", ["", "not base64!"])
def test_a_rented_machine_without_a_certificate_never_serves(tmp_path: Path, value: str) -> None:
    script = run_script(VLLM, {1: options()}, encrypted=True)
    done = bash(script, **fake_engine(tmp_path, ""), HOME=str(tmp_path), DEEPSEEK_OPERATOR_TLS=value)
    assert done.returncode == 1
    assert "no certificate came with the task" in done.stderr
    assert not (tmp_path / "seen").exists()


@pytest.mark.parametrize("where", [{"DEEPSEEK_OPERATOR_IN_CLUSTER": "1"}, {"SKYPILOT_NODE_RANK": "1"}])
def test_a_pod_and_a_worker_serve_as_they_always_did(tmp_path: Path, where: dict[str, str]) -> None:
    script = run_script(VLLM, {1: options()}, encrypted=True)
    bash(script, **fake_engine(tmp_path, ""), HOME=str(tmp_path), DEEPSEEK_OPERATOR_TLS=IDENTITY, **where)
    argv, environment = seen(tmp_path)
    assert not [word for word in argv if word.startswith("--ssl")]
    assert not (tmp_path / ".deepseek-operator-tls.pem").exists()
    assert "DEEPSEEK_OPERATOR_TLS" not in environment


def test_a_key_that_begins_like_a_flag_is_a_key(tmp_path: Path) -> None:
    """One of 64 keys that the operator makes does."""
    bash(run_script(SGLANG, {1: options(api_key=True)}), **fake_engine(tmp_path, ""), SGLANG_API_KEY="-key")
    parser = argparse.ArgumentParser()
    parser.add_argument("--api-key")  # as SGLang reads it
    assert parser.parse_known_args(seen(tmp_path)[0])[0].api_key == "-key"


@pytest.mark.parametrize(("own", "expected"), [("SGLANG_API_KEY", ""), (None, "k")])
def test_a_pod_asks_for_the_users_key_and_never_for_the_operators(
    tmp_path: Path, own: str | None, expected: str
) -> None:
    script = run_script(SGLANG, {1: options(api_key=True)}, encrypted=True, own_key=own)
    bash(script, **fake_engine(tmp_path, ""), DEEPSEEK_OPERATOR_IN_CLUSTER="1", SGLANG_API_KEY="k")
    argv, environment = seen(tmp_path)
    assert f"--api-key={expected}" in argv
    assert environment.get("SGLANG_API_KEY", "") == expected


@pytest.mark.parametrize("engine", [get_engine(name) for name in ENGINES], ids=lambda engine: engine.name.value)
def test_packages_hold_the_release_that_command_lines_are_made_for(engine: Engine) -> None:
    assert engine.packages == (f"{engine.name.value.lower()}=={engine.version}",)
    assert engine.version in engine.image


def fake_uv(tmp_path: Path) -> dict[str, str]:
    """Put a ``uv`` first on PATH that notes its arguments, and makes environments with a ``vllm`` in them."""
    program = tmp_path / "uv"
    program.write_text(
        '#!/bin/bash\nset -eu\necho "$*" >> "$HOME/calls"\n[ "$1" = venv ] || exit 0\nmkdir -p "${!#}/bin"\n'
        'for name in python vllm; do\n  printf "#!/bin/sh\\necho $name of the packages: \\$*\\n" > "${!#}/bin/$name"\n'
        '  chmod +x "${!#}/bin/$name"\ndone\n'
    )
    program.chmod(0o755)
    home = tmp_path / "home of a user"
    home.mkdir()
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(home)}


def test_packages_are_installed_once_and_their_programs_are_the_ones_that_run(tmp_path: Path) -> None:
    environment = fake_uv(tmp_path)
    for _ in range(2):
        done = bash(setup_script(VLLM), **environment)
        assert done.returncode == 0, done.stderr
    calls = (Path(environment["HOME"]) / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["venv", "pip", "pip"], "a second setup keeps the environment"
    assert all("vllm==" in call for call in calls if call.startswith("pip"))

    done = bash(with_packages(VLLM, run_script(VLLM, {1: options()})), **environment)
    assert "vllm of the packages: serve m" in done.stdout


def test_a_setup_that_cannot_install_fails(tmp_path: Path) -> None:
    environment = fake_uv(tmp_path)
    (tmp_path / "uv").write_text("#!/bin/sh\nexit 3\n")
    assert bash(setup_script(VLLM), **environment).returncode == 3
