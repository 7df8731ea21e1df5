"""How the client speaks to a server: who it says it is, what a refusal or no answer means, and its token."""

import json
from pathlib import Path
from typing import Any

import pytest

from deepseek_operator.skypilot import client as client_module
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.errors import (
    SkyPilotRejectedError,
    SkyPilotRequestFailedError,
    SkyPilotUnavailableError,
)
from deepseek_operator.skypilot.token import TokenFile
from tests.unit.skypilot.server import NAME, Refusal, Server


async def test_every_request_carries_version_and_identity(server: Server, client: SkyPilotClient) -> None:
    await client.launch(NAME, {"name": NAME, "run": "x"}, {"kubernetes": {"namespace": "serving"}})
    request = server.seen[-1]
    body = json.loads(request.content)
    assert request.headers["X-SkyPilot-API-Version"] == "62"
    assert body["env_vars"]["SKYPILOT_USER_ID"] == "d5ee9000"
    assert (body["retry_until_up"], body["override_skypilot_config"]["kubernetes"]["namespace"]) == (False, "serving")


async def test_a_refusal_is_told_from_an_absence(server: Server, client: SkyPilotClient) -> None:
    server.refuse = Refusal(400, {"detail": {"type": "ValueError", "message": "Context nope not found"}})
    with pytest.raises(SkyPilotRejectedError, match="Context nope not found"):
        await client.launch(NAME, {}, {})
    server.refuse = Refusal(503, {"detail": "shutting down"})
    with pytest.raises(SkyPilotUnavailableError, match="shutting down"):
        await client.launch(NAME, {}, {})


async def test_a_server_of_another_version_is_unavailable_and_says_why(client: SkyPilotClient, server: Server) -> None:
    words = "\x1b[33mYour SkyPilot client version is too old:0.1\n\x1b[0mThe server is running on 0.14.1"
    server.refuse = Refusal(400, {"error": "version_mismatch", "message": words})

    with pytest.raises(SkyPilotUnavailableError, match=r"client version is too old:0\.1 The server is"):
        await client.clusters()


async def test_a_server_that_is_not_there_has_heard_nothing(client: SkyPilotClient, unused_tcp_port: int) -> None:
    async with SkyPilotClient(f"http://127.0.0.1:{unused_tcp_port}", user_id="d5ee9000") as nowhere:
        with pytest.raises(SkyPilotUnavailableError, match="does not answer") as error:
            await nowhere.down(NAME)
    assert not error.value.maybe_heard


async def test_a_password_in_the_url_of_the_server_is_in_no_message(unused_tcp_port: int) -> None:
    """``https://USER:PASSWORD@HOST`` is how SkyPilot's own chart lets people in."""
    endpoint = f"http://operator:hunter2@127.0.0.1:{unused_tcp_port}/sky/"
    async with SkyPilotClient(endpoint, user_id="d5ee9000") as nowhere:
        with pytest.raises(SkyPilotUnavailableError) as error:
            await nowhere.down(NAME)
    assert f"at http://127.0.0.1:{unused_tcp_port}/sky does not answer" in str(error.value)
    assert "hunter2" not in str(error.value)


async def test_a_server_that_does_not_answer_may_have_heard(
    server: Server, client: SkyPilotClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_SUBMIT_S", 0.1)
    server.hangs = True
    with pytest.raises(SkyPilotUnavailableError) as error:
        await client.down(NAME)
    assert error.value.maybe_heard


@pytest.mark.parametrize(
    ("status", "maybe_heard"),
    [(500, True), (502, True), (504, True), (503, False), (429, False), (401, False), (404, False)],
)
async def test_an_error_of_the_server_or_a_gateway_may_come_after_the_request_was_heard(
    server: Server, client: SkyPilotClient, status: int, maybe_heard: bool
) -> None:
    server.refuse = Refusal(status, {"detail": "no answer from upstream"})
    with pytest.raises(SkyPilotUnavailableError, match=f"{status}: no answer from upstream") as error:
        await client.launch(NAME, {}, {})
    assert error.value.maybe_heard is maybe_heard


async def test_a_request_that_the_server_has_forgotten_is_no_absence_of_the_server(
    server: Server, client: SkyPilotClient
) -> None:
    server.refuse = Refusal(404, {"detail": "Request 'req-1' not found"})
    with pytest.raises(SkyPilotRejectedError, match="not found"):
        await client.transport.result("req-1")


@pytest.mark.parametrize(
    ("answer", "user"),
    [
        ({"status": "healthy"}, "d5ee9000"),
        ({"status": "healthy", "user": None}, "d5ee9000"),
        ({"status": "healthy", "user": {"id": "sa-0123456789abcdef", "name": "operator"}}, "sa-0123456789abcdef"),
    ],
)
async def test_a_server_that_knows_its_users_says_who_we_are(
    server: Server, client: SkyPilotClient, answer: dict[str, Any], user: str
) -> None:
    server.refuse = Refusal(200, answer)
    assert await client.user() == user


async def test_something_else_at_its_address_is_no_skypilot(client: SkyPilotClient, server: Server) -> None:
    server.refuse = Refusal(200, {"hello": "world"})
    with pytest.raises(SkyPilotUnavailableError, match="is this a SkyPilot API server"):
        await client.down(NAME)


async def test_the_words_of_an_error_are_fit_for_a_status(server: Server, client: SkyPilotClient) -> None:
    """They end up in statuses, Events and the log as they are."""
    said = "\x1b[31mno\x1b[0m file caf\udce9\nwith token=0123456789"
    server.fails("/status", "RuntimeError", said)
    with pytest.raises(SkyPilotRequestFailedError) as failed:
        await client.clusters()
    assert str(failed.value) == "RuntimeError: no file caf with token=[redacted]"
    for status, kind in ((500, SkyPilotUnavailableError), (422, SkyPilotRejectedError)):
        server.refuse = Refusal(status, {"detail": said})
        with pytest.raises(kind) as refused:
            await client.down(NAME)
        assert str(refused.value).endswith("no file caf with token=[redacted]")


async def test_every_request_is_reported_with_its_path_and_the_kind_of_its_error(server: Server, url: str) -> None:
    told: list[tuple[str, bool, str]] = []

    def observe(path: str, seconds: float | None, error: str) -> None:
        told.append((path, seconds is not None, error))

    async with SkyPilotClient(url, user_id="d5ee9000", observe=observe) as client:
        server.fails("/cost_report", "ValueError", "no")
        with pytest.raises(SkyPilotRequestFailedError):
            await client.terminated(NAME)
        server.refuse = Refusal(422, {"detail": "no cluster name"})
        with pytest.raises(SkyPilotRejectedError):
            await client.down(NAME)
        server.refuse = Refusal(503, {"detail": "shutting down"})
        with pytest.raises(SkyPilotUnavailableError):
            await client.health()
    assert told == [
        ("/cost_report", True, ""),
        ("/api/get", True, ""),
        ("/cost_report", False, "failed"),
        ("/down", True, "rejected"),
        ("/api/health", True, "unavailable"),
    ]


async def test_a_token_that_is_replaced_in_its_file_is_sent_from_then_on(
    server: Server, url: str, tmp_path: Path
) -> None:
    """As the kubelet replaces it: what the file leads to is another one at once."""
    file, link = tmp_path / "token", tmp_path / "..data"

    def put(name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        link.unlink(missing_ok=True)
        link.symlink_to(name)

    put("first", "sky_1\n")
    file.symlink_to("..data")
    async with SkyPilotClient(url, user_id="d5ee9000", token=TokenFile(file)) as client:
        await client.requests_in_flight()
        put("second", "sky_2\n")
        await client.requests_in_flight()
        put("third", "")  # half written, or a mistake
        await client.requests_in_flight()
        link.unlink()
        await client.requests_in_flight()
        put("fourth", "sky_4\n")
        await client.requests_in_flight()
    sent = [one.headers["Authorization"].removeprefix("Bearer ") for one in server.seen]
    assert sent == ["sky_1", "sky_2", "sky_2", "sky_2", "sky_4"]


def test_a_token_that_cannot_be_read_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        TokenFile(tmp_path / "none")
