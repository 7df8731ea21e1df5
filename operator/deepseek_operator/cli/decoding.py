"""How fast an engine decodes: requests of one length, asked at once, and the time of each piece of their answers."""

import http.client
import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["Answer", "DecodingError", "ask_at_once", "tokens_per_second"]

SILENT_S: Final = 600.0
_TOKENS: Final = range(20, 256)
"""Token ids of prompts: every vocabulary has them. Texts would need a tokenizer to be of a certain length."""


class DecodingError(Exception):
    """A request was not answered as it should be."""


@dataclass
class Answer:
    """One answer.

    Attributes
    ----------
    pieces
        When each piece of it came, seconds on a clock of its own.
    tokens
        As the engine counts them; several may come in one piece.
    """

    pieces: list[float] = field(default_factory=list)
    tokens: int = 0
    error: str = ""


def ask_at_once(port: int, model: str, requests: int, prompt_tokens: int, answer_tokens: int) -> list[Answer]:
    """Send so many requests at the same time and return their answers.

    Raises
    ------
    DecodingError
        If one of them failed.
    """
    answers = [Answer() for _ in range(requests)]
    bodies = [
        {
            "model": model,
            "prompt": random.choices(_TOKENS, k=prompt_tokens),
            "max_tokens": answer_tokens,
            "ignore_eos": True,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        for _ in answers
    ]
    pairs = zip(answers, bodies, strict=True)
    threads = [threading.Thread(target=_ask, args=(port, body, answer), daemon=True) for answer, body in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = next((answer.error for answer in answers if answer.error), "")
    if wrong:
        raise DecodingError(wrong)
    return answers


def tokens_per_second(answers: list[Answer]) -> float:
    """Return the output of all requests together while all of them were being answered.

    Prefill is not in it: time counts from when the last request has its first token to when the first one ends.

    Raises
    ------
    DecodingError
        If there is no such time, because the answers were too short.
    """
    begin, end = max(answer.pieces[0] for answer in answers), min(answer.pieces[-1] for answer in answers)
    if end <= begin:
        raise DecodingError("the answers were too short to measure: --answer-tokens must be higher")
    tokens = 0.0
    for answer in answers:
        between = sum(begin < moment <= end for moment in answer.pieces)
        tokens += between * answer.tokens / len(answer.pieces)
    return tokens / (end - begin)


def _ask(port: int, body: dict[str, Any], answer: Answer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SILENT_S)
    try:
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            answer.error = f"HTTP {response.status}: {response.read(500).decode('utf-8', 'replace')}"
            return
        _read(response, answer)
    except (OSError, http.client.HTTPException, ValueError) as error:
        answer.error = f"the answer broke off: {error or type(error).__name__}"
    finally:
        connection.close()
    if not answer.pieces and not answer.error:
        answer.error = "the answer was empty"


def _read(response: http.client.HTTPResponse, answer: Answer) -> None:
    while line := response.readline():
        name, _, value = line.decode("utf-8", "replace").strip().partition(":")
        if name != "data":
            continue
        if value.strip() == "[DONE]":
            break
        document = json.loads(value)
        if document.get("error"):
            answer.error = str(document["error"])[:500]
            return
        if document.get("choices"):
            answer.pieces.append(time.monotonic())
        answer.tokens = (document.get("usage") or {}).get("completion_tokens") or answer.tokens
    answer.tokens = answer.tokens or len(answer.pieces)
