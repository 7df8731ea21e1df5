"""``deepseek-operator verify``: starts the planned engine on this machine, and compares it with its plan."""

import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
import yaml

from deepseek_operator.api.spec import EngineName
from deepseek_operator.catalog import Catalog
from deepseek_operator.cli.catalog import CatalogFiles, open_catalog
from deepseek_operator.cli.decoding import DecodingError, ask_at_once, tokens_per_second
from deepseek_operator.cli.engine_process import EngineProcess, EngineProcessError
from deepseek_operator.cli.input import EXIT_DOES_NOT_FIT, fail, plan_of, read_spec
from deepseek_operator.cli.table import render_table
from deepseek_operator.engines import Rank, get_engine
from deepseek_operator.engines.metrics import read_figures
from deepseek_operator.planning import Plan

__all__ = ["register"]

EXIT_NOT_SERVED: Final = 1
_DUMMY: Final = ("--load-format", "dummy")
"""Random weights: memory and speed are those of the real ones, and nothing is downloaded but the configuration."""


class _Figure(NamedTuple):
    """One line of the comparison, and its name in the row for ``calibrate`` if it has one."""

    what: str
    planned: float | None
    measured: float
    row: str | None = None


class _Asked(NamedTuple):
    """What is measured."""

    concurrency: int
    prompt_tokens: int
    answer_tokens: int


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(short_help="Start the planned engine here, and compare it with its plan.")(verify)


def verify(
    model: Annotated[str, typer.Option(help="Hugging Face id or alias.")],
    accelerators: Annotated[
        str | None, typer.Option(help="GPUs of this machine that the engine gets, such as L4:1.")
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="vLLM on CPUs instead.")] = False,
    memory: Annotated[str, typer.Option(help="Memory of a CPU engine in GB.")] = "16",
    engine: Annotated[EngineName, typer.Option(help="Auto, VLLM or SGLang.")] = EngineName.AUTO,
    path: Annotated[
        Path | None, typer.Option(help="Directory with the model's configuration and tokenizer. Unset: Hugging Face.")
    ] = None,
    max_model_len: Annotated[int | None, typer.Option(min=1, help="Longest context in tokens. Unset: planned.")] = None,
    arg: Annotated[
        list[str] | None, typer.Option(help="Argument of the engine, such as --arg=--enforce-eager; may be repeated.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=2, help="Requests at once, after one alone.")] = 8,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Tokens of each prompt.")] = 2000,
    answer_tokens: Annotated[int, typer.Option(min=8, help="Tokens of each answer.")] = 500,
    timeout: Annotated[float | None, typer.Option(min=1, help="Seconds to the first answer. Unset: planned.")] = None,
    log: Annotated[Path | None, typer.Option(help="File for what the engine writes. Unset: a temporary one.")] = None,
    catalog: CatalogFiles = None,
) -> None:
    """Start the planned engine here with made-up weights, measure it, and compare it with its plan.

    Prints the comparison, and below it the measurements as `deepseek-operator calibrate -f` reads them. The engine is
    ended whatever happens. Run it where the engine is installed, in its image for example.

    \b
    Examples:
      deepseek-operator verify --model r1-8b --accelerators L4:1 > measurements.yaml
          on a machine with that GPU
      deepseek-operator verify --model r1-8b --cpu --memory 24 --max-model-len 4096 --path /models/tiny-qwen2
          how the command works, without a GPU

    \b
    Exit status:
      0  measured
      1  the engine did not serve
      2  the input is wrong
      3  it does not fit
    """
    if cpu == (accelerators is not None):
        fail("exactly one of --accelerators and --cpu must be given")
    given = tuple(arg or ())
    resources = (
        {"accelerators": [], "cpus": "1+", "memory": memory}
        if accelerators is None
        else {"accelerators": [accelerators]}
    )
    raw: dict[str, Any] = {
        "model": {"name": model},
        "engine": {"name": engine, "maxModelLen": max_model_len, "args": [*given, *_DUMMY]},
        "resources": {**resources, "nodes": 1, "infra": ["kubernetes"]},
        "objective": {} if cpu else {"concurrency": concurrency},
    }
    planned = _plan(raw, open_catalog(catalog), needs_row=not cpu)
    asked = _Asked(concurrency, prompt_tokens, answer_tokens)
    _check_length(planned, asked)
    figures = _measured(planned, path, timeout, log, asked)
    _report(planned, figures)
    if accelerators is not None:
        row = {
            "model": model,
            "accelerators": accelerators,
            "engine": planned.engine.value,
            "maxModelLen": max_model_len,
            "args": list(given),
            "concurrency": concurrency,
            **{figure.row: round(figure.measured, 2) for figure in figures if figure.row is not None},
        }
        rows = [{name: value for name, value in row.items() if value}]
        typer.echo(yaml.safe_dump({"measurements": rows}, sort_keys=False).rstrip("\n"))


def _measured(
    planned: Plan, path: Path | None, timeout: float | None, log: Path | None, asked: _Asked
) -> list[_Figure]:
    """Measure, and end the command where that fails or is interrupted; the engine is ended then, too."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="deepseek-operator-") as folder:
            return _measure(planned, path, timeout, log or Path(folder) / "engine.log", asked)
    except (EngineProcessError, DecodingError) as error:
        fail(str(error), EXIT_NOT_SERVED)
    except KeyboardInterrupt:
        fail("interrupted; the engine has been ended", 130)
    finally:
        signal.signal(signal.SIGTERM, before)


def _plan(raw: dict[str, Any], catalog: Catalog, *, needs_row: bool) -> Plan:
    spec = read_spec(raw)
    if needs_row and catalog.find(spec.model.name) is None:
        fail(
            f"--model {spec.model.name}: is not in the catalog, so there is no plan to compare with; take one that "
            "`deepseek-operator models` lists, or add a row with --catalog"
        )
    found = plan_of(spec, catalog)
    if not found.launchable:
        fail(found.reason, EXIT_DOES_NOT_FIT)
    return found


def _check_length(planned: Plan, asked: _Asked) -> None:
    length, longest = asked.prompt_tokens + asked.answer_tokens, planned.max_model_len
    if longest is not None and length > longest:
        fail(f"--prompt-tokens and --answer-tokens are {length} together; the planned context is {longest}")


def _measure(planned: Plan, path: Path | None, timeout: float | None, log: Path, asked: _Asked) -> list[_Figure]:
    (options,) = planned.serve.values()
    port = _free_port()
    model = str(path) if path is not None else options.model
    engine = get_engine(planned.engine)
    words = [str(word) for word in engine.command(replace(options, port=port, model=model), Rank())]
    words[words.index("--host") + 1] = "127.0.0.1"  # nobody else has any business with it
    _check_installed(planned.engine, words[0], planned.image)
    environment = {name: str(value) for name, value in planned.environment.items()}
    _say(f"starting: {' '.join(words)}")
    with EngineProcess(words, environment, port, log) as process:
        seconds = process.wait_healthy(engine.health_path, timeout or planned.startup_seconds, _say)
        _say(f"it answers after {seconds:.0f} s; measuring")
        tokens = read_figures(engine.metrics, process.get("/metrics")).kv_cache_tokens
        name = options.served_names[0]

        def decode(requests: int) -> float:
            return tokens_per_second(ask_at_once(port, name, requests, asked.prompt_tokens, asked.answer_tokens))

        try:
            ask_at_once(port, name, 1, asked.prompt_tokens, 8)  # compiles what is compiled with the first request
            alone, together = decode(1), decode(asked.concurrency)
        except DecodingError:
            process.check_soon()  # an engine that has ended has said why
            raise
    speed = planned.performance
    figures = [
        _Figure(
            "decode tokens/s, 1 request",
            speed.decode_tokens_per_second if speed else None,
            alone,
            "decodeTokensPerSecond",
        ),
        _Figure(
            f"decode tokens/s, {asked.concurrency} requests",
            speed.decode_tokens_per_second_at_concurrency if speed else None,
            together,
            "decodeTokensPerSecondAtConcurrency",
        ),
        _Figure("seconds to the first answer", speed.start_seconds if speed else None, seconds),
    ]
    if tokens is not None:
        figures.insert(0, _Figure("KV cache tokens", planned.kv_cache_tokens(None), tokens, "kvCacheTokens"))
    return figures


def _check_installed(engine: EngineName, program: str, image: str) -> None:
    """Raise where the engine is not installed, saying what to do."""
    found = shutil.which(program)
    if found is not None and engine is EngineName.SGLANG:
        lookup = "import importlib.util, sys; sys.exit(importlib.util.find_spec('sglang') is None)"
        found = found if subprocess.run([found, "-c", lookup], check=False).returncode == 0 else None
    if found is None:
        version, package = get_engine(engine).version, engine.value.lower()
        raise EngineProcessError(
            f"{engine.value} is not installed here: `{program}` on PATH is missing or does not know it. Run this in "
            f"{image}, or install {package}=={version} and put it on PATH"
        )


def _report(planned: Plan, figures: list[_Figure]) -> None:
    where = ", ".join(planned.accelerators) or "CPUs"
    name = planned.model.id if planned.model is not None else planned.served_names[0]
    header = ("", "PLANNED", "MEASURED", "PLAN'S ERROR")
    table = render_table(header, [_line(figure) for figure in figures], right=frozenset(header[1:]))
    lines = [f"{name} with {planned.engine.value} on {where}, made-up weights", *table.splitlines()]
    if not planned.accelerators:
        lines.append("A CPU engine has no row in the catalog, so there is nothing to calibrate.")
    for line in lines:
        typer.echo(f"# {line}".rstrip())


def _line(figure: _Figure) -> tuple[str, ...]:
    planned = figure.planned
    error = f"{planned / figure.measured - 1:+.0%}" if planned is not None and figure.measured else "-"
    return figure.what, _number(planned) if planned is not None else "-", _number(figure.measured), error


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _say(words: str) -> None:
    typer.echo(words, err=True)
