"""An engine's OpenAI API over real HTTP: streams server-sent events as vLLM and SGLang do.

It answers with the pieces that a test gives it, in its pace, and can refuse, break off and ask for a key.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

__all__ = ["FakeEngine"]

_DONE: Final = "[DONE]"


@dataclass
class FakeEngine:
    """The server.

    Attributes
    ----------
    deltas
        What each answer consists of, a token each: strings are content, dictionaries whole deltas.
    first_s, each_s
        Seconds before the first delta and before each further one.
    slots
        Answers that are written side by side; others wait before their first delta.
    refusal
        Status and body of every answer, instead of a stream.
    cut_after
        Deltas after which the connection is closed.
    error_after
        Deltas after which the stream holds an error, as when an engine dies.
    asked
        Bodies of the requests for chat completions.
    hung_up
        Requests whose client went away before the end.
    """

    deltas: list[str | dict[str, str]] = field(default_factory=lambda: ["Hel", "lo"])
    models: tuple[str, ...] = ("deepseek-ai/DeepSeek-R1", "chat")
    key: str | None = None
    first_s: float = 0.0
    each_s: float = 0.0
    slots: int = 64
    refusal: tuple[int, str] | None = None
    cut_after: int | None = None
    error_after: int | None = None
    counts: bool = True
    asked: list[dict[str, Any]] = field(default_factory=list)
    hung_up: int = 0
    most_at_once: int = 0
    _at_once: int = 0

    def __enter__(self) -> Self:
        """Listen on a port of loopback."""
        engine: FakeEngine = self

        class Handler(_Handler):
            fake = engine

        self._free = threading.Semaphore(self.slots)
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Port on loopback."""
        return int(self._server.server_address[1])

    def events(self) -> Iterator[str]:
        """Yield the data of each event, in its time."""
        with self.lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        running = True

        def end() -> None:
            nonlocal running
            with self.lock:
                self._at_once -= running
                running = False

        try:
            with self._free:
                for event in self._events():
                    if event == _DONE:
                        end()  # before its client knows, or that would be counted beside its next request
                    yield event
        finally:
            end()

    def _events(self) -> Iterator[str]:
        time.sleep(self.first_s)
        yield _chunk({"role": "assistant", "content": ""})
        for number, delta in enumerate(self.deltas):
            if number == self.cut_after:
                return
            if number == self.error_after:
                yield json.dumps({"error": {"message": "EngineCore died", "code": 500}})
                return
            if number:
                time.sleep(self.each_s)
            yield _chunk({"content": delta} if isinstance(delta, str) else delta)
        yield _chunk({}, "stop")
        if self.counts:
            usage = {"prompt_tokens": 7, "completion_tokens": len(self.deltas)}
            yield json.dumps({"object": "chat.completion.chunk", "choices": [], "usage": usage})
        yield _DONE


def _chunk(delta: dict[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({"object": "chat.completion.chunk", "choices": [choice]})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away: they need not wait for what comes after ``[DONE]``."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    fake: FakeEngine
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self._refused():
            return
        data = [{"id": model, "object": "model"} for model in self.fake.models]
        self._answer(200, json.dumps({"object": "list", "data": data}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.fake.lock:
            self.fake.asked.append(body)
        if self._refused():
            return
        assert self.path == "/v1/chat/completions"
        assert body["stream"] is True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        last = ""
        try:
            for last in self.fake.events():
                self._write(f"data: {last}\n\n")
        except OSError:
            self.fake.hung_up += 1
            self.close_connection = True
            return
        if last == _DONE:
            self._write("")
        else:
            self.close_connection = True

    def _refused(self) -> bool:
        if self.fake.key is not None and self.headers.get("Authorization") != f"Bearer {self.fake.key}":
            self._answer(401, '{"error":"Unauthorized"}')
            return True
        if self.fake.refusal is not None:
            self._answer(*self.fake.refusal)
            return True
        return False

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _write(self, text: str) -> None:
        body = text.encode()
        self.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Write nothing."""
