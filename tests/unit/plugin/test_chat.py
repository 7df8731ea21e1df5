"""``chat`` against a server that streams for real, through a port-forward of the fake kubectl."""

import base64
import io
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from deepseek_operator.api.status import Phase
from deepseek_operator.plugin.chat import visible
from deepseek_operator.plugin.completions import CompletionError, Server
from tests.fakes.engine import FakeEngine
from tests.fakes.kubectl import FakeKubectl
from tests.unit.plugin.builders import condition, deployment, instance, pod
from tests.unit.plugin.conftest import Run

HEAD = str(pod(0)["metadata"]["name"])


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


@pytest.fixture
def served(kubectl: FakeKubectl, engine: FakeEngine) -> FakeKubectl:
    """A deployment whose first replica answers."""
    kubectl.put(deployment(instance(0, address="10.0.0.1:8000")), pod(0))
    kubectl.ports = {f"pod/{HEAD}:8000": engine.port}
    kubectl.save()
    return kubectl


def test_one_question_gets_its_answer(served: FakeKubectl, engine: FakeEngine, run: Run) -> None:
    assert run("chat", "r1", "-m", "hi", "--system", "be brief", "--max-tokens", "9") == (0, "Hello\n", "")
    (asked,) = engine.asked
    assert asked["model"] == "deepseek-ai/DeepSeek-R1"
    assert asked["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    assert asked["max_tokens"] == 9
    assert "temperature" not in asked


@pytest.mark.parametrize(
    "deltas",
    [
        ["<th", "ink>", "I wonder", "</think>", "\n\n", "Blue", "."],
        [{"reasoning_content": "I wonder"}, {"content": "\n\nBlue."}],
        [{"reasoning": "I wonder"}, {"content": "Blue."}],
    ],
)
def test_thoughts_go_to_standard_error_and_answers_to_standard_output(
    served: FakeKubectl, engine: FakeEngine, run: Run, deltas: list[str | dict[str, str]]
) -> None:
    engine.deltas = deltas
    code, out, err = run("chat", "r1", "-m", "why?")
    assert (code, out) == (0, "Blue.\n")
    assert err.strip() == "I wonder"
    assert run("chat", "r1", "-m", "why?", "--no-thoughts") == (0, "Blue.\n", "")


def test_json_has_thought_answer_and_figures(served: FakeKubectl, engine: FakeEngine, run: Run) -> None:
    engine.deltas, engine.first_s, engine.each_s = ["so it began</think>", "Bl", "ue"], 0.1, 0.02
    found = json.loads(run("chat", "r1", "-m", "why?", "-o", "json")[1])
    assert (found["thought"], found["answer"], found["finishReason"]) == ("so it began", "Blue", "stop")
    assert found["usage"] == {"promptTokens": 7, "completionTokens": 3}
    assert 0.1 <= found["timeToFirstTokenSeconds"] < found["seconds"]


def test_a_question_comes_from_a_pipe(served: FakeKubectl, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hi\n"))
    assert run("chat", "r1")[:2] == (0, "Hello\n")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run("chat", "r1") == (2, "", "Error: there is no message\n")


def test_the_key_is_read_from_the_secret_or_the_environment(
    served: FakeKubectl, engine: FakeEngine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.key = "s3cret-key"
    code, _, err = run("chat", "r1", "-m", "hi")
    assert (code, err) == (1, "Error: r1: HTTP 401: Unauthorized\n")
    body = deployment(instance(0, address="10.0.0.1:8000"), endpoint={"apiKeySecretRef": {"name": "k", "key": "token"}})
    served.put(body)
    code, _, err = run("chat", "r1", "-m", "hi")
    assert (code, err) == (1, 'Error: the API key cannot be read (secrets "k" not found); set DEEPSEEK_API_KEY to it\n')
    data = {"token": base64.b64encode(b"s3cret-key\n").decode()}
    served.put({"kind": "Secret", "metadata": {"name": "k", "namespace": "default"}, "data": data})
    assert run("chat", "r1", "-m", "hi")[:2] == (0, "Hello\n")
    served.put({"kind": "Secret", "metadata": {"name": "k", "namespace": "default"}, "data": {}})
    assert "has no key token with text" in run("chat", "r1", "-m", "hi")[2]
    monkeypatch.setenv("DEEPSEEK_API_KEY", "s3cret-key")
    assert run("chat", "r1", "-m", "hi")[:2] == (0, "Hello\n")
    assert not [call for call in served.calls if any("s3cret" in word for word in call)]


@pytest.mark.parametrize("key", ["s3cret\nkey", "s3cret\rkey", "s3cr€t"])
def test_a_key_that_no_request_can_bring_is_refused_without_being_shown(
    served: FakeKubectl, run: Run, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", key)
    code, _, err = run("chat", "r1", "-m", "hi", "--model", "m")
    assert (code, err) == (
        1,
        "Error: DEEPSEEK_API_KEY is no API key: it has line breaks, or characters beyond ASCII\n",
    )


@pytest.mark.parametrize(
    ("answer", "ask"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Server.models),
        (b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", Server.models),
        (b"HTTP/1.1 200 OK\r\n\r\ndata: 5\n\n", lambda server: list(server.chat("r1", [], {}))),
    ],
    ids=["breaks off", "breaks off in an error", "has a part that is none"],
)
def test_an_answer_that_is_not_as_it_should_be_is_an_error_of_the_engine(
    answer: bytes, ask: Callable[[Server], object]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_once() -> None:
            with server.accept()[0] as connection:
                connection.recv(65_536)
                connection.sendall(answer)

        threading.Thread(target=answer_once, daemon=True).start()
        with pytest.raises(CompletionError):
            ask(Server("127.0.0.1", server.getsockname()[1]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"refusal": (400, '{"error":{"message":"too long"}}')}, "HTTP 400: too long"),
        ({"refusal": (404, '{"object":"error","message":"no such model"}')}, "HTTP 404: no such model"),
        ({"refusal": (503, "<html>busy</html>")}, "HTTP 503: <html>busy</html>"),
        ({"refusal": (200, "hello")}, "not as an OpenAI API does"),
        ({"cut_after": 1}, "the answer broke off"),
        ({"error_after": 1}, "EngineCore died"),
    ],
)
def test_what_goes_wrong_is_said(
    served: FakeKubectl, engine: FakeEngine, run: Run, change: dict[str, object], words: str
) -> None:
    for name, value in change.items():
        setattr(engine, name, value)
    code, _, err = run("chat", "r1", "-m", "hi")
    assert code == 1
    assert words in err


def test_the_port_forward_leads_to_a_replica_that_answers(kubectl: FakeKubectl, engine: FakeEngine, run: Run) -> None:
    kubectl.put(
        deployment(
            instance(0, Phase.STARTING, "EngineStarting", address="10.0.0.1:30000"),
            instance(1, address="10.0.0.2:30000"),
        ),
        pod(0),
        pod(1),
        pod(1, 1),
    )
    head = pod(1)["metadata"]["name"]
    kubectl.ports = {f"pod/{head}:30000": engine.port}
    kubectl.save()
    assert run("chat", "r1", "-m", "hi")[:2] == (0, "Hello\n")
    assert ["port-forward", f"pod/{head}", ":30000", "--address", "127.0.0.1"] in [
        call[call.index("port-forward") :] for call in kubectl.calls if "port-forward" in call
    ]


def test_a_rented_replica_is_asked_by_the_proxy(kubectl: FakeKubectl, engine: FakeEngine, run: Run) -> None:
    kubectl.put(deployment(instance(0, infra="aws", address="54.0.0.1:8000")))
    kubectl.ports = {"deployment/r1-proxy:8080": engine.port}
    kubectl.save()
    assert run("chat", "r1", "-m", "hi")[:2] == (0, "Hello\n")


def test_nothing_is_left_of_a_port_forward(served: FakeKubectl, run: Run) -> None:
    assert run("chat", "r1", "-m", "hi")[0] == 0
    assert forwards(served) == []


def test_without_a_replica_that_answers_it_says_why(kubectl: FakeKubectl, run: Run) -> None:
    kubectl.put(deployment(ready=condition("Ready", "False", "DoesNotFit", "too large")))
    assert run("chat", "r1", "-m", "hi") == (1, "", "Error: no replica of r1 answers: DoesNotFit: too large\n")
    kubectl.put(deployment(instance(0, address="10.0.0.1:8000")))
    assert "cannot be seen" in run("chat", "r1", "-m", "hi")[2]
    kubectl.put(pod(0))
    assert "unable to forward port" in run("chat", "r1", "-m", "hi")[2]


def test_a_model_cannot_steer_the_terminal() -> None:
    assert visible("a\x1b[2Jb\x07\r\n\tc\x9b31m") == "a[2Jb\n\tc31m"


class Terminal:
    """The plugin on a pseudo-terminal."""

    def __init__(self, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        script = "import sys; from deepseek_operator.plugin.main import main; sys.exit(main())"
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
            # Tests that a shell runs in the background have inherited that SIGINT is ignored.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        os.close(theirs)
        self.seen = ""

    def expect(self, pattern: str, within: float = 20) -> str:
        """Wait until something is written that matches what comes after everything expected before."""
        end = time.monotonic() + within
        while (match := re.search(pattern, self.seen)) is None:
            readable, _, _ = select.select([self._ours], [], [], max(end - time.monotonic(), 0))
            assert readable, f"no {pattern!r} in {self.seen!r}"
            try:
                self.seen += os.read(self._ours, 65_536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"it ended; no {pattern!r} in {self.seen!r}") from None
        before, self.seen = self.seen[: match.end()], self.seen[match.end() :]
        return before

    def type(self, text: str, prompt: str = "> ") -> None:
        """Type something, once it is asked for, and again if it was lost while the terminal changed its mode."""
        self.expect(re.escape(prompt))
        for _ in range(5):
            os.write(self._ours, text.encode())
            if self._echoed(text.strip()):
                return
        raise AssertionError(f"{text!r} is not taken; {self.seen!r}")

    def _echoed(self, text: str) -> bool:
        """Return whether the terminal shows what was typed; keys that are not shown are believed to have come."""
        if not text.isprintable() or not text:
            return True
        seen = self.seen
        try:
            self.expect(re.escape(text), within=3)
        except AssertionError:
            return False
        self.seen = seen + self.seen if not self.seen else self.seen
        return True

    def interrupt(self, pattern: str) -> None:
        """Press Ctrl-C, and again where Python has swallowed it: it ignores exceptions in finalizers."""
        for within in (5, 5, 20):
            os.killpg(self.process.pid, signal.SIGINT)
            try:
                self.expect(pattern, within)
            except AssertionError:
                if within == 20:
                    raise
            else:
                return

    def close(self) -> None:
        """End it, however far it is."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(served: FakeKubectl) -> Iterator[Terminal]:
    terminal = Terminal("chat", "r1")
    yield terminal
    terminal.close()
    for _ in range(100):
        if not forwards(served):
            break
        time.sleep(0.05)
    assert forwards(served) == [], "a port-forward is left although the plugin has ended, however it did"


def forwards(kubectl: FakeKubectl) -> list[int]:
    """Return the processes that forward a port for a test."""
    return [
        int(entry.parent.name)
        for entry in Path("/proc").glob("[0-9]*/cmdline")
        if b"kubectl_program.py" in _read(entry)
        and b"port-forward" in _read(entry)
        and str(kubectl.directory).encode() in _read(entry.parent / "environ")
    ]


def test_a_conversation_dims_thoughts_and_remembers_answers_only(engine: FakeEngine, terminal: Terminal) -> None:
    engine.deltas = ["<think>", "I wonder", "</think>", "\n\nBlue"]
    terminal.expect(rf"DeepSeek-R1 on {HEAD}; /help")
    terminal.type("why is \\\n")
    terminal.type("the sky blue?\n", "... ")
    terminal.expect(r"\x1b\[2mI wonder\x1b\[0m")
    terminal.expect(r"Blue\r?\n")
    terminal.expect(r"\[4 tokens, first after \d\.\d\d s, [\d.]+ tokens/s\]")
    terminal.type("and then?\n")
    terminal.expect(r"\[4 tokens")
    terminal.type("/system be brief\n")
    terminal.type("/help\n")
    terminal.expect("Ctrl-C stops an answer")
    terminal.type("again\n")
    terminal.expect(r"\[4 tokens")
    terminal.type("\x04")
    assert terminal.process.wait(10) == 0
    first, second, third = (asked["messages"] for asked in engine.asked)
    assert first == [{"role": "user", "content": "why is \nthe sky blue?"}]
    assert second[1] == {"role": "assistant", "content": "Blue"}
    assert third == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "again"}]


def test_ctrl_c_stops_an_answer_and_not_the_conversation(engine: FakeEngine, terminal: Terminal) -> None:
    engine.deltas, engine.each_s = ["word "] * 500, 0.02
    terminal.type("go on\n")
    terminal.expect("word word")
    terminal.interrupt(r"\(stopped\)")
    engine.deltas = ["done"]
    terminal.type("stop\n")
    terminal.expect(r"done\r?\n")
    for _ in range(100):
        if engine.hung_up:
            break
        time.sleep(0.05)
    assert engine.hung_up == 1, "the engine goes on writing for nobody"
    terminal.type("/exit\n")
    assert terminal.process.wait(10) == 0


def test_an_engine_that_fails_does_not_end_the_conversation(engine: FakeEngine, terminal: Terminal) -> None:
    terminal.expect("/help for")
    engine.refusal = (503, "busy")
    terminal.type("hi\n")
    terminal.expect("Error: HTTP 503: busy")
    engine.refusal = None
    terminal.type("hi\n")
    terminal.expect(r"Hello\r?\n")


def test_a_port_forward_that_broke_is_opened_again(served: FakeKubectl, terminal: Terminal) -> None:
    terminal.expect("/help for")
    (forward,) = forwards(served)
    os.kill(forward, signal.SIGTERM)
    time.sleep(0.5)
    terminal.type("hi\n")
    terminal.expect(r"Hello\r?\n")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
