"""The guard of vLLM on a rented machine: who has no key learns that, and nothing else."""

import asyncio
from typing import Any

import pytest

from deepseek_operator.launch.key_guard import KeyGuard

RIGHT, WRONG = (b"authorization", b"Bearer the-key"), (b"authorization", b"Bearer another")
PATHS = [
    "/v1/chat/completions",
    "/invocations",
    "/abort_requests",
    "/tokenize",
    "/",
    "/healthy",
    "/metrics/../v1/models",
]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "the-key")


def ask(path: str, *headers: tuple[bytes, bytes], type_: str = "http") -> list[dict[str, Any]]:
    """What is sent to somebody who asks; the engine behind answers 200 to everything."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is read of a request that may not pass")

    async def engine(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})

    scope = {"type": type_, "path": path, "method": "POST", "headers": list(headers)}
    asyncio.run(KeyGuard(engine)(scope, receive, send))
    return sent


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        *((), (WRONG,), (WRONG, RIGHT), ((b"x-api-key", b"Bearer the-key"),), ((b"authorization", b"the-key"),)),
        ((b"authorization", b"Basic the-key"),),
    ],
)
def test_without_the_key_no_path_answers(path: str, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    sent = ask(path, *headers)
    assert [message.get("status") for message in sent] == [401, None]
    assert sent[1]["body"] == b'{"error": "Unauthorized"}'


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer"])
def test_with_the_key_every_path_does(path: str, scheme: bytes) -> None:
    headers = ((b"host", b"x"), (b"authorization", scheme + b" the-key"))
    assert [message["status"] for message in ask(path, *headers)] == [200]


@pytest.mark.parametrize("path", ["/health", "/metrics", "/metrics/"])
def test_probes_need_no_key(path: str) -> None:
    assert [message["status"] for message in ask(path)] == [200]


def test_a_websocket_is_closed() -> None:
    assert ask("/health", type_="websocket") == [{"type": "websocket.close", "code": 1008}]


def test_the_start_of_the_engine_passes() -> None:
    assert [message["status"] for message in ask("", type_="lifespan")] == [200]


@pytest.mark.parametrize("key", ["", None])
def test_without_a_key_it_cannot_be_made(key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY") if key is None else monkeypatch.setenv("VLLM_API_KEY", key)
    with pytest.raises((KeyError, ValueError)):
        KeyGuard(lambda *_: asyncio.sleep(0))
