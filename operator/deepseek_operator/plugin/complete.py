"""``kubectl_complete-deepseek``, which kubectl's own shell completion runs for ``kubectl deepseek ...<TAB>``.

It is called with the words after ``deepseek``, the last one being typed, and prints a candidate a line, a tab and what
it means, and at the end a directive of cobra: ``:4`` for nothing else, ``:0`` for names of files.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from deepseek_operator.plugin.kubectl import DEPLOYMENTS, Kubectl, KubectlError
from deepseek_operator.plugin.main import SUMMARIES, make_parser
from deepseek_operator.plugin.options import NAME, add_common, kubectl_of

__all__ = ["candidates", "main"]

_NOTHING_ELSE: Final = ":4"
_FILES: Final = ":0"
_OF_FILES: Final = frozenset({"--file", "--kubeconfig", "--catalog"})
_TIMEOUT: Final = "--request-timeout=3"
"""Whoever has pressed TAB does not wait for an API server that is away."""

Candidate = tuple[str, str]


def main() -> int:
    """Print candidates for the last word of the command line."""
    found, directive = candidates(sys.argv[1:] or [""])
    for value, meaning in found:
        print(f"{value}\t{meaning}" if meaning else value)
    print(directive)
    return 0


def candidates(words: Sequence[str]) -> tuple[list[Candidate], str]:
    """Return what the last word may become, and the directive."""
    before, typed = list(words[:-1]), words[-1]
    root = make_parser(before)
    name, parser = _command(root, before)
    option = _option(parser, before[-1]) if before else None
    if option is not None and option.nargs != 0:
        if _OF_FILES.intersection(option.option_strings):
            return [], _FILES
        return _matching(_values(option, before), typed), _NOTHING_ELSE
    if typed.startswith("-"):
        return _matching(_flags(parser), typed), _NOTHING_ELSE
    if name is None:
        return _matching(SUMMARIES.items(), typed), _NOTHING_ELSE
    takes_name = any(action.metavar == NAME for action in parser._actions if not action.option_strings)
    named = bool(_places(parser, before[before.index(name) + 1 :]))
    return (_matching(_names(before), typed) if takes_name and not named else []), _NOTHING_ELSE


def _matching(found: Iterable[Candidate], typed: str) -> list[Candidate]:
    return [candidate for candidate in found if candidate[0].startswith(typed)]


def _command(root: argparse.ArgumentParser, before: Sequence[str]) -> tuple[str | None, argparse.ArgumentParser]:
    """Return the command that was named, and the parser of what follows."""
    for place in _places(root, before):
        for action in root._actions:
            if isinstance(action, argparse._SubParsersAction) and place in action.choices:
                return place, action.choices[place]
        break
    return None, root


def _places(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Return the words that are neither options nor values of options."""
    places, value_of = [], False
    for word in words:
        option = _option(parser, word)
        if not value_of and not word.startswith("-"):
            places.append(word)
        value_of = not value_of and option is not None and option.nargs != 0
    return places


def _option(parser: argparse.ArgumentParser, word: str) -> argparse.Action | None:
    return next((action for action in parser._actions if word in action.option_strings), None)


def _flags(parser: argparse.ArgumentParser) -> Iterator[Candidate]:
    """Yield options, by their long names where they have one."""
    for action in parser._actions:
        for flag in action.option_strings:
            if flag.startswith("--") or len(action.option_strings) == 1:
                yield flag, " ".join((action.help or "").split())


def _values(option: argparse.Action, before: Sequence[str]) -> Iterator[Candidate]:
    if option.choices is not None:
        yield from ((str(choice), "") for choice in option.choices)
    elif "--namespace" in option.option_strings:
        yield from _listed(before, "namespaces")
    elif "--context" in option.option_strings:
        with contextlib.suppress(KubectlError):
            contexts = _kubectl(before).start("config", "view", "-o", "json").json().get("contexts") or ()
            yield from ((str(context["name"]), "") for context in contexts)


def _names(before: Sequence[str]) -> Iterator[Candidate]:
    return _listed(before, DEPLOYMENTS)


def _listed(before: Sequence[str], kind: str) -> Iterator[Candidate]:
    """Yield the names of objects; nothing where they cannot be listed, because there is no place to say why."""
    with contextlib.suppress(KubectlError):
        for body in _kubectl(before).get(kind).items():
            model = ((body.get("spec") or {}).get("model") or {}).get("name", "")
            yield str(body["metadata"]["name"]), str(model)


def _kubectl(before: Sequence[str]) -> Kubectl:
    """Return kubectl with the flags that were typed so far."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    add_common(parser)
    options = argparse.Namespace()
    with contextlib.suppress(argparse.ArgumentError, SystemExit):
        options, _ = parser.parse_known_args([*before, _TIMEOUT])
    return kubectl_of(options)
