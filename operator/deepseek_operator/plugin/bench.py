"""``kubectl deepseek bench``: how fast a deployment answers, and how many clients at once it bears."""

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Final

from deepseek_operator.facts.text import counted
from deepseek_operator.plugin.completions import CompletionError, Server
from deepseek_operator.plugin.kubectl import KubectlError
from deepseek_operator.plugin.load import Level, Sample, ask, chart, document, run_level, table
from deepseek_operator.plugin.options import NAME, Command, Options, kubectl_of, output_option, whole
from deepseek_operator.plugin.reach import KEY_VARIABLE, Reach
from deepseek_operator.plugin.screen import Screen, is_terminal, print_json, say

__all__ = ["COMMAND", "clients"]

CLIENTS: Final = (1, 2, 4, 8, 16)
MAX_CLIENTS: Final = 512
TOKENS: Final = 128
WORDS: Final = 128


def clients(text: str) -> tuple[int, ...]:
    """Read numbers of clients: ``1,4,16``."""
    numbers = tuple(int(part) for part in text.split(","))
    if not all(1 <= number <= MAX_CLIENTS for number in numbers):
        raise argparse.ArgumentTypeError(f"must be numbers from 1 to {MAX_CLIENTS} with commas: 1,4,16")
    return numbers


def _run(options: Options) -> int:
    with Reach(kubectl_of(options), options.name) as reach:
        host, port = reach.address()
        server = Server(host, port, reach.key)
        try:
            model = options.model or next(iter(server.models()), "")
            # What the engine still has to compile or to load is not what is measured.
            warm = ask(server, model, 0, options.prompt_words, options.max_tokens)
        except (CompletionError, OSError) as error:
            raise KubectlError(f"{options.name}: {error}") from error
        if warm.error:
            raise KubectlError(f"{options.name}: {warm.error}")
        levels, interrupted = _sweep(server, model, options)
        _report(levels, reach.target, model, options)
    if interrupted:
        raise KeyboardInterrupt
    return 1 if any(level.failed for level in levels) else 0


def _sweep(server: Server, model: str, options: Options) -> tuple[list[Level], bool]:
    """Return the levels, and whether the user has ended the sweep before all were done."""
    levels: list[Level] = []
    fresh = itertools.count(1)

    def one(_: int) -> Sample:
        return ask(server, model, next(fresh), options.prompt_words, options.max_tokens)

    visible = is_terminal(sys.stderr)
    try:
        for number in options.clients:
            requests = options.requests or max(8, 2 * number)

            who = counted(number, "client")

            def progress(done: int, who: str = who, requests: int = requests) -> None:
                if visible:
                    print(f"\r{who}: {done} of {requests} requests ", end="", file=sys.stderr, flush=True)

            if not visible:
                say(f"{who}: {requests} requests")
            progress(0)
            levels.append(run_level(number, requests, one, progress))
    except KeyboardInterrupt:
        return levels, True
    finally:
        if visible:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return levels, False


def _report(levels: Sequence[Level], target: str, model: str, options: Options) -> None:
    if options.output == "json":
        print_json(
            {
                "deployment": options.name,
                "target": target,
                "model": model,
                "maxTokens": options.max_tokens,
                "promptWords": options.prompt_words,
                "levels": [document(level) for level in levels],
            }
        )
        return
    if levels:
        say(f"{model} on {target}; answers of {options.max_tokens} tokens, prompts of {options.prompt_words} words")
        screen = Screen()
        screen.show([*table(levels), (), *chart(levels)])
    errors = Counter(sample.error for level in levels for sample in level.samples if sample.error)
    for error, count in errors.most_common(3):
        say(f"{count} failed: {error}")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar=NAME, help="the deployment")
    parser.add_argument(
        "-c",
        "--clients",
        type=clients,
        default=CLIENTS,
        metavar="N,N,...",
        help=f"numbers of clients that ask at once, one after the other (default: {','.join(map(str, CLIENTS))})",
    )
    parser.add_argument(
        "--requests",
        type=whole(1, 1_000_000),
        metavar="N",
        help="requests for each number of clients (default: two for each client, at least 8)",
    )
    parser.add_argument(
        "--max-tokens",
        type=whole(1, 1_000_000),
        default=TOKENS,
        metavar="N",
        help=f"tokens of each answer (default: {TOKENS})",
    )
    parser.add_argument(
        "--prompt-words",
        type=whole(1, 1_000_000),
        default=WORDS,
        metavar="N",
        help=f"words of each prompt, a little more than a token each (default: {WORDS})",
    )
    parser.add_argument("--model", metavar="MODEL", help="name to ask for (default: the first that the engine serves)")
    output_option(parser)


COMMAND: Final = Command(
    name="bench",
    description=f"""
Asks a replica for answers of one length, with more and more clients at once, and shows for each number of clients:
tokens a second of all clients together, and the median and 99th percentile of the time to the first token (TTFT) and of
the whole answer (LATENCY), in seconds. Below it tokens a second are drawn as bars: where they no longer grow, more
clients only wait longer.

Every prompt is new, so no prefix is cached. One request is sent before, and not counted. The way is that of chat: one
replica, through kubectl port-forward, whose own limit is some hundred streams. With few requests P99 is the slowest.

A key for the API is found as for chat: in the deployment's Secret, or in {KEY_VARIABLE}.
""",
    examples=(
        ("kubectl deepseek bench r1", "1 to 16 clients"),
        ("kubectl deepseek bench r1 -c 1,32,64 --requests 200 --max-tokens 512", "longer, for a P99 that means it"),
        ("kubectl deepseek bench r1 -o json > before.json", "to compare with later"),
    ),
    arguments=_arguments,
    run=_run,
    exits=("0  all requests were answered", "1  some were not, or nothing could be asked", "2  wrong command line"),
)
