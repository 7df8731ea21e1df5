"""``kubectl deepseek chat``: talk to a model, its thoughts dimmed."""

import argparse
import contextlib
import sys
from collections.abc import Generator
from typing import Any, Final

from deepseek_operator.plugin.completions import CompletionError, Ended, Piece, Reply, Server
from deepseek_operator.plugin.kubectl import KubectlError
from deepseek_operator.plugin.options import NAME, Command, Options, kubectl_of, output_option, whole
from deepseek_operator.plugin.reach import KEY_VARIABLE, Reach
from deepseek_operator.plugin.screen import Screen, is_terminal, print_json, say
from deepseek_operator.plugin.thoughts import Kind

__all__ = ["COMMAND", "visible"]

_HELP: Final = """\
/clear          forget the conversation
/system TEXT    tell the model how to behave; forgets the conversation
/exit           end (or Ctrl-D)
A line that ends with \\ goes on in the next one. Ctrl-C stops an answer."""
_CONTROL: Final = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def visible(text: str) -> str:
    """Return text without control characters: a model must not be able to steer the terminal."""
    return text.translate(_CONTROL)


class _Conversation:
    """What was said, and how to go on."""

    def __init__(self, reach: Reach, options: Options) -> None:
        self._reach, self._options = reach, options
        self._settings: dict[str, Any] = {}
        for name in ("max_tokens", "temperature"):
            if getattr(options, name) is not None:
                self._settings[name] = getattr(options, name)
        self._model: str | None = options.model
        self._messages: list[dict[str, str]] = []
        self.begin(options.system)

    @property
    def model(self) -> str:
        """Name of the model: as given, else the first that the engine serves."""
        if self._model is None:
            self._model = next(iter(self._server().models()), "")
        return self._model

    def begin(self, system: str | None) -> None:
        """Forget what was said."""
        self._messages = [{"role": "system", "content": system}] if system else []
        self._system = system

    def clear(self) -> None:
        """Forget what was said, but not how to behave."""
        self.begin(self._system)

    def ask(self, text: str, reply: Reply) -> Generator[Piece | Ended, None, None]:
        """Yield the answer, which goes into ``reply`` and into what was said. Thoughts are not sent again."""
        asked = [*self._messages, {"role": "user", "content": text}]
        try:
            for event in self._server().chat(self.model, asked, self._settings):
                reply.add(event)
                yield event
        finally:
            if reply.answer:
                self._messages = [*asked, {"role": "assistant", "content": reply.answer.strip()}]

    def _server(self) -> Server:
        host, port = self._reach.address()
        return Server(host, port, self._reach.key)


class _Shown:
    """Writes an answer as it comes: on a terminal the thought dimmed, else only the answer to standard output."""

    def __init__(self, *, thoughts: bool) -> None:
        self._screen, self._thoughts = Screen(), thoughts
        self._kind: Kind | None = None

    def write(self, event: Piece | Ended) -> None:
        if isinstance(event, Ended):
            return
        if event.kind is Kind.TURN:
            self._put("\n(so far it was thinking)\n", Kind.THOUGHT)
            return
        text = visible(event.text)
        if event.kind is not self._kind:
            text = text.lstrip()
            if text and self._kind is Kind.THOUGHT and self._thoughts:
                self._put("\n\n", Kind.THOUGHT)
            self._kind = event.kind if text else self._kind
        if text:
            self._put(text, event.kind)

    def end(self) -> None:
        if self._kind is not None:
            self._put("\n", self._kind)

    def _put(self, text: str, kind: Kind) -> None:
        thought = kind is Kind.THOUGHT
        if thought and not self._thoughts:
            return
        if self._screen.terminal:
            self._screen.console.out(text, style="dim" if thought else None, end="", highlight=False)
        else:
            print(text, end="", flush=True, file=sys.stderr if thought else sys.stdout)


def _run(options: Options) -> int:
    message = options.message
    if message is None and not sys.stdin.isatty():
        message = sys.stdin.read().strip()
    if message is None and options.output == "json":
        say("Error: -o json needs --message, or a message on standard input")
        return 2
    if message == "":
        say("Error: there is no message")
        return 2
    with Reach(kubectl_of(options), options.name) as reach:
        conversation = _Conversation(reach, options)
        try:
            return (
                _interactive(conversation, reach, options) if message is None else _once(conversation, message, options)
            )
        except (CompletionError, OSError) as error:
            say(f"Error: {options.name}: {error}")
            return 1


def _once(conversation: _Conversation, message: str, options: Options) -> int:
    reply = Reply()
    shown = _Shown(thoughts=not options.no_thoughts)
    for event in conversation.ask(message, reply):
        if options.output == "text":
            shown.write(event)
    if options.output == "text":
        shown.end()
        return 0
    ended = reply.ended or Ended(None, None, None)
    print_json(
        {
            "model": conversation.model,
            "thought": reply.thought.strip(),
            "answer": reply.answer.strip(),
            "finishReason": ended.finish_reason,
            "usage": {"promptTokens": ended.prompt_tokens, "completionTokens": ended.completion_tokens},
            "timeToFirstTokenSeconds": _rounded(reply.first_after),
            "seconds": _rounded(reply.seconds),
        }
    )
    return 0


def _interactive(conversation: _Conversation, reach: Reach, options: Options) -> int:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # gives input() a history and editing
    say(f"{conversation.model} on {reach.target}; /help for what can be typed, Ctrl-D to end")
    while (text := _prompt()) is not None:
        word, _, rest = text.partition(" ")
        if word in ("/exit", "/quit"):
            break
        if word == "/clear":
            conversation.clear()
        elif word == "/system":
            conversation.begin(rest.strip() or None)
        elif word.startswith("/") and " " not in word and "/" not in word[1:]:
            say(_HELP)
        elif text:
            _turn(conversation, text, options)
    return 0


def _prompt() -> str | None:
    """Return what was typed, None at the end of the input."""
    lines: list[str] = []
    while True:
        try:
            line = input("... " if lines else "> ")
        except EOFError:
            print()
            return None
        except KeyboardInterrupt:
            print()
            return ""
        if not line.endswith("\\"):
            return "\n".join((*lines, line)).strip()
        lines.append(line.removesuffix("\\"))


def _turn(conversation: _Conversation, text: str, options: Options) -> None:
    """Show one answer; what goes wrong is said, and the conversation goes on."""
    reply, shown = Reply(), _Shown(thoughts=not options.no_thoughts)
    events = conversation.ask(text, reply)
    try:
        for event in events:
            shown.write(event)
        shown.end()
        say(_figures(reply))
    except KeyboardInterrupt:
        shown.end()
        say("(stopped)")
    except (CompletionError, OSError, KubectlError) as error:
        shown.end()
        say(f"Error: {error}")
    finally:
        events.close()  # which ends the request


def _figures(reply: Reply) -> str:
    first, whole_time = reply.first_after or 0.0, reply.seconds or 0.0
    rate = (
        f", {(reply.tokens - 1) / (whole_time - first):.1f} tokens/s" if reply.tokens > 1 and whole_time > first else ""
    )
    cut = "; cut off at the limit of tokens" if reply.ended and reply.ended.finish_reason == "length" else ""
    line = f"[{reply.tokens} tokens, first after {first:.2f} s{rate}{cut}]"
    return f"\x1b[2m{line}\x1b[0m" if is_terminal(sys.stderr) else line


def _rounded(value: float | None) -> float | None:
    return round(value, 4) if value is not None else None


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar=NAME, help="the deployment")
    parser.add_argument("-m", "--message", metavar="TEXT", help="ask this and end, instead of a conversation")
    parser.add_argument("--system", metavar="TEXT", help="tell the model how to behave")
    parser.add_argument("--model", metavar="MODEL", help="name to ask for (default: the first that the engine serves)")
    parser.add_argument("--max-tokens", type=whole(1, 1_000_000), metavar="N", help="longest answer, thought included")
    parser.add_argument("--temperature", type=float, metavar="T", help="0 for always the likeliest word")
    parser.add_argument(
        "--no-thoughts", action="store_true", help="do not show what the model thinks before it answers"
    )
    output_option(parser)


COMMAND: Final = Command(
    name="chat",
    description=f"""
Opens a conversation with a deployment, through a port-forward to a replica that answers (rented ones are asked by
their proxy). Answers appear as they are written, what the model thinks before it answers in dim letters. Thoughts are
not
sent back to the model, as DeepSeek advises.

With --message, or with text on standard input, one question is asked: the answer goes to standard output and, unless
that is a terminal, thoughts go to standard error.

If the deployment asks for a key, it is read from the Secret that the spec names, or from the environment variable
{KEY_VARIABLE}.
""",
    examples=(
        ("kubectl deepseek chat r1", "a conversation; /help lists what can be typed"),
        ("kubectl deepseek chat r1 -m 'Why is the sky blue?' --no-thoughts", "one question"),
        ("git diff | kubectl deepseek chat r1 --system 'Review this diff.' > review.txt", "a question from a pipe"),
    ),
    arguments=_arguments,
    run=_run,
)
