"""Chat completions of the OpenAI API, streamed. http.client, because it is imported in 20 ms."""

import http.client
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from deepseek_operator.plugin.thoughts import Kind, Splitter

__all__ = ["CompletionError", "Ended", "Piece", "Reply", "Server"]

_CONNECT_S: Final = 15.0
_SILENT_S: Final = 600.0
"""Seconds without a byte after which an answer is given up: a full queue and a long prompt may take minutes."""
_SAID: Final = 500
"""Characters of an error's body that are shown."""


class CompletionError(Exception):
    """The engine refused the request, or its answer broke off."""


@dataclass(frozen=True)
class Piece:
    """Some text of an answer."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Ended:
    """The end of an answer; numbers of tokens are None where the engine does not count them."""

    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass
class Reply:
    """An answer, put together.

    Attributes
    ----------
    first_after, seconds
        Seconds from the request to the first piece, and to the end; None where there is no such moment yet.
    pieces
        Number of pieces of text: about as many as tokens, for engines that do not count.
    """

    began: float = field(default_factory=time.monotonic)
    thought: str = ""
    answer: str = ""
    first_after: float | None = None
    seconds: float | None = None
    pieces: int = 0
    ended: Ended | None = None

    def add(self, event: Piece | Ended) -> None:
        """Take in the next part."""
        now = time.monotonic() - self.began
        self.seconds = now
        if isinstance(event, Ended):
            self.ended = event
            return
        if event.kind is Kind.TURN:
            self.thought, self.answer = self.thought + self.answer, ""
            return
        self.pieces += 1
        if self.first_after is None:
            self.first_after = now
        if event.kind is Kind.THOUGHT:
            self.thought += event.text
        else:
            self.answer += event.text

    @property
    def tokens(self) -> int:
        """Tokens of thought and answer."""
        counted = self.ended.completion_tokens if self.ended is not None else None
        return counted if counted is not None else self.pieces


class Server:
    """One address that speaks the OpenAI API.

    Parameters
    ----------
    key
        Sent as a bearer token.
    """

    def __init__(self, host: str, port: int, key: str | None = None, prefix: str = "/v1") -> None:
        self._host, self._port, self._prefix = host, port, prefix
        self._headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"

    def models(self) -> tuple[str, ...]:
        """Return the names under which it serves a model, the main one first.

        Raises
        ------
        CompletionError, OSError
            If it does not answer, or with an error.
        """
        connection = self._open()
        try:
            response = self._request(connection, "GET", "/models", None)
            return tuple(str(model["id"]) for model in json.loads(response.read())["data"])
        except (ValueError, KeyError, TypeError, http.client.IncompleteRead):
            raise CompletionError("it answers, but not as an OpenAI API does") from None
        finally:
            connection.close()

    def chat(
        self, model: str, messages: Sequence[Mapping[str, str]], options: Mapping[str, Any]
    ) -> Iterator[Piece | Ended]:
        """Yield the answer as it comes, then its :class:`Ended`. Closing the generator ends the request.

        Raises
        ------
        CompletionError, OSError
            If the engine refuses, or the answer breaks off.
        """
        body = {
            "model": model,
            "messages": list(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            **options,
        }
        connection = self._open()
        try:
            yield from _read(self._request(connection, "POST", "/chat/completions", json.dumps(body)))
        finally:
            connection.close()

    def _open(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT_S)

    def _request(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: str | None
    ) -> http.client.HTTPResponse:
        try:
            connection.connect()
            connection.sock.settimeout(_SILENT_S)
            connection.request(method, self._prefix + path, body, self._headers)
            response = connection.getresponse()
            said = b"" if response.status == 200 else response.read(65_536)
        except http.client.HTTPException as error:
            raise CompletionError(f"it closed the connection: {type(error).__name__}") from error
        if response.status != 200:
            raise CompletionError(f"HTTP {response.status}: {_words(said)}")
        return response


def _read(response: http.client.HTTPResponse) -> Iterator[Piece | Ended]:
    splitter, told_apart = Splitter(), False
    finish: str | None = None
    usage: Mapping[str, Any] = {}
    for document in _documents(response):
        if "error" in document:
            raise CompletionError(_error_of(document))
        usage = document.get("usage") or usage
        for choice in (document.get("choices") or ())[:1]:
            finish = choice.get("finish_reason") or finish
            delta = choice.get("delta") or {}
            # Engines with a reasoning parser tell them apart themselves; vLLM has renamed the field.
            thought = delta.get("reasoning_content") or delta.get("reasoning")
            if thought:
                told_apart = True
                yield Piece(Kind.THOUGHT, thought)
            content = delta.get("content")
            if content and told_apart:
                yield Piece(Kind.ANSWER, content)
            elif content:
                yield from (Piece(*part) for part in splitter.feed(content))
    yield from (Piece(*part) for part in splitter.end())
    yield Ended(finish, usage.get("prompt_tokens"), usage.get("completion_tokens"))


def _documents(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Yield the JSON of each server-sent event until ``[DONE]``."""
    try:
        while line := response.readline():
            name, _, value = line.decode("utf-8", "replace").strip().partition(":")
            if name != "data":
                continue
            if value.strip() == "[DONE]":
                return
            document = json.loads(value)
            if not isinstance(document, dict):
                raise ValueError(f"{value.strip()[:80]!r} is no part of an answer")
            yield document
    except (http.client.HTTPException, ValueError) as error:
        raise CompletionError(f"the answer broke off: {error}") from error
    raise CompletionError("the answer broke off")


def _words(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except ValueError:
        return " ".join(text.split())[:_SAID] or "no words"
    return _error_of(document) if isinstance(document, dict) else text[:_SAID]


def _error_of(document: Mapping[str, Any]) -> str:
    error = document.get("error", document)
    message = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(message or document).split())[:_SAID]
